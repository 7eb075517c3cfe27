package sip

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/memnet"
)

const toPhone = "sip:alice@192.0.2.9:5060"

func TestRequest(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended := w.ask(OutRequest{Method: "NOTIFY", URI: "sip:alice@192.0.2.9;x=y", Header: []byte("Event: presence\r\n"), Body: []byte("body"), NextHop: toPhone})
		got := p.want("NOTIFY sip:alice@192.0.2.9;x=y SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK")
		m, err := Parse([]byte(got))
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := m.Via().Params.Get("rport"); !ok {
			t.Error("no rport")
		}
		if mf, _ := m.Get(HMaxForwards); mf != "70" || m.Body != "body" {
			t.Errorf("Max-Forwards %s, body %q", mf, m.Body)
		}
		time.Sleep(300 * time.Millisecond)
		p.send(reply(got, 200))
		if o := w.wantOutcome(ended, 200, nil); o.after != 300*time.Millisecond {
			t.Errorf("after %v", o.after)
		}
		p.send(reply(got, 200)) // a retransmission, a stray by now
		p.silent()
		time.Sleep(time.Minute)
		p.silent()
		if len(ended) > 0 {
			t.Error("done called twice")
		}
		if n := w.stack.Stats().Outstanding; n != 0 {
			t.Errorf("%d outstanding", n)
		}
	})
}

// arrivals tells when datagrams came until the end, in milliseconds, rounded
// to the tenth of a second.
func (p *phone) arrivals(d time.Duration) (at []int) {
	start := time.Now()
	for time.Since(start) < d {
		if p.got() != "" {
			at = append(at, int(time.Since(start).Round(100*time.Millisecond).Milliseconds()))
		}
		time.Sleep(wheelTick)
	}
	return at
}

// RFC 3261 §17.1.2.2: timer E doubles from T1 to T2; timer F ends it.
func TestRequestTimeout(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended := w.ask(OutRequest{NextHop: toPhone})
		at := p.arrivals(40 * time.Second)
		want := []int{0, 500, 1500, 3500, 7500, 11500, 15500, 19500, 23500, 27500, 31500}
		if !slices.Equal(at, want) {
			t.Errorf("sent at %v, want %v", at, want)
		}
		o := w.wantOutcome(ended, 0, ErrTimeout)
		if o.after < timerF || o.after > timerF+2*wheelTick {
			t.Errorf("ended after %v", o.after)
		}
		if n := w.stack.Stats(); n.Outstanding != 0 || n.Timeouts != 1 {
			t.Errorf("%+v", n)
		}
	})
}

// §17.1.2.2: in Proceeding, at intervals of T2, and timer F still ends it.
func TestRequestProceeding(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended := w.ask(OutRequest{NextHop: toPhone})
		p.send(reply(p.want("NOTIFY"), 100))
		at := p.arrivals(40 * time.Second)
		if want := []int{4000, 8000, 12000, 16000, 20000, 24000, 28000}; !slices.Equal(at, want) {
			t.Errorf("sent at %v, want %v", at, want)
		}
		w.wantOutcome(ended, 0, ErrTimeout)
	})
}

// A lost request and a lost response cost a retransmission only.
func TestRequestLoss(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		n := 0
		w.net.Lose(func(_, _ netip.AddrPort, _ []byte) bool { n++; return n == 1 || n == 3 })
		ended := w.ask(OutRequest{NextHop: toPhone})
		p.silent() // the first is lost
		time.Sleep(timerT1 + wheelTick)
		first := p.want("NOTIFY")
		p.send(reply(first, 200)) // lost too
		time.Sleep(2*timerT1 + wheelTick)
		if again := p.want("NOTIFY"); again != first {
			t.Errorf("retransmission differs: %q, %q", again, first)
		}
		p.send(reply(first, 200))
		w.wantOutcome(ended, 200, nil)
	})
}

