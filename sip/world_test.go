package sip

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memNet is a network in memory: datagrams between memPackets, and streams to
// memListeners, with the addresses that real ones have.
type memNet struct {
	mu        sync.Mutex
	packets   map[netip.AddrPort]*memPacket
	listeners map[netip.AddrPort]*memListener
	drop      func(from, to netip.AddrPort, b []byte) bool // loses a datagram
	dials     []string
	silent    string // dialing this address gets no answer
}

func newMemNet() *memNet {
	return &memNet{packets: make(map[netip.AddrPort]*memPacket), listeners: make(map[netip.AddrPort]*memListener)}
}

type memDatagram struct {
	from netip.AddrPort
	b    []byte
}

type memPacket struct {
	net  *memNet
	addr netip.AddrPort
	in   chan memDatagram
	done chan struct{}
	once sync.Once
}

func (n *memNet) packet(addr string) *memPacket {
	p := &memPacket{net: n, addr: netip.MustParseAddrPort(addr), in: make(chan memDatagram, 1024), done: make(chan struct{})}
	n.mu.Lock()
	n.packets[p.addr] = p
	n.mu.Unlock()
	return p
}

func (p *memPacket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-p.in:
		return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *memPacket) WriteTo(b []byte, to net.Addr) (int, error) {
	dst := addrPort(to)
	p.net.mu.Lock()
	q := p.net.packets[dst]
	lost := p.net.drop != nil && p.net.drop(p.addr, dst, b)
	p.net.mu.Unlock()
	if q == nil || lost {
		return len(b), nil
	}
	select {
	case q.in <- memDatagram{p.addr, append([]byte(nil), b...)}:
	default:
	}
	return len(b), nil
}

func (p *memPacket) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.net.mu.Lock()
		delete(p.net.packets, p.addr)
		p.net.mu.Unlock()
	})
	return nil
}

func (p *memPacket) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(p.addr) }
func (p *memPacket) SetDeadline(time.Time) error      { return nil }
func (p *memPacket) SetReadDeadline(time.Time) error  { return nil }
func (p *memPacket) SetWriteDeadline(time.Time) error { return nil }

type memListener struct {
	net  *memNet
	addr netip.AddrPort
	in   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (n *memNet) listen(addr string) *memListener {
	l := &memListener{net: n, addr: netip.MustParseAddrPort(addr), in: make(chan net.Conn), done: make(chan struct{})}
	n.mu.Lock()
	n.listeners[l.addr] = l
	n.mu.Unlock()
	return l
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

type memConn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c memConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c memConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

// dialFrom connects a pipe to a listener.
func (n *memNet) dialFrom(from, to string) (net.Conn, error) {
	return n.dialWith(context.Background(), from, to)
}

func (n *memNet) dialWith(ctx context.Context, from, to string) (net.Conn, error) {
	n.mu.Lock()
	n.dials = append(n.dials, to)
	l := n.listeners[netip.MustParseAddrPort(to)]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	local, remote := netip.MustParseAddrPort(from), l.addr
	select {
	case l.in <- memConn{b, remote, local}:
		return memConn{a, local, remote}, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (n *memNet) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	n.mu.Lock()
	silent := n.silent == addr
	n.mu.Unlock()
	if silent {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return n.dialWith(ctx, "192.0.2.1:40000", addr)
}

// The server of the tests is at 192.0.2.1, a phone at 192.0.2.9.
const (
	serverAddr = "192.0.2.1:5060"
	phoneAddr  = "192.0.2.9:5060"
)

// world is a stack with its network, in a bubble.
type world struct {
	t     *testing.T
	net   *memNet
	stack *Stack
}

// inWorld runs a test in a bubble with a stack that serves UDP and TCP.
func inWorld(t *testing.T, c Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: newMemNet()}
		if c.Log == nil {
			c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
		}
		c.Dial = w.net.dial
		if c.Resolve == nil {
			c.Resolve = Override(nil, nil)
		}
		w.stack = NewStack(c)
		go w.stack.ServePacket(w.net.packet(serverAddr))
		go w.stack.ServeListener(w.net.listen(serverAddr), "TCP")
		synctest.Wait()
		defer func() {
			if err := w.stack.Close(); err != nil {
				t.Error(err)
			}
			synctest.Wait()
		}()
		f(w)
	})
}

// phone is the other side of a test over UDP.
type phone struct {
	w  *world
	pc *memPacket
}

func (w *world) phone(addr string) *phone { return &phone{w, w.net.packet(addr)} }

func (p *phone) send(msg string) {
	p.w.t.Helper()
	p.pc.WriteTo([]byte(msg), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(serverAddr)))
	synctest.Wait()
}

