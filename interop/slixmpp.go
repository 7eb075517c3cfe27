package interop

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

//go:embed py sipp
var scripts embed.FS

// script writes one of our scripts into the server's folder and returns its
// path.
func (s *Server) script(name string) (string, error) {
	b, err := scripts.ReadFile(name)
	if err != nil {
		return "", err
	}
	path := s.file(filepath.Base(name))
	return path, os.WriteFile(path, b, 0o600)
}

// Python is the interpreter that Debian's packages are made for; another one
// earlier in the path does not see them.
const Python = "/usr/bin/python3"

// SlixmppVersion is the installed version, or ErrMissing.
func SlixmppVersion() (string, error) {
	out, err := exec.Command(Python, "-c", "import slixmpp; print(slixmpp.__version__)").Output()
	if err != nil {
		return "", fmt.Errorf("python3-slixmpp %w", ErrMissing)
	}
	return "slixmpp " + strings.TrimSpace(string(out)), nil
}

// Slixmpp starts a client for u and waits until it is logged in, has its
// roster and is available. Features: carbons, sm.
func (s *Server) Slixmpp(u User, resource string, features ...string) (*Client, error) {
	c, err := s.slixmpp(u, resource, features...)
	if err != nil {
		return nil, err
	}
	if _, err := c.Event(15*time.Second, Fields{"event": "ready"}); err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}

func (s *Server) slixmpp(u User, resource string, features ...string) (*Client, error) {
	if _, err := SlixmppVersion(); err != nil {
		return nil, err
	}
	path, err := s.script("py/client.py")
	if err != nil {
		return nil, err
	}
	args := append([]string{path, u.Address() + "/" + resource, s.host, s.Port("xmpp"), s.Certificate()}, features...)
	p, err := start("slixmpp "+u.Name, exec.Command(Python, args...))
	if err != nil {
		return nil, err
	}
	return &Client{p, u}, p.Type(u.Password)
}
