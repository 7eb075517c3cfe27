package xmpp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"
)

const (
	wsOpen     = `<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='example.com' version='1.0'/>`
	wsOpened   = `<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' id='ID' from='example.com' version='1.0' xml:lang='en'/>`
	wsClose    = `<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>`
	wsFeatures = `<stream:features xmlns:stream='http://etherx.jabber.org/streams'><mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'>` +
		`<mechanism>SCRAM-SHA-256</mechanism><mechanism>SCRAM-SHA-1</mechanism><mechanism>PLAIN</mechanism></mechanisms></stream:features>`
)

func wsError(condition, text string) string {
	s := streamErrorXML(condition, text)
	return strings.Replace(strings.TrimSuffix(s, closeTag), "<stream:error>", "<stream:error xmlns:stream='http://etherx.jabber.org/streams'>", 1)
}

// frames is a scripted WebSocket peer.
type frames struct {
	*client
	in *bufio.Reader
}

// webSocketServer serves a's WebSocket over connections in memory.
func webSocketServer(t *testing.T, a *Acceptor, secure bool) *listener {
	l := newListener()
	srv := &http.Server{Handler: a.WebSocket(secure)}
	go srv.Serve(l)
	t.Cleanup(func() {
		srv.Close()
		a.Shutdown(canceled())
	})
	return l
}

func dialWebSocket(t *testing.T, l *listener) *frames {
	t.Helper()
	conn := l.dial("192.0.2.1:1")
	d := ws.Dialer{Protocols: []string{"xmpp"}}
	u, _ := url.Parse("ws://example.com/xmpp")
	br, hs, err := d.Upgrade(conn, u)
	if err != nil || hs.Protocol != "xmpp" {
		t.Fatalf("%v, protocol %q", err, hs.Protocol)
	}
	if br == nil {
		br = bufio.NewReader(conn)
	}
	_ = conn.SetReadDeadline(time.Now().Add(10 * time.Minute))
	return &frames{client: newClient(t, conn), in: br}
}

func (f *frames) frame(op ws.OpCode, fin bool, payload string) {
	f.t.Helper()
	frame := ws.MaskFrame(ws.NewFrame(op, fin, []byte(payload)))
	var b bytes.Buffer
	if err := ws.WriteFrame(&b, frame); err != nil {
		f.t.Fatal(err)
	}
	f.send(b.String())
}

func (f *frames) text(s string) { f.t.Helper(); f.frame(ws.OpText, true, s) }

// read returns the next frame; the end is reported as such.
func (f *frames) read() (ws.OpCode, string, error) {
	//lint:ignore SA1019 the peer is our own server, and a test may read all it sends
	fr, err := ws.ReadFrame(f.in)
	if err == nil && (fr.Header.Masked || !fr.Header.Fin || fr.Header.Rsv != 0) {
		f.t.Fatalf("bad frame %+v", fr.Header)
	}
	return fr.Header.OpCode, string(streamID.ReplaceAll(fr.Payload, []byte("id='ID'"))), err
}

// want is one text frame for each of the payloads.
func (f *frames) want(payloads ...string) {
	f.t.Helper()
	for _, p := range payloads {
		if op, got, err := f.read(); err != nil || op != ws.OpText || got != p {
			f.t.Fatalf("got  %v %q, %v\nwant %q", op, got, err, p)
		}
	}
}

// wantClosed is a close frame of that code and the end.
func (f *frames) wantClosed(code ws.StatusCode) {
	f.t.Helper()
	op, got, err := f.read()
	if err != nil || op != ws.OpClose || len(got) != 2 || binary.BigEndian.Uint16([]byte(got)) != uint16(code) {
		f.t.Fatalf("got %v %q, %v, want close frame %d", op, got, err, code)
	}
	if _, got, err := f.read(); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		f.t.Fatalf("got %q, %v after the close frame", got, err)
	}
}

