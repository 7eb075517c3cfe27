// Package memnet is a network in memory, for tests of programs that speak over one: datagrams and streams between addresses
// that no machine has, under the clock of testing/synctest, with the faults that a test asks for.
//
// It keeps order, and loses nothing but what it is told to and what a socket has no room for.
package memnet

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"
)

// Room is how many bytes a stream of a Network holds in each direction, unless SetRoom says otherwise.
const Room = 256 << 10

// firstPort is the first of those that are given to callers who name none.
const firstPort = 40001

// Network is sockets and listeners that reach one another by their addresses, which are of the form "192.0.2.1:5060".
// All its methods may be called from any goroutine.
type Network struct {
	mu        sync.Mutex
	room      int
	packets   map[netip.AddrPort]*PacketConn
	listeners map[netip.AddrPort]*Listener
	conns     []*Conn // that are open, in the order in which they were made
	port      uint16
	dialed    []string
	silent    map[netip.AddrPort]bool
	down      map[netip.Addr]bool
	lose      func(from, to netip.AddrPort, b []byte) bool
}

// New is a network without faults on which nobody listens.
func New() *Network {
	return &Network{room: Room, port: firstPort, packets: make(map[netip.AddrPort]*PacketConn), listeners: make(map[netip.AddrPort]*Listener),
		silent: make(map[netip.AddrPort]bool), down: make(map[netip.Addr]bool)}
}

func failed(op, network string, why error) error {
	return &net.OpError{Op: op, Net: network, Err: why}
}

// ListenPacket opens a socket for datagrams. An address in use is an error.
func (n *Network) ListenPacket(network, address string) (net.PacketConn, error) {
	p, err := n.listenPacket(network, address)
	if err != nil {
		return nil, err
	}
	return p, nil
}

func (n *Network) listenPacket(network, address string) (*PacketConn, error) {
	return open(n, n.packets, newPacketConn, network, address)
}

// MustListenPacket is ListenPacket for an address that the test knows to be right and free; else it panics.
func (n *Network) MustListenPacket(address string) *PacketConn {
	p, err := n.listenPacket("udp", address)
	if err != nil {
		panic(err)
	}
	return p
}

// Listen opens a listener for streams. An address in use is an error.
func (n *Network) Listen(network, address string) (net.Listener, error) {
	l, err := n.listen(network, address)
	if err != nil {
		return nil, err
	}
	return l, nil
}

func (n *Network) listen(network, address string) (*Listener, error) {
	return open(n, n.listeners, newListener, network, address)
}

// open puts something new at an address where nothing of its kind is.
func open[T any](n *Network, there map[netip.AddrPort]*T, fresh func(*Network, netip.AddrPort) *T, network, address string) (*T, error) {
	a, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, failed("listen", network, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if there[a] != nil {
		return nil, failed("listen", network, syscall.EADDRINUSE)
	}
	there[a] = fresh(n, a)
	return there[a], nil
}

// MustListen is Listen for an address that the test knows to be right and free; else it panics.
func (n *Network) MustListen(address string) *Listener {
	l, err := n.listen("tcp", address)
	if err != nil {
		panic(err)
	}
	return l
}

// Dial connects from one address to a listener at another. It does not wait for Accept. Port 0 of from stands for one that
// has not been used yet. It fails where nobody listens, and for who is silent when ctx ends.
func (n *Network) Dial(ctx context.Context, from, to string) (*Conn, error) {
	local, err := netip.ParseAddrPort(from)
	if err != nil {
		return nil, failed("dial", "tcp", err)
	}
	remote, err := netip.ParseAddrPort(to)
	if err != nil {
		return nil, failed("dial", "tcp", err)
	}
	n.mu.Lock()
	n.dialed = append(n.dialed, to)
	if local.Port() == 0 {
		local = netip.AddrPortFrom(local.Addr(), n.port)
		n.port = max(n.port+1, firstPort)
	}
	if n.silent[remote] {
		n.mu.Unlock()
		<-ctx.Done()
		return nil, failed("dial", "tcp", ctx.Err())
	}
	defer n.mu.Unlock()
	if err := ctx.Err(); err != nil {
		return nil, failed("dial", "tcp", err)
	}
	l := n.listeners[remote]
	if l == nil || n.down[local.Addr()] || n.down[remote.Addr()] {
		return nil, failed("dial", "tcp", syscall.ECONNREFUSED)
	}
	near, far := Pipe(n.room)
	near.net, near.local, near.remote = n, net.TCPAddrFromAddrPort(local), net.TCPAddrFromAddrPort(remote)
	far.net, far.local, far.remote = n, near.remote, near.local
	if !l.offer(far) {
		return nil, failed("dial", "tcp", syscall.ECONNREFUSED)
	}
	n.conns = append(n.conns, near, far)
	return near, nil
}

// Dialed is the addresses of all calls of Dial so far, in their order, whatever came of them.
func (n *Network) Dialed() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dialed)
}

// SetRoom says how many bytes streams that are made from now on hold in each direction, at least 1: with a few, a writer waits
// for who does not read.
func (n *Network) SetRoom(bytes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.room = bytes
}

// Silence has who dials this address get no answer, as behind a firewall.
func (n *Network) Silence(address netip.AddrPort) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.silent[address] = true
}

// Lose has the datagrams lost for which lose is true. It is called with each, one at a time, and must neither use the network
// nor keep b.
func (n *Network) Lose(lose func(from, to netip.AddrPort, b []byte) bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lose = lose
}

// Cut takes hosts off the network in one moment: their connections break, their datagrams and those to them are lost.
func (n *Network) Cut(hosts ...netip.Addr) {
	n.mu.Lock()
	for _, h := range hosts {
		n.down[h] = true
	}
	var broken []*Conn
	for _, c := range n.conns {
		if slices.ContainsFunc(hosts, c.of) {
			broken = append(broken, c)
		}
	}
	n.mu.Unlock()
	for _, c := range broken { // first nobody can write any more, then everybody sees it
		c.out.set(&c.out.ended)
	}
	for _, c := range broken {
		c.Close()
	}
}

// Mend ends what Cut began. Connections do not come back.
func (n *Network) Mend(hosts ...netip.Addr) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range hosts {
		delete(n.down, h)
	}
}

// Host is the network as the program at one address has it.
type Host struct {
	*Network
	IP netip.Addr
}

// Dial connects from a port of the host's that has not been used yet.
func (h Host) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	c, err := h.Network.Dial(ctx, netip.AddrPortFrom(h.IP, 0).String(), address)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// Host is the network as seen from an IP address, which has to be one.
func (n *Network) Host(ip string) Host { return Host{n, netip.MustParseAddr(ip)} }
