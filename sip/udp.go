package sip

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// packetSocket is one UDP socket, which several readers may share.
type packetSocket struct {
	stack *Stack
	pc    net.PacketConn
	udp   *net.UDPConn // pc, when it is one: reads and writes without allocation
	local netip.AddrPort
	refs  int // readers, under stack.mu

	lastFlow atomic.Pointer[Flow] // of the last request

	segments    atomic.Bool // the kernel takes trains
	mu          sync.Mutex
	trains      []train // what waits for Stack.Release
	spareTrains [][]train
}

// ServePacket serves UDP on pc until it or the stack is closed. Several
// goroutines may serve several sockets, or the same one. The stack closes pc
// when it is closed.
func (s *Stack) ServePacket(pc net.PacketConn) error {
	u, err := s.openSocket(pc)
	if err != nil {
		pc.Close()
		return err
	}
	defer s.closeSocket(u)
	next := u.receiver()
	for failures := 0; ; {
		err := next()
		switch {
		case err == nil:
			failures = 0
		case s.closed.Load():
			return ErrClosed
		case errors.Is(err, net.ErrClosed) || failures == 100:
			return err
		default: // such as an ICMP error of an earlier datagram
			failures++
			time.Sleep(time.Duration(failures) * time.Millisecond)
		}
	}
}

// receiver makes a func that waits for datagrams and works on those that have come. What
// is answered to them leaves together.
func (u *packetSocket) receiver() func() error {
	if u.udp != nil {
		if r := newBatchReader(u.udp, MaxMessage+1); r != nil {
			return func() error {
				n, err := r.read()
				if n > 0 {
					u.stack.Hold()
					for i := range n {
						u.datagram(r.datagram(i))
					}
					u.stack.Release()
				}
				return err
			}
		}
	}
	buf := make([]byte, MaxMessage+1)
	return func() error {
		n, from, err := u.read(buf)
		if err == nil {
			u.datagram(buf[:n], from)
		}
		return err
	}
}

func (s *Stack) openSocket(pc net.PacketConn) (*packetSocket, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.Load() {
		return nil, ErrClosed
	}
	s.readers.Add(1)
	for _, u := range s.sockets {
		if u.pc == pc {
			u.refs++
			return u, nil
		}
	}
	u := &packetSocket{stack: s, pc: pc, local: addrPort(pc.LocalAddr()), refs: 1}
	u.udp, _ = pc.(*net.UDPConn)
	if u.udp != nil {
		// A burst of answers to one publication of a popular user must fit;
		// the system may grant less.
		u.udp.SetReadBuffer(4 << 20)
		u.udp.SetWriteBuffer(4 << 20)
		u.segments.Store(canSegment(u.udp))
	}
	s.sockets = append(s.sockets[:len(s.sockets):len(s.sockets)], u)
	s.closers[pc] = struct{}{}
	return u, nil
}

func (s *Stack) closeSocket(u *packetSocket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readers.Done()
	if u.refs--; u.refs > 0 {
		return
	}
	delete(s.closers, u.pc)
	for i := range s.sockets {
		if s.sockets[i] == u {
			s.sockets = append(s.sockets[:i:i], s.sockets[i+1:]...)
			break
		}
	}
}

// socketAt finds the socket bound to local.
func (s *Stack) socketAt(local netip.AddrPort) *packetSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.sockets {
		if u.local == local {
			return u
		}
	}
	return nil
}

// socketFor picks a socket to send to remote from: one of its address family.
func (s *Stack) socketFor(remote netip.Addr) *packetSocket {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.sockets {
		local := u.local.Addr()
		if local.Is4() == remote.Is4() && (local.IsLoopback() == remote.IsLoopback() || local.IsUnspecified()) {
			return u
		}
	}
	for _, u := range s.sockets {
		local := u.local.Addr()
		if local.Is4() == remote.Is4() || local == netip.IPv6Unspecified() {
			return u
		}
	}
	return nil
}

func (u *packetSocket) read(buf []byte) (int, netip.AddrPort, error) {
	if u.udp != nil {
		n, from, err := u.udp.ReadFromUDPAddrPort(buf)
		return n, unmap(from), err
	}
	n, from, err := u.pc.ReadFrom(buf)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, addrPort(from), nil
}

// send sends one message, or gathers it while the stack is held: then nil is
// returned whatever comes of it. tx is that of a request, and told.
func (u *packetSocket) send(b []byte, to netip.AddrPort, tx *clientTx) error {
	if u.stack.held.Load() > 0 && u.gather(b, to, tx) {
		return nil
	}
	return u.write(b, to)
}

// write writes one datagram: whole messages only, so that a failure concerns
// one message.
func (u *packetSocket) write(b []byte, to netip.AddrPort) error {
	if u.udp != nil {
		_, err := u.udp.WriteToUDPAddrPort(b, to)
		return err
	}
	_, err := u.pc.WriteTo(b, net.UDPAddrFromAddrPort(to))
	return err
}

// datagram takes what arrived in one piece. Nothing is remembered of a source
// before its octets have parsed as a request.
func (u *packetSocket) datagram(b []byte, from netip.AddrPort) {
	if !from.IsValid() || from.Port() == 0 {
		return
	}
	if len(b) > 0 && b[0] < 2 { // RFC 5626 §8: told from SIP by the first octet
		if answer := stunAnswer(b, from); answer != nil {
			u.send(answer, from, nil)
		}
		return
	}
	if blank(b) { // a keep-alive of NAT bindings; has no answer over UDP
		return
	}
	u.stack.receive(b, peer{socket: u, addr: from})
}

func blank(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != ' ' && c != 0 {
			return false
		}
	}
	return true
}

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

// addrPort reads the address of any net.Addr; the zero AddrPort when it has
// none, as that of a pipe.
func addrPort(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case *net.UDPAddr:
		return unmap(a.AddrPort())
	case *net.TCPAddr:
		return unmap(a.AddrPort())
	case nil:
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return unmap(ap)
}