// RFC 3261 §17.1.3, §18.1.2: what does not match is dropped.
func TestResponseMatching(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		ended := w.ask(OutRequest{NextHop: toPhone})
		req := p.want("NOTIFY")
		ok := reply(req, 200)
		branch := strings.Index(ok, MagicCookie) + len(MagicCookie)
		flipped := []byte(ok)
		flipped[branch] ^= 1
		for _, bad := range []string{
			string(flipped),
			strings.Replace(ok, "1 NOTIFY", "1 SUBSCRIBE", 1),
			strings.Replace(ok, "192.0.2.1:5060", "192.0.2.2:5060", 1),
			strings.Replace(ok, "192.0.2.1:5060", "192.0.2.1:5061", 1),
			"SIP/2.0 200 OK\r\n\r\n",
		} {
			p.send(bad)
			if len(ended) > 0 {
				t.Fatalf("taken: %q", bad)
			}
		}
		p.send(ok)
		w.wantOutcome(ended, 200, nil)
	})
}

func TestRequestRefused(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Outstanding: 1}}, func(w *world) {
		p := w.phone(phoneAddr)
		for _, out := range []OutRequest{{Method: "INVITE", NextHop: toPhone}, {Method: "ACK", NextHop: toPhone}} {
			w.wantOutcome(w.ask(out), 0, ErrRequest)
		}
		w.wantOutcome(w.ask(OutRequest{}), 0, ErrTransport)
		for _, uri := range []string{"sip:x@unknown.example", "sip:abc@df7jal23ls0d.invalid;transport=ws", "tel:+4912345", "sip:", "sip:192.0.2.9;transport=ws"} {
			w.wantOutcome(w.ask(OutRequest{NextHop: uri}), 0, ErrNoTarget)
		}
		first := w.ask(OutRequest{NextHop: toPhone})
		w.wantOutcome(w.ask(OutRequest{NextHop: toPhone}), 0, ErrOverload)
		p.send(reply(p.want("NOTIFY"), 481))
		w.wantOutcome(first, 481, nil)
		last := w.ask(OutRequest{NextHop: toPhone})
		w.stack.Close()
		w.wantOutcome(last, 0, ErrClosed)
		w.wantOutcome(w.ask(OutRequest{NextHop: toPhone}), 0, ErrClosed)
		if n := w.stack.Stats().Outstanding; n != 0 {
			t.Errorf("%d outstanding", n)
		}
	})
}

// RFC 3263 §4.3: the next target after a failure, a time-out or a 503, with a
// branch of its own.
func TestRequestFailover(t *testing.T) {
	at := func(a, transport string) Target {
		return Target{Transport: transport, Addr: netip.MustParseAddrPort(a)}
	}
	resolve := Override(map[string][]Target{
		"a.example": {at("192.0.2.20:5060", "TCP"), at("192.0.2.21:5060", "UDP"), at("192.0.2.22:5060", "UDP"), at("192.0.2.23:5060", "UDP")},
	}, nil)
	inWorld(t, Config{Resolve: resolve}, func(w *world) {
		slow, busy, good := w.phone("192.0.2.21:5060"), w.phone("192.0.2.22:5060"), w.phone("192.0.2.23:5060")
		ended := w.ask(OutRequest{NextHop: "sip:a.example"})
		if !slices.Equal(w.net.Dialed(), []string{"192.0.2.20:5060"}) {
			t.Errorf("dialed %v", w.net.Dialed())
		}
		first := slow.want("NOTIFY")
		time.Sleep(timerF + wheelTick)
		second := busy.want("NOTIFY")
		busy.send(reply(second, 503))
		third := good.want("NOTIFY")
		a, b, c := header(t, first, HVia), header(t, second, HVia), header(t, third, HVia)
		if a == b || b == c {
			t.Errorf("same branch: %s, %s, %s", a, b, c)
		}
		slow.send(reply(first, 200)) // too late
		if len(ended) > 0 {
			t.Error("an answer to an abandoned branch was taken")
		}
		good.send(reply(third, 202))
		w.wantOutcome(ended, 202, nil)

		// Nobody left: the 503 is the result.
		ended = w.ask(OutRequest{NextHop: "sip:a.example"})
		time.Sleep(timerF + wheelTick)
		for _, p := range []*phone{busy, good} {
			p.send(reply(p.want("NOTIFY"), 503))
		}
		w.wantOutcome(ended, 503, nil)
	})
}