func (f *frames) login() {
	f.t.Helper()
	f.text(wsOpen)
	f.want(wsOpened, wsFeatures)
	f.text(plainAuth)
	f.want(success)
	f.text(wsOpen)
	f.want(wsOpened, strings.Replace(bindFeatures, "<stream:features>", "<stream:features xmlns:stream='http://etherx.jabber.org/streams'>", 1))
}

func TestWebSocket(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		f := dialWebSocket(t, webSocketServer(t, a, false))
		f.login()
		f.text("<presence xmlns='jabber:client'/>")
		f.want("<presence xmlns='jabber:client'/>")
		f.text("<presence/>") // not quite right, and understood
		f.want("<presence xmlns='jabber:client'/>")
		big := "<a xmlns='b'>" + strings.Repeat("x", 70000) + "</a>"
		go f.text(big)
		f.want(big)
		f.frame(ws.OpText, false, "<message xml")
		f.frame(ws.OpPing, true, "hello")
		f.frame(ws.OpPong, true, "")
		f.frame(ws.OpContinuation, false, "")
		f.frame(ws.OpContinuation, true, "ns='jabber:client'/>")
		if op, got, err := f.read(); op != ws.OpPong || got != "hello" || err != nil {
			t.Errorf("got %v %q, %v for a ping", op, got, err)
		}
		f.want("<message xmlns='jabber:client'/>")
		f.text(wsClose)
		f.want(wsClose)
		f.wantClosed(1000)
	})
}

// Each element has a frame of its own, and its namespace with it.
func TestWebSocketSend(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		a.Serve = serveOnce(func(s *Stream) {
			if !s.WebSocket() {
				t.Error("not a WebSocket")
			}
			s.Send([]byte("<a b='1'>"), []byte("<c/></a>"), []byte("<r xmlns='urn:xmpp:sm:3'/><presence/>"))
			s.Send([]byte("<m>" + strings.Repeat("x", 300) + "</m>"))
		})
		f := dialWebSocket(t, webSocketServer(t, a, false))
		f.login()
		f.want("<a xmlns='jabber:client' b='1'><c/></a>", "<r xmlns='urn:xmpp:sm:3'/>", "<presence xmlns='jabber:client'/>",
			"<m xmlns='jabber:client'>"+strings.Repeat("x", 300)+"</m>", wsClose)
		f.text(wsClose)
		f.wantClosed(1000)
	})
}

