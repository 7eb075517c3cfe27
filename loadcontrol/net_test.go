package loadcontrol

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pharos/loaddoc"
	"pharos/memnet"
	"pharos/sip"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// network is streams between stacks, in memory, with a record of what went over them.
type network struct {
	*memnet.Network
	mu       sync.Mutex
	names    map[string]string // of servers, by their IP addresses
	record   []string          // "ps1>ps2 INVITE", in order
	messages []*sip.Message
}

func newNetwork() *network {
	return &network{Network: memnet.New(), names: make(map[string]string)}
}

// listener has what is sent over the connections that it accepts recorded.
type listener struct {
	*memnet.Listener
	net *network
}

func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &stream{Conn: c, net: l.net}, nil
}

func (n *network) listen(name, addr string) *listener {
	l := &listener{n.MustListen(addr), n}
	n.mu.Lock()
	n.names[ip(l.Addr())] = name
	n.mu.Unlock()
	return l
}

func ip(a net.Addr) string { return a.(*net.TCPAddr).IP.String() }

// dialer opens connections from an address.
func (n *network) dialer(from string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, to string) (net.Conn, error) {
		c, err := n.Host(from).Dial(ctx, network, to)
		if err != nil {
			return nil, err
		}
		return &stream{Conn: c, net: n}, nil
	}
}

// stream is one end of a connection; what is written to it is recorded.
type stream struct {
	net.Conn
	net  *network
	part []byte
}

func (s *stream) Write(b []byte) (int, error) {
	s.net.mu.Lock()
	s.part = append(s.part, b...)
	for {
		head, _, ok := strings.Cut(string(s.part), "\r\n\r\n")
		if !ok {
			break
		}
		var length int
		for _, line := range strings.Split(head, "\r\n") {
			fmt.Sscanf(line, "Content-Length: %d", &length)
		}
		size := len(head) + 4 + length
		if len(s.part) < size {
			break
		}
		if m, err := sip.Parse(s.part[:size]); err == nil {
			what := m.Method
			if !m.IsRequest() {
				what = fmt.Sprint(m.Status, " ", m.Method)
			}
			s.net.record = append(s.net.record, s.net.names[ip(s.LocalAddr())]+">"+s.net.names[ip(s.RemoteAddr())]+" "+what)
			s.net.messages = append(s.net.messages, m)
		}
		s.part = s.part[size:]
	}
	s.net.mu.Unlock()
	return s.Conn.Write(b)
}

// taken is the record since the last call.
func (n *network) taken() ([]string, []*sip.Message) {
	synctest.Wait()
	n.mu.Lock()
	defer n.mu.Unlock()
	r, m := n.record, n.messages
	n.record, n.messages = nil, nil
	return r, m
}

// server is one of several in a test.
type server struct {
	*Edge
	name, addr string
	stack      *sip.Stack
	end        func()

	mu     sync.Mutex
	state  loaddoc.Document
	will   int // status of the answer to INVITE
	joined []error
	got    *loaddoc.Document // with which it joined
	heard  map[string]*loaddoc.Document
}

const secret = "a secret of the service"

// serve starts a server; addr is an IP address.
func (n *network) serve(name, addr string, change ...func(*Config)) *server {
	s := &server{name: name, addr: addr, will: 200, heard: make(map[string]*loaddoc.Document)}
	s.state = loaddoc.Document{Servers: []loaddoc.Server{{ID: name, State: "active", URI: s.uri(), Max: 100}}, Count: 1}
	c := Config{Name: name, Domain: "example.com", Contact: s.uri(), Key: []byte(secret),
		State: func(int) *loaddoc.Document {
			s.mu.Lock()
			defer s.mu.Unlock()
			d := s.state
			d.Servers = append([]loaddoc.Server(nil), s.state.Servers...)
			return &d
		},
		Join: func(by string, head *loaddoc.Document) int { return s.will },
		Joined: func(d *loaddoc.Document, err error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.joined, s.got = append(s.joined, err), d
		},
		Heard: func(from string, d *loaddoc.Document) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.heard[from] = d
		},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
	for _, f := range change {
		f(&c)
	}
	s.Edge = New(c)
	s.stack = sip.NewStack(sip.Config{Dial: n.dialer(addr), Log: c.Log, Resolve: sip.Override(nil, nil),
		Handler: sip.HandlerFunc(func(tx *sip.ServerTx, m *sip.Message) {
			if !s.System(tx, m) {
				tx.Respond(sip.Response{Status: 405})
			}
		})})
	s.Use(s.stack)
	l := n.listen(name, addr+":5060")
	go s.stack.ServeListener(l, "TCP")
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		s.Run(ctx)
		close(ended)
	}()
	s.end = sync.OnceFunc(func() {
		cancel()
		<-ended
		time.Sleep(10 * time.Millisecond)
		l.Close()
		s.stack.Close()
	})
	return s
}

