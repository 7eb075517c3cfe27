package sip

import "sync"

// answer responds without a transaction (RFC 3261 §8.2.7): a retransmission is
// answered the same once more. An ACK is never answered.
func (s *Stack) answer(m *Message, p peer, r *Response) {
	if m == nil || m.Method == "ACK" {
		return
	}
	via := m.Via()
	buf := getBuffer()
	buf.b = appendResponse(buf.b[:0], m, p.addr, r, s.server.key(m, &via, m.Method).tag())
	replyTo(&via, p).send(buf.b)
	putBuffer(buf)
}

// buffer is a pooled place to build one message in.
type buffer struct{ b []byte }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, 0, 2048)} }}

func getBuffer() *buffer { return buffers.Get().(*buffer) }

// putBuffer gives b back; one that a large message has grown is let go.
func putBuffer(b *buffer) {
	if cap(b.b) <= 16<<10 {
		buffers.Put(b)
	}
}