func TestWebSocketErrors(t *testing.T) {
	text := func(s string) func(*frames) { return func(f *frames) { f.text(s) } }
	raw := func(b ...byte) func(*frames) { return func(f *frames) { f.send(string(b)) } }
	frame := func(op ws.OpCode, fin bool, s string) func(*frames) { return func(f *frames) { f.frame(op, fin, s) } }
	for name, c := range map[string]struct {
		do   func(f *frames)
		want []string
		code ws.StatusCode
	}{
		"not open":      {text("<stream:stream xmlns:stream='http://etherx.jabber.org/streams'/>"), []string{wsOpened, wsError("invalid-namespace", "a stream begins with &lt;open/&gt; of urn:ietf:params:xml:ns:xmpp-framing")}, 1000},
		"host":          {text(strings.Replace(wsOpen, "example.com", "example.org", 1)), []string{wsOpened, wsError("host-unknown", "")}, 1000},
		"version":       {text(strings.Replace(wsOpen, "1.0", "0.9", 1)), []string{wsOpened, wsError("unsupported-version", "")}, 1000},
		"declaration":   {text("<?xml version='1.0'?>" + wsOpen), []string{wsOpened, wsError("restricted-xml", "a processing instruction")}, 1000},
		"open tag only": {text(strings.Replace(wsOpen, "/>", ">", 1)), []string{wsOpened, wsError("not-well-formed", "end of input inside &lt;open&gt;")}, 1000},
		"two elements":  {text(wsOpen + wsOpen), []string{wsOpened, wsError("not-well-formed", "something follows the element")}, 1000},
		"empty":         {text(""), []string{wsOpened, wsError("not-well-formed", "no element")}, 1000},
		"UTF-8":         {text("<a b='\xff'/>"), []string{wsOpened, wsError("unsupported-encoding", "not UTF-8")}, 1007},
		"stanza":        {func(f *frames) { f.text(wsOpen); f.text("<presence/>") }, []string{wsOpened, wsFeatures, wsError("not-authorized", "")}, 1000},
		"starttls":      {func(f *frames) { f.text(wsOpen); f.text("<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>") }, []string{wsOpened, wsFeatures, "<failure xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>"}, 1000},
		"framing":       {func(f *frames) { f.text(wsOpen); f.text(wsOpen) }, []string{wsOpened, wsFeatures, wsError("unsupported-stanza-type", "")}, 1000},
		"too big":       {frame(ws.OpText, true, strings.Repeat(" ", 16385)), []string{wsOpened, wsError("policy-violation", "more bytes than allowed")}, 1009},
		"fragments": {func(f *frames) {
			f.frame(ws.OpText, false, strings.Repeat(" ", 16384))
			f.frame(ws.OpContinuation, true, " ")
		}, []string{wsOpened, wsError("policy-violation", "more bytes than allowed")}, 1009},
		"binary":        {frame(ws.OpBinary, true, wsOpen), []string{wsOpened, wsError("policy-violation", "a binary WebSocket message")}, 1003},
		"continuation":  {frame(ws.OpContinuation, true, wsOpen), []string{wsOpened, wsError("policy-violation", "WebSocket fragments out of order")}, 1002},
		"text within":   {func(f *frames) { f.frame(ws.OpText, false, "<a"); f.text("b/>") }, []string{wsOpened, wsError("policy-violation", "WebSocket fragments out of order")}, 1002},
		"not masked":    {raw(0x81, 4, '<', 'a', '/', '>'), []string{wsOpened, wsError("policy-violation", "a bad WebSocket frame")}, 1002},
		"reserved bit":  {raw(0xC1, 0x80, 0, 0, 0, 0), []string{wsOpened, wsError("policy-violation", "a bad WebSocket frame")}, 1002},
		"reserved code": {raw(0x83, 0x80, 0, 0, 0, 0), []string{wsOpened, wsError("policy-violation", "a bad WebSocket frame")}, 1002},
		"long ping":     {raw(0x89, 0xFE, 0, 126, 0, 0, 0, 0), []string{wsOpened, wsError("policy-violation", "a bad WebSocket control frame")}, 1002},
		"split ping":    {raw(0x09, 0x80, 0, 0, 0, 0), []string{wsOpened, wsError("policy-violation", "a bad WebSocket control frame")}, 1002},
		"close of one":  {raw(0x88, 0x81, 0, 0, 0, 0, 1), []string{wsOpened, wsError("policy-violation", "a bad WebSocket close frame")}, 1002},
		"silence":       {func(*frames) {}, []string{wsOpened, wsError("connection-timeout", "")}, 1000},
		"half a frame":  {raw(0x81), []string{wsOpened, wsError("connection-timeout", "")}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				f := dialWebSocket(t, webSocketServer(t, a, false))
				c.do(f)
				f.want(c.want...)
				f.want(wsClose)
				if c.code == 1000 {
					f.text(wsClose)
				}
				f.wantClosed(c.code)
			})
		})
	}
}

// A close frame, or the end of the connection, is not the end of the stream.
func TestWebSocketBreaks(t *testing.T) {
	for name, end := range map[string]func(f *frames){
		"close frame": func(f *frames) { f.frame(ws.OpClose, true, "\x03\xe9"); f.wantClosed(1000) },
		"cut":         func(f *frames) { f.conn.Close() },
		"cut inside":  func(f *frames) { f.send("\x81\x85"); f.conn.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				errs := make(chan error, 1)
				a.Serve = serveOnce(func(s *Stream) {
					_, err := s.Next()
					errs <- err
				})
				f := dialWebSocket(t, webSocketServer(t, a, false))
				f.login()
				end(f)
				if err := <-errs; err != io.ErrUnexpectedEOF {
					t.Errorf("Next returned %v", err)
				}
			})
		})
	}
}

