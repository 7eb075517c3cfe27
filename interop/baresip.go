package interop

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// Baresip is a baresip phone, driven by the commands that one types into it.
type Baresip struct {
	*Process
	User User
}

// BaresipVersion is the installed version, or ErrMissing.
func BaresipVersion() (string, error) {
	bin, err := Find("baresip")
	if err != nil {
		return "", err
	}
	m := regexp.MustCompile(`v(\d[\d.]*)`).FindStringSubmatch(Version(bin, "-h"))
	if m == nil {
		return "", errors.New("baresip does not say its version")
	}
	return "baresip " + m[1], nil
}

// baresipModules is where Debian puts them.
func baresipModules() (string, error) {
	for _, dir := range []string{"/usr/lib/baresip/modules", "/usr/lib/" + multiarch() + "/baresip/modules"} {
		if _, err := os.Stat(filepath.Join(dir, "presence.so")); err == nil {
			return dir, nil
		}
	}
	return "", fmt.Errorf("baresip's presence module %w", ErrMissing)
}

func multiarch() string {
	out, _ := exec.Command("gcc", "-print-multiarch").Output()
	return strings.TrimSpace(string(out))
}

// Baresip starts a phone for u over udp, tcp or tls, with the contacts that it
// is to watch, the first of which its messages go to; and waits until it is
// registered. It publishes its own presence.
func (s *Server) Baresip(u User, transport string, contacts ...User) (*Baresip, error) {
	return s.baresip(u, transport, 600, contacts)
}

// baresip is Baresip with the time between registrations, in seconds.
func (s *Server) baresip(u User, transport string, regint int, contacts []User) (*Baresip, error) {
	bin, err := Find("baresip")
	if err != nil {
		return nil, err
	}
	modules, err := baresipModules()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(s.Dir, "baresip-"+u.Name+"-")
	if err != nil {
		return nil, err
	}
	scheme := map[string]string{"udp": "sip+udp", "tcp": "sip+tcp", "tls": "sips"}[transport]
	var known strings.Builder
	for _, c := range contacts {
		fmt.Fprintf(&known, "%q <sip:%s>;presence=p2p\n", c.Name, c.Address())
	}
	files := map[string]string{
		"config": "module_path " + modules + "\nsip_listen 127.0.0.1:0\nsip_cafile " + s.Certificate() + "\n" +
			"module stdio.so\nmodule g711.so\nmodule_app account.so\nmodule_app contact.so\nmodule_app menu.so\nmodule_app presence.so\n",
		"accounts": fmt.Sprintf("<sip:%s;transport=%s>;auth_user=%s;auth_pass=%q;outbound=\"sip:%s;transport=%[2]s\";regint=%[6]d;pubint=600\n",
			u.Address(), transport, u.Name, u.Password, s.Addr(scheme), regint),
		"contacts": known.String(),
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	cmd := exec.Command(bin, "-f", dir, "-s") // -s: SIP messages are part of the transcript
	cmd.Dir = dir
	p, err := startTerminal("baresip "+u.Name, cmd, false)
	if err != nil {
		return nil, err
	}
	b := &Baresip{p, u}
	if _, err := b.See(15*time.Second, `registered successfully`); err != nil {
		b.Stop()
		return nil, err
	}
	return b, nil
}

// Shows waits until the phone says that a contact's status became this one:
// Online, Offline, Busy or Unknown.
func (b *Baresip) Shows(within time.Duration, contact User, status string) error {
	_, err := b.See(within, `<sip:`+regexp.QuoteMeta(contact.Address())+`> changed status from \w+ to `+status)
	return err
}

// Message sends a text to the first contact.
func (b *Baresip) Message(text string) error { return b.Type("/message " + text) }

// Quit ends the phone in order: it takes its state and its registration back.
func (b *Baresip) Quit() error {
	if err := b.Type("/quit"); err != nil {
		return err
	}
	return b.Process.Wait(15 * time.Second)
}
