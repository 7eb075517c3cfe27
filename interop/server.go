package interop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Domain is what the server under test serves.
const Domain = "localhost"

// Build builds the server, with the race detector when race is set, into dir
// and returns its path.
func Build(dir string, race bool) (string, error) {
	bin := filepath.Join(dir, "pharos")
	args := []string{"build", "-o", bin}
	if race {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "pharos/cmd/pharos")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return bin, nil
}

// Server is a Pharos run as a child process, with its own data folder, on
// ports that the system gave.
type Server struct {
	*Process
	Dir string // configuration, data and what the foreign programs need

	bin   string
	host  string            // the address that it listens on
	ports map[string]string // scheme, with a 6 behind it for [::1] -> port

	settings []string // of one that is one of several
	cert     string   // that it has from another; empty: its own
}

// schemes are the listeners of the server under test.
var schemes = []string{"sip+udp", "sip+tcp", "sips", "xmpp", "xmpps", "https", "http+insecure"}

// StartServer starts the server in dir and waits until it is ready. Settings
// are lines of configuration besides domains and listen.
func StartServer(bin, dir string, settings ...string) (*Server, error) {
	s := &Server{Dir: dir, bin: bin, host: "127.0.0.1", ports: map[string]string{}}
	if err := s.start(settings); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) start(settings []string) error {
	var listen []string
	on := func(scheme, host, key string) {
		port := s.ports[key]
		if port == "" {
			port = "0"
		}
		listen = append(listen, fmt.Sprintf("%q", scheme+"://"+net.JoinHostPort(host, port)))
	}
	for _, scheme := range schemes {
		on(scheme, s.host, scheme)
	}
	if s.host == "127.0.0.1" && hasIPv6() {
		on("sip+udp", "::1", "sip+udp6")
		on("sip+tcp", "::1", "sip+tcp6")
	}
	conf := fmt.Sprintf("domains = [%q]\nlisten = [%s]\n%s\n", Domain, strings.Join(listen, ", "), strings.Join(settings, "\n"))
	if err := os.WriteFile(s.file("pharos.toml"), []byte(conf), 0o600); err != nil {
		return err
	}
	p, err := start("pharos", exec.Command(s.bin, "serve", "--config", s.file("pharos.toml"), "--data", s.Data()))
	if err != nil {
		return err
	}
	s.Process = p
	if _, err := p.See(20*time.Second, `msg=ready`); err != nil {
		p.Stop()
		return err
	}
	var st struct {
		Ready  bool     `json:"ready"`
		Listen []string `json:"listen"`
	}
	if err := s.Command(&st, "status", "--json"); err != nil {
		p.Stop()
		return err
	}
	if !st.Ready {
		p.Stop()
		return fmt.Errorf("pharos says that it is ready, and its status does not")
	}
	for _, l := range st.Listen {
		u, err := url.Parse(l)
		if err != nil {
			return err
		}
		key := u.Scheme
		if u.Hostname() == "::1" {
			key += "6"
		}
		s.ports[key] = u.Port()
	}
	return nil
}

// Restart starts the server again, after Kill or Stop, on the same ports and
// data.
func (s *Server) Restart(settings ...string) error { return s.start(append(s.settings, settings...)) }

// Data is the server's data folder.
func (s *Server) Data() string { return s.file("data") }

func (s *Server) file(name string) string { return filepath.Join(s.Dir, name) }

// Certificate is the server's self-signed certificate, PEM.
func (s *Server) Certificate() string {
	if s.cert != "" {
		return s.cert
	}
	return filepath.Join(s.Data(), "tls", "cert.pem")
}

// Port is the port of a listener, by its scheme.
func (s *Server) Port(scheme string) string { return s.ports[scheme] }

// Addr is host:port of a listener, by its scheme, with a 6 behind it for IPv6
// ("sip+udp6").
func (s *Server) Addr(scheme string) string {
	host := s.host
	if strings.HasSuffix(scheme, "6") {
		host = "::1"
	}
	return net.JoinHostPort(host, s.ports[scheme])
}

// hasIPv6 tells whether this machine has the loopback address of IPv6.
func hasIPv6() bool {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		return false
	}
	l.Close()
	return true
}

// Command runs a pharos command on this server; into, if not nil, takes its
// JSON.
func (s *Server) Command(into any, args ...string) error {
	cmd := exec.Command(s.bin, append(args, "--config", s.file("pharos.toml"), "--data", s.Data())...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("pharos %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	if into == nil {
		return nil
	}
	if err := json.Unmarshal(out, into); err != nil {
		return fmt.Errorf("pharos %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// User is an account of the server under test.
type User struct{ Name, Password string }

// Address is user@domain.
func (u User) Address() string { return u.Name + "@" + Domain }

// AddUsers makes accounts, each with a password of its own.
func (s *Server) AddUsers(names ...string) (map[string]User, error) {
	users := map[string]User{}
	var lines strings.Builder
	for _, n := range names {
		u := User{Name: n, Password: "of " + n + ", 1"}
		users[n] = u
		fmt.Fprintf(&lines, "%s,%q\n", u.Address(), u.Password)
	}
	csv := s.file("users.csv")
	if err := os.WriteFile(csv, []byte(lines.String()), 0o600); err != nil {
		return nil, err
	}
	return users, s.Command(nil, "user", "import", csv)
}
