package memnet

import (
	"net"
	"net/netip"
	"sync"
)

// backlog is how many callers wait for Accept; the next ones are refused.
const backlog = 4096

// Listener takes streams.
type Listener struct {
	net  *Network
	addr netip.AddrPort

	mu      sync.Mutex
	cond    sync.Cond
	waiting []*Conn
	closed  bool
}

func newListener(n *Network, a netip.AddrPort) *Listener {
	l := &Listener{net: n, addr: a}
	l.cond.L = &l.mu
	return l
}

// offer tells whether a caller may wait.
func (l *Listener) offer(c *Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || len(l.waiting) == backlog {
		return false
	}
	l.waiting = append(l.waiting, c)
	l.cond.Signal()
	return true
}

// Accept waits for a caller.
func (l *Listener) Accept() (net.Conn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.closed && len(l.waiting) == 0 {
		l.cond.Wait()
	}
	if l.closed {
		return nil, net.ErrClosed
	}
	return l.take(), nil
}

// Next is the next caller who is there already; nil for none.
func (l *Listener) Next() *Conn {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return nil
	}
	return l.take()
}

func (l *Listener) take() *Conn {
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c
}

// Close frees the address, and ends the connections of those whom nobody has accepted.
func (l *Listener) Close() error {
	l.mu.Lock()
	first, left := !l.closed, l.waiting
	l.closed, l.waiting = true, nil
	l.cond.Broadcast()
	l.mu.Unlock()
	if first {
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
	}
	for _, c := range left {
		c.Close()
	}
	return nil
}

func (l *Listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }
