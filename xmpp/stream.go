package xmpp

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"pharos/markup"
)

// Mode of a connection's start.
type Mode uint8

// The modes.
const (
	StartTLS  Mode = iota // xmpp://: TLS required before SASL
	DirectTLS             // xmpps:// (XEP-0368)
	Insecure              // xmpp+insecure://: SASL without TLS allowed
)

// Stream is an authenticated stream. Next is for one goroutine; the other
// methods are for any.
type Stream struct {
	a      *Acceptor
	raw    net.Conn     // below TLS; deadlines and the end of all go here
	remote net.Addr     // of the peer
	key    netip.Prefix // what is counted for the peer's address; invalid when it has none
	mode   Mode
	secure bool // TLS carries it that is not ours to see

	// Owned by the reading goroutine.
	wire   wire
	ws     *webSocket  // wire again, when it is one
	fresh  bool        // not authenticated; counted as such, under a.mu
	opened bool        // our stream header is out
	ended  bool        // the peer has closed its stream
	broken bool        // reading failed; there is nobody to say goodbye to
	last   markup.Tree // what Next returned
	bucket bucket
	more   func(*markup.Element, error) bool // goes on after a rest; see Read
	over   func(error)                       // ends the stream

	await syscall.RawConn // set before anybody knows the stream; nil: it never rests
	stays bool            // Serve's goroutine is to stay; set before Serve

	descriptor int32       // while the stream rests; see rests
	busy       atomic.Bool // something was read since the last nudge
	asleep     atomic.Bool // nobody reads

	// Set before Serve, constant from then on.
	id, domain, lang, mechanism string
	from                        string // bare, as the client's stream header has it
	user                        JID

	mu       sync.Mutex
	conn     net.Conn  // raw, or TLS over it
	q, spare [][]byte  // to be written; a spare array for it
	queued   int       // bytes in q and with the writer
	deadline time.Time // of writing
	started  bool      // writing is the writer's; before, the negotiation's
	writing  bool      // a writer runs
	ending   bool      // Close was called; nothing more is taken
	dead     bool      // the connection is closed
	nudged   bool      // the reader is to look whether it may rest
	end      *StreamError
	drained  chan struct{} // closed when all is written after Close
	done     chan struct{}
}

// longAgo is a deadline that wakes a reader at once.
var longAgo = time.Unix(1, 0)

// User is the address that was authenticated, without resource.
func (s *Stream) User() JID { return s.user }

// RemoteAddr is the peer's address.
func (s *Stream) RemoteAddr() net.Addr { return s.remote }

// ID is the stream's id as told to the client.
func (s *Stream) ID() string { return s.id }

// Lang is the xml:lang of the client's stream header, "" for none: the language of its
// stanzas that do not name one (RFC 6120 §4.7.4).
func (s *Stream) Lang() string { return s.lang }

// Mechanism is the SASL mechanism that was used.
func (s *Stream) Mechanism() string { return s.mechanism }

// WebSocket tells whether the stream is framed by RFC 7395.
func (s *Stream) WebSocket() bool { return s.ws != nil }

// TLS is the state of the TLS layer, nil without one.
func (s *Stream) TLS() *tls.ConnectionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c, ok := s.conn.(*tls.Conn); ok {
		state := c.ConnectionState()
		return &state
	}
	return nil
}

// Done is closed when the connection is gone.
func (s *Stream) Done() <-chan struct{} { return s.done }

// Next returns the next first-level element: stanzas and others such as <r/> of
// XEP-0198, <active/> of XEP-0352. Its caller judges names and namespaces. White space
// keep-alives are skipped. The element is valid until the next call; the strings in
// it stay. The errors:
//
//   - io.EOF after the peer's </stream:stream>, or after Close(nil);
//   - a *StreamError for faults of the stream (bad XML, limits), after it has
//     been answered; for an error that the peer sent, Received being set; and for
//     the error that Close was called with;
//   - anything else: the connection broke.
//
// After an error Next is not called again.
func (s *Stream) Next() (*markup.Element, error) { return s.take(false) }

// take is Next, and errSilent where the stream may rest and is to.
func (s *Stream) take(mayRest bool) (*markup.Element, error) {
	s.last.Release() // before waiting: an idle stream holds no tree
	s.last = markup.Tree{}
	tree, err := s.wire.tree()
	for err != nil && s.silent(err) {
		if mayRest {
			return nil, errSilent
		}
		tree, err = s.wire.tree()
	}
	s.busy.Store(true)
	s.last = tree
	el := tree.Root()
	if ending, e := s.isEnding(); ending {
		if e != nil {
			return nil, e
		}
		return nil, io.EOF
	}
	if err == nil && !el.Is(NSStreams, "error") {
		if rate := s.a.limits.MaxBytesPerSecond; rate > 0 {
			s.bucket.take(el.End-el.Start, rate, s.a.limits.MaxStanza, s.done)
		}
		return el, nil
	}
	switch {
	case err == nil:
		e := readStreamError(el)
		s.Close(nil)
		return nil, e
	case err == io.EOF:
		s.ended = true
		return nil, err
	}
	if e := streamErrorFor(err); e != nil {
		s.Close(e)
		return nil, e
	}
	s.broken = true
	return nil, err
}

