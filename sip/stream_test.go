package sip

import (
	"crypto/tls"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// call opens a connection to the stack, as a phone does.
func (w *world) call(t *testing.T) *streamPhone {
	t.Helper()
	nc, err := w.net.Dial(t.Context(), "192.0.2.9:61000", serverAddr)
	if err != nil {
		t.Fatal(err)
	}
	return newStreamPhone(t, nc)
}

func TestStream(t *testing.T) {
	inWorld(t, Config{Handler: respond(200)}, func(w *world) {
		p := w.call(t)
		defer p.nc.Close()
		req := request("OPTIONS", "z9hG4bK1", "X: "+strings.Repeat("long ", 1000)+"\r\n")
		for i := 0; i < len(req); i += 700 { // in pieces
			p.write(req[i:min(i+700, len(req))])
			time.Sleep(time.Second)
		}
		if got := p.read(); got[:11] != "SIP/2.0 200" {
			t.Errorf("got %q", got)
		}
		// Two at once, and a keep-alive before (RFC 5626 §4.4.1).
		p.write("\r\n\r\n" + request("OPTIONS", "z9hG4bK2") + request("OPTIONS", "z9hG4bK3"))
		pong := make([]byte, 2)
		if p.r.Read(pong); string(pong) != "\r\n" {
			t.Errorf("pong %q", pong)
		}
		for range 2 {
			p.read()
		}
		// A message that is wrong but whole is answered, and the next one taken.
		p.write(strings.Replace(request("OPTIONS", "z9hG4bK4"), "CSeq: 7", "CSeq: x", 1))
		if got := p.read(); got[:11] != "SIP/2.0 400" {
			t.Errorf("got %q", got)
		}
		p.write(request("OPTIONS", "z9hG4bK5"))
		p.read()
		// No end of it can be found: answered, closed (RFC 3261 §18.3).
		p.write(strings.Replace(request("OPTIONS", "z9hG4bK6"), "Content-Length: 0", "X: 0", 1))
		if got := p.read(); got[:11] != "SIP/2.0 400" {
			t.Errorf("got %q", got)
		}
		if !p.ended() {
			t.Error("not closed")
		}
	})
}

// Each deadline of a connection.
func TestStreamDeadlines(t *testing.T) {
	l := Limits{FirstMessage: 30 * time.Second, Message: 20 * time.Second, Idle: time.Hour}
	whole := request("OPTIONS", "z9hG4bK1")
	for _, c := range []struct {
		name string
		play func(p *streamPhone)
		ends time.Duration
	}{
		{"silent", func(*streamPhone) {}, l.FirstMessage},
		{"half a first message", func(p *streamPhone) { p.write(whole[:40]) }, l.FirstMessage},
		{"drip", func(p *streamPhone) {
			for i := range 29 {
				p.write(whole[i : i+1])
				time.Sleep(time.Second)
			}
		}, l.FirstMessage},
		{"idle after a message", func(p *streamPhone) { p.write(whole); p.read() }, l.Idle},
		{"idle after a ping", func(p *streamPhone) { p.write("\r\n\r\n"); p.r.Discard(2) }, l.Idle},
		{"half a second message", func(p *streamPhone) { p.write(whole); p.read(); p.write(whole[:40]) }, l.Message},
		{"drip of a second message", func(p *streamPhone) {
			p.write(whole)
			p.read()
			p.write(whole[:3]) // with the third octet it cannot be a keep-alive
			for i := range 19 {
				p.write(whole[3+i : 4+i])
				time.Sleep(time.Second)
			}
		}, l.Message},
		{"one message after the other, none ever complete at the end of a read", func(p *streamPhone) {
			for range 100 {
				p.write(whole + whole[:40])
				p.read()
				time.Sleep(10 * time.Second)
				p.write(whole[40:])
				p.read()
			}
		}, 1000*time.Second + l.Idle},
	} {
		inWorld(t, Config{Handler: respond(200), Limits: l}, func(w *world) {
			p := w.call(t)
			start := time.Now()
			c.play(p)
			time.Sleep(time.Until(start.Add(c.ends - time.Second)))
			if w.stack.Stats().Connections != 1 {
				t.Errorf("%s: closed before %v", c.name, c.ends)
			}
			time.Sleep(2 * time.Second)
			if w.stack.Stats().Connections != 0 || !p.ended() {
				t.Errorf("%s: still open after %v", c.name, c.ends)
			}
		})
	}
}

func TestConnectionLimits(t *testing.T) {
	inWorld(t, Config{Handler: respond(200), Limits: Limits{Connections: 4, ConnectionsPerAddress: 2}}, func(w *world) {
		dial := func(from string) *streamPhone {
			nc, err := w.net.Dial(t.Context(), from, serverAddr)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return newStreamPhone(t, nc)
		}
		a := dial("192.0.2.9:1")
		dial("192.0.2.9:2")
		if !dial("192.0.2.9:3").ended() {
			t.Error("third connection of one address")
		}
		dial("[2001:db8::1]:1")
		dial("[2001:db8::2]:1")
		if !dial("[2001:db8::3]:1").ended() {
			t.Error("third connection of one /64")
		}
		if !dial("192.0.2.8:1").ended() {
			t.Error("fifth connection")
		}
		a.nc.Close()
		synctest.Wait()
		if dial("192.0.2.9:3").ended() {
			t.Error("no room after one was closed")
		}
		if n := w.stack.Stats(); n.Connections != 4 || n.Refused != 3 {
			t.Errorf("%+v", n)
		}
	})
}

// Who reads nothing loses the connection when the queue is full or time is up,
// and nobody else waits.
func TestSlowReader(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h, Limits: Limits{Queue: 10_000, Write: time.Minute}}, func(w *world) {
		w.net.SetRoom(1) // the network takes nothing off the stack's hands
		p := w.call(t)
		p.write(request("SUBSCRIBE", "z9hG4bK1"))
		f := h.txs[0].Flow()
		body := make([]byte, 1000)
		var last chan outcome
		for range 20 {
			if last = w.ask(OutRequest{Flow: f, Body: body}); !f.Alive() {
				break
			}
		}
		w.wantOutcome(last, 0, ErrTransport)

		p = w.call(t)
		p.write(strings.Replace(request("SUBSCRIBE", "z9hG4bK2"), "call-1", "call-2", 1))
		f = h.txs[1].Flow()
		w.ask(OutRequest{Flow: f, Body: body})
		time.Sleep(59 * time.Second)
		if !f.Alive() {
			t.Error("closed before Limits.Write")
		}
		time.Sleep(2 * time.Second)
		if f.Alive() {
			t.Error("still open after Limits.Write")
		}
	})
}

