package pharos

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.*)$`)
	notWord = regexp.MustCompile(`[^a-z0-9 -]`)
)

// What the documents refer to is there, headings included.
func TestLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "README.md", "DEVELOP.md", "CHANGELOG.md", "bench/README.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Error(err)
			continue
		}
		for _, m := range link.FindAllStringSubmatch(string(b), -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			to := page
			if file != "" {
				to = filepath.Join(filepath.Dir(page), file)
			}
			if st, err := os.Stat(to); err != nil || st.IsDir() {
				if err != nil {
					t.Errorf("%s: link to %s: %v", page, m[1], err)
				}
				continue
			}
			target, err := os.ReadFile(to)
			if err != nil {
				t.Fatal(err)
			}
			if anchor != "" && !anchors(string(target))[anchor] {
				t.Errorf("%s: link to %s: no such heading", page, m[1])
			}
		}
	}
}

// anchors are the headings as they appear in links.
func anchors(text string) map[string]bool {
	all := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(notWord.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}

var sippKey = regexp.MustCompile(`\[([a-z_]+)\]`)

// The sipp command in the documents has a value for each key of its scenario: without, sipp refuses to start.
func TestSippCommand(t *testing.T) {
	page, err := os.ReadFile("docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	scenario, err := os.ReadFile("interop/sipp/state.xml")
	if err != nil {
		t.Fatal(err)
	}
	_, command, found := strings.Cut(string(page), "-sf interop/sipp/state.xml")
	command, _, ended := strings.Cut(command, "```")
	if !found || !ended {
		t.Fatal("no command")
	}
	own := map[string]bool{"transport": true, "local_ip": true, "local_port": true, "branch": true, "pid": true,
		"call_number": true, "call_id": true, "len": true, "authentication": true} // sipp's
	for _, m := range sippKey.FindAllStringSubmatch(string(scenario), -1) {
		if !own[m[1]] && !strings.Contains(command, "-key "+m[1]+" ") {
			t.Errorf("the command lacks -key %s", m[1])
		}
	}
}
