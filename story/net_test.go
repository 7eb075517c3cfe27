package story

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"time"
)

// network is a network in memory: server.Network for the server, the same for
// the actors. Its connections have buffers, addresses and deadlines as TCP's do.
type network struct {
	mu        sync.Mutex
	packets   map[netip.AddrPort]*packetConn
	listeners map[netip.AddrPort]*listener
	conns     []*conn
	ports     uint16
	down      map[netip.Addr]bool // servers that are cut off
}

func newNetwork() *network {
	return &network{packets: map[netip.AddrPort]*packetConn{}, listeners: map[netip.AddrPort]*listener{}, ports: 40000,
		down: map[netip.Addr]bool{}}
}

func (n *network) ListenPacket(_, address string) (net.PacketConn, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.packets[a] != nil {
		return nil, errors.New("address already in use")
	}
	p := &packetConn{net: n, addr: a, in: make(chan datagram, 4096), done: make(chan struct{})}
	n.packets[a] = p
	return p, nil
}

func (n *network) Listen(_, address string) (net.Listener, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.listeners[a] != nil {
		return nil, errors.New("address already in use")
	}
	l := &listener{net: n, addr: a, in: make(chan net.Conn, 128), done: make(chan struct{})}
	n.listeners[a] = l
	return l, nil
}

// host is the network as the server at one address sees it.
type host struct {
	*network
	ip netip.Addr
}

// Dial comes from the server's own address.
func (h host) Dial(_ context.Context, _, address string) (net.Conn, error) {
	return h.dial(h.ip, address)
}

func (n *network) dial(from netip.Addr, address string) (net.Conn, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	n.ports++
	local := netip.AddrPortFrom(from, n.ports)
	l := n.listeners[a]
	n.mu.Unlock()
	if l == nil || n.isDown(from) || n.isDown(a.Addr()) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	}
	up, down := newPipe(), newPipe()
	near := &conn{r: down, w: up, local: local, remote: a}
	far := &conn{r: up, w: down, local: a, remote: local}
	n.mu.Lock()
	n.conns = append(n.conns, near, far)
	n.mu.Unlock()
	select {
	case l.in <- far:
		return near, nil
	case <-l.done:
		return nil, errors.New("connection refused")
	}
}

// cut takes a server off the network in a moment: its connections break, its
// datagrams and those to it are lost. mend ends that, for the next server.
func (n *network) cut(ips ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ip := range ips {
		n.down[ip] = true
	}
	var broken, whole []*conn
	for _, c := range n.conns {
		if slices.Contains(ips, c.local.Addr()) || slices.Contains(ips, c.remote.Addr()) {
			broken = append(broken, c)
		} else {
			whole = append(whole, c)
		}
	}
	for _, c := range broken { // first nobody can write any more, then everybody sees it
		c.w.mu.Lock()
		c.w.eof = true
		c.w.mu.Unlock()
	}
	for _, c := range broken {
		c.Close()
	}
	n.conns = whole
}

func (n *network) mend(ip netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.down, ip)
}

func (n *network) isDown(ip netip.Addr) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.down[ip]
}

type datagram struct {
	from netip.AddrPort
	b    []byte
}

type packetConn struct {
	net  *network
	addr netip.AddrPort
	in   chan datagram
	done chan struct{}
	once sync.Once
}

func (p *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	select {
	case d := <-p.in:
		return copy(b, d.b), net.UDPAddrFromAddrPort(d.from), nil
	case <-p.done:
		return 0, nil, net.ErrClosed
	}
}

// WriteTo loses what nobody listens for, as UDP does.
func (p *packetConn) WriteTo(b []byte, to net.Addr) (int, error) {
	select {
	case <-p.done:
		return 0, net.ErrClosed
	default:
	}
	a, err := netip.ParseAddrPort(to.String())
	if err != nil {
		return 0, err
	}
	p.net.mu.Lock()
	a = netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
	q := p.net.packets[a]
	lost := p.net.down[a.Addr()] || p.net.down[p.addr.Addr()]
	p.net.mu.Unlock()
	if q != nil && !lost {
		select {
		case q.in <- datagram{p.addr, append([]byte(nil), b...)}:
		default:
		}
	}
	return len(b), nil
}

