package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// journal is a log that can be read.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// station is a NATS bus that runs; what it hears goes to a channel.
type station struct {
	*NATS
	log  *journal
	got  chan string
	stop func()
}

func newStation(t *testing.T, c NATSConfig) *station {
	t.Helper()
	s := &station{log: &journal{}, got: make(chan string, 1000)}
	c.Log = slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if c.Listen == "" && c.URL == "" {
		c.Listen = "127.0.0.1:0"
	}
	var err error
	if s.NATS, err = NewNATS(c); err != nil {
		t.Fatal(err)
	}
	s.Receive(func(from string, b []byte) { s.got <- from + ":" + string(b) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := s.Run(ctx); err != nil {
			t.Errorf("%s: %v", c.Node, err)
		}
	}()
	s.stop = sync.OnceFunc(func() {
		began := time.Now()
		cancel()
		<-ended
		if d := time.Since(began); d > time.Second {
			t.Errorf("%s took %v to end", c.Node, d)
		}
	})
	t.Cleanup(s.stop)
	select {
	case <-s.Ready():
	case <-ended:
		t.FailNow()
	case <-time.After(20 * time.Second):
		t.Fatalf("%s does not start:\n%s", c.Node, s.log)
	}
	return s
}

// until waits for something that comes about soon.
func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	late := time.After(20 * time.Second)
	for !f() {
		select {
		case <-late:
			t.Fatalf("not in time: %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (s *station) expect(t *testing.T, want ...string) {
	t.Helper()
	var got []string
	for len(got) < len(want) {
		select {
		case g := <-s.got:
			got = append(got, g)
		case <-time.After(20 * time.Second):
			t.Fatalf("%s heard %q, want %q", s.c.Node, got, want)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("%s heard %q, want %q", s.c.Node, got, want)
	}
}

func (s *station) silent(t *testing.T) {
	t.Helper()
	select {
	case g := <-s.got:
		t.Errorf("%s heard %q", s.c.Node, g)
	default:
	}
}

func TestNATSJoins(t *testing.T) {
	secret := secretOf(t, ours)
	a := newStation(t, NATSConfig{Node: "a", Secret: secret})
	b := newStation(t, NATSConfig{Node: "b", Secret: secret, Peers: []string{a.Addr()}})
	// c has heard of a only, and of itself.
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := free.Addr().String()
	free.Close()
	c := newStation(t, NATSConfig{Node: "c", Secret: secret, Listen: at, Peers: []string{at, a.Addr()}})
	all := []*station{a, b, c}
	until(t, "all reach all", func() bool {
		for _, s := range all {
			for _, o := range all {
				if s != o && !s.Reached(o.c.Node) {
					return false
				}
			}
		}
		return true
	})
	if a.Reached("a") || a.Reached("nobody") {
		t.Error("reaches who is not there")
	}
	big := strings.Repeat("x", MaxDatagram)
	for _, err := range []error{a.Send("b", []byte("1")), b.Send("c", []byte(big)), c.Send("nobody", []byte("3")), c.Broadcast([]byte("all"))} {
		if err != nil {
			t.Error(err)
		}
	}
	a.expect(t, "c:all")
	b.expect(t, "a:1", "c:all")
	c.expect(t, "b:"+big)
	for _, s := range all {
		s.silent(t)
	}
	if a.Send("a", nil) == nil || a.Send("b.>", nil) == nil || a.Send("b", make([]byte, MaxDatagram+1)) == nil {
		t.Error("what can never work has worked")
	}

	// One goes and comes back.
	b.stop()
	until(t, "b is gone", func() bool { return !a.Reached("b") && !c.Reached("b") })
	if err := a.Send("b", []byte("lost")); err != nil {
		t.Error(err)
	}
	b = newStation(t, NATSConfig{Node: "b", Secret: secret, Listen: b.Addr(), Peers: []string{c.Addr()}})
	until(t, "b is back", func() bool { return a.Reached("b") && b.Reached("a") })
	if err := a.Send("b", []byte("again")); err != nil {
		t.Error(err)
	}
	b.expect(t, "a:again")
}

// Who has another secret, or none, is not let in by anything that listens.
func TestNATSStrangers(t *testing.T) {
	a := newStation(t, NATSConfig{Node: "a", Secret: secretOf(t, ours)})
	b := newStation(t, NATSConfig{Node: "b", Secret: secretOf(t, theirs), Peers: []string{a.Addr()}})
	until(t, "both say why", func() bool {
		return strings.Contains(a.log.String(), "[cluster] secret") && strings.Contains(b.log.String(), "[cluster] secret")
	})
	if n := strings.Count(b.log.String(), "[cluster] secret"); n != 1 {
		t.Errorf("complained %d times", n)
	}
	if a.Reached("b") || b.Reached("a") {
		t.Error("another secret reaches us")
	}

	plain, err := net.Dial("tcp", a.Addr())
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	fmt.Fprint(plain, "CONNECT {\"verbose\":false,\"name\":\"x\",\"cluster\":\"x\"}\r\nPING\r\n")
	_ = plain.SetReadDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(plain); errors.Is(err, context.DeadlineExceeded) || bytes.Contains(got, []byte("INFO")) || bytes.Contains(got, []byte("PONG")) {
		t.Errorf("a plain connection was told %q, %v", got, err)
	}
	for what, url := range map[string]string{"plain": "nats://" + a.Addr(), "tls": "tls://" + a.Addr()} {
		if c, err := nats.Connect(url, nats.Secure(&tls.Config{InsecureSkipVerify: true}), nats.TLSHandshakeFirst(), nats.Timeout(5*time.Second)); err == nil {
			c.Close()
			t.Errorf("a client without certificate has connected to the port of routes: %s", what)
		}
	}
	for _, s := range []*station{a, b} {
		s.silent(t)
	}
}

// Nobody on the same machine can use the port for clients, which only is there because
// routing needs it.
func TestNATSClientPort(t *testing.T) {
	n, err := NewNATS(NATSConfig{Node: "a", Secret: secretOf(t, ours), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	s, err := n.start(t.Context(), "token")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if a := s.Addr().(*net.TCPAddr); !a.IP.IsLoopback() {
		t.Errorf("clients may connect to %v", a)
	}
	if s.MonitorAddr() != nil {
		t.Error("there is a port for monitoring")
	}
	if c, err := nats.Connect(s.ClientURL()); !errors.Is(err, nats.ErrAuthorization) {
		c.Close()
		t.Errorf("connected without token: %v", err)
	}
}

// Of nodes that have gone nothing stays that keeps a new one from being reached.
func TestNATSHearsNewNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := &NATS{heard: map[string]time.Time{}}
		for i := range MaxNodes {
			n.hear(fmt.Sprintf("n%d", i))
		}
		if n.hear("one-more"); n.Reached("one-more") || !n.Reached("n0") {
			t.Error("there are more than may be, or too few")
		}
		time.Sleep(reachedFor)
		if n.hear("one-more"); !n.Reached("one-more") || len(n.heard) != 1 {
			t.Errorf("of %d", len(n.heard))
		}
	})
}

func TestNATSTwins(t *testing.T) {
	secret := secretOf(t, ours)
	a := newStation(t, NATSConfig{Node: "a", Secret: secret})
	b := newStation(t, NATSConfig{Node: "b", Secret: secret, Peers: []string{a.Addr()}})
	until(t, "they meet", func() bool { return a.Reached("b") && b.Reached("a") })
	twin := newStation(t, NATSConfig{Node: "a", Secret: secret, Peers: []string{a.Addr(), b.Addr()}})
	until(t, "somebody complains", func() bool {
		return strings.Contains(a.log.String()+b.log.String(), twinMessage)
	})
	until(t, "the second complains", func() bool { return strings.Contains(twin.log.String(), twinMessage) })
}

func TestNATSConfig(t *testing.T) {
	secret := secretOf(t, ours)
	for _, c := range []NATSConfig{{Node: "", Listen: "127.0.0.1:0"}, {Node: "a b", Listen: "127.0.0.1:0"}, {Node: "a", Listen: "127.0.0.1"},
		{Node: "a", Listen: "127.0.0.1:70000"}, {Node: "a", Listen: "127.0.0.1:0", Peers: []string{"b"}}, {Node: "a", Listen: "127.0.0.1:0", Peers: []string{":1"}}} {
		c.Secret = secret
		if _, err := NewNATS(c); err == nil {
			t.Errorf("taken: %+v", c)
		}
	}
	n, err := NewNATS(NATSConfig{Node: "a", Secret: secret, Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Run(t.Context()); err == nil {
		t.Error("runs without Receive")
	}
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if n, err = NewNATS(NATSConfig{Node: "a", Secret: secret, Listen: busy.Addr().String()}); err != nil {
		t.Fatal(err)
	}
	n.Receive(func(string, []byte) {})
	if err := n.Send("b", nil); err != nil {
		t.Errorf("before Run: %v", err)
	}
	if err := n.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a port that is in use: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err = NewNATS(NATSConfig{Node: "a", Secret: secret, Listen: "127.0.0.1:0"}); err != nil {
		t.Fatal(err)
	}
	n.Receive(func(string, []byte) {})
	if err := n.Run(ctx); err != nil {
		t.Errorf("ended before it began: %v", err)
	}
}

// public is somebody else's NATS.
func public(t *testing.T) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("does not start")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

func TestNATSExternal(t *testing.T) {
	s := public(t)
	url := s.ClientURL()
	var overheard journal
	spy, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer spy.Close()
	taken := make(chan *nats.Msg, 1000)
	if _, err := spy.ChanSubscribe(">", taken); err != nil {
		t.Fatal(err)
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	a := newStation(t, NATSConfig{Node: "a", Secret: secretOf(t, ours), URL: url})
	b := newStation(t, NATSConfig{Node: "b", Secret: secretOf(t, ours), URL: url})
	other := newStation(t, NATSConfig{Node: "a", Secret: secretOf(t, theirs), URL: url})
	until(t, "they meet", func() bool { return a.Reached("b") && b.Reached("a") })
	big := strings.Repeat("x", MaxDatagram)
	for _, err := range []error{a.Send("b", []byte("secretly")), b.Broadcast([]byte("to all")), b.Send("a", []byte(big))} {
		if err != nil {
			t.Error(err)
		}
	}
	b.expect(t, "a:secretly")
	a.expect(t, "b:to all", "b:"+big)
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	replayed := 0
	for len(taken) > 0 {
		m := <-taken
		overheard.Write(m.Data)
		// Said again by another, as it was and with a small change.
		for _, data := range [][]byte{m.Data, append(slices.Clone(m.Data), 0), []byte("forged")} {
			if err := spy.PublishMsg(&nats.Msg{Subject: m.Subject, Reply: m.Reply, Data: data}); err != nil {
				t.Fatal(err)
			}
		}
		replayed++
	}
	if strings.Contains(overheard.String(), "secretly") || strings.Contains(overheard.String(), "to all") || replayed < 3 {
		t.Errorf("%d overheard, in clear", replayed)
	}
	if err := spy.Flush(); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{a.Send("b", []byte("end")), b.Send("a", []byte("end"))} {
		if err != nil {
			t.Error(err)
		}
	}
	b.expect(t, "a:end")
	a.expect(t, "b:end")
	if a.Dropped() < 2 || b.Dropped() < 2 {
		t.Errorf("%d and %d were dropped", a.Dropped(), b.Dropped())
	}
	for _, s := range []*station{a, b, other} {
		s.silent(t)
	}
	if strings.Contains(a.log.String()+other.log.String(), twinMessage) {
		t.Error("a node of another cluster is taken for a twin")
	}
	twin := newStation(t, NATSConfig{Node: "a", Secret: secretOf(t, ours), URL: url})
	until(t, "twins complain", func() bool {
		return strings.Contains(a.log.String(), twinMessage) && strings.Contains(twin.log.String(), twinMessage)
	})
}

// cutter passes connections on, until it cuts them.
type cutter struct {
	net.Listener
	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{Listener: l}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, in, out)
			c.mu.Unlock()
			all.Go(func() { _, _ = io.Copy(in, out); in.Close() })
			all.Go(func() { _, _ = io.Copy(out, in); out.Close() })
		}
	})
	t.Cleanup(func() { l.Close(); c.cut(); all.Wait() })
	return c
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
	c.conns = nil
}

// Links work over the real bus, and nothing is lost or comes twice when its connections
// break.
func TestLinksOverNATS(t *testing.T) {
	secret := secretOf(t, ours)
	on := func(name string, peers ...string) *post {
		n, err := NewNATS(NATSConfig{Node: name, Secret: secret, Listen: "127.0.0.1:0", Peers: peers})
		if err != nil {
			t.Fatal(err)
		}
		p := newPost(t, n, name, 1)
		t.Cleanup(p.stop)
		<-n.Ready()
		return p
	}
	a := on("a")
	wire := newCutter(t, a.bus.(*NATS).Addr())
	b := on("b", wire.Addr().String())
	// count says how many frames have come to p, all in order.
	count := func(p *post, from string) int {
		p.mu.Lock()
		defer p.mu.Unlock()
		k := 0
		for _, s := range p.log {
			if strings.HasPrefix(s, from+":") {
				if s != fmt.Sprintf("%s:%d", from, k) {
					t.Fatalf("%q as number %d", s, k)
				}
				k++
			}
		}
		return k
	}
	const n = 9000
	for i := range n {
		if i%3000 == 2000 {
			until(t, "the way is there", func() bool { return a.bus.Reached("b") && count(b, "a") > i-3000 })
			wire.cut()
		}
		a.send("b", fmt.Sprint(i))
		b.send("a", fmt.Sprint(i))
	}
	until(t, "all have come", func() bool { return count(b, "a") == n && count(a, "b") == n })
	if err := a.links.Flush(t.Context()); err != nil {
		t.Error(err)
	}
	st := a.links.Stats()
	if len(st) != 1 || !st[0].Reached || st[0].RTT > time.Second {
		t.Errorf("%+v", st)
	}
	t.Logf("%+v", st)
}
