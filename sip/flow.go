package sip

import (
	"encoding/base64"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync/atomic"
)

// peer is where a message came from, as a value: a connection, or an address
// at one of our UDP sockets.
type peer struct {
	conn   *conn         // nil for UDP
	socket *packetSocket // nil for connections
	addr   netip.AddrPort
}

func (p peer) transport() string {
	if p.conn != nil {
		return p.conn.transport
	}
	return "UDP"
}

// reliable tells whether the transport does the retransmissions.
func (p peer) reliable() bool { return p.conn != nil }

// send copies b out.
func (p peer) send(b []byte) error { return p.sendFor(b, nil) }

// sendFor sends for a client transaction, which may hear of a failure later.
func (p peer) sendFor(b []byte, tx *clientTx) error {
	if p.conn != nil {
		return p.conn.send(b)
	}
	return p.socket.send(b, p.addr, tx)
}

// Flow is where a request came from: one connection, or a UDP remote address
// at one of our sockets. Requests sent over it reach the same client (RFC 5626).
type Flow struct {
	stack *Stack
	peer
	token atomic.Pointer[string] // of UDP, once it was asked for
}

// flow makes the Flow of p; that of a connection is always the same one, and
// who sends several datagrams in a row, as a proxy does, has one for them.
func (s *Stack) flow(p peer) *Flow {
	if p.conn != nil {
		return &p.conn.flow
	}
	if f := p.socket.lastFlow.Load(); f != nil && f.addr == p.addr {
		return f
	}
	f := &Flow{stack: s, peer: p}
	p.socket.lastFlow.Store(f)
	return f
}

// Transport is UDP, TCP, TLS, WS or WSS.
func (f *Flow) Transport() string { return f.transport() }

// RemoteAddr is the address that we see, which may be a NAT's.
func (f *Flow) RemoteAddr() net.Addr {
	if f.conn != nil {
		return f.conn.remoteAddr()
	}
	return net.UDPAddrFromAddrPort(f.addr)
}

// Remote is RemoteAddr as a value, which costs nothing; invalid where a connection
// has no IP address.
func (f *Flow) Remote() netip.AddrPort { return f.addr }

// LocalAddr is our side's address. For a UDP socket bound to no address it is
// the one that the system uses towards the peer.
func (f *Flow) LocalAddr() net.Addr {
	if f.conn != nil {
		return f.conn.localAddr()
	}
	if a := f.stack.routes.localFor(f.socket.local, f.addr.Addr()); a.IsValid() {
		return net.UDPAddrFromAddrPort(a)
	}
	return f.socket.pc.LocalAddr()
}

// Local is LocalAddr as a value; invalid where our side has no IP address.
func (f *Flow) Local() netip.AddrPort {
	if f.conn != nil {
		return addrPort(f.conn.localAddr())
	}
	if a := f.stack.routes.localFor(f.socket.local, f.addr.Addr()); a.IsValid() {
		return a
	}
	return addrPort(f.socket.pc.LocalAddr())
}

// Alive is false once the connection has ended. A UDP flow is always alive.
func (f *Flow) Alive() bool { return f.conn == nil || !f.conn.isClosed() }

// OnClose registers fn to be called once when the connection ends, from a
// goroutine of the stack; at once when it already has. The returned func
// unregisters. For UDP flows it never fires.
func (f *Flow) OnClose(fn func()) (cancel func()) {
	if f.conn == nil {
		return func() {}
	}
	return f.conn.onClose(fn)
}

// Token is a string that names the flow as long as this process lives and, for
// UDP, beyond: FlowByToken finds it again (RFC 5626 §5.2). Used in stored
// dialogs, so that a restarted server reaches a UDP client behind NAT. Those of
// UDP flows begin with "u.". A token holds only letters, digits, '-', '_' and
// '.', but is not protected against changes: it is not to be handed to clients.
func (f *Flow) Token() string {
	if f.conn != nil {
		return "c." + f.stack.instance + "." + strconv.FormatUint(f.conn.id, 36)
	}
	if t := f.token.Load(); t != nil {
		return *t
	}
	local, _ := f.socket.local.MarshalBinary()
	remote, _ := f.addr.MarshalBinary()
	enc := base64.RawURLEncoding
	t := "u." + enc.EncodeToString(local) + "." + enc.EncodeToString(remote)
	f.token.Store(&t)
	return t
}

// FlowByToken finds the flow that Token named: a live connection of this
// process, or a UDP peer at a socket that is served (again) at the same local
// address: after a restart, once ServePacket has begun.
func (s *Stack) FlowByToken(token string) (*Flow, bool) {
	kind, rest, _ := strings.Cut(token, ".")
	a, b, ok := strings.Cut(rest, ".")
	if !ok {
		return nil, false
	}
	switch kind {
	case "c":
		id, err := strconv.ParseUint(b, 36, 64)
		if err != nil || a != s.instance {
			return nil, false
		}
		if c := s.conns.get(id); c != nil {
			return &c.flow, true
		}
	case "u":
		local, remote, ok := tokenAddr(a), tokenAddr(b), true
		if ok = local.IsValid() && remote.IsValid(); !ok {
			return nil, false
		}
		if u := s.socketAt(local); u != nil {
			return &Flow{stack: s, peer: peer{socket: u, addr: remote}}, true
		}
	}
	return nil, false
}

// FlowLike is FlowByToken for a token that another stack has given: the peer of a UDP
// flow is reached from a socket here, as far as no NAT minds. Connections are their
// stack's own.
func (s *Stack) FlowLike(token string) (*Flow, bool) {
	if f, ok := s.FlowByToken(token); ok {
		return f, true
	}
	kind, rest, _ := strings.Cut(token, ".")
	_, b, _ := strings.Cut(rest, ".")
	remote := tokenAddr(b)
	if kind != "u" || !remote.IsValid() {
		return nil, false
	}
	if u := s.socketFor(remote.Addr()); u != nil {
		return &Flow{stack: s, peer: peer{socket: u, addr: remote}}, true
	}
	return nil, false
}

func tokenAddr(s string) (a netip.AddrPort) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || a.UnmarshalBinary(b) != nil {
		return netip.AddrPort{}
	}
	return a
}
