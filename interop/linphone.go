package interop

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"time"
)

// Linphone starts a phone made of Linphone's library (the one under all its
// apps) for u over udp, tcp or tls, and waits until it is registered.
func (s *Server) Linphone(u User, transport string) (*Client, error) {
	return s.linphone(u, transport, "")
}

// LinphoneList is Linphone with its friends as one list, as all its apps have
// them; Linphone subscribes to each. The list is the one of that URI (RFC 4662), else
// its own, which it sends along (RFC 5367).
func (s *Server) LinphoneList(u User, transport, list string) (*Client, error) {
	if list == "" {
		list = "sip:rls@" + Domain
	}
	return s.linphone(u, transport, list)
}

func (s *Server) linphone(u User, transport, list string) (*Client, error) {
	if found, _ := filepath.Glob("/usr/lib/*/liblinphone.so.*"); len(found) == 0 {
		return nil, fmt.Errorf("liblinphone %w", ErrMissing)
	}
	path, err := s.script("py/linphone.py")
	if err != nil {
		return nil, err
	}
	dir, env, err := s.home("linphone", u)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(Python, path)
	cmd.Dir, cmd.Env = dir, env
	p, err := start("linphone "+u.Name, cmd)
	if err != nil {
		return nil, err
	}
	c := &Client{p, u}
	scheme := map[string]string{"udp": "sip+udp", "tcp": "sip+tcp", "tls": "sips"}[transport]
	// By name: its TLS library does not know addresses in certificates.
	server := "sip:" + Domain + ":" + s.Port(scheme) + ";transport=" + transport
	settings, err := json.Marshal(Fields{"user": u.Name, "domain": Domain, "password": u.Password,
		"server": server, "ca": s.Certificate(), "list": list})
	if err == nil {
		err = c.Type(string(settings))
	}
	if err == nil {
		_, err = c.Event(20*time.Second, Fields{"event": "registration", "state": "ok"})
	}
	if err != nil {
		c.Stop()
		return nil, err
	}
	return c, nil
}
