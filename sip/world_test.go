package sip

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"pharos/memnet"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The server of the tests is at 192.0.2.1, a phone at 192.0.2.9.
const (
	serverAddr = "192.0.2.1:5060"
	phoneAddr  = "192.0.2.9:5060"
)

// world is a stack with its network, in a bubble.
type world struct {
	t        *testing.T
	net      *memnet.Network
	stack    *Stack
	socket   *memnet.PacketConn // on which it serves
	listener *memnet.Listener
}

// inWorld runs a test in a bubble with a stack that serves UDP and TCP.
func inWorld(t *testing.T, c Config, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: memnet.New()}
		if c.Log == nil {
			c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
		}
		c.Dial = w.net.Host("192.0.2.1").Dial
		if c.Resolve == nil {
			c.Resolve = Override(nil, nil)
		}
		w.stack = NewStack(c)
		w.socket, w.listener = w.net.MustListenPacket(serverAddr), w.net.MustListen(serverAddr)
		go w.stack.ServePacket(w.socket)
		go w.stack.ServeListener(w.listener, "TCP")
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
	pc *memnet.PacketConn
}

func (w *world) phone(addr string) *phone { return &phone{w, w.net.MustListenPacket(addr)} }

func (p *phone) send(msg string) {
	p.w.t.Helper()
	p.pc.WriteTo([]byte(msg), net.UDPAddrFromAddrPort(netip.MustParseAddrPort(serverAddr)))
	synctest.Wait()
}

// got returns what has arrived by now, "" for nothing.
func (p *phone) got() string {
	synctest.Wait()
	return string(p.pc.Next())
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
