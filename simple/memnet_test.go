package simple

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// memNet is a network in memory: datagrams between packets and pipes to
// listeners, with addresses as real ones have.
type memNet struct {
	mu        sync.Mutex
	packets   map[netip.AddrPort]*memPacket
	listeners map[netip.AddrPort]*memListener
}

func newMemNet() *memNet {
	return &memNet{packets: make(map[netip.AddrPort]*memPacket), listeners: make(map[netip.AddrPort]*memListener)}
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

type memPacket struct {
	net  *memNet
	addr netip.AddrPort
	in   chan datagram
	done chan struct{}
	once sync.Once
}

func (n *memNet) packet(addr string) *memPacket {
	p := &memPacket{net: n, addr: netip.MustParseAddrPort(addr), in: make(chan datagram, 8192), done: make(chan struct{})}
	n.mu.Lock()
	n.packets[p.addr] = p
	n.mu.Unlock()
	return p
}

func (p *memPacket) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-p.in:
		return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

func (p *memPacket) WriteTo(b []byte, to net.Addr) (int, error) {
	dst := to.(*net.UDPAddr).AddrPort()
	p.net.mu.Lock()
	q := p.net.packets[netip.AddrPortFrom(dst.Addr().Unmap(), dst.Port())]
	p.net.mu.Unlock()
	if q != nil {
		select {
		case q.in <- datagram{p.addr, append([]byte(nil), b...)}:
		default:
		}
	}
	return len(b), nil
}

func (p *memPacket) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.net.mu.Lock()
		delete(p.net.packets, p.addr)
		p.net.mu.Unlock()
	})
	return nil
}

func (p *memPacket) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(p.addr) }
func (p *memPacket) SetDeadline(time.Time) error      { return nil }
func (p *memPacket) SetReadDeadline(time.Time) error  { return nil }
func (p *memPacket) SetWriteDeadline(time.Time) error { return nil }

type memListener struct {
	net  *memNet
	addr netip.AddrPort
	in   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (n *memNet) listen(addr string) *memListener {
	l := &memListener{net: n, addr: netip.MustParseAddrPort(addr), in: make(chan net.Conn), done: make(chan struct{})}
	n.mu.Lock()
	n.listeners[l.addr] = l
	n.mu.Unlock()
	return l
}

func (l *memListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *memListener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
	})
	return nil
}

func (l *memListener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

type memConn struct {
	net.Conn
	local, remote netip.AddrPort
}

func (c memConn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c memConn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (n *memNet) dial(from, to string) (net.Conn, error) {
	n.mu.Lock()
	l := n.listeners[netip.MustParseAddrPort(to)]
	n.mu.Unlock()
	if l == nil {
		return nil, errors.New("connection refused")
	}
	a, b := net.Pipe()
	local := netip.MustParseAddrPort(from)
	select {
	case l.in <- memConn{b, l.addr, local}:
		return memConn{a, local, l.addr}, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	}
}
