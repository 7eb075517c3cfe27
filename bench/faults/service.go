package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pharos/store/postgrestest"
)

// service is PostgreSQL and the nodes.
type service struct {
	lab   *lab
	pg    *postgrestest.Server
	dir   string
	bin   string
	nodes []*node
	peers []string // of the bus, quoted
	most  float64  // level of a node; 0: the default
	spare *node    // that the leader starts; nil: none
}

// node is one process, when it runs.
type node struct {
	*spot
	s    *service
	name string

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	expects bool // to end
}

// startService builds the program and starts PostgreSQL and a node at each spot of the lab,
// which it closes in the end; logs stay in dir. most is the level that a node may reach, 0 for the default; settings are further lines of [cluster], for all of them.
func startService(ctx context.Context, dir string, l *lab, most float64, users string, settings func(*service) []string) (s *service, err error) {
	s = &service{dir: dir, lab: l, most: most, bin: filepath.Join(dir, "pharos")}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", s.bin, "pharos/cmd/pharos").CombinedOutput(); err != nil {
		return s, fmt.Errorf("go build: %w\n%s", err, out)
	}
	if s.pg, err = postgrestest.Start("listen_addresses="+l.hub.String(), "max_connections=200"); err != nil {
		return s, err
	}
	hba := filepath.Join(s.pg.Dir(), "data", "pg_hba.conf")
	f, err := os.OpenFile(hba, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return s, err
	}
	_, err = fmt.Fprintf(f, "host all all %s/24 trust\n", l.hub)
	if err = errors.Join(err, f.Close(), s.pg.Restart()); err != nil {
		return s, err
	}
	for _, sp := range s.lab.spots {
		s.peers = append(s.peers, fmt.Sprintf("%q", netip.AddrPortFrom(sp.busIP, 6222)))
	}
	var more []string
	if settings != nil {
		more = settings(s)
	}
	if s.spare != nil {
		if err := errors.Join(s.spare.configure(append(more[:len(more):len(more)], "start_standby = true")...), s.startScript(s.spare)); err != nil {
			return s, err
		}
	}
	for i, sp := range s.lab.spots {
		nd := &node{spot: sp, s: s, name: fmt.Sprintf("n%d", i+1)}
		s.nodes = append(s.nodes, nd)
		if err := nd.configure(more...); err != nil {
			return s, err
		}
		if err := nd.start(); err != nil {
			return s, err
		}
	}
	list := filepath.Join(dir, "users.xml")
	if err := os.WriteFile(list, []byte(users), 0o600); err != nil {
		return s, err
	}
	return s, s.nodes[0].command(nil, "user", "import", list)
}

