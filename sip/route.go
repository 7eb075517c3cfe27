package sip

import (
	"net"
	"net/netip"
	"sync"
)

// routeTable remembers which of our addresses the system uses towards a
// network, for sockets that are bound to none. Via and Contact need it.
type routeTable struct {
	mu    sync.RWMutex
	local map[netip.Prefix]netip.Addr
}

// maxRoutes bounds the table; beyond it all is asked for again.
const maxRoutes = 4096

func (t *routeTable) init() { t.local = make(map[netip.Prefix]netip.Addr) }

// localFor is local itself when it is bound to an address, else with the
// address that datagrams to remote leave from.
func (t *routeTable) localFor(local netip.AddrPort, remote netip.Addr) netip.AddrPort {
	if !local.IsValid() || !local.Addr().IsUnspecified() {
		return local
	}
	bits := 24
	if remote.Is6() {
		bits = 64
	}
	net, err := remote.WithZone("").Prefix(bits)
	if err != nil {
		return local
	}
	t.mu.RLock()
	a, ok := t.local[net]
	t.mu.RUnlock()
	if !ok {
		a = askRoute(remote)
		t.mu.Lock()
		if len(t.local) >= maxRoutes {
			clear(t.local)
		}
		t.local[net] = a
		t.mu.Unlock()
	}
	if !a.IsValid() {
		return local
	}
	return netip.AddrPortFrom(a, local.Port())
}

// askRoute connects a UDP socket, which sends nothing, and looks at its address.
func askRoute(remote netip.Addr) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer c.Close()
	return addrPort(c.LocalAddr()).Addr().WithZone("")
}
