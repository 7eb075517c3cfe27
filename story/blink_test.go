package story

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The table of docs/clients.md ticks a point with a story that is played, and
// leaves none out.
func TestBlinkTable(t *testing.T) {
	b, err := os.ReadFile("../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(b), "\n### Blink's list\n")
	if !ok {
		t.Fatal("docs/clients.md has no section on Blink's list")
	}
	section, _, _ = strings.Cut(section, "\n#")
	named := map[string]bool{}
	for _, m := range regexp.MustCompile("`(blink-[a-z-]+)`").FindAllStringSubmatch(section, -1) {
		named[m[1]] = true
	}
	for _, row := range regexp.MustCompile(`(?m)^\|.*\| yes \|.*$`).FindAllString(section, -1) {
		if !strings.Contains(row, "`blink-") {
			t.Errorf("ticked without a story: %s", row)
		}
	}
	files, err := filepath.Glob("testdata/blink-*.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".txt")
		if !named[name] {
			t.Errorf("docs/clients.md does not name %s", name)
		}
		delete(named, name)
	}
	for name := range named {
		t.Errorf("docs/clients.md names %s, which is no story", name)
	}
}