func (s *Stream) isEnding() (bool, *StreamError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ending, s.end
}

// bucket is a token bucket for the rate of bytes read.
type bucket struct {
	debt int // bytes read beyond what time has paid for
	last time.Time
}

// take counts n bytes and waits until the stream is within its rate again.
func (b *bucket) take(n, rate, burst int, done <-chan struct{}) {
	now := time.Now()
	paid := int(min(now.Sub(b.last).Seconds(), 3600) * float64(rate))
	b.debt = max(b.debt-paid, 0) + n
	b.last = now
	if over := b.debt - burst; over > 0 {
		t := time.NewTimer(time.Duration(over) * time.Second / time.Duration(rate))
		defer t.Stop()
		select {
		case <-t.C:
		case <-done:
		}
	}
}

// Close ends the stream; e nil for a normal end. What is queued is written, then
// the error and the close tag, within Limits.CloseTimeout. It does not wait; a
// Next that waits returns. Later calls do nothing.
func (s *Stream) Close(e *StreamError) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending || s.dead {
		return
	}
	s.ending, s.end = true, e
	if s.started {
		s.enqueueEnd(e)
	}
	_ = s.raw.SetReadDeadline(longAgo)
	s.rouse()
}

// finish says goodbye and closes the connection. err is why reading ended.
func (s *Stream) finish(err error) {
	switch {
	case !s.started:
		s.refuse(err)
	case s.broken:
		s.abandon()
	default:
		s.Close(nil)
	}
	timeout := s.a.limits.CloseTimeout
	t := time.NewTimer(timeout)
	defer t.Stop()
	if s.drained != nil && !s.broken {
		select {
		case <-s.drained:
		case <-t.C:
			s.broken = true
		}
	}
	if !s.broken {
		s.linger(timeout)
	} else if s.ws != nil {
		s.ws.sendClose()
	}
	s.kill()
	_ = s.conn.Close()
	s.a.forget(s)
	close(s.done)
}

// abandon drops what is queued: nobody is left to read it.
func (s *Stream) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = true
	clear(s.q)
	s.q = nil
}

// refuse ends a stream that never came to Serve.
func (s *Stream) refuse(err error) {
	e := streamErrorFor(err)
	if ending, why := s.isEnding(); ending {
		e, err = why, io.EOF
	}
	if e == nil && err != io.EOF {
		s.broken = true
		return
	}
	_ = s.raw.SetDeadline(time.Now().Add(s.a.limits.CloseTimeout))
	var b []byte
	if !s.opened {
		// RFC 6120 §4.9.1.2: errors stand inside a stream, even if it is
		// opened only for them.
		b = s.wire.appendOpen(b, s)
	}
	if s.writeNow(s.wire.appendEnd(b, e)) != nil {
		s.broken = true
	}
}

// linger waits for the peer's close tag, so that what we sent last is not
// destroyed by a reset (RFC 6120 §4.4).
func (s *Stream) linger(timeout time.Duration) {
	_ = s.raw.SetReadDeadline(time.Now().Add(timeout))
	if s.ws == nil {
		if c, ok := s.conn.(interface{ CloseWrite() error }); ok {
			_ = c.CloseWrite()
		}
	} else if s.ws.failed() {
		s.ws.sendClose() // what comes has no frames any more
	}
	var err error
	for err == nil && !s.ended && !s.ws.failed() {
		_, err = s.wire.next()
		s.ended = err == io.EOF
	}
	var syntax *markup.SyntaxError
	if s.ws.failed() || errors.As(err, &syntax) {
		var waste [512]byte
		for err = nil; err == nil; {
			_, err = s.conn.Read(waste[:])
		}
	}
	if s.ws != nil && !s.ws.failed() {
		s.ws.sendClose()
	}
}

// kill cuts the connection without a word, and without waiting.
func (s *Stream) kill() {
	s.mu.Lock()
	s.dead = true
	clear(s.q)
	s.q, s.spare, s.queued = nil, nil, 0
	s.mu.Unlock()
	s.rouse() // before, since nothing is heard of a descriptor that is closed
	_ = s.raw.Close()
}
