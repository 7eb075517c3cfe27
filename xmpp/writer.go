package xmpp

import (
	"net"
	"sync"
	"time"
)

// Send queues bytes of complete elements, written as soon as the peer reads;
// they must not be changed afterwards. It never blocks: false means that
// nothing was taken, because the stream is ending or the queue bound is
// passed (slow reader); in the latter case the connection is cut.
//
// The elements are written for a stream whose default namespace is
// jabber:client and do not declare it; the WebSocket framing, where no stream
// header declares it (RFC 7395 §3.3.3), adds the declaration. One call may carry
// several elements; an element never spans two calls.
func (s *Stream) Send(b ...[]byte) bool {
	s.mu.Lock()
	if s.ending || s.dead || !s.started {
		s.mu.Unlock()
		return false
	}
	if s.ws != nil {
		s.enqueue(s.ws.frames(b)...)
	} else {
		s.enqueue(b...)
	}
	if s.queued > s.a.limits.MaxQueue {
		s.mu.Unlock()
		s.a.log().Info("slow reader", "remote", s.remote, "user", s.user.String())
		s.kill()
		return false
	}
	s.mu.Unlock()
	return true
}

// Queued is the number of bytes that Send took and that are not yet written;
// senders that can coalesce look at it.
func (s *Stream) Queued() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.queued
}

// enqueue adds to the queue and sees to it that a writer runs. s.mu is held.
func (s *Stream) enqueue(b ...[]byte) {
	for _, p := range b {
		if len(p) > 0 {
			s.q = append(s.q, p)
			s.queued += len(p)
		}
	}
	if !s.writing && len(s.q) > 0 {
		s.writing = true
		go s.write()
	}
}

// enqueueEnd queues the last words. s.mu is held.
func (s *Stream) enqueueEnd(e *StreamError) {
	s.drained = make(chan struct{})
	s.enqueue(s.wire.appendEnd(nil, e))
}

// write writes until the queue is empty, then ends: an idle stream has no writer.
func (s *Stream) write() {
	for {
		s.mu.Lock()
		if len(s.q) == 0 || s.dead {
			s.writing = false
			if s.drained != nil {
				close(s.drained)
			}
			s.mu.Unlock()
			return
		}
		batch, n, conn := s.q, s.queued, s.conn
		s.q, s.spare = s.spare, nil
		if now := time.Now(); s.deadline.Sub(now) < s.a.limits.WriteTimeout/2 {
			// Moved rarely: between half the time and the whole is left.
			s.deadline = now.Add(s.a.limits.WriteTimeout)
			_ = s.raw.SetWriteDeadline(s.deadline)
		}
		s.mu.Unlock()
		err := writeAll(conn, batch, n)
		clear(batch)
		s.mu.Lock()
		s.queued -= n
		if cap(batch) <= 16 {
			s.spare = batch[:0]
		}
		s.mu.Unlock()
		if err != nil {
			s.kill() // the reader notices
		}
	}
}

// gather is how much is put together for one write.
const gather = 16 << 10

var gatherBuffers = sync.Pool{New: func() any { return new([gather]byte) }}

// writeAll writes n bytes in parts. Small parts are put together, as many as
// fill a TLS record; many big ones on TCP go out by writev.
func writeAll(conn net.Conn, parts [][]byte, n int) error {
	if len(parts) == 1 {
		_, err := conn.Write(parts[0])
		return err
	}
	if _, ok := conn.(*net.TCPConn); ok && n > gather/2 {
		v := net.Buffers(parts)
		_, err := v.WriteTo(conn)
		return err
	}
	room := gatherBuffers.Get().(*[gather]byte)
	defer gatherBuffers.Put(room)
	b := room[:0]
	for _, p := range parts {
		for len(p) > 0 {
			k := min(gather-len(b), len(p))
			b, p = append(b, p[:k]...), p[k:]
			if len(b) == gather {
				if _, err := conn.Write(b); err != nil {
					return err
				}
				b = room[:0]
			}
		}
	}
	if len(b) == 0 {
		return nil
	}
	_, err := conn.Write(b)
	return err
}

// writeNow writes during the negotiation, before there is a queue.
func (s *Stream) writeNow(b []byte) error {
	_, err := s.conn.Write(b)
	return err
}

// start hands writing over to the queue, with what is to be sent first. False
// when the stream was closed meanwhile.
func (s *Stream) start() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.dead {
		return false
	}
	s.started = true
	_ = s.raw.SetDeadline(time.Time{})
	return true
}
