package sip

import (
	"bufio"
	"encoding/binary"
	"io"
	"net/http"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// WebSocket upgrades an HTTP request with subprotocol "sip" (RFC 7118). The
// connection is the stack's from then on; its transport is WSS when the
// request came over TLS, else WS.
func (s *Stack) WebSocket() http.Handler { return http.HandlerFunc(s.serveWebSocket) }

func (s *Stack) serveWebSocket(w http.ResponseWriter, r *http.Request) {
	if s.closed.Load() {
		http.Error(w, "closing", http.StatusServiceUnavailable)
		return
	}
	if !offersSIP(r.Header) {
		// RFC 7118 §4.1: without the subprotocol there is no SIP to be spoken.
		http.Error(w, `WebSocket subprotocol "sip" wanted`, http.StatusBadRequest)
		return
	}
	up := ws.HTTPUpgrader{
		Timeout:  s.limits.Handshake,
		Protocol: func(p string) bool { return p == "sip" },
	}
	nc, rw, _, err := up.Upgrade(r, w)
	if err != nil {
		return // the upgrader has answered
	}
	nc.SetDeadline(time.Time{})
	transport := "WS"
	if r.TLS != nil {
		transport = "WSS"
	}
	c := s.newConn(transport, nc)
	c.accepted, c.websocket = true, true
	if addr := addrPort(httpAddr(r.RemoteAddr)); !c.flow.addr.IsValid() {
		c.flow.addr = addr
	}
	if !s.conns.add(c, &s.limits) {
		s.count.refused.Add(1)
		nc.Close()
		return
	}
	// net/http's buffers and the grown stack of its goroutine are let go: only
	// what the client sent ahead is kept.
	var ahead []byte
	if n := rw.Reader.Buffered(); n > 0 {
		ahead = make([]byte, n)
		io.ReadFull(rw.Reader, ahead)
	}
	if !s.start(func() { c.readFrames(ahead) }) {
		c.close(ErrClosed)
	}
}

// offersSIP looks for "sip" among the offered subprotocols.
func offersSIP(h http.Header) bool {
	for _, line := range h.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(p) == "sip" {
				return true
			}
		}
	}
	return false
}

// httpAddr is the remote address as net/http gives it: text.
type httpAddr string

func (a httpAddr) Network() string { return "tcp" }
func (a httpAddr) String() string  { return string(a) }

// frameReader assembles WebSocket messages (RFC 6455 §5.4).
type frameReader struct {
	c       *conn
	r       *bufio.Reader
	watch   *readWatch
	message []byte
	op      ws.OpCode // of the message under way; OpContinuation when none is
}

// readFrames reads until the connection ends.
func (c *conn) readFrames(ahead []byte) {
	var src io.Reader = c.nc
	if len(ahead) > 0 {
		src = io.MultiReader(strings.NewReader(string(ahead)), c.nc)
	}
	f := &frameReader{c: c, r: bufio.NewReaderSize(src, 512), watch: newReadWatch(c)}
	for {
		f.watch.next(f.message != nil || f.r.Buffered() > 0)
		h, err := ws.ReadHeader(f.r)
		if err != nil {
			c.close(err)
			return
		}
		if int64(f.r.Buffered()) < h.Length {
			f.watch.next(true)
		}
		if code, reason := f.frame(h); code != 0 {
			f.end(code, reason)
			return
		}
	}
}

