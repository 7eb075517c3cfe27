package xmpp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"pharos/markup"
)

// webSocket is the framing of RFC 7395: each message is one whole element.
type webSocket struct {
	s       *Stream
	in      *bufio.Reader
	o       markup.Options
	message []byte        // collected so far of a fragmented one
	partial bool          // more fragments of it follow
	code    ws.StatusCode // of our close frame
}

// framingScope is what elements are read in: clients shall declare
// jabber:client themselves (RFC 7395 §3.3.3); those that do not are understood.
var framingScope = []markup.Decl{{Prefix: "", Space: NSClient}}

// WebSocket upgrades with subprotocol "xmpp" (RFC 7395); secure tells whether TLS
// carries it. Without, SASL is allowed in the clear: the listener's name says so.
// The handler returns after the upgrade; the stream ends by itself or by Shutdown.
func (a *Acceptor) WebSocket(secure bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !offers(r, "xmpp") {
			// RFC 7395 §3.1
			http.Error(w, "the WebSocket subprotocol must be xmpp", http.StatusBadRequest)
			return
		}
		a.init()
		up := ws.HTTPUpgrader{Timeout: a.limits.CloseTimeout, Protocol: func(p string) bool { return p == "xmpp" }}
		conn, rw, _, err := up.Upgrade(r, w)
		if err != nil {
			if conn != nil {
				_ = conn.Close()
			}
			return
		}
		early, _ := rw.Reader.Peek(rw.Reader.Buffered())
		s := a.admitWebSocket(conn, bytes.Clone(early), secure)
		if s != nil {
			go a.run(context.Background(), s, false)
		}
	})
}

// offers tells whether a handshake names a subprotocol.
func offers(r *http.Request, protocol string) bool {
	for _, line := range r.Header.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(p) == protocol {
				return true
			}
		}
	}
	return false
}

func (a *Acceptor) admitWebSocket(conn net.Conn, early []byte, secure bool) *Stream {
	s := a.newStream(conn, Insecure)
	if s.secure = secure; secure {
		s.mode = StartTLS // which there is no need and no way to start
	}
	if c, ok := conn.(*tls.Conn); ok {
		s.raw = c.NetConn()
	}
	var r io.Reader = conn
	if len(early) > 0 {
		r = io.MultiReader(bytes.NewReader(early), conn)
	}
	s.ws = &webSocket{s: s, in: bufio.NewReaderSize(r, 512), o: a.limits.markup(false), code: ws.StatusNormalClosure}
	s.wire = s.ws
	if e := a.count(s); e != nil {
		a.log().Info("connection refused", "remote", s.remote, "reason", e.Text)
		s.ws.code = ws.StatusPolicyViolation
		s.ws.sendClose()
		_ = conn.Close()
		return nil
	}
	a.watch(s.raw)
	return s
}

func (w *webSocket) restart(o markup.Options) { w.o = o }
func (w *webSocket) rest()                    {} // such a stream never does

func (w *webSocket) open() (*markup.Element, error) { return w.element() }

func (w *webSocket) next() (*markup.Element, error) {
	el, err := w.element()
	if err == nil {
		err = framing(el)
	}
	if err != nil {
		return nil, err
	}
	return el, nil
}

func (w *webSocket) tree() (markup.Tree, error) {
	b, err := w.read()
	if err != nil {
		return markup.Tree{}, err
	}
	t, err := markup.BorrowIn(string(b), framingScope, w.o)
	w.parsed(b, err)
	if err == nil {
		if err = framing(t.Root()); err != nil {
			t.Release()
			t = markup.Tree{}
		}
	}
	return t, err
}

// framing is the error for what is no element of the stream itself.
func framing(el *markup.Element) error {
	switch {
	case el.Space != nsFraming:
		return nil
	case el.Local != "close":
		return &StreamError{Condition: "unsupported-stanza-type"}
	}
	return io.EOF // RFC 7395 §3.6
}

// element reads one message.
func (w *webSocket) element() (*markup.Element, error) {
	b, err := w.read()
	if err != nil {
		return nil, err
	}
	el, err := markup.ParseIn(b, framingScope, w.o)
	w.parsed(b, err)
	return el, err
}

// parsed ends the use of a message.
func (w *webSocket) parsed(b []byte, err error) {
	if e, ok := err.(*markup.SyntaxError); ok && e.Kind == markup.BadEncoding {
		w.code = ws.StatusInvalidFramePayloadData // RFC 6455 §8.1
	}
	if cap(b) > 1024 {
		w.message = nil
	}
}

// failed tells that the framing itself is broken. Nil-safe.
func (w *webSocket) failed() bool { return w != nil && w.code != ws.StatusNormalClosure }

// violation is a breach of RFC 6455 itself; the connection ends with its code.
func (w *webSocket) violation(code ws.StatusCode, text string) error {
	w.code = code
	return &StreamError{Condition: "policy-violation", Text: text}
}

// read returns the next message, valid until the next call. Control frames
// between fragments are answered.
func (w *webSocket) read() ([]byte, error) {
	if !w.partial {
		w.message = w.message[:0]
	}
	for {
		h, err := ws.ReadHeader(w.in)
		if err != nil {
			return nil, unexpected(err)
		}
		if err := w.check(h); err != nil {
			return nil, err
		}
		if h.OpCode.IsControl() {
			if err := w.control(h); err != nil {
				return nil, err
			}
			continue
		}
		if err := w.payload(h); err != nil {
			return nil, unexpected(err)
		}
		if w.partial = !h.Fin; h.Fin {
			return w.message, nil
		}
	}
}

