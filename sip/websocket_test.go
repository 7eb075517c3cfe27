package sip

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

const wsAddr = "192.0.2.1:8080"

// serveWS puts the stack's handler behind a real HTTP server in the bubble.
func (w *world) serveWS() func() {
	srv := &http.Server{Handler: w.stack.WebSocket()}
	go srv.Serve(w.net.MustListen(wsAddr))
	synctest.Wait()
	return func() { srv.Close() }
}

// browser is the client side of a WebSocket.
type browser struct {
	t  *testing.T
	nc net.Conn
	r  *bufio.Reader
}

func (w *world) browse(t *testing.T) *browser {
	t.Helper()
	d := ws.Dialer{
		Protocols: []string{"sip"},
		NetDial: func(ctx context.Context, _, addr string) (net.Conn, error) {
			return w.net.Dial(ctx, "192.0.2.9:61000", addr)
		},
	}
	nc, r, hs, err := d.Dial(context.Background(), "ws://192.0.2.1:8080/sip")
	if err != nil || hs.Protocol != "sip" {
		t.Fatal(err, hs.Protocol)
	}
	if r == nil {
		r = bufio.NewReader(nc)
	}
	synctest.Wait()
	return &browser{t, nc, r}
}

func (b *browser) frame(op ws.OpCode, fin bool, payload string) {
	b.t.Helper()
	b.nc.SetWriteDeadline(time.Now().Add(time.Second))
	if err := ws.WriteFrame(b.nc, ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload)))); err != nil {
		b.t.Fatal(err)
	}
	synctest.Wait()
}

func (b *browser) want(op ws.OpCode, prefix string) string {
	b.t.Helper()
	b.nc.SetReadDeadline(time.Now().Add(time.Second))
	//lint:ignore SA1019 the peer is our own server, and a test may read all it sends
	f, err := ws.ReadFrame(b.r)
	if err != nil {
		b.t.Fatal(err)
	}
	if f.Header.OpCode != op || !f.Header.Fin || f.Header.Masked || !strings.HasPrefix(string(f.Payload), prefix) {
		b.t.Fatalf("frame %v %q, want %v %q", f.Header, f.Payload, op, prefix)
	}
	return string(f.Payload)
}

func wsRequest(branch string, extra ...string) string {
	r := request("SUBSCRIBE", branch, append(extra, "Contact: <sip:x@df7jal23ls0d.invalid;transport=ws>\r\n")...)
	return strings.Replace(r, "SIP/2.0/UDP 192.0.2.9:5060", "SIP/2.0/WS df7jal23ls0d.invalid", 1)
}

