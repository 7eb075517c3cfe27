package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// ServeListener serves TCP ("TCP") or TLS ("TLS", l already does the handshake
// lazily as tls.NewListener gives it) until l or the stack is closed. The
// stack closes l when it is closed.
func (s *Stack) ServeListener(l net.Listener, transport string) error {
	if transport != "TCP" && transport != "TLS" {
		l.Close()
		return fmt.Errorf("%w: transport %q", ErrRequest, transport)
	}
	if !s.own(l) {
		l.Close()
		return ErrClosed
	}
	defer s.disown(l)
	s.listens(transport, addrPort(l.Addr()))
	for failures := 0; ; {
		nc, err := l.Accept()
		switch {
		case err == nil:
			failures = 0
			s.accept(nc, transport)
		case s.closed.Load():
			return ErrClosed
		case errors.Is(err, net.ErrClosed) || failures == 100:
			return err
		default: // such as too many open files
			failures++
			time.Sleep(time.Duration(failures) * 10 * time.Millisecond)
		}
	}
}

// listens notes where a transport is served, for sent-by.
func (s *Stack) listens(transport string, at netip.AddrPort) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.ports[transport]; !ok {
		s.ports[transport] = at
	}
}

func (s *Stack) listening(transport string) netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ports[transport]
}

func (s *Stack) accept(nc net.Conn, transport string) {
	c := s.newConn(transport, nc)
	c.accepted = true
	if !s.conns.add(c, &s.limits) {
		s.count.refused.Add(1)
		nc.Close()
		return
	}
	if !s.start(c.readStream) {
		c.close(ErrClosed)
	}
}

// start runs what Close waits for; false once closed.
func (s *Stack) start(run func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return false
	}
	s.readers.Add(1)
	go func() {
		defer s.readers.Done()
		run()
	}()
	return true
}

// readStream reads messages until the connection ends (RFC 3261 §18.3).
func (c *conn) readStream() {
	limits := &c.stack.limits
	if t, ok := c.nc.(*tls.Conn); ok && c.accepted {
		ctx, cancel := context.WithTimeout(context.Background(), limits.Handshake)
		err := t.HandshakeContext(ctx)
		cancel()
		if err != nil {
			c.close(err)
			return
		}
	}
	f := Framer{Max: limits.MessageSize}
	w := newReadWatch(c)
	for {
		n, err := f.ReadOnce(c.nc)
		if n > 0 && !c.takeStream(&f, w) {
			return
		}
		if err != nil {
			c.close(err)
			return
		}
		w.next(f.Buffered() > 2) // up to two octets may be a pong
	}
}

// takeStream takes all whole messages; false when the connection is given up.
func (c *conn) takeStream(f *Framer, w *readWatch) bool {
	for {
		b, ping, err := f.Next()
		switch {
		case err != nil:
			c.stack.refuse(err, peer{conn: c, addr: c.flow.addr})
			c.finish()
			return false
		case ping: // RFC 5626 §4.4.1
			c.sendRaw([]byte("\r\n"))
			w.whole()
		case b == nil:
			return true
		default:
			if !c.stack.receive(b, peer{conn: c, addr: c.flow.addr}) {
				// Not even answerable: whoever speaks so is no SIP element.
				c.finish()
				return false
			}
			w.whole()
		}
	}
}

// readWatch keeps the read deadline of a connection: short until it has shown
// a first message and while a message is incomplete, long in between.
type readWatch struct {
	c       *conn
	greeted bool      // it has sent something whole
	partial bool      // a message has begun
	got     bool      // something whole came since next
	idle    time.Time // the idle deadline last set
}

func newReadWatch(c *conn) *readWatch {
	w := &readWatch{c: c, greeted: !c.accepted}
	if w.greeted {
		w.next(false)
	} else {
		c.nc.SetReadDeadline(time.Now().Add(c.stack.limits.FirstMessage))
	}
	return w
}

func (w *readWatch) whole() { w.greeted, w.got = true, true }

// next sets the deadline for the next read.
func (w *readWatch) next(partial bool) {
	if !w.greeted {
		return
	}
	l := &w.c.stack.limits
	switch {
	case partial:
		if !w.partial || w.got { // from its first octet on: not renewed by each further one
			w.c.nc.SetReadDeadline(time.Now().Add(l.Message))
		}
		w.idle = time.Time{}
	default:
		// Setting a deadline costs: once for each hundredth of the idle time.
		if due := time.Now().Add(l.Idle); due.Sub(w.idle) > l.Idle/100 {
			w.idle = due
			w.c.nc.SetReadDeadline(due)
		}
	}
	w.partial, w.got = partial, false
}
