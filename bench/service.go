package bench

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"pharos/store"
	"pharos/store/postgrestest"
)

// layout is how a service is built.
type layout struct {
	nodes    int      // 0: one server, alone, as without [cluster]
	sqlite   bool     // for one server
	most     float64  // level that a node may reach; 0: more than is ever reached
	settings []string // further lines of [cluster]
	strict   bool     // SIP is challenged, too, and there is HTTP
	people   people
}

// service is some servers on addresses of loopback, and the database that they share.
type service struct {
	layout
	bin, dir string
	pg       *postgrestest.Server // nil: SQLite
	nodes    []*node
}

// node is one server's process, while it runs.
type node struct {
	name, ip, dir string
	cmd           *exec.Cmd
	ended         chan struct{}
	http          http.Client // to the control socket
}

const (
	nodeSIP  = 5060
	nodeXMPP = 5222
	nodeHTTP = 8080
	nodeBus  = 6222
)

const nodeConfig = `domains = ["localhost"]
listen = ["sip+udp://%[1]s:5060", "sip+tcp://%[1]s:5060", "xmpp+insecure://%[1]s:5222"%[2]s]
[sip]
trusted = [%[3]s]
[policy]
default = "allow"
[log]
level = "warn"
[limits]
per_address = 100000
unauthenticated = 20000
`

// nodeCluster is added where there are several.
const nodeCluster = `[cluster]
node = %q
secret = "a secret that the measured nodes share"
listen = "%s:6222"
peers = [%s]
low = 0
`

func nodeName(i int) string { return fmt.Sprintf("n%d", i+1) }

// services counts those of this process: each has addresses of its own.
var services int

// startService makes the database, puts the people in, and starts the nodes.
func startService(ctx context.Context, bin string, l layout) (s *service, err error) {
	s = &service{layout: l, bin: bin}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	if s.dir, err = os.MkdirTemp("", "pharos-bench-"); err != nil {
		return s, err
	}
	if !l.sqlite {
		if s.pg, err = postgrestest.Start("max_connections=200"); err != nil {
			return s, err
		}
	}
	services++
	var peers []string
	for i := range max(1, l.nodes) {
		n := &node{name: nodeName(i), ip: fmt.Sprintf("127.%d.%d.%d", 80+services%100, os.Getpid()%250, 11+i)}
		n.dir = filepath.Join(s.dir, n.name)
		n.http.Transport = ControlSocket(filepath.Join(n.dir, "data"))
		s.nodes = append(s.nodes, n)
		peers = append(peers, strconv.Quote(fmt.Sprintf("%s:%d", n.ip, nodeBus)))
		if err := os.MkdirAll(filepath.Join(n.dir, "data"), 0o700); err != nil {
			return s, err
		}
	}
	if err := s.withStore(ctx, s.people.write); err != nil {
		return s, err
	}
	for _, n := range s.nodes {
		more, trusted := "", `"127.0.0.0/8"`
		if l.strict {
			more, trusted = fmt.Sprintf(`, "http+insecure://%s:%d"`, n.ip, nodeHTTP), ""
		}
		conf := fmt.Sprintf(nodeConfig, n.ip, more, trusted)
		if s.pg != nil {
			conf += fmt.Sprintf("[store]\nurl = %q\n", s.pg.URL("postgres"))
		}
		if l.nodes > 0 {
			conf += fmt.Sprintf(nodeCluster, n.name, n.ip, strings.Join(peers, ", "))
			conf += fmt.Sprintf("max = %g\n", cmp.Or(l.most, 1e7)) + strings.Join(l.settings, "\n") + "\n"
		}
		if err := os.WriteFile(filepath.Join(n.dir, "pharos.toml"), []byte(conf), 0o600); err != nil {
			return s, err
		}
	}
	for _, n := range s.nodes {
		if err := s.start(ctx, n); err != nil {
			return s, err
		}
	}
	if l.nodes == 0 {
		return s, nil
	}
	if err := s.whole(ctx); err != nil {
		return s, err
	}
	return s, s.withStore(ctx, s.people.settle) // only nodes that live can have homes
}

// withStore opens the store beside the nodes, or before the one that has it alone.
func (s *service) withStore(ctx context.Context, fn func(context.Context, *store.Store) error) error {
	var st *store.Store
	var err error
	if s.pg == nil {
		st, err = store.Open(ctx, filepath.Join(s.nodes[0].dir, "data"))
	} else {
		st, err = store.OpenPostgres(ctx, s.pg.URL("postgres"), filepath.Join(s.dir, "populate"))
	}
	if err != nil {
		return err
	}
	return errors.Join(fn(ctx, st), st.Close())
}

func (s *service) start(ctx context.Context, n *node) error {
	log, err := os.OpenFile(filepath.Join(n.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, s.bin, "serve", "--config", filepath.Join(n.dir, "pharos.toml"), "--data", filepath.Join(n.dir, "data"))
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	n.cmd, n.ended = cmd, ended
	go func() { _ = cmd.Wait(); close(ended) }()
	for until := time.Now().Add(30 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if st, err := n.status(ctx); err == nil && st.Ready {
			return nil
		}
		select {
		case <-ended:
			return fmt.Errorf("bench: %s has ended: %s", n.name, n.said())
		default:
		}
	}
	return fmt.Errorf("bench: %s is not ready: %s", n.name, n.said())
}

// whole waits until all nodes see each other.
func (s *service) whole(ctx context.Context) error {
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		seen := 0
		for _, n := range s.nodes {
			st, err := n.status(ctx)
			if err != nil {
				return err
			}
			for _, m := range st.Cluster.Nodes {
				if m.State == "active" && m.Reached {
					seen++
				}
			}
		}
		if seen == len(s.nodes)*len(s.nodes) {
			return nil
		}
	}
	return errors.New("bench: the nodes do not see each other")
}