func TestWebSocket(t *testing.T) {
	h := new(hold)
	inWorld(t, Config{Handler: h}, func(w *world) {
		defer w.serveWS()()
		b := w.browse(t)
		defer b.nc.Close()

		// Text, binary and fragments, with a ping between them (RFC 7118 §5).
		one := wsRequest("z9hG4bK1")
		b.frame(ws.OpText, true, one)
		b.frame(ws.OpBinary, true, strings.Replace(wsRequest("z9hG4bK2"), "call-1", "call-2", 1))
		three := strings.Replace(wsRequest("z9hG4bK3"), "call-1", "call-3", 1)
		b.frame(ws.OpText, false, three[:10])
		b.frame(ws.OpPing, true, "how are you")
		b.want(ws.OpPong, "how are you")
		b.frame(ws.OpContinuation, false, three[10:90])
		b.frame(ws.OpContinuation, false, "")
		b.frame(ws.OpContinuation, true, three[90:])
		if len(h.txs) != 3 {
			t.Fatalf("%d requests", len(h.txs))
		}
		for _, tx := range h.txs {
			if f := tx.Flow(); f.Transport() != "WS" || f.RemoteAddr().String() != "192.0.2.9:61000" {
				t.Errorf("flow %s %s", f.Transport(), f.RemoteAddr())
			}
			tx.Respond(Response{Status: 200})
			got := b.want(ws.OpText, "SIP/2.0 200")
			if via := header(t, got, HVia); !strings.HasSuffix(via, ";received=192.0.2.9") {
				t.Errorf("Via: %s", via)
			}
		}
		// Requests to it go over the same connection.
		f := h.txs[0].Flow()
		ended := w.ask(OutRequest{Flow: f, NextHop: "sip:x@df7jal23ls0d.invalid;transport=ws"})
		req := b.want(ws.OpText, "NOTIFY ")
		if via := header(t, req, HVia); !strings.HasPrefix(via, "SIP/2.0/WS ") {
			t.Errorf("Via: %s", via)
		}
		b.frame(ws.OpText, true, reply(req, 200))
		w.wantOutcome(ended, 200, nil)
		// What is no UTF-8 cannot be text; a large one takes the long header.
		w.ask(OutRequest{Flow: f, Body: []byte("\xff" + strings.Repeat("x", 3000))})
		b.want(ws.OpBinary, "NOTIFY ")
		// Keep-alives of RFC 5626 in frames.
		b.frame(ws.OpText, true, "\r\n\r\n")
		b.want(ws.OpText, "\r\n")
		b.frame(ws.OpPong, true, "")
		// A wrong message is answered.
		b.frame(ws.OpText, true, strings.Replace(one, "CSeq: 7", "CSeq: x", 1))
		b.want(ws.OpText, "SIP/2.0 400")

		b.frame(ws.OpClose, true, "\x03\xe8")
		b.want(ws.OpClose, "\x03\xe8")
		if f.Alive() {
			t.Error("flow alive after close")
		}
		// The address is never dialed (RFC 7118 §5).
		w.wantOutcome(w.ask(OutRequest{Flow: f, NextHop: "sip:x@df7jal23ls0d.invalid;transport=ws"}), 0, ErrNoTarget)
		h.txs[0].Respond(Response{Status: 200})
	})
}

// RFC 6455 §7.4.1: what ends a WebSocket, and how.
func TestWebSocketViolations(t *testing.T) {
	text := wsRequest("z9hG4bK1")
	// The stack may close before it has read all: an error of the last write is
	// no news.
	last := func(b *browser, op ws.OpCode, fin bool, payload string) {
		ws.WriteFrame(b.nc, ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload))))
	}
	for _, c := range []struct {
		name string
		send func(b *browser)
		code ws.StatusCode
	}{
		{"closed with no code", func(b *browser) { last(b, ws.OpClose, true, "") }, ws.StatusNormalClosure},
		{"closed with a code", func(b *browser) { last(b, ws.OpClose, true, "\x0f\xa0bye") }, 4000},
		{"closed with half a code", func(b *browser) { last(b, ws.OpClose, true, "\x03") }, ws.StatusProtocolError},
		{"closed with a code that nobody sends", func(b *browser) { last(b, ws.OpClose, true, "\x03\xee") }, ws.StatusProtocolError},
		{"unmasked", func(b *browser) { ws.WriteFrame(b.nc, ws.NewTextFrame([]byte(text))) }, ws.StatusProtocolError},
		{"continuation of nothing", func(b *browser) { last(b, ws.OpContinuation, true, text) }, ws.StatusProtocolError},
		{"text within text", func(b *browser) { b.frame(ws.OpText, false, "a"); last(b, ws.OpText, true, "b") }, ws.StatusProtocolError},
		{"text within empty text", func(b *browser) { b.frame(ws.OpText, false, ""); last(b, ws.OpText, true, "b") }, ws.StatusProtocolError},
		{"fragmented ping", func(b *browser) { last(b, ws.OpPing, false, "a") }, ws.StatusProtocolError},
		{"unknown opcode", func(b *browser) { last(b, 5, true, "a") }, ws.StatusProtocolError},
		{"not UTF-8", func(b *browser) { last(b, ws.OpText, true, "\xff\xff") }, ws.StatusInvalidFramePayloadData},
		{"not SIP", func(b *browser) { last(b, ws.OpText, true, "hello") }, ws.StatusPolicyViolation},
		{"too large in pieces", func(b *browser) {
			b.frame(ws.OpText, false, strings.Repeat("a", 3000))
			last(b, ws.OpContinuation, false, strings.Repeat("a", 2000))
		}, ws.StatusMessageTooBig},
		{"too large by its header", func(b *browser) {
			ws.WriteHeader(b.nc, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 1 << 40})
		}, ws.StatusMessageTooBig},
	} {
		inWorld(t, Config{Handler: respond(200), Limits: Limits{MessageSize: 4000}}, func(w *world) {
			defer w.serveWS()()
			b := w.browse(t)
			done := make(chan struct{})
			go func() {
				defer close(done)
				c.send(b)
			}()
			//lint:ignore SA1019 the peer is our own server, and a test may read all it sends
			f, err := ws.ReadFrame(b.r)
			if err != nil || f.Header.OpCode != ws.OpClose {
				t.Fatalf("%s: %v %v", c.name, f.Header, err)
			}
			if code, _ := ws.ParseCloseFrameData(f.Payload); code != c.code {
				t.Errorf("%s: closed with %d, want %d", c.name, code, c.code)
			}
			if _, err := b.r.ReadByte(); err == nil {
				t.Errorf("%s: not closed", c.name)
			}
			b.nc.Close()
			<-done
		})
	}
}

