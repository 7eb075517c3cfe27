package bench

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWriteThin(t *testing.T) {
	ts := []Thin{
		{"plain", 19, 1000, 2000}, {"filter: basic, activities", 15, 500, 900},
		{"50 users, one by one", 950, 50000, 60000}, {"50 users, a list & <more>", 600, 20000, 30000},
	}
	dir := t.TempDir()
	readme, chart := filepath.Join(dir, "README.md"), filepath.Join(dir, "thin.svg")
	if err := WriteThin(readme, chart, ts); err == nil {
		t.Error("written into nothing")
	}
	if err := os.WriteFile(readme, []byte("# a\n"+beginThin+"\nold\n"+endThin+"\nz\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteThin(readme, chart, ts); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(readme)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"# a\n", "\nz\n", "| filter: basic, activities | 15 | **500** | 50 % | 900 |", "| 50 users, a list & <more> | 600 | **20000** | 40 % | 30000 |"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %q in\n%s", want, b)
		}
	}
	if strings.Contains(string(b), "old") {
		t.Error("the old table is still there")
	}
	f, err := os.Open(chart)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	bars := 0
	for d := xml.NewDecoder(f); ; {
		tok, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := tok.(xml.StartElement); ok && e.Name.Local == "rect" {
			bars++
		}
	}
	if bars != 1+len(ts) { // and the ground
		t.Errorf("%d rectangles", bars)
	}
}
