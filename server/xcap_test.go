package server

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"pharos/config"
)

var fenced = regexp.MustCompile("(?s)```sh\n(.*?)```\n```text\n(.*?)```")

// The manual's section on XCAP is typed as it stands, one block after another, with
// a real curl; what it says comes out.
func TestManualOfXCAP(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl on this machine")
	}
	b, err := os.ReadFile("../docs/manual.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(b), "\n## XCAP\n")
	section, _, _ = strings.Cut(section, "\n## ")
	blocks := fenced.FindAllStringSubmatch(section, -1)
	if len(blocks) < 3 {
		t.Fatalf("%d blocks", len(blocks))
	}
	s := run(t, func(o *Options) { o.Config.Domains = []string{"example.com"} })
	for _, u := range []string{"alice", "bob"} {
		if err := s.Admin().Add(context.Background(), u+"@example.com", "secret"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	_, port, err := net.SplitHostPort(s.addr("https"))
	if err != nil {
		t.Fatal(err)
	}
	rc := "connect-to = example.com:8443:127.0.0.1:" + port + "\ncacert = " + filepath.Join(s.Data, "tls", "cert.pem") + "\n"
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	script := ""
	for i, block := range blocks {
		// Variables of earlier blocks stay.
		sh := exec.Command("sh", "-e")
		sh.Dir, sh.Stdin = dir, strings.NewReader(script+block[1])
		sh.Env = append(os.Environ(), "CURL_HOME="+dir, "HOME="+dir)
		out, err := sh.CombinedOutput()
		if err != nil || string(out) != block[2] {
			t.Errorf("block %d: %v\n%s\ngives\n%s\nand not\n%s", i+1, err, block[1], out, block[2])
		}
		for line := range strings.Lines(block[1]) {
			if strings.HasPrefix(line, "export ") {
				script += line
			}
		}
	}
}

// Where no client has said how it reaches us, the listeners and the domain do.
func TestPublicRoot(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   string
	}{
		{nil, "https://example.com/xcap/"},
		{[]string{"sips://[::]:5061", "http+insecure://127.0.0.1:80"}, "http://example.com/xcap/"},
		{[]string{"http+insecure://127.0.0.1:8080", "https://[::]:8443", "https://[::]:9443"}, "https://example.com:8443/xcap/"},
		{[]string{"https://[::]:443", "http+insecure://[::]:8080"}, "https://example.com/xcap/"},
	} {
		s := &Server{Options: Options{Config: config.Defaults()}}
		for _, l := range c.listen {
			s.open = append(s.open, open{uri: l})
		}
		if got := s.publicRoot("example.com"); got != c.want {
			t.Errorf("%q: %s, want %s", c.listen, got, c.want)
		}
	}
}