// streamPhone is the other end of a connection that the stack opened.
type streamPhone struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func newStreamPhone(t *testing.T, nc net.Conn) *streamPhone {
	return &streamPhone{t, nc, bufio.NewReader(nc)}
}

// called is the peer that the stack has called.
func called(t *testing.T, l *memnet.Listener) *streamPhone {
	t.Helper()
	synctest.Wait()
	nc := l.Next()
	if nc == nil {
		t.Fatal("nobody called")
	}
	return newStreamPhone(t, nc)
}

// read reads one message without a body or with Content-Length.
func (p *streamPhone) read() string {
	p.t.Helper()
	p.nc.SetReadDeadline(time.Now().Add(time.Second))
	var b strings.Builder
	length := 0
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.t.Fatalf("after %q: %v", b.String(), err)
		}
		b.WriteString(line)
		fmt.Sscanf(line, "Content-Length: %d", &length)
		if line == "\r\n" {
			break
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(p.r, body); err != nil {
		p.t.Fatal(err)
	}
	return b.String() + string(body)
}

func (p *streamPhone) write(s string) {
	p.t.Helper()
	p.nc.SetWriteDeadline(time.Now().Add(time.Second))
	if _, err := io.WriteString(p.nc, s); err != nil {
		p.t.Fatal(err)
	}
	synctest.Wait()
}

// ended tells that the stack has closed the connection.
func (p *streamPhone) ended() bool {
	p.nc.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := p.r.Peek(1)
	return err == io.EOF
}

// Over TCP nothing is retransmitted, one connection serves all requests to a
// place, and its end is told at once.
func TestRequestTCP(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		l := w.net.MustListen(phoneAddr)
		first := w.ask(OutRequest{NextHop: toPhone + ";transport=tcp"})
		p := called(t, l)
		req := p.read()
		if via := header(t, req, HVia); !strings.HasPrefix(via, "SIP/2.0/TCP 192.0.2.1:5060;branch=z9hG4bK") {
			t.Errorf("Via: %s", via)
		}
		second := w.ask(OutRequest{NextHop: toPhone + ";transport=tcp"})
		other := p.read()
		p.write(reply(other, 200))
		w.wantOutcome(second, 200, nil)
		time.Sleep(timerF + wheelTick)
		if p.r.Buffered() > 0 {
			t.Error("retransmission over TCP")
		}
		w.wantOutcome(first, 0, ErrTimeout)

		third := w.ask(OutRequest{NextHop: toPhone + ";transport=tcp"})
		p.read()
		p.nc.Close()
		w.wantOutcome(third, 0, ErrTransport)
		l.Close()
		w.wantOutcome(w.ask(OutRequest{NextHop: toPhone + ";transport=tcp"}), 0, ErrTransport)
		if n := w.stack.Stats(); n.Connections != 0 || n.Outstanding != 0 {
			t.Errorf("%+v", n)
		}
	})
}

// RFC 3261 §18.1.1: a request too large for a datagram goes by TCP where there
// is TCP, else by UDP, and that is remembered.
func TestRequestLarge(t *testing.T) {
	large := []byte(strings.Repeat("x", 1300))
	for _, next := range []string{"sip:alice@192.0.2.9", "sip:alice@large.example"} {
		resolve := Override(map[string][]Target{"large.example": {{Transport: "UDP", Addr: netip.MustParseAddrPort(phoneAddr)}}}, nil)
		inWorld(t, Config{Resolve: resolve}, func(w *world) {
			p := w.phone(phoneAddr)
			ended := w.ask(OutRequest{NextHop: next, Body: large})
			req := p.want("NOTIFY")
			if via := header(t, req, HVia); !strings.HasPrefix(via, "SIP/2.0/UDP") {
				t.Errorf("Via of the fallback: %s", via)
			}
			p.send(reply(req, 200))
			w.wantOutcome(ended, 200, nil)
			w.ask(OutRequest{NextHop: next, Body: large})
			p.want("NOTIFY")
			if len(w.net.Dialed()) != 1 {
				t.Errorf("dialed %v: the refusal was not remembered", w.net.Dialed())
			}
			// Small ones and those to a UDP-only contact do not try.
			w.ask(OutRequest{NextHop: "sip:alice@192.0.2.9:5061", Body: large[:500]})
			w.ask(OutRequest{NextHop: "sip:alice@192.0.2.9:5061;transport=udp", Body: large})
			if len(w.net.Dialed()) != 1 {
				t.Errorf("dialed %v", w.net.Dialed())
			}
			// Ten minutes later there is TCP.
			time.Sleep(refusalMemory)
			for p.got() != "" { // retransmissions
			}
			l := w.net.MustListen(phoneAddr)
			ended = w.ask(OutRequest{NextHop: next, Body: large})
			s := called(t, l)
			req = s.read()
			if via := header(t, req, HVia); !strings.HasPrefix(via, "SIP/2.0/TCP") {
				t.Errorf("Via over TCP: %s", via)
			}
			p.silent()
			s.write(reply(req, 200))
			w.wantOutcome(ended, 200, nil)
		})
	}
}

