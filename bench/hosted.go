package bench

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Hosted is a service for measurements that are packages of their own, whose nodes come and go.
type Hosted struct {
	s     *service
	nodes []*HostedNode
}

// HostedNode is one of its nodes. Its process may be another after each start.
type HostedNode struct {
	Name string
	s    *service
	n    *node

	mu      sync.Mutex
	running bool
}

// Setup says how a service is built.
type Setup struct {
	Nodes    int      // 0: one server, alone
	SQLite   bool     // for one server; else PostgreSQL
	Max      float64  // level that a node may reach; 0: more than is ever reached
	Settings []string // further lines of [cluster]
	People   *Crowd
	Trusting bool // SIP is not challenged, and there is no HTTP
}

// Crowd is users and whom they know. All have the password Password, and the domain Domain.
type Crowd struct{ p people }

// Password and Domain are everybody's.
const (
	Password = peoplePassword
	Domain   = "localhost"
)

// Add puts in users who live where the service sees fit.
func (p *Crowd) Add(names ...string) { p.p.names = append(p.p.names, names...) }

// Acquaint has two users in each other's rosters, both ways.
func (p *Crowd) Acquaint(a, b string) { p.p.acquaint(a, b) }

// Host makes the database, puts the people in and starts the nodes; the binary is the program's. When ctx ends, so do they.
func Host(ctx context.Context, bin string, u Setup) (*Hosted, error) {
	l := layout{nodes: u.Nodes, sqlite: u.SQLite, most: u.Max, settings: u.Settings, strict: !u.Trusting}
	if u.People != nil {
		l.people = u.People.p
	}
	s, err := startService(ctx, bin, l)
	if err != nil {
		return nil, err
	}
	h := &Hosted{s: s}
	for _, n := range s.nodes {
		h.nodes = append(h.nodes, &HostedNode{Name: n.name, s: s, n: n, running: true})
	}
	return h, nil
}

// Nodes are all of them, whether they run or not.
func (h *Hosted) Nodes() []*HostedNode { return h.nodes }

// Close ends everything and removes it.
func (h *Hosted) Close() error {
	for _, n := range h.nodes {
		n.mu.Lock()
		if n.running {
			_ = n.n.cmd.Process.Signal(syscall.SIGCONT)
		}
		n.mu.Unlock()
	}
	return h.s.stop()
}

// Whole waits until all nodes see each other.
func (h *Hosted) Whole(ctx context.Context) error { return h.s.whole(ctx) }

// RestartDatabase stops PostgreSQL, with all that is under way, and starts it again.
func (h *Hosted) RestartDatabase() error { return h.s.pg.Restart() }

// DatabaseCPU is the processor time of PostgreSQL since its last start.
func (h *Hosted) DatabaseCPU() (time.Duration, error) { return h.s.databaseCPU() }

// Leader is the node that leads, as another says; nil: nobody does.
func (h *Hosted) Leader(ctx context.Context) *HostedNode {
	for _, n := range h.nodes {
		var st struct{ Leader string }
		if n.Ask(ctx, http.MethodGet, "/cluster", nil, &st) != nil {
			continue
		}
		for _, m := range h.nodes {
			if m.Name == st.Leader {
				return m
			}
		}
	}
	return nil
}

// SaveLogs copies what the nodes have said into a folder.
func (h *Hosted) SaveLogs(dir string) error {
	var errs []error
	for _, n := range h.nodes {
		b, err := os.ReadFile(filepath.Join(n.n.dir, "log"))
		errs = append(errs, err, os.WriteFile(filepath.Join(dir, n.Name+".log"), b, 0o644))
	}
	return errors.Join(errs...)
}

// SIP, XMPP and HTTP are where clients reach the node.
func (n *HostedNode) SIP() netip.AddrPort  { return n.at(nodeSIP) }
func (n *HostedNode) XMPP() netip.AddrPort { return n.at(nodeXMPP) }
func (n *HostedNode) HTTP() netip.AddrPort { return n.at(nodeHTTP) }

func (n *HostedNode) at(port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.MustParseAddr(n.n.ip), port)
}

// PID of the process; 0: it does not run.
func (n *HostedNode) PID() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running {
		return 0
	}
	return n.n.pid()
}

// Ask says something to the control socket and decodes the answer, where into is not nil.
func (n *HostedNode) Ask(ctx context.Context, method, path string, form url.Values, into any) error {
	b, err := n.n.ask(ctx, method, path, form)
	if err != nil || into == nil {
		return err
	}
	return json.Unmarshal(b, into)
}

// Start runs the node again and waits until it is ready.
func (n *HostedNode) Start(ctx context.Context) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.running {
		return nil
	}
	n.n.http.CloseIdleConnections()
	err := n.s.start(ctx, n.n)
	n.running = err == nil
	return err
}

// Signal sends one to the process. Of those that end it the end is waited for, for 20 s.
func (n *HostedNode) Signal(sig syscall.Signal) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running {
		return nil
	}
	if err := n.n.cmd.Process.Signal(sig); err != nil || sig != syscall.SIGKILL && sig != syscall.SIGTERM {
		return err
	}
	t := time.NewTimer(20 * time.Second)
	defer t.Stop()
	select {
	case <-n.n.ended:
		n.running = false
		return nil
	case <-t.C:
		return errors.New("bench: " + n.Name + " does not end")
	}
}

// Fell tells whether the process has ended without being told to, and what it said last.
func (n *HostedNode) Fell() (string, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.running {
		return "", false
	}
	select {
	case <-n.n.ended:
		n.running = false
		return string(n.n.said()), true
	default:
		return "", false
	}
}

// Profile is what the runtime tells under a name: heap, goroutine, allocs; text with debug 1 or 2.
func (n *HostedNode) Profile(ctx context.Context, name string, debug int, collect bool) ([]byte, error) {
	form := url.Values{"debug": {string(rune('0' + debug))}}
	if collect {
		form.Set("gc", "1")
	}
	return n.n.ask(ctx, http.MethodGet, "/debug/pprof/"+name, form)
}