// A handshake without the subprotocol gets 400, one that is none 4xx.
func TestWebSocketHandshake(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		defer w.serveWS()()
		for _, c := range []struct {
			head string
			want string
		}{
			{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", "400"},
			{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: xmpp\r\n", "400"},
			{"Sec-WebSocket-Protocol: sip\r\n", "400"},
			{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 12\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: sip\r\n", "426"},
			{"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: x, sip\r\n", "101"},
		} {
			nc, err := w.net.Dial(t.Context(), "192.0.2.9:61000", wsAddr)
			if err != nil {
				t.Fatal(err)
			}
			go nc.Write([]byte("GET /sip HTTP/1.1\r\nHost: x\r\n" + c.head + "\r\n"))
			line, err := bufio.NewReader(nc).ReadString('\n')
			if err != nil || !strings.HasPrefix(line, "HTTP/1.1 "+c.want) {
				t.Errorf("%q: %q, %v", c.head, line, err)
			}
			nc.Close()
			synctest.Wait()
		}
	})
}

// A WebSocket has the deadlines of a stream.
func TestWebSocketDeadlines(t *testing.T) {
	l := Limits{FirstMessage: 30 * time.Second, Message: 20 * time.Second, Idle: time.Hour}
	text := wsRequest("z9hG4bK1")
	for _, c := range []struct {
		name string
		play func(b *browser)
		ends time.Duration
	}{
		{"silent", func(*browser) {}, l.FirstMessage},
		{"half a frame", func(b *browser) {
			b.frame(ws.OpPing, true, "")
			b.want(ws.OpPong, "")
			ws.WriteHeader(b.nc, ws.Header{Fin: true, OpCode: ws.OpText, Masked: true, Length: 10})
		}, l.Message},
		{"half a message", func(b *browser) {
			b.frame(ws.OpPing, true, "")
			b.want(ws.OpPong, "")
			b.frame(ws.OpText, false, text[:10])
		}, l.Message},
		{"idle", func(b *browser) { b.frame(ws.OpText, true, text); b.want(ws.OpText, "SIP/2.0 200") }, l.Idle},
	} {
		inWorld(t, Config{Handler: respond(200), Limits: l}, func(w *world) {
			defer w.serveWS()()
			b := w.browse(t)
			start := time.Now()
			c.play(b)
			time.Sleep(time.Until(start.Add(c.ends - time.Second)))
			if w.stack.Stats().Connections != 1 {
				t.Errorf("%s: closed before %v", c.name, c.ends)
			}
			time.Sleep(2 * time.Second)
			if w.stack.Stats().Connections != 0 {
				t.Errorf("%s: open after %v", c.name, c.ends)
			}
		})
	}
}