// TCP that ends without an answer: by UDP, then.
func TestRequestLargeDropped(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p, l := w.phone(phoneAddr), w.net.MustListen(phoneAddr)
		ended := w.ask(OutRequest{NextHop: "sip:alice@192.0.2.9", Body: make([]byte, 2000)})
		s := called(t, l)
		s.read()
		s.nc.Close()
		p.send(reply(p.want("NOTIFY"), 200))
		w.wantOutcome(ended, 200, nil)
		if !w.stack.tcpNo.refused(netip.MustParseAddrPort(phoneAddr)) {
			t.Error("not remembered")
		}
	})
}

// A large request over a UDP flow tries TCP only where the flow is the contact
// itself: behind a NAT nobody listens.
func TestRequestLargeFlow(t *testing.T) {
	large := []byte(strings.Repeat("x", 1300))
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		p := w.phone("192.0.2.9:61000")
		p.send(request("SUBSCRIBE", "z9hG4bK1;rport"))
		flow := h.txs[0].Flow()
		w.ask(OutRequest{Flow: flow, NextHop: "sip:alice@10.0.0.7:5060", Body: large})
		p.want("NOTIFY")
		w.ask(OutRequest{Flow: flow, Body: large})
		p.want("NOTIFY")
		if len(w.net.Dialed()) != 0 {
			t.Errorf("dialed %v", w.net.Dialed())
		}
		w.ask(OutRequest{Flow: flow, NextHop: "sip:alice@192.0.2.9:61000", Body: large})
		p.want("NOTIFY")
		if len(w.net.Dialed()) != 1 {
			t.Errorf("dialed %v", w.net.Dialed())
		}
	})
}

// Via names the configured host, and responses are matched by it.
func TestRequestHost(t *testing.T) {
	inWorld(t, Config{Host: "sip.example.com"}, func(w *world) {
		p := w.phone(phoneAddr)
		ended := w.ask(OutRequest{NextHop: toPhone})
		req := p.want("NOTIFY")
		if via := header(t, req, HVia); !strings.HasPrefix(via, "SIP/2.0/UDP sip.example.com:5060;") {
			t.Errorf("Via: %s", via)
		}
		p.send(reply(req, 200))
		w.wantOutcome(ended, 200, nil)
	})
}

