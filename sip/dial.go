package sip

import (
	"context"
	"crypto/tls"
	"net"
	"net/netip"
	"sync"
	"time"
)

// connTo returns a connection for requests to a target: one that is there, or
// a new one that is being opened and takes messages meanwhile.
func (s *Stack) connTo(t Target) *conn {
	key := connKey{transport: t.Transport, addr: t.Addr}
	if t.Transport == "TLS" {
		key.name = t.Host
	}
	c, open := s.conns.findOrAdd(key, &s.limits, func() *conn {
		c := s.newConn(t.Transport, nil)
		c.flow.addr = t.Addr
		c.writing = true // the opener writes first
		return c
	})
	if open && !s.start(func() { c.open(t) }) {
		s.conns.dialed()
		c.close(ErrClosed)
	}
	return c
}

// open dials, then reads until the connection ends.
func (c *conn) open(t Target) {
	s := c.stack
	ctx, cancel := context.WithTimeout(s.context, s.limits.Dial)
	nc, err := s.dial(ctx, "tcp", t.Addr.String())
	if err == nil && t.Transport == "TLS" {
		nc, err = s.handshake(ctx, nc, t)
	}
	cancel()
	s.conns.dialed()
	if err != nil {
		c.close(err)
		return
	}
	c.mu.Lock()
	c.nc = nc
	closed := c.closed
	c.mu.Unlock()
	if closed {
		nc.Close()
		return
	}
	go c.write()
	c.readStream()
}

// handshake checks the certificate against the domain that was asked for, not
// against the host that SRV named (RFC 5922 §7.1).
func (s *Stack) handshake(ctx context.Context, nc net.Conn, to Target) (net.Conn, error) {
	var cfg *tls.Config
	if s.tlsFor != nil {
		cfg = s.tlsFor(to)
	}
	if cfg == nil {
		cfg = s.tls.Clone()
	}
	if cfg.ServerName == "" {
		cfg.ServerName = to.Host
	}
	t := tls.Client(nc, cfg)
	if err := t.HandshakeContext(ctx); err != nil {
		nc.Close()
		return nil, err
	}
	return t, nil
}

// noteAlias makes the connection of a request reusable towards its sent-by
// where the client asks for it (RFC 5923 §5). Whoever says alias claims an
// address: over TLS a certificate has to prove it, and over TCP the address must
// be the one that the connection itself comes from.
func (c *conn) noteAlias(via *Via) {
	if !c.accepted || c.websocket || c.key != (connKey{}) {
		return
	}
	if _, ok := via.Params.Get("alias"); !ok {
		return
	}
	port := uint16(via.Port)
	key := connKey{transport: c.transport}
	switch c.transport {
	case "TLS":
		t, ok := c.nc.(*tls.Conn)
		if port == 0 {
			port = 5061
		}
		if !ok || len(t.ConnectionState().VerifiedChains) == 0 ||
			t.ConnectionState().PeerCertificates[0].VerifyHostname(via.Host) != nil {
			return
		}
		key.name = via.Host
	default:
		if port == 0 {
			port = 5060
		}
		if !hostIs(via.Host, c.flow.addr.Addr()) {
			return
		}
	}
	key.addr = netip.AddrPortFrom(c.flow.addr.Addr(), port)
	c.stack.conns.alias(c, key)
}

// tcpRefusals remembers UDP peers that could not be reached by TCP, so that
// not every large request to them costs an attempt (RFC 3261 §18.1.1).
type tcpRefusals struct {
	mu    sync.Mutex
	until map[netip.AddrPort]time.Time
}

const (
	maxRefusals   = 4096
	refusalMemory = 10 * time.Minute
)

func (r *tcpRefusals) refused(a netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.until[a])
}

func (r *tcpRefusals) note(a netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil || len(r.until) >= maxRefusals {
		r.until = make(map[netip.AddrPort]time.Time)
	}
	r.until[a] = time.Now().Add(refusalMemory)
}
