package server

import (
	"context"
	"net"
)

// Network opens what the server listens on and connects to. Stories put one in
// memory here; there is no control socket then.
type Network interface {
	Listen(network, address string) (net.Listener, error)
	ListenPacket(network, address string) (net.PacketConn, error)
	Dial(ctx context.Context, network, address string) (net.Conn, error)
}

// machine is the Network that the machine has.
type machine struct{}

func (machine) Listen(network, address string) (net.Listener, error) {
	return net.Listen(network, address)
}

func (machine) ListenPacket(network, address string) (net.PacketConn, error) {
	return net.ListenPacket(network, address)
}

func (machine) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, address)
}