// configure writes the node's file. more are lines of its [cluster].
func (n *node) configure(more ...string) error {
	conf := fmt.Sprintf(`domains = [%q]
listen = ["sip+udp://%[2]s:%[3]d", "sip+tcp://%[2]s:%[3]d", "xmpp+insecure://%[2]s:%[4]d", "http+insecure://%[2]s:%[5]d"]
[policy]
default = "allow"
[store]
url = "postgres://postgres@%[6]s:5432/postgres?sslmode=disable"
[cluster]
node = %[7]q
secret = "a secret that the nodes of the lab share"
listen = "%[8]s:6222"
peers = [%[9]s]
sip = "sip:%[2]s:%[3]d"
xmpp = "%[2]s:%[4]d"
`, domain, n.ip, sipPort, xmppPort, httpPort, n.s.lab.hub, n.name, n.busIP, strings.Join(n.s.peers, ", "))
	if n.s.most > 0 {
		conf += fmt.Sprintf("max = %g\n", n.s.most)
	}
	for _, l := range more {
		conf += l + "\n"
	}
	if err := os.MkdirAll(n.file("data"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(n.file("pharos.toml"), []byte(conf), 0o600)
}

func (n *node) file(name string) string { return filepath.Join(n.s.dir, n.name, name) }

// readyWithin bounds the start of a node.
const readyWithin = 30 * time.Second

// start runs the node and waits until it says that it is ready.
func (n *node) start() error {
	log, err := os.OpenFile(n.file("log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	from, err := log.Seek(0, 2)
	if err != nil {
		return err
	}
	cmd := n.spot.command(n.s.bin, "serve", "--config", n.file("pharos.toml"), "--data", n.file("data"))
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	n.mu.Lock()
	n.cmd, n.ended, n.expects = cmd, ended, false
	n.mu.Unlock()
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	for until := time.Now().Add(readyWithin); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(n.file("log"))
		if err != nil {
			return err
		}
		if bytes.Contains(b[from:], []byte("msg=ready")) {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("%s has ended:\n%s", n.name, tail(b[from:]))
		default:
		}
	}
	return fmt.Errorf("%s is not ready within %v", n.name, readyWithin)
}

func tail(b []byte) []byte {
	if len(b) > 3000 {
		return b[len(b)-3000:]
	}
	return b
}

// signal sends one to the process; of those that end it the end is waited for.
func (n *node) signal(sig syscall.Signal) error {
	n.mu.Lock()
	cmd, ended := n.cmd, n.ended
	n.mu.Unlock()
	if cmd == nil {
		return n.signalStarted(sig)
	}
	if err := cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	if sig != syscall.SIGKILL && sig != syscall.SIGTERM {
		return nil
	}
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		return fmt.Errorf("%s does not end", n.name)
	}
	n.mu.Lock()
	n.cmd = nil
	n.mu.Unlock()
	return nil
}

// signalStarted is signal for a node that the leader has started.
func (n *node) signalStarted(sig syscall.Signal) error {
	b, err := os.ReadFile(n.file("pid"))
	if err != nil {
		return nil // nobody has
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
		return err
	}
	return os.Remove(n.file("pid"))
}

// runs reports whether the process lives that was not told to end.
func (n *node) runs() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cmd == nil {
		return false
	}
	select {
	case <-n.ended:
		return false
	default:
		return true
	}
}

// command runs a pharos command at the node.
func (n *node) command(into any, args ...string) error {
	cmd := n.spot.command(append(append([]string{n.s.bin}, args...), "--config", n.file("pharos.toml"), "--data", n.file("data"))...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("pharos %s: %w\n%s%s", strings.Join(args, " "), err, out.Bytes(), errs.Bytes())
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(out.Bytes(), into)
}

// output is what a command prints for people.
func (n *node) output(args ...string) (string, error) {
	out, err := n.spot.command(append(append([]string{n.s.bin}, args...), "--config", n.file("pharos.toml"), "--data", n.file("data"))...).CombinedOutput()
	return string(out), err
}

// leader is the node that leads, as another says; nil: nobody does.
func (s *service) leader() *node {
	var st struct {
		Nodes []struct {
			Name   string `json:"name"`
			Leader bool   `json:"leader"`
		} `json:"nodes"`
	}
	for _, n := range s.nodes {
		if !n.runs() || n.command(&st, "cluster", "status", "--json") != nil {
			continue
		}
		for _, x := range st.Nodes {
			for _, m := range s.nodes {
				if x.Leader && m.name == x.Name {
					return m
				}
			}
		}
	}
	return nil
}

func (s *service) addrs(port uint16) (list []netip.AddrPort) {
	for _, n := range s.nodes {
		list = append(list, netip.AddrPortFrom(n.ip, port))
	}
	return list
}

func (s *service) close() {
	if s.spare != nil {
		_ = s.spare.signal(syscall.SIGKILL)
	}
	for _, n := range s.nodes {
		_ = n.signal(syscall.SIGCONT)
		_ = n.signal(syscall.SIGKILL)
	}
	if s.pg != nil {
		_ = s.pg.Close()
	}
	if s.lab != nil {
		s.lab.close()
	}
}