func TestWebSocketSeeOther(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		a.Serve = serveOnce(func(s *Stream) {
			s.Close(&StreamError{Condition: "see-other-host", Other: "wss://b.example.com/xmpp"})
		})
		f := dialWebSocket(t, webSocketServer(t, a, false))
		f.login()
		f.want("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing' see-other-uri='wss://b.example.com/xmpp'/>")
		f.text(wsClose)
		f.wantClosed(1000)
	})
}

func TestWebSocketHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		header string
		status int
	}{
		"no protocol":    {"", 400},
		"other protocol": {"Sec-WebSocket-Protocol: sip\r\n", 400},
		"one of two":     {"Sec-WebSocket-Protocol: sip, xmpp\r\n", 101},
		"two lines":      {"Sec-WebSocket-Protocol: sip\r\nSec-WebSocket-Protocol: xmpp\r\n", 101},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				a, _ := testAcceptor()
				p := newClient(t, webSocketServer(t, a, false).dial("192.0.2.50:0"))
				p.send("GET /xmpp HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
					"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + c.header + "\r\n")
				resp, err := http.ReadResponse(bufio.NewReader(p.conn), nil)
				if err != nil || resp.StatusCode != c.status {
					t.Fatalf("%v, %v", resp, err)
				}
				if c.status == 101 && resp.Header.Get("Sec-WebSocket-Protocol") != "xmpp" {
					t.Error(resp.Header)
				}
				p.conn.Close()
			})
		})
	}
}

// What the client sends right behind its handshake is not lost; and secure is
// believed where a proxy has taken TLS off.
func TestWebSocketEarlyData(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		conn := webSocketServer(t, a, true).dial("192.0.2.50:0")
		f := &frames{client: newClient(t, conn), in: bufio.NewReader(conn)}
		f.send("GET /xmpp HTTP/1.1\r\nHost: example.com\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: xmpp\r\n\r\n" +
			string(ws.MustCompileFrame(ws.MaskFrame(ws.NewTextFrame([]byte(wsOpen))))))
		if _, err := http.ReadResponse(f.in, nil); err != nil {
			t.Fatal(err)
		}
		f.want(wsOpened, wsFeatures)
	})
}

// Over our own TLS too the features have no channel binding.
func TestWebSocketTLS(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		l := newListener()
		srv := &http.Server{Handler: a.WebSocket(true), TLSConfig: a.TLS}
		go srv.ServeTLS(l, "", "")
		t.Cleanup(func() { srv.Close() })
		conn := tls.Client(l.dial("192.0.2.50:0"), clientTLS("http/1.1"))
		u, _ := url.Parse("wss://example.com/xmpp")
		if _, _, err := (ws.Dialer{Protocols: []string{"xmpp"}}).Upgrade(conn, u); err != nil {
			t.Fatal(err)
		}
		f := &frames{client: newClient(t, conn), in: bufio.NewReader(conn)}
		f.text(wsOpen)
		f.want(wsOpened, wsFeatures)
		f.text(wsClose)
		f.want(wsClose)
		if op, _, err := f.read(); err != nil || op != ws.OpClose {
			t.Error(op, err)
		}
		conn.Close()
	})
}

func TestWebSocketShutdown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		a, _ := testAcceptor()
		l := webSocketServer(t, a, false)
		f := dialWebSocket(t, l)
		f.login()
		go a.Shutdown(context.Background())
		f.want(wsError("system-shutdown", ""), wsClose)
		f.text(wsClose)
		f.wantClosed(1000)
		late := dialWebSocket(t, l)
		late.wantClosed(1008)
		synctest.Wait()
	})
}