// Whatever stage it is in, a request ends when the stack does: while its next
// hop is looked up, dialed, or has it.
func TestRequestClosed(t *testing.T) {
	slow := ResolverFunc(func(ctx context.Context, _ URI) ([]Target, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	inWorld(t, Config{Resolve: slow}, func(w *world) {
		w.net.Silence(netip.MustParseAddrPort("192.0.2.20:5060"))
		w.net.MustListen("192.0.2.21:5060")
		var all []chan outcome
		for _, next := range []string{"sip:slow.example", "sip:192.0.2.20;transport=tcp", "sip:192.0.2.21;transport=tcp", "sip:192.0.2.22"} {
			all = append(all, w.ask(OutRequest{NextHop: next}))
		}
		start := time.Now()
		if err := w.stack.Close(); err != nil || time.Since(start) > 0 {
			t.Errorf("Close: %v after %v", err, time.Since(start))
		}
		for i, ended := range all {
			synctest.Wait()
			select {
			case o := <-ended:
				if o.err != ErrClosed {
					t.Errorf("%d: %v", i, o.err)
				}
			default:
				t.Errorf("%d: not ended", i)
			}
		}
		if n := w.stack.Stats().Outstanding; n != 0 {
			t.Errorf("%d outstanding", n)
		}
	})
}

// A peer that does not answer a dial costs Limits.Dial, and a lookup its time.
func TestRequestSlowStart(t *testing.T) {
	slow := ResolverFunc(func(ctx context.Context, _ URI) ([]Target, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	inWorld(t, Config{Resolve: slow, Limits: Limits{Lookups: 1, Dials: 1}}, func(w *world) {
		w.net.Silence(netip.MustParseAddrPort("192.0.2.20:5060"))
		dial, look := w.ask(OutRequest{NextHop: "sip:192.0.2.20;transport=tcp"}), w.ask(OutRequest{NextHop: "sip:slow.example"})
		w.wantOutcome(w.ask(OutRequest{NextHop: "sip:192.0.2.21;transport=tcp"}), 0, ErrTransport)
		w.wantOutcome(w.ask(OutRequest{NextHop: "sip:other.example"}), 0, ErrOverload)
		time.Sleep(5 * time.Second)
		w.wantOutcome(dial, 0, ErrTransport)
		time.Sleep(lookupTime - 5*time.Second)
		w.wantOutcome(look, 0, ErrNoTarget)
		if w.stack.conns.dialing != 0 || w.stack.lookups.n.Load() != 0 {
			t.Error("still counted")
		}
	})
}

// A stack that listens nowhere has no port to name, and still gets its answers.
func TestRequestClientOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := memnet.New()
		w := &world{t: t, net: n, stack: NewStack(Config{Log: quiet(), Dial: n.Host("192.0.2.1").Dial, Resolve: Override(nil, nil)})}
		defer w.stack.Close()
		l := n.MustListen("127.0.0.2:5060") // the system's own route: 127.0.0.1
		ended := w.ask(OutRequest{NextHop: "sip:127.0.0.2;transport=tcp"})
		p := called(t, l)
		req := p.read()
		if via := header(t, req, HVia); !strings.HasPrefix(via, "SIP/2.0/TCP 127.0.0.1;branch=") {
			t.Errorf("Via: %s", via)
		}
		p.write(reply(req, 200))
		w.wantOutcome(ended, 200, nil)
		w.wantOutcome(w.ask(OutRequest{NextHop: "sip:127.0.0.2"}), 0, ErrTransport) // no socket
	})
}

// IPv6 sockets write sent-by in brackets (RFC 5118 §4.1) and send to IPv6 only.
func TestRequestIPv6(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		go w.stack.ServePacket(w.net.MustListenPacket("[2001:db8::1]:5060"))
		synctest.Wait()
		p := w.phone("[2001:db8::9]:5070")
		ended := w.ask(OutRequest{NextHop: "sip:[2001:db8::9]:5070"})
		req := p.want("NOTIFY")
		if via := header(t, req, HVia); !strings.HasPrefix(via, "SIP/2.0/UDP [2001:db8::1]:5060;branch=") {
			t.Errorf("Via: %s", via)
		}
		p.pc.WriteTo([]byte(reply(req, 200)), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:5060")))
		w.wantOutcome(ended, 200, nil)

		sub := strings.Replace(request("SUBSCRIBE", "z9hG4bK1;rport"), "192.0.2.9:5060", "[2001:db8::9]:5070", 1)
		p.pc.WriteTo([]byte(sub), net.UDPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:5060")))
		synctest.Wait()
		f := h.txs[0].Flow()
		h.txs[0].Respond(Response{Status: 200})
		if via := header(t, p.want("SIP/2.0 200"), HVia); !strings.HasSuffix(via, ";received=2001:db8::9;rport=5070") {
			t.Errorf("Via: %s", via)
		}
		if g, ok := w.stack.FlowByToken(f.Token()); !ok || g.addr != f.addr || g.socket != f.socket {
			t.Error("token of an IPv6 flow")
		}
	})
}
