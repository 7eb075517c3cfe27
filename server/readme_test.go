package server

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pharos/config"
)

// What the README's first screen says to paste gives what it says.
func TestReadme(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		t.Skip("no curl on this machine")
	}
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	block := fenced.FindStringSubmatch(string(b))
	if block == nil {
		t.Fatal("nothing to paste")
	}
	s := run(t, func(o *Options) { o.Config.Domains = config.Defaults().Domains })
	if err := s.Admin().Add(context.Background(), "alice@localhost", "PASSWORD"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(s.Data, filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(s.addr("https"))
	if err != nil {
		t.Fatal(err)
	}
	sh := exec.Command("sh", "-e")
	sh.Dir, sh.Stdin = dir, strings.NewReader(block[1])
	sh.Env = append(os.Environ(), "CURL_HOME="+dir, "HOME="+dir)
	rc := "connect-to = localhost:8443:127.0.0.1:" + port + "\n"
	if err := os.WriteFile(filepath.Join(dir, ".curlrc"), []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := sh.CombinedOutput(); err != nil || string(out) != block[2] {
		t.Errorf("%v\n%s\ngives\n%s\nand not\n%s", err, block[1], out, block[2])
	}
}
