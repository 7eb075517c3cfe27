package interop

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// home makes a home folder for a terminal program, so that it finds no
// settings but ours.
func (s *Server) home(program string, u User) (dir string, env []string, err error) {
	dir, err = os.MkdirTemp(s.Dir, program+"-"+u.Name+"-")
	if err != nil {
		return "", nil, err
	}
	for _, sub := range []string{"config", "data", "cache"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o700); err != nil {
			return "", nil, err
		}
	}
	env = append(os.Environ(), "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "XDG_DATA_HOME="+filepath.Join(dir, "data"),
		"XDG_CACHE_HOME="+filepath.Join(dir, "cache"), "TERM=xterm", "LANG=C.UTF-8", "LC_ALL=C.UTF-8")
	return dir, env, nil
}

// Profanity starts profanity on a terminal of its own and logs in as one would
// by hand.
func (s *Server) Profanity(u User) (*Process, error) {
	bin, err := Find("profanity")
	if err != nil {
		return nil, err
	}
	dir, env, err := s.home("profanity", u)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(bin)
	cmd.Dir, cmd.Env = dir, env
	p, err := startTerminal("profanity "+u.Name, cmd, true)
	if err != nil {
		return nil, err
	}
	for _, step := range []struct{ see, enter string }{
		{`Type '/help' to show complete help`, fmt.Sprintf("/connect %s/term server 127.0.0.1 port %s tls trust", u.Address(), s.Port("xmpp"))},
		{`Enter password:|password`, u.Password},
		{`logged in successfully`, ""},
	} {
		if _, err = p.See(15*time.Second, step.see); err == nil && step.enter != "" {
			err = p.Type(step.enter)
		}
		if err != nil {
			p.Stop()
			return nil, err
		}
	}
	return p, nil
}

// Mcabber starts mcabber on a terminal of its own, with its settings in a file;
// it knows no mechanism but PLAIN.
func (s *Server) Mcabber(u User) (*Process, error) {
	bin, err := Find("mcabber")
	if err != nil {
		return nil, err
	}
	dir, env, err := s.home("mcabber", u)
	if err != nil {
		return nil, err
	}
	rc := filepath.Join(dir, "mcabberrc")
	settings := fmt.Sprintf("set jid = %s\nset password = %s\nset server = 127.0.0.1\nset port = %s\nset tls = 1\nset ssl_ignore_checks = 1\nset resource = mc\nset log_display_presence = 1\nset show_status_in_buffer = 1\n",
		u.Address(), u.Password, s.Port("xmpp"))
	if err := os.WriteFile(rc, []byte(settings), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(bin, "-f", rc)
	cmd.Dir, cmd.Env = dir, env
	p, err := startTerminal("mcabber "+u.Name, cmd, true)
	if err != nil {
		return nil, err
	}
	if _, err := p.See(15*time.Second, `You are now online|Authentication successful|status has changed`); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}
