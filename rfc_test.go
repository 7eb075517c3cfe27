package pharos

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const rfcIndex = "rfc/index.txt"

var (
	// A row of the index: number, title, status, packages.
	indexRow = regexp.MustCompile(`^((?:RFC |XEP-)\d{4})  +(\S+(?: \S+)*)(?:  +(\S+)(?:  +(\S+(?: \S+)*))?)?$`)
	cited    = regexp.MustCompile(`\b(RFC|XEP)[ -](\d{4})\b`)
)

type standard struct {
	line     int
	status   string
	packages []string
	notes    []string // continuation lines
}

// readIndex reads rfc/index.txt, and says where it breaks its own rules.
func readIndex(t *testing.T) map[string]*standard {
	t.Helper()
	b, err := os.ReadFile(rfcIndex)
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]*standard{}
	var last *standard
	for i, line := range strings.Split(string(b), "\n") {
		at := fmt.Sprintf("%s:%d", rfcIndex, i+1)
		switch {
		case line == "" || line[0] == '#':
		case line[0] == ' ':
			if last == nil {
				t.Errorf("%s: continues nothing", at)
				continue
			}
			last.notes = append(last.notes, strings.TrimSpace(line))
		default:
			m := indexRow.FindStringSubmatch(line)
			if m == nil {
				t.Errorf("%s: no row: %s", at, line)
				continue
			}
			if other := rows[m[1]]; other != nil {
				t.Errorf("%s: %s is in line %d already", at, m[1], other.line)
			}
			last = &standard{line: i + 1, status: m[3], packages: strings.Fields(m[4])}
			rows[m[1]] = last
		}
	}
	return rows
}

// The index says of each standard whether it is done, what is missing where it
// is not whole, and where it is done.
func TestIndexOfStandards(t *testing.T) {
	for name, s := range readIndex(t) {
		missing := slices.ContainsFunc(s.notes, func(n string) bool {
			return !strings.HasPrefix(n, "Note:") && !strings.HasPrefix(n, "Differs:") && !strings.HasPrefix(n, "Part:")
		})
		switch s.status {
		case "yes":
			if missing {
				t.Errorf("%s is whole, and yet something is missing: %q", name, s.notes)
			}
		case "partial":
			if !missing {
				t.Errorf("%s is partial: nothing says what is missing", name)
			}
		case "no":
			if len(s.packages) > 0 {
				t.Errorf("%s is not there, and yet in %q", name, s.packages)
			}
			continue
		default:
			t.Errorf("%s: status %q, want yes, partial or no", name, s.status)
			continue
		}
		if len(s.packages) == 0 {
			t.Errorf("%s: where is it?", name)
		}
		for _, p := range s.packages {
			if files, _ := filepath.Glob(p + "/*.go"); len(files) == 0 {
				t.Errorf("%s: no package %s", name, p)
			}
		}
	}
}

// Whatever standard the code refers to is in the index.
func TestCitedStandardsAreInTheIndex(t *testing.T) {
	rows := readIndex(t)
	where := map[string]string{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata" || d.Name() == "node_modules") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(path, ".go") || path == "rfc_test.go" {
			return nil
		}
		b, err := os.ReadFile(path)
		for _, m := range cited.FindAllStringSubmatch(string(b), -1) {
			name := "RFC " + m[2]
			if m[1] == "XEP" {
				name = "XEP-" + m[2]
			}
			if where[name] == "" || strings.HasPrefix(path, "sip/") {
				where[name] = filepath.ToSlash(path)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(where) < 50 {
		t.Fatalf("only %d standards cited: is this the house?", len(where))
	}
	for name, path := range where {
		if rows[name] == nil {
			t.Errorf("%s, cited in %s, is not in %s", name, path, rfcIndex)
		}
	}
}
