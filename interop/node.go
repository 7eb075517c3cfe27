package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"
)

// Dir is this folder, in which the node packages are installed; node looks for
// them from where a script lies.
func Dir() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(file)
}

// NodePackage tells the installed version of a node package, or ErrMissing.
func NodePackage(name string) (string, error) {
	b, err := os.ReadFile(filepath.Join(Dir(), "node_modules", filepath.FromSlash(name), "package.json"))
	if err != nil {
		return "", fmt.Errorf("node package %s %w", name, ErrMissing)
	}
	var p struct{ Version string }
	if err := json.Unmarshal(b, &p); err != nil {
		return "", err
	}
	return name + " " + p.Version, nil
}

// Node starts js/SCRIPT.mjs, which drives a node package, as u, and waits until
// it is ready.
func (s *Server) Node(script, pkg string, u User, resource, service string) (*Client, error) {
	node, err := Find("node")
	if err != nil {
		return nil, err
	}
	if _, err := NodePackage(pkg); err != nil {
		return nil, err
	}
	cmd := exec.Command(node, filepath.Join(Dir(), "js", script+".mjs"))
	// The package's own check of the certificate is left on.
	cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+s.Certificate())
	p, err := start(pkg+" "+u.Name, cmd)
	if err != nil {
		return nil, err
	}
	return introduce(p, u, resource, service, 15*time.Second)
}

// introduce tells a JSON-commanded program who it is, and waits until it says that
// it is ready.
func introduce(p *Process, u User, resource, service string, within time.Duration) (*Client, error) {
	c := &Client{p, u}
	settings, err := json.Marshal(Fields{"user": u.Name, "domain": Domain, "password": u.Password, "resource": resource, "service": service})
	if err == nil {
		err = c.Type(string(settings))
	}
	if err == nil {
		_, err = c.Event(within, Fields{"event": "ready"})
	}
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}
