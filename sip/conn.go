package sip

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// conn is one TCP, TLS or WebSocket connection. One goroutine reads; a writer
// runs only while there is something to write.
type conn struct {
	stack     *Stack
	transport string
	id        uint64
	flow      Flow
	accepted  bool
	websocket bool
	key       connKey // in the table of reusable connections; zero when not there

	mu      sync.Mutex
	nc      net.Conn // nil while it is being opened
	out     []byte   // waiting to be written
	writing bool     // a writer, or the opener, will take care of out
	ending  bool     // close once out has been written
	closed  bool
	cause   error
	pending *clientTx // requests sent over it without a final response
	hooks   map[int]func()
	hookID  int
}

func (s *Stack) newConn(transport string, nc net.Conn) *conn {
	c := &conn{stack: s, transport: transport, nc: nc}
	c.flow = Flow{stack: s, peer: peer{conn: c}}
	if nc != nil {
		c.flow.addr = addrPort(nc.RemoteAddr())
	}
	return c
}

func (c *conn) netConn() net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc
}

func (c *conn) remoteAddr() net.Addr {
	if nc := c.netConn(); nc != nil {
		return nc.RemoteAddr()
	}
	return net.TCPAddrFromAddrPort(c.flow.addr)
}

func (c *conn) localAddr() net.Addr {
	if nc := c.netConn(); nc != nil {
		return nc.LocalAddr()
	}
	return net.TCPAddrFromAddrPort(c.sentBy())
}

// sentBy is our side as responses on another connection would find it
// (RFC 3261 §18.2.2): where we listen.
func (c *conn) sentBy() netip.AddrPort {
	s := c.stack
	var local netip.AddrPort
	if nc := c.netConn(); nc != nil {
		local = addrPort(nc.LocalAddr())
	}
	if c.accepted {
		return local
	}
	listening := s.listening(c.transport)
	if !listening.IsValid() { // then nobody can open one to us anyway
		listening = netip.AddrPortFrom(anyLike(c.flow.addr.Addr()), local.Port())
	}
	if local.IsValid() {
		return netip.AddrPortFrom(local.Addr(), listening.Port())
	}
	return s.routes.localFor(listening, c.flow.addr.Addr())
}

func anyLike(a netip.Addr) netip.Addr {
	if a.Is4() {
		return netip.IPv4Unspecified()
	}
	return netip.IPv6Unspecified()
}

func (c *conn) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// send queues one message. A reader who takes so little that the queue would
// overflow loses the connection: what it misses cannot be skipped in a stream.
func (c *conn) send(b []byte) error {
	c.mu.Lock()
	if c.closed || c.ending {
		c.mu.Unlock()
		return ErrTransport
	}
	if len(c.out)+len(b) > c.stack.limits.Queue {
		c.mu.Unlock()
		c.close(ErrTransport)
		return ErrTransport
	}
	if c.websocket {
		c.out = appendFrame(c.out, b)
	} else {
		c.out = append(c.out, b...)
	}
	c.startWriter()
	c.mu.Unlock()
	return nil
}

// sendRaw queues octets that are no message, such as a pong.
func (c *conn) sendRaw(b []byte) {
	c.mu.Lock()
	// Whoever floods us with pings and reads no pongs gets none.
	if !c.closed && !c.ending && len(c.out) < 4096 {
		c.out = append(c.out, b...)
		c.startWriter()
	}
	c.mu.Unlock()
}

// startWriter is called with c.mu held.
func (c *conn) startWriter() {
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

// write writes until nothing is left; then it ends, so that an idle connection
// has neither writer nor buffer.
func (c *conn) write() {
	var spare []byte
	for {
		c.mu.Lock()
		b := c.out
		if len(b) == 0 || c.closed {
			c.writing = false
			end := c.ending
			c.out = nil
			c.mu.Unlock()
			if end {
				c.close(nil)
			}
			return
		}
		c.out = spare[:0]
		nc := c.nc
		c.mu.Unlock()

		nc.SetWriteDeadline(time.Now().Add(c.stack.limits.Write))
		if _, err := nc.Write(b); err != nil {
			c.close(err)
		}
		if spare = b; cap(spare) > 16<<10 {
			spare = nil
		}
	}
}

// finish closes after what is queued has been written.
func (c *conn) finish() {
	c.mu.Lock()
	c.ending = true
	if !c.closed && (len(c.out) > 0 || c.writing) {
		c.startWriter()
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	c.close(nil)
}

// close ends the connection once: pending requests fail, hooks run.
func (c *conn) close(cause error) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed, c.cause = true, cause
	nc, hooks, pending := c.nc, c.hooks, c.pending
	c.hooks, c.out = nil, nil
	c.mu.Unlock()

	c.stack.conns.remove(c)
	if nc != nil {
		nc.Close()
	}
	if pending != nil || hooks != nil {
		// From a goroutine of its own: the caller may hold a transaction's lock.
		go func() {
			c.failPending(cause)
			for _, fn := range hooks {
				fn()
			}
		}()
	}
}

func (c *conn) onClose(fn func()) (cancel func()) {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		go fn()
		return func() {}
	}
	if c.hooks == nil {
		c.hooks = make(map[int]func())
	}
	c.hookID++
	id := c.hookID
	c.hooks[id] = fn
	c.mu.Unlock()
	return func() {
		c.mu.Lock()
		delete(c.hooks, id)
		c.mu.Unlock()
	}
}

// attach notes a transaction that is to fail when the connection does; false
// when it already has.
func (c *conn) attach(tx *clientTx) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	tx.connNext, tx.connPrev = c.pending, nil
	if c.pending != nil {
		c.pending.connPrev = tx
	}
	c.pending = tx
	tx.attached = true
	return true
}

func (c *conn) detach(tx *clientTx) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !tx.attached {
		return
	}
	if tx.connPrev != nil {
		tx.connPrev.connNext = tx.connNext
	} else {
		c.pending = tx.connNext
	}
	if tx.connNext != nil {
		tx.connNext.connPrev = tx.connPrev
	}
	tx.connNext, tx.connPrev, tx.attached = nil, nil, false
}

// failPending tells the transactions of a closed connection.
func (c *conn) failPending(cause error) {
	for {
		c.mu.Lock()
		tx := c.pending
		c.mu.Unlock()
		if tx == nil {
			return
		}
		c.detach(tx)
		tx.transportFailed(c, cause)
	}
}