// RFC 5923: with alias, requests to the client's sent-by reuse its connection;
// not for an address that it only claims.
func TestAlias(t *testing.T) {
	for _, c := range []struct {
		via   string
		reuse bool
	}{
		{"192.0.2.9:5060;alias", true},
		{"192.0.2.9;alias", true},
		{"192.0.2.9", false},
		{"192.0.2.8;alias", false},
		{"phone.example;alias", false},
		{"192.0.2.9:5070;alias", false},
	} {
		inWorld(t, Config{Handler: respond(200)}, func(w *world) {
			p := w.call(t)
			p.write(strings.Replace(request("OPTIONS", "z9hG4bK1"), "UDP 192.0.2.9:5060", "TCP "+c.via, 1))
			p.read()
			w.ask(OutRequest{NextHop: toPhone + ";transport=tcp"})
			if reused := len(w.net.Dialed()) == 1; reused != c.reuse { // the phone's own is one
				t.Errorf("%s: reused %t", c.via, reused)
			}
			if c.reuse {
				p.read()
			}
		})
	}
}

// Close ends connections, listeners and sockets.
func TestClose(t *testing.T) {
	inWorld(t, Config{Handler: respond(200)}, func(w *world) {
		p := w.call(t)
		p.write(request("OPTIONS", "z9hG4bK1"))
		p.read()
		if err := w.stack.Close(); err != nil {
			t.Error(err)
		}
		if !p.ended() {
			t.Error("connection open")
		}
		if _, err := w.listener.Accept(); err == nil {
			t.Error("listener open")
		}
		if err := w.stack.ServeListener(w.net.MustListen("192.0.2.1:5070"), "TCP"); err != ErrClosed {
			t.Errorf("ServeListener after Close: %v", err)
		}
		if err := w.stack.ServeListener(w.net.MustListen("192.0.2.1:5071"), "SCTP"); err == nil {
			t.Error("an unknown transport was served")
		}
	})
}

// A TLS handshake has to end in time; the connection counts until then.
func TestTLSHandshakeDeadline(t *testing.T) {
	server, _ := certificate(t)
	inWorld(t, Config{Handler: respond(200), Limits: Limits{Handshake: 10 * time.Second}}, func(w *world) {
		go w.stack.ServeListener(tls.NewListener(w.net.MustListen("192.0.2.1:5061"), server), "TLS")
		synctest.Wait()
		nc, err := w.net.Dial(t.Context(), "192.0.2.9:61000", "192.0.2.1:5061")
		if err != nil {
			t.Fatal(err)
		}
		p := newStreamPhone(t, nc)
		p.write("\x16\x03\x01") // the beginning of a ClientHello
		time.Sleep(9 * time.Second)
		if w.stack.Stats().Connections != 1 {
			t.Error("closed early")
		}
		time.Sleep(2 * time.Second)
		if w.stack.Stats().Connections != 0 {
			t.Error("still open")
		}
	})
}

// One message may fill a datagram or many segments.
func TestLargeMessages(t *testing.T) {
	inWorld(t, Config{Handler: respond(200), Limits: Limits{MessageSize: 40_000}}, func(w *world) {
		body := func(n int) string {
			return strings.Replace(request("MESSAGE", "z9hG4bK"+strings.Repeat("x", n%7+1)), "Content-Length: 0\r\n\r\n",
				fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, strings.Repeat("b", n)), 1)
		}
		p := w.phone(phoneAddr)
		p.send(body(39_000))
		p.want("SIP/2.0 200")
		p.send(body(60_001))
		p.want("SIP/2.0 513")
		c := w.call(t)
		defer c.nc.Close()
		c.write(body(39_000))
		if got := c.read(); got[:11] != "SIP/2.0 200" {
			t.Errorf("got %q", got)
		}
		go c.nc.Write([]byte(body(40_000)))
		if got := c.read(); got[:11] != "SIP/2.0 513" {
			t.Errorf("got %q", got)
		}
	})
}
