package memnet

import (
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// queued is how many datagrams a socket holds; what comes then is lost.
const queued = 8192

type datagram struct {
	from netip.AddrPort
	b    []byte
}

// PacketConn is a socket for datagrams.
type PacketConn struct {
	net  *Network
	addr netip.AddrPort

	mu     sync.Mutex
	cond   sync.Cond
	in     []datagram
	closed bool
	dead   deadline // of reading
}

func newPacketConn(n *Network, a netip.AddrPort) *PacketConn {
	p := &PacketConn{net: n, addr: a}
	p.cond.L = &p.mu
	return p
}

// ReadFrom waits for a datagram. What does not fit into b is cut off.
func (p *PacketConn) ReadFrom(b []byte) (int, net.Addr, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.closed:
			return 0, nil, net.ErrClosed
		case p.dead.passed():
			return 0, nil, os.ErrDeadlineExceeded
		case len(p.in) > 0:
			d := p.take()
			return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
		}
		p.cond.Wait()
	}
}

// Next is the next datagram that has come already; nil for none.
func (p *PacketConn) Next() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.in) == 0 {
		return nil
	}
	return p.take().b
}

func (p *PacketConn) take() datagram {
	d := p.in[0]
	p.in = p.in[1:]
	return d
}

// WriteTo loses what nobody listens for, as UDP does.
func (p *PacketConn) WriteTo(b []byte, to net.Addr) (int, error) {
	p.mu.Lock()
	closed := p.closed
	p.mu.Unlock()
	if closed {
		return 0, net.ErrClosed
	}
	dst, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return 0, failed("write", "udp", err)
	}
	dst = netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())
	n := p.net
	n.mu.Lock()
	q := n.packets[dst]
	lost := n.down[p.addr.Addr()] || n.down[dst.Addr()] || n.lose != nil && n.lose(p.addr, dst, b)
	n.mu.Unlock()
	if q != nil && !lost {
		q.put(datagram{p.addr, append([]byte{}, b...)})
	}
	return len(b), nil
}

func (p *PacketConn) put(d datagram) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed && len(p.in) < queued {
		p.in = append(p.in, d)
		p.cond.Broadcast()
	}
}

// Close frees the address.
func (p *PacketConn) Close() error {
	p.mu.Lock()
	first := !p.closed
	p.closed = true
	p.dead.stop()
	p.cond.Broadcast()
	p.mu.Unlock()
	if first {
		p.net.mu.Lock()
		delete(p.net.packets, p.addr)
		p.net.mu.Unlock()
	}
	return nil
}

// AddrPort is the socket's address.
func (p *PacketConn) AddrPort() netip.AddrPort { return p.addr }

func (p *PacketConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(p.addr) }

func (p *PacketConn) SetDeadline(t time.Time) error { return p.SetReadDeadline(t) }

func (p *PacketConn) SetReadDeadline(t time.Time) error {
	p.dead.set(&p.cond, t)
	return nil
}

// SetWriteDeadline does nothing: writing does not wait.
func (p *PacketConn) SetWriteDeadline(time.Time) error { return nil }