// got returns what has arrived by now, "" for nothing.
func (p *phone) got() string {
	synctest.Wait()
	select {
	case d := <-p.pc.in:
		return string(d.b)
	default:
		return ""
	}
}

// want returns the next message, which has to begin so.
func (p *phone) want(prefix string) string {
	p.w.t.Helper()
	m := p.got()
	if !strings.HasPrefix(m, prefix) {
		p.w.t.Fatalf("want %q, got %q", prefix, m)
	}
	return m
}

func (p *phone) silent() {
	p.w.t.Helper()
	if m := p.got(); m != "" {
		p.w.t.Fatalf("want silence, got %q", m)
	}
}

// request is a request of the phone's. extra are further lines.
func request(method, branch string, extra ...string) string {
	return method + " sip:bob@example.com SIP/2.0\r\n" +
		"Via: SIP/2.0/UDP 192.0.2.9:5060;branch=" + branch + "\r\n" +
		"From: <sip:alice@example.com>;tag=a1\r\n" +
		"To: <sip:bob@example.com>\r\n" +
		"Call-ID: call-1@192.0.2.9\r\n" +
		"CSeq: 7 " + method + "\r\n" +
		"Max-Forwards: 70\r\n" + strings.Join(extra, "") +
		"Content-Length: 0\r\n\r\n"
}

// reply is a response to a request of ours.
func reply(request string, status int, extra ...string) string {
	m, err := Parse([]byte(request))
	if err != nil {
		return err.Error()
	}
	b := fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", status, ReasonPhrase(status))
	for _, h := range []Header{HVia, HFrom, HTo, HCallID, HCSeq} {
		b = m.AppendCopy(b, h)
	}
	return string(b) + strings.Join(extra, "") + "Content-Length: 0\r\n\r\n"
}

func header(t *testing.T, msg string, h Header) string {
	t.Helper()
	m, err := Parse([]byte(msg))
	if err != nil {
		t.Fatalf("%v: %q", err, msg)
	}
	v, _ := m.Get(h)
	return v
}

func respond(status int) HandlerFunc {
	return func(tx *ServerTx, _ *Message) { tx.Respond(Response{Status: status}) }
}

// outcome is what done was told.
type outcome struct {
	status int
	err    error
	after  time.Duration
}

// ask sends a request by the stack; the channel gets its end.
func (w *world) ask(out OutRequest) chan outcome {
	w.t.Helper()
	if out.Method == "" {
		out.Method = "NOTIFY"
	}
	if out.URI == "" {
		out.URI = "sip:alice@192.0.2.9"
	}
	out.Header = append(out.Header, ("From: <sip:bob@example.com>;tag=b1\r\nTo: <sip:alice@example.com>;tag=a1\r\n" +
		"Call-ID: call-1@192.0.2.9\r\nCSeq: 1 " + out.Method + "\r\n")...)
	ended := make(chan outcome, 2)
	start := time.Now()
	w.stack.Request(out, func(m *Message, err error) {
		o := outcome{err: err, after: time.Since(start)}
		if m != nil {
			o.status = m.Status
		}
		ended <- o
	})
	synctest.Wait()
	return ended
}

func (w *world) wantOutcome(ended chan outcome, status int, err error) outcome {
	w.t.Helper()
	synctest.Wait()
	select {
	case o := <-ended:
		if o.status != status || !errors.Is(o.err, err) {
			w.t.Fatalf("ended with %d, %v; want %d, %v", o.status, o.err, status, err)
		}
		return o
	default:
		w.t.Fatalf("not ended; want %d, %v", status, err)
	}
	return outcome{}
}