func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// check is RFC 6455 §5.
func (w *webSocket) check(h ws.Header) error {
	switch {
	case h.Rsv != 0 || h.OpCode.IsReserved() || !h.Masked || h.Length < 0:
		return w.violation(ws.StatusProtocolError, "a bad WebSocket frame")
	case h.OpCode.IsControl() && (!h.Fin || h.Length > ws.MaxControlFramePayloadSize):
		return w.violation(ws.StatusProtocolError, "a bad WebSocket control frame")
	case h.OpCode.IsControl():
		return nil
	case (h.OpCode == ws.OpContinuation) != w.partial:
		return w.violation(ws.StatusProtocolError, "WebSocket fragments out of order")
	case h.OpCode == ws.OpBinary:
		return w.violation(ws.StatusUnsupportedData, "a binary WebSocket message") // RFC 7395 §3.2
	case h.Length > int64(w.o.MaxBytes-len(w.message)):
		return w.violation(ws.StatusMessageTooBig, "more bytes than allowed")
	}
	return nil
}

// payload appends the payload to the message, in steps, so that memory follows
// what really came.
func (w *webSocket) payload(h ws.Header) error {
	begin := len(w.message)
	for left := int(h.Length); left > 0; {
		n := min(left, 4096)
		at := len(w.message)
		w.message = append(w.message, make([]byte, n)...)
		if _, err := io.ReadFull(w.in, w.message[at:]); err != nil {
			return err
		}
		left -= n
	}
	ws.Cipher(w.message[begin:], h.Mask, 0)
	return nil
}

// control answers a control frame.
func (w *webSocket) control(h ws.Header) error {
	var room [ws.MaxControlFramePayloadSize]byte
	b := room[:h.Length]
	if _, err := io.ReadFull(w.in, b); err != nil {
		return unexpected(err)
	}
	ws.Cipher(b, h.Mask, 0)
	switch h.OpCode {
	case ws.OpPing:
		return w.s.sendFrame(appendFrame(nil, ws.OpPong, b))
	case ws.OpClose:
		if len(b) == 1 {
			return w.violation(ws.StatusProtocolError, "a bad WebSocket close frame")
		}
		// The stream was not closed: to XMPP this is a broken connection
		// (RFC 7395 §3.6.2). It is answered when the stream ends.
		return io.ErrUnexpectedEOF
	}
	return nil
}

// sendFrame sends a whole frame in any phase of the stream.
func (s *Stream) sendFrame(b []byte) error {
	if !s.started { // which only we, the reader, would change
		return s.writeNow(b)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dead || s.ending {
		return nil
	}
	s.enqueue(b)
	if s.queued > s.a.limits.MaxQueue { // pings without end, and pongs unread
		return io.ErrShortWrite
	}
	return nil
}

// sendClose sends our close frame, if the connection still takes it.
func (w *webSocket) sendClose() {
	_ = w.s.raw.SetWriteDeadline(time.Now().Add(time.Second))
	_ = w.s.writeNow(appendFrame(nil, ws.OpClose, binary.BigEndian.AppendUint16(nil, uint16(w.code))))
}

// appendFrame writes a frame of a server: one piece, without mask.
func appendFrame(dst []byte, op ws.OpCode, payload []byte) []byte {
	return append(appendFrameHeader(dst, op, len(payload)), payload...)
}

func appendFrameHeader(dst []byte, op ws.OpCode, n int) []byte {
	dst = append(dst, 0x80|byte(op))
	switch {
	case n < 126:
		return append(dst, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(dst, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(dst, 127), uint64(n))
}

// frames puts each element in a frame of its own, with the declaration of its
// namespace.
func (w *webSocket) frames(parts [][]byte) [][]byte {
	b := parts[0]
	if len(parts) > 1 {
		b = bytes.Join(parts, nil)
	}
	var out [][]byte
	for len(b) > 0 {
		n := markup.FirstElement(b)
		if n == 0 {
			n = len(b)
		}
		el := b[:n]
		b = b[n:]
		at, declared := markup.DefaultDeclared(el)
		const declaration = " xmlns='" + NSClient + "'"
		if declared {
			out = append(out, appendFrameHeader(nil, ws.OpText, len(el)), el)
			continue
		}
		head := appendFrameHeader(make([]byte, 0, at+len(declaration)+10), ws.OpText, len(el)+len(declaration))
		head = append(append(head, el[:at]...), declaration...)
		out = append(out, head, el[at:])
	}
	return out
}

func (w *webSocket) appendOpen(dst []byte, s *Stream) []byte {
	el := s.appendOpenAttrs([]byte("<open xmlns='" + nsFraming + "'"))
	return appendFrame(dst, ws.OpText, append(el, "/>"...))
}

// appendElement frames one of our own elements; the prefix stream is declared in it.
func (w *webSocket) appendElement(dst []byte, el string) []byte {
	if rest, ok := strings.CutPrefix(el, "<stream:features>"); ok {
		el = "<stream:features xmlns:stream='" + NSStreams + "'>" + rest
	}
	return appendFrame(dst, ws.OpText, []byte(el))
}

func (w *webSocket) appendEnd(dst []byte, e *StreamError) []byte {
	end := []byte("<close xmlns='" + nsFraming + "'")
	if e != nil && e.Condition == "see-other-host" && strings.Contains(e.Other, "://") {
		end = markup.AppendAttr(end, "see-other-uri", e.Other) // RFC 7395 §3.6.1
	} else if e != nil && !e.Received {
		dst = appendFrame(dst, ws.OpText, e.append(nil, " xmlns:stream='"+NSStreams+"'"))
	}
	return appendFrame(dst, ws.OpText, append(end, "/>"...))
}