// inPair runs a test with two servers, which end with it where they have not before.
func inPair(t *testing.T, f func(t *testing.T, n *network, ps1, ps2 *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		ps1, ps2 := n.serve("ps1", "192.0.2.1"), n.serve("ps2", "192.0.2.2")
		defer ps1.end()
		defer ps2.end()
		f(t, n, ps1, ps2)
	})
}

func (s *server) uri() string { return "sip:" + s.addr + ":5060;transport=tcp" }

// kill ends it without a word.
func (s *server) kill() {
	s.Edge.mu.Lock()
	s.subs, s.watches, s.peers = map[string]*subscription{}, map[string]*watch{}, map[string]*watch{}
	s.Edge.mu.Unlock()
	s.end()
}

// set changes what the server says of itself.
func (s *server) set(change func(d *loaddoc.Document)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.state)
}

func (s *server) hears(from string) *loaddoc.Document {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.heard[from]
}

// phone is somebody outside, over one connection.
type phone struct {
	t  *testing.T
	nc net.Conn
	in chan *sip.Message
	n  int
}

func (n *network) phone(t *testing.T, to string) *phone {
	nc, err := n.dialer("192.0.2.99")(context.Background(), "tcp", to+":5060")
	if err != nil {
		t.Fatal(err)
	}
	p := &phone{t: t, nc: nc, in: make(chan *sip.Message, 100)}
	go func() {
		var part []byte
		b := make([]byte, 65536)
		for {
			k, err := nc.Read(b)
			if err != nil {
				return
			}
			part = append(part, b[:k]...)
			for {
				head, _, ok := strings.Cut(string(part), "\r\n\r\n")
				if !ok {
					break
				}
				var length int
				for _, line := range strings.Split(head, "\r\n") {
					fmt.Sscanf(line, "Content-Length: %d", &length)
				}
				size := len(head) + 4 + length
				if len(part) < size {
					break
				}
				if m, err := sip.Parse(part[:size]); err == nil {
					p.in <- m
				}
				part = part[size:]
			}
		}
	}()
	return p
}

// send sends a request; extra are further lines.
func (p *phone) send(method, uri, from, to string, extra ...string) {
	p.n++
	fmt.Fprintf(p.nc, "%s %s SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.99:5060;branch=z9hG4bKx%d\r\nFrom: <%s>;tag=p\r\nTo: %s\r\nCall-ID: c1\r\nCSeq: %d %s\r\n"+
		"Contact: <sip:192.0.2.99:5060;transport=tcp>\r\nMax-Forwards: 70\r\n%sContent-Length: 0\r\n\r\n", method, uri, p.n, from, to, p.n, method, strings.Join(extra, ""))
	synctest.Wait()
}

func (p *phone) got() *sip.Message {
	synctest.Wait()
	select {
	case m := <-p.in:
		return m
	default:
		return nil
	}
}

// want is the next message: a status, or a method.
func (p *phone) want(what any) *sip.Message {
	p.t.Helper()
	m := p.got()
	switch {
	case m == nil:
		p.t.Fatalf("want %v, got nothing", what)
	case m.IsRequest() && m.Method != what, !m.IsRequest() && m.Status != what:
		p.t.Fatalf("want %v, got %s %d", what, m.Method, m.Status)
	}
	return m
}

// ok answers a request 200.
func (p *phone) ok(m *sip.Message) {
	b := []byte("SIP/2.0 200 OK\r\n")
	for _, h := range []sip.Header{sip.HVia, sip.HFrom, sip.HTo, sip.HCallID, sip.HCSeq} {
		b = m.AppendCopy(b, h)
	}
	p.nc.Write(append(b, "Content-Length: 0\r\n\r\n"...))
	synctest.Wait()
}