func (p *packetConn) Close() error {
	p.once.Do(func() {
		close(p.done)
		p.net.mu.Lock()
		delete(p.net.packets, p.addr)
		p.net.mu.Unlock()
	})
	return nil
}

func (p *packetConn) LocalAddr() net.Addr              { return net.UDPAddrFromAddrPort(p.addr) }
func (p *packetConn) SetDeadline(time.Time) error      { return nil }
func (p *packetConn) SetReadDeadline(time.Time) error  { return nil }
func (p *packetConn) SetWriteDeadline(time.Time) error { return nil }

type listener struct {
	net  *network
	addr netip.AddrPort
	in   chan net.Conn
	done chan struct{}
	once sync.Once
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.in:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		close(l.done)
		l.net.mu.Lock()
		delete(l.net.listeners, l.addr)
		l.net.mu.Unlock()
	})
	return nil
}

func (l *listener) Addr() net.Addr { return net.TCPAddrFromAddrPort(l.addr) }

// pipe is one direction of a connection, with a bounded buffer.
type pipe struct {
	mu            sync.Mutex
	cond          *sync.Cond
	b             []byte
	eof           bool // the writer has closed
	broken        bool // the reader has closed
	rDead, wDead  time.Time
	rTimer, wWake *time.Timer
}

const pipeRoom = 256 << 10

func newPipe() *pipe {
	p := new(pipe)
	p.cond = sync.NewCond(&p.mu)
	return p
}

func (p *pipe) wake() {
	p.mu.Lock()
	p.cond.Broadcast()
	p.mu.Unlock()
}

func past(t time.Time) bool { return !t.IsZero() && !time.Now().Before(t) }

func (p *pipe) read(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		switch {
		case p.broken:
			return 0, net.ErrClosed
		case past(p.rDead):
			return 0, os.ErrDeadlineExceeded
		case len(p.b) > 0:
			n := copy(b, p.b)
			p.b = p.b[n:]
			p.cond.Broadcast()
			return n, nil
		case p.eof:
			return 0, io.EOF
		}
		p.cond.Wait()
	}
}

func (p *pipe) write(b []byte) (n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(b) > 0 {
		switch {
		case p.eof:
			return n, net.ErrClosed
		case p.broken:
			return n, errors.New("connection reset")
		case past(p.wDead):
			return n, os.ErrDeadlineExceeded
		case len(p.b) < pipeRoom:
			k := min(len(b), pipeRoom-len(p.b))
			p.b = append(p.b, b[:k]...)
			b, n = b[k:], n+k
			p.cond.Broadcast()
			continue
		}
		p.cond.Wait()
	}
	return n, nil
}

func (p *pipe) deadline(at *time.Time, timer **time.Timer, t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*at = t
	if *timer != nil {
		(*timer).Stop()
		*timer = nil
	}
	if !t.IsZero() {
		*timer = time.AfterFunc(time.Until(t), p.wake)
	}
	p.cond.Broadcast()
}

// conn is one end of a TCP connection.
type conn struct {
	r, w          *pipe
	local, remote netip.AddrPort
}

func (c *conn) Read(b []byte) (int, error)  { return c.r.read(b) }
func (c *conn) Write(b []byte) (int, error) { return c.w.write(b) }

func (c *conn) Close() error {
	c.w.mu.Lock()
	c.w.eof = true
	if c.w.wWake != nil {
		c.w.wWake.Stop()
	}
	c.w.cond.Broadcast()
	c.w.mu.Unlock()
	c.r.mu.Lock()
	c.r.broken = true
	if c.r.rTimer != nil {
		c.r.rTimer.Stop()
	}
	c.r.cond.Broadcast()
	c.r.mu.Unlock()
	return nil
}

func (c *conn) LocalAddr() net.Addr  { return net.TCPAddrFromAddrPort(c.local) }
func (c *conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.remote) }

func (c *conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

func (c *conn) SetReadDeadline(t time.Time) error {
	c.r.deadline(&c.r.rDead, &c.r.rTimer, t)
	return nil
}

func (c *conn) SetWriteDeadline(t time.Time) error {
	c.w.deadline(&c.w.wDead, &c.w.wWake, t)
	return nil
}
