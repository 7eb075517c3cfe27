package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pharos/config"
	"pharos/sip"
	"pharos/xmpp"
)

// open is one listener in use.
type open struct {
	uri   string // with the real port
	close func() error
}

// starter runs a listener in g. One that fails later stops the whole: a half-deaf server
// is worse than a restarted one.
func (s *Server) starter(ctx context.Context, g *errgroup.Group, stop func()) func(string, func() error) {
	return func(what string, fn func() error) {
		g.Go(func() error {
			err := fn()
			if err == nil || s.closing.Load() || ctx.Err() != nil {
				return nil
			}
			stop()
			return fmt.Errorf("server: %s: %w", what, err)
		})
	}
}

// listen opens every configured listener; when one fails, all are closed again by the caller.
func (s *Server) listen(ctx context.Context, g *errgroup.Group, stop func()) error {
	start := s.starter(ctx, g, stop)
	for _, uri := range s.Config.Listen {
		l, err := config.ParseListener(uri)
		if err != nil {
			return err
		}
		if err := s.listenOne(ctx, l, start); err != nil {
			return listenError(l, err)
		}
	}
	return nil
}

func (s *Server) listenOne(ctx context.Context, l config.Listener, start func(string, func() error)) error {
	if l.Network == "udp" {
		pc, err := s.net.ListenPacket("udp", l.Address)
		if err != nil {
			return err
		}
		// The stack closes it: the last NOTIFYs of a shutdown still leave by it.
		s.opened(l, pc.LocalAddr(), func() error { return nil })
		start(l.URI, func() error { return s.sip.ServePacket(pc) })
		return nil
	}
	ln, err := s.net.Listen("tcp", l.Address)
	if err != nil {
		return err
	}
	s.opened(l, ln.Addr(), ln.Close)
	switch l.Scheme {
	case "sip+tcp":
		start(l.URI, func() error { return s.sip.ServeListener(ln, "TCP") })
	case "sips":
		start(l.URI, func() error { return s.sip.ServeListener(tls.NewListener(ln, s.sipTLS()), "TLS") })
	case "xmpp":
		start(l.URI, func() error { return s.xmpp.ServeListener(ctx, ln, xmpp.StartTLS) })
	case "xmpps":
		start(l.URI, func() error { return s.xmpp.ServeListener(ctx, ln, xmpp.DirectTLS) })
	case "xmpp+insecure":
		start(l.URI, func() error { return s.xmpp.ServeListener(ctx, ln, xmpp.Insecure) })
	case "https", "http+insecure":
		start(l.URI, func() error { return s.serveHTTP(ctx, ln, l.Scheme == "https") })
	}
	return nil
}

const (
	// maxHTTPHead is how many bytes the head of an HTTP request may have; a little more is forgiven.
	maxHTTPHead = 16 << 10
	// maxHTTPHeadTime is the time for the head of a request to arrive, TLS included.
	maxHTTPHeadTime = 10 * time.Second
	// maxHTTPIdle is how long a connection is kept between two requests.
	maxHTTPIdle = time.Minute
)

// serveHTTP bounds what a slow client can hold; WebSockets take their
// connection over and have bounds of their own, as XCAP's bodies have.
func (s *Server) serveHTTP(ctx context.Context, ln net.Listener, secure bool) error {
	h := &http.Server{
		Handler: s.http, ReadHeaderTimeout: maxHTTPHeadTime, IdleTimeout: maxHTTPIdle, MaxHeaderBytes: maxHTTPHead,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ErrorLog:    slog.NewLogLogger(s.Log.With("part", "http").Handler(), slog.LevelDebug), // of handshakes mostly: scanners
	}
	if secure {
		// WebSocket needs HTTP/1.1 (RFC 6455 §4.1).
		h.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		ln = tls.NewListener(ln, s.cert.config("http/1.1"))
	}
	return h.Serve(ln)
}

func (s *Server) opened(l config.Listener, a net.Addr, closer func() error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open = append(s.open, open{uri: l.Scheme + "://" + a.String(), close: closer})
}

func (s *Server) closeListeners() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.open {
		o.close()
	}
}

// listening lists the listeners with their real ports.
func (s *Server) listening() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, o := range s.open {
		if !strings.HasPrefix(o.uri, "unix:") {
			out = append(out, o.uri)
		}
	}
	return out
}

// listenError says what to do about the usual causes.
func listenError(l config.Listener, err error) error {
	hint := ""
	switch {
	case strings.Contains(err.Error(), "address already in use"):
		hint = "; another program has this port (see 'ss -lnp'): stop it, or set another port in 'listen' of a configuration ('pharos config describe' prints one)"
	case strings.Contains(err.Error(), "cannot assign requested address"):
		hint = "; this machine does not have that address: leave it out to listen on all"
	case errors.Is(err, os.ErrPermission):
		hint = "; ports below 1024 need the right to bind them (systemd: AmbientCapabilities=CAP_NET_BIND_SERVICE)"
	}
	return fmt.Errorf("server: listen on %s: %w%s", l.URI, err, hint)
}

// contacts finds the address that a client behind a flow can reach us at, for
// Contact headers: clients with an outbound proxy send requests inside a
// dialog to it directly.
type contacts struct {
	fixed string
	mu    sync.Mutex
	cache map[netip.Addr]netip.Addr // remote -> local, by the routing table
	last  atomic.Pointer[written]   // nearly always the same
}

// written is an address of ours and its text.
type written struct {
	addr netip.AddrPort
	text string
}

// maxContacts bounds the cache; a full one is begun anew.
const maxContacts = 1 << 16

func (c *contacts) of(f *sip.Flow) string {
	local := plain(f.Local())
	if c.fixed != "" {
		if _, _, err := net.SplitHostPort(c.fixed); err == nil || local.Port() == 0 {
			return c.fixed
		}
		return net.JoinHostPort(strings.Trim(c.fixed, "[]"), fmt.Sprint(local.Port()))
	}
	ip := local.Addr()
	if !ip.IsValid() || ip.IsUnspecified() {
		ip = c.route(plain(f.Remote()).Addr())
	}
	if !ip.IsValid() {
		return f.LocalAddr().String()
	}
	at := netip.AddrPortFrom(ip, local.Port())
	if w := c.last.Load(); w != nil && w.addr == at {
		return w.text
	}
	w := &written{at, at.String()}
	c.last.Store(w)
	return w.text
}

// route asks the kernel which local address it would send from; connecting a
// UDP socket sends nothing.
func (c *contacts) route(remote netip.Addr) netip.Addr {
	if !remote.IsValid() {
		return netip.Addr{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if ip, ok := c.cache[remote]; ok {
		return ip
	}
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, 9)))
	if err != nil {
		return netip.Addr{}
	}
	defer conn.Close()
	ip := addrPort(conn.LocalAddr()).Addr()
	if c.cache == nil || len(c.cache) >= maxContacts {
		c.cache = map[netip.Addr]netip.Addr{}
	}
	c.cache[remote] = ip
	return ip
}

func addrPort(a net.Addr) netip.AddrPort {
	if a == nil {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return plain(ap)
}

// plain is an address as it is told to others.
func plain(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
}