// nodeStatus is of what a server says of itself what is looked at here.
type nodeStatus struct {
	Ready  bool
	Engine struct {
		Presentities, Sources, Subscriptions, Queued int
		Overloads                                    uint64
	}
	XMPP    struct{ Sessions int }
	Process struct {
		Heap uint64 `json:"heap_bytes"`
	}
	Cluster struct {
		Leader string
		Homes  int
		Nodes  []struct {
			Name, State string
			Level       float64
			Reached     bool
		}
		Counts struct{ Moved, Inherited, Eras uint64 }
	}
}

func (n *node) status(ctx context.Context) (st nodeStatus, err error) {
	b, err := n.ask(ctx, http.MethodGet, "/status", nil)
	if err == nil {
		err = json.Unmarshal(b, &st)
	}
	return st, err
}

// ask says something to the control socket.
func (n *node) ask(ctx context.Context, method, path string, form url.Values) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, "http://pharos"+path+"?"+form.Encode(), nil)
	if err != nil {
		return nil, err
	}
	a, err := n.http.Do(r)
	if err != nil {
		return nil, err
	}
	defer a.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(a.Body); err != nil {
		return nil, err
	}
	if a.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("bench: %s %s: %s: %s", method, path, a.Status, b.Bytes())
	}
	return b.Bytes(), nil
}

// said is the end of the log.
func (n *node) said() []byte {
	b, err := os.ReadFile(filepath.Join(n.dir, "log"))
	if err != nil {
		return []byte(err.Error())
	}
	return b[max(0, len(b)-3000):]
}

func (n *node) pid() int { return n.cmd.Process.Pid }

func (n *node) sip() string  { return fmt.Sprintf("%s:%d", n.ip, nodeSIP) }
func (n *node) xmpp() string { return fmt.Sprintf("%s:%d", n.ip, nodeXMPP) }

// at is node i, or the only one.
func (s *service) at(i int) *node { return s.nodes[i%len(s.nodes)] }

// cpu is what all its nodes have used.
func (s *service) cpu() (sum time.Duration, err error) {
	for _, n := range s.nodes {
		d, err := CPU(n.pid())
		if err != nil {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

// databaseCPU is what PostgreSQL has used: its processes that run, and those that have ended.
func (s *service) databaseCPU() (time.Duration, error) {
	if s.pg == nil {
		return 0, nil
	}
	b, err := os.ReadFile(filepath.Join(s.pg.Dir(), "data", "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(b), "\n")
	postmaster, err := strconv.Atoi(first)
	if err != nil {
		return 0, err
	}
	dirs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	ticks := int64(0)
	for _, d := range dirs {
		b, err := os.ReadFile(d)
		if err != nil {
			continue // ended meanwhile
		}
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(d)))
		of := f[11:13] // utime, stime
		switch {
		case pid == postmaster:
			of = f[11:15] // and those of children who have ended
		case f[1] != first:
			continue
		}
		for _, v := range of {
			t, err := strconv.ParseInt(v, 10, 64)
			if err != nil {
				return 0, err
			}
			ticks += t
		}
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}

// busBytes is what has gone over the connections between the nodes, in both directions; false: this machine
// has no ss to ask.
func (s *service) busBytes() (sum int64, ok bool) {
	out, err := exec.Command("ss", "-tinHO", fmt.Sprintf("sport = :%d or dport = :%d", nodeBus, nodeBus)).Output()
	if err != nil {
		return 0, false
	}
	for _, l := range strings.Split(string(out), "\n") {
		if !strings.Contains(l, s.nodes[0].ip[:strings.LastIndexByte(s.nodes[0].ip, '.')+1]) {
			continue
		}
		_, v, found := strings.Cut(l, "bytes_sent:")
		if !found {
			continue
		}
		v, _, _ = strings.Cut(v, " ")
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return 0, false
		}
		sum += n
	}
	return sum, true
}

// Profiles is a folder for CPU profiles of the nodes, taken while Cluster measures; empty: none are. Profiling costs some per
// cent of what is measured.
var Profiles string

// profile takes one of each node that runs, beginning after a while; wait returns when they are there.
func (s *service) profile(ctx context.Context, name string, after, d time.Duration) (wait func()) {
	var g sync.WaitGroup
	if Profiles == "" || len(s.nodes) == 1 {
		return g.Wait
	}
	for _, n := range s.nodes {
		g.Go(func() {
			pauseFor(ctx, after)
			b, err := n.ask(ctx, http.MethodGet, "/debug/pprof/profile", url.Values{"seconds": {strconv.Itoa(int(d / time.Second))}})
			if err == nil {
				err = os.WriteFile(filepath.Join(Profiles, name+"-"+n.name+".pprof"), b, 0o644)
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "bench: no profile:", err)
			}
		})
	}
	return g.Wait
}

// kill ends a node as a loss of power does.
func (n *node) kill() error {
	err := n.cmd.Process.Kill()
	<-n.ended
	return err
}

// stop ends everything and removes it.
func (s *service) stop() error {
	var errs []error
	for _, n := range s.nodes {
		if n.cmd == nil {
			continue
		}
		_ = n.cmd.Process.Kill() // it may have ended
		<-n.ended
	}
	if s.pg != nil {
		errs = append(errs, s.pg.Close())
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