// frame takes one frame; a code other than 0 closes the connection with it.
func (f *frameReader) frame(h ws.Header) (ws.StatusCode, string) {
	max := f.c.stack.limits.MessageSize
	switch {
	case h.Rsv != 0 || !h.Masked: // RFC 6455 §5.1, §5.2
		return ws.StatusProtocolError, "bad frame"
	case h.OpCode.IsControl() && (!h.Fin || h.Length > ws.MaxControlFramePayloadSize):
		return ws.StatusProtocolError, "bad control frame"
	case h.Length < 0 || h.Length > int64(max-len(f.message)):
		return ws.StatusMessageTooBig, "message too large"
	}
	payload, err := f.payload(h)
	if err != nil {
		f.c.close(err)
		return ws.StatusAbnormalClosure, ""
	}
	switch h.OpCode {
	case ws.OpPing:
		f.c.sendRaw(appendOneFrame(nil, ws.OpPong, payload))
		f.watch.whole()
		return 0, ""
	case ws.OpPong:
		f.watch.whole()
		return 0, ""
	case ws.OpClose:
		return closeAnswer(payload), ""
	case ws.OpContinuation:
		if f.message == nil {
			return ws.StatusProtocolError, "continuation of nothing"
		}
	case ws.OpText, ws.OpBinary:
		if f.message != nil {
			return ws.StatusProtocolError, "message within a message"
		}
		f.op = h.OpCode
	default:
		return ws.StatusProtocolError, "unknown opcode"
	}
	if f.message == nil && h.Fin {
		f.message = payload // the usual case: one frame, no copy
	} else {
		f.message = append(f.message, payload...)
		if f.message == nil {
			f.message = []byte{}
		}
	}
	if !h.Fin {
		return 0, ""
	}
	b := f.message
	f.message = nil
	f.watch.whole()
	return f.whole(b)
}

// closeAnswer is the code that a close frame is answered with: its own
// (RFC 6455 §5.5.1), unless no peer may send it (§7.4).
func closeAnswer(payload []byte) ws.StatusCode {
	if len(payload) == 0 {
		return ws.StatusNormalClosure
	}
	code, _ := ws.ParseCloseFrameData(payload)
	if len(payload) < 2 || code < 1000 || code > 4999 || code.In(ws.StatusRangeNotInUse) ||
		code == ws.StatusNoStatusRcvd || code == ws.StatusAbnormalClosure || code == ws.StatusTLSHandshake || code == 1004 {
		return ws.StatusProtocolError
	}
	return code
}

// payload reads and unmasks.
func (f *frameReader) payload(h ws.Header) ([]byte, error) {
	b := make([]byte, h.Length)
	if _, err := io.ReadFull(f.r, b); err != nil {
		return nil, err
	}
	ws.Cipher(b, h.Mask, 0)
	return b, nil
}

// whole takes one WebSocket message: one SIP message (RFC 7118 §5), or a
// keep-alive (RFC 5626 §4.4.1) of which each side may send its own.
func (f *frameReader) whole(b []byte) (ws.StatusCode, string) {
	if f.op == ws.OpText && !utf8.Valid(b) {
		return ws.StatusInvalidFramePayloadData, "not UTF-8"
	}
	c := f.c
	if blank(b) {
		if string(b) == "\r\n\r\n" {
			c.sendRaw(appendOneFrame(nil, ws.OpText, []byte("\r\n")))
		}
		return 0, ""
	}
	if !c.stack.receive(b, peer{conn: c, addr: c.flow.addr}) {
		return ws.StatusPolicyViolation, "not SIP"
	}
	return 0, ""
}

// end says why, then closes.
func (f *frameReader) end(code ws.StatusCode, reason string) {
	if code != ws.StatusAbnormalClosure {
		f.c.sendRaw(appendOneFrame(nil, ws.OpClose, ws.NewCloseFrameBody(code, reason)))
	}
	f.c.finish()
}

// appendFrame appends one SIP message as one frame: text where it is UTF-8,
// which text frames have to be, else binary (RFC 7118 §5).
func appendFrame(b, message []byte) []byte {
	op := ws.OpText
	if !utf8.Valid(message) {
		op = ws.OpBinary
	}
	return appendOneFrame(b, op, message)
}

// appendOneFrame appends a whole unmasked frame (RFC 6455 §5.2).
func appendOneFrame(b []byte, op ws.OpCode, payload []byte) []byte {
	b = append(b, 0x80|byte(op))
	switch n := len(payload); {
	case n < 126:
		b = append(b, byte(n))
	case n < 1<<16:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}
