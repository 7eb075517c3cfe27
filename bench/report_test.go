package bench

import (
	"os"
	"path/filepath"
	"testing"
)

// Only what stands between the markers is replaced, again and again; without them nothing is.
func TestBetween(t *testing.T) {
	path := filepath.Join(t.TempDir(), "README.md")
	if err := os.WriteFile(path, []byte("before\n<!-- a -->\n<!-- z -->\nafter\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"one\n", "two\n"} {
		if err := Between(path, "<!-- a -->", "<!-- z -->", text); err != nil {
			t.Fatal(err)
		}
		want := "before\n<!-- a -->\n\n" + text + "\n<!-- z -->\nafter\n"
		if b, err := os.ReadFile(path); err != nil || string(b) != want {
			t.Fatalf("%q, %v", b, err)
		}
	}
	if err := Between(path, "<!-- b -->", "<!-- z -->", "three"); err == nil {
		t.Error("written without markers")
	}
	if b, err := os.ReadFile(path); err != nil || len(b) != len("before\n<!-- a -->\n\ntwo\n\n<!-- z -->\nafter\n") {
		t.Errorf("%q, %v", b, err)
	}
}
