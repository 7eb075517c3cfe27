package config

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What dist/kubernetes.yaml makes of its template, its pod's name and the secrets is a configuration.
func TestKubernetes(t *testing.T) {
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Skip(err)
	}
	b, err := os.ReadFile("../dist/kubernetes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// block is the text that follows a line, as far as it is indented.
	block := func(after, indent string) string {
		_, rest, found := strings.Cut(string(b), after+"\n")
		if !found {
			t.Fatalf("no %q", after)
		}
		var text strings.Builder
		for line := range strings.Lines(rest) {
			l, in := strings.CutPrefix(line, indent)
			if !in {
				break
			}
			text.WriteString(l)
		}
		return text.String()
	}
	dir := t.TempDir()
	script := block("            - |", "              ")
	for _, name := range []string{"template", "secret", "config"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		script = strings.ReplaceAll(script, " /"+name+"/", " "+dir+"/"+name+"/")
		script = strings.ReplaceAll(script, ">/"+name+"/", ">"+dir+"/"+name+"/")
	}
	template := strings.ReplaceAll(block("  pharos.toml: |", "    "), "@/config", "@"+dir+"/config")
	const url = `postgres://pharos:a%26b@postgres/pharos?sslmode=require&connect_timeout=3|\1`
	for name, text := range map[string]string{"template/pharos.toml": template, "secret/url": url, "secret/secret": "0123456789abcdef/+="} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(sh, "-ec", script)
	cmd.Env = append(os.Environ(), "POD=pharos-1", "IP=10.0.0.7")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	c, err := Load(filepath.Join(dir, "config", "pharos.toml"))
	if err != nil {
		t.Fatal(err)
	}
	if c.Store.URL != url || c.Cluster.Node != "pharos-1" || c.Cluster.Listen != "10.0.0.7:6222" || len(c.Cluster.Peers) != 3 {
		t.Errorf("%+v %+v", c.Store, c.Cluster)
	}
	if secret, err := c.Cluster.ReadSecret(); err != nil || secret != "0123456789abcdef/+=" {
		t.Errorf("the secret: %q %v", secret, err)
	}
}
