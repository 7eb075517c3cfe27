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
		{`Type '/help' to show complete help`, fmt.Sprintf("/connect %s/term server %s port %s tls trust", u.Address(), s.host, s.Port("xmpp"))},
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

// Finch starts finch, which stands for libpurple, with one account: SIP over udp
// or tcp with one buddy, or xmpp. The transcript is its debug log, in which
// what it sends and receives stands too; its screen is nobody's concern.
func (s *Server) Finch(u User, transport string, buddy User) (*Process, error) {
	bin, err := Find("finch")
	if err != nil {
		return nil, err
	}
	dir, env, err := s.home("finch", u)
	if err != nil {
		return nil, err
	}
	account, ready := s.simpleAccount(u, transport), `(?s)SIP/2.0 200 OK.*CSeq: \d+ REGISTER`
	if transport == "xmpp" {
		account, ready = s.jabberAccount(u), `Recv \(ssl\).*jabber:iq:roster`
		if err := s.trustByPurple(dir); err != nil {
			return nil, err
		}
	}
	files := map[string]string{
		"accounts.xml": "<?xml version='1.0'?><account version='1.0'><account>" + account + "</account></account>",
		"blist.xml": "<?xml version='1.0'?><purple version='1.0'><blist><group name='Buddies'><contact><buddy account='" + u.Address() +
			"' proto='prpl-simple'><name>sip:" + buddy.Address() + "</name></buddy></contact></group></blist></purple>",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(bin, "-d", "-c", dir)
	cmd.Dir, cmd.Env = dir, env
	p := &Process{Transcript: newTranscript(), Name: "finch " + u.Name, cmd: cmd}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = w
	err = p.beginOnPTY(newTranscript())
	w.Close()
	if err != nil {
		r.Close()
		return nil, err
	}
	go func() { p.follow(r); r.Close() }()
	if _, err := p.See(20*time.Second, ready); err != nil {
		p.Stop()
		return nil, err
	}
	return p, nil
}

func purpleSetting(name, kind, value string) string {
	return fmt.Sprintf("<setting name='%s' type='%s'>%s</setting>", name, kind, value)
}

// purpleAccount is an account of libpurple that logs in by itself.
func purpleAccount(protocol, name, password, settings string) string {
	return "<protocol>" + protocol + "</protocol><name>" + name + "</name><password>" + password +
		"</password><statuses><status type='available' name='Available' active='true'/></statuses><settings>" + settings +
		"</settings><settings ui='gnt-purple'>" + purpleSetting("auto-login", "bool", "1") + "</settings>"
}

func (s *Server) simpleAccount(u User, transport string) string {
	return purpleAccount("prpl-simple", u.Address(), u.Password,
		purpleSetting("port", "int", s.Port("sip+"+transport))+
			purpleSetting("udp", "bool", map[string]string{"udp": "1", "tcp": "0"}[transport])+purpleSetting("dopublish", "bool", "1")+
			purpleSetting("useproxy", "bool", "1")+purpleSetting("proxy", "string", "127.0.0.1"))
}

func (s *Server) jabberAccount(u User) string {
	return purpleAccount("prpl-jabber", u.Address()+"/finch", u.Password,
		purpleSetting("port", "int", s.Port("xmpp"))+purpleSetting("connect_server", "string", "127.0.0.1")+
			purpleSetting("connection_security", "string", "require_tls"))
}

// trustByPurple puts the certificate where libpurple keeps those that its user
// has accepted.
func (s *Server) trustByPurple(home string) error {
	b, err := os.ReadFile(s.Certificate())
	if err != nil {
		return err
	}
	peers := filepath.Join(home, "certificates", "x509", "tls_peers")
	if err := os.MkdirAll(peers, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(peers, "127.0.0.1"), b, 0o600)
}
