package interop

import (
	"bytes"
	"embed"
	"encoding/json"
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

// Fields are parts of a JSON object.
type Fields map[string]any

// Slixmpp is a slixmpp client that obeys JSON commands and tells what happens
// to it as JSON lines.
type Slixmpp struct {
	*Process
	User User
}

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
func (s *Server) Slixmpp(u User, resource string, features ...string) (*Slixmpp, error) {
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

func (s *Server) slixmpp(u User, resource string, features ...string) (*Slixmpp, error) {
	if _, err := SlixmppVersion(); err != nil {
		return nil, err
	}
	path, err := s.script("py/client.py")
	if err != nil {
		return nil, err
	}
	args := append([]string{path, u.Address() + "/" + resource, "127.0.0.1", s.Port("xmpp"), s.Certificate()}, features...)
	p, err := start("slixmpp "+u.Name, exec.Command(Python, args...))
	if err != nil {
		return nil, err
	}
	return &Slixmpp{p, u}, p.Type(u.Password)
}

// Do gives the client a command.
func (c *Slixmpp) Do(what string, args Fields) error {
	cmd := Fields{"do": what}
	for k, v := range args {
		cmd[k] = v
	}
	b, err := json.Marshal(cmd)
	if err != nil {
		return err
	}
	return c.Type(string(b))
}

// Event waits for an event that has all the wanted fields; a field wanted as
// nil must be absent. It returns the whole event.
func (c *Slixmpp) Event(within time.Duration, want Fields) (Fields, error) {
	return c.event(within, want, nil)
}

func (c *Slixmpp) event(within time.Duration, want Fields, mark *int) (Fields, error) {
	w, _ := json.Marshal(want)
	var got Fields
	_, err := c.wait(within, string(w), mark, func(unread []byte) ([]string, int) {
		for at := 0; ; {
			n := bytes.IndexByte(unread[at:], '\n')
			if n < 0 {
				return nil, 0
			}
			line := unread[at : at+n]
			at += n + 1
			var e Fields
			if json.Unmarshal(line, &e) == nil && e.has(want) {
				got = e
				return []string{string(line)}, at
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	return got, nil
}

func (f Fields) has(want Fields) bool {
	for k, v := range want {
		if v == nil {
			if f[k] != nil {
				return false
			}
			continue
		}
		if f[k] == nil || fmt.Sprint(f[k]) != fmt.Sprint(v) {
			return false
		}
	}
	return true
}

// Ask gives a command and waits for its result. Events that come before the
// result are left for Event.
func (c *Slixmpp) Ask(what string, args Fields) (Fields, error) {
	mark := c.here()
	if err := c.Do(what, args); err != nil {
		return nil, err
	}
	return c.event(10*time.Second, Fields{"event": "done", "what": what}, mark)
}

// Quit closes the stream in order and waits for the end.
func (c *Slixmpp) Quit() error {
	if err := c.Do("quit", nil); err != nil {
		return err
	}
	return c.Process.Wait(10 * time.Second)
}
