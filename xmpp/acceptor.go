package xmpp

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/crowd"
	"pharos/markup"
)

// Acceptor holds what all streams of a server share. Its fields are set
// before its first use and not changed then.
type Acceptor struct {
	Domains []string    // that are served
	TLS     *tls.Config // GetConfigForClient/GetCertificate may reload
	Auth    Authenticator
	Log     *slog.Logger // nil: none
	Limits  Limits
	// Features are advertised after SASL beside bind, e.g.
	// "<sm xmlns='urn:xmpp:sm:3'/>".
	Features []string
	// Serve runs one authenticated stream; it returns when the stream has ended.
	Serve func(ctx context.Context, s *Stream)

	once     sync.Once
	limits   Limits   // with defaults
	domains  []string // prepared
	features string   // after SASL
	direct   *tlsLayer
	starttls *tlsLayer

	mu       sync.Mutex
	streams  map[*Stream]struct{}
	most     int // see crowd.Left
	fresh    int // streams before authentication
	peers    map[netip.Prefix]peer
	closing  bool
	watching bool          // nudgeAll is due
	silence  time.Duration // after which streams rest
	rests    rests
	empty    chan struct{} // closed when closing and no stream is left
}

// peer counts the connections of one address.
type peer struct{ all, fresh int32 }

func (a *Acceptor) init() {
	a.once.Do(func() {
		a.limits = a.Limits.withDefaults()
		for _, d := range a.Domains {
			if p, err := PrepDomain(d); err == nil {
				a.domains = append(a.domains, p)
			} else {
				a.log().Error("a domain that cannot be served", "domain", d, "error", err)
			}
		}
		if a.TLS != nil {
			a.direct = newTLSLayer(a.TLS, "xmpp-client") // XEP-0368 §3
			a.starttls = newTLSLayer(a.TLS)
		}
		if a.silence == 0 {
			a.silence = restAfter
		}
		a.streams = make(map[*Stream]struct{})
		a.peers = make(map[netip.Prefix]peer)
		a.empty = make(chan struct{})
		a.features = "<stream:features><bind xmlns='" + NSBind + "'/>"
		more := strings.Join(a.Features, "")
		if !strings.Contains(more, NSSession) {
			// RFC 3921 clients want it; the draft that never became an RFC
			// (draft-cridland-xmpp-session) lets others leave it out.
			more = "<session xmlns='" + NSSession + "'><optional/></session>" + more
		}
		a.features += more + "</stream:features>"
	})
}

func (a *Acceptor) log() *slog.Logger {
	if a.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return a.Log
}

// Handle negotiates conn up to SASL success and the features that follow it,
// calls Serve, and closes. When ctx is done the stream ends with system-shutdown.
func (a *Acceptor) Handle(ctx context.Context, conn net.Conn, m Mode) {
	if s := a.admit(conn, m); s != nil {
		s.stays = true
		a.run(ctx, s, true)
	}
}

// run is the life of a stream. Unless wait is set, Serve gets a goroutine of its
// own, whose stack has not been grown by handshakes.
func (a *Acceptor) run(ctx context.Context, s *Stream, wait bool) {
	stop := context.AfterFunc(ctx, func() { s.Close(&StreamError{Condition: "system-shutdown"}) })
	end := func(err error) {
		stop()
		s.finish(err)
	}
	err := s.negotiate(ctx)
	if err != nil || !s.start() {
		if err != nil {
			a.log().Debug("negotiation failed", "remote", s.remote, "error", err)
		}
		end(err)
		return
	}
	s.over = end
	if wait {
		a.Serve(ctx, s)
		end(nil)
		return
	}
	go func() {
		a.Serve(ctx, s)
		s.served()
	}()
}

// ErrNoTLS is returned where a listener needs a certificate that is not configured.
var ErrNoTLS = errors.New("xmpp: no TLS configuration")

// ServeListener accepts until l closes or ctx is done, within the connection
// limits. It closes l and does not wait for the streams: see Shutdown.
func (a *Acceptor) ServeListener(ctx context.Context, l net.Listener, m Mode) error {
	a.init()
	defer l.Close()
	if m != Insecure && a.TLS == nil {
		return ErrNoTLS
	}
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	pause := time.Duration(0)
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, most likely: it passes.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			a.log().Warn("accept failed", "error", err)
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		if s := a.admit(conn, m); s != nil {
			go a.run(ctx, s, false)
		}
	}
}

// admit makes a stream of a connection, or refuses it, within the limits.
func (a *Acceptor) admit(conn net.Conn, m Mode) *Stream {
	a.init()
	s := a.newStream(conn, m)
	s.wire = tcp{markup.NewScanner(conn, a.limits.markup(false))}
	s.restful()
	if e := a.count(s); e != nil {
		a.log().Info("connection refused", "remote", s.remote, "reason", e.Text)
		_ = conn.SetDeadline(time.Now().Add(100 * time.Millisecond)) // it never waits: nothing was sent yet
		if m != DirectTLS {
			_ = s.writeNow(s.wire.appendEnd(s.wire.appendOpen(nil, s), e))
		}
		_ = conn.Close()
		return nil
	}
	a.watch(conn)
	if s.await != nil {
		a.watchSilence()
	}
	return s
}

// watch makes the kernel notice a peer that is gone: by probes while nothing
// is sent, and by a bound on what is not acknowledged while something is.
func (a *Acceptor) watch(conn net.Conn) {
	if c, ok := conn.(*net.TCPConn); ok {
		every := a.limits.KeepAlive
		_ = c.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: every, Interval: every / 4, Count: 4})
		setUserTimeout(c, 2*every)
	}
}

func (a *Acceptor) newStream(conn net.Conn, m Mode) *Stream {
	s := &Stream{a: a, raw: conn, conn: conn, remote: conn.RemoteAddr(), mode: m, fresh: true, done: make(chan struct{})}
	s.id = newStreamID()
	if len(a.domains) > 0 {
		s.domain = a.domains[0] // until the client names one
	}
	s.key = addressOf(s.remote)
	return s
}

// addressOf is what is counted for an address: an IPv4 address, or the /64 that
// a host of IPv6 is usually given.
func addressOf(addr net.Addr) netip.Prefix {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return p
}

// count enters s into the books; the error tells which limit forbids it.
func (a *Acceptor) count(s *Stream) *StreamError {
	a.mu.Lock()
	defer a.mu.Unlock()
	l := &a.limits
	p := a.peers[s.key]
	switch {
	case a.closing:
		return &StreamError{Condition: "system-shutdown"}
	case len(a.streams) >= l.MaxConns:
		return &StreamError{Condition: "resource-constraint", Text: "too many connections"}
	case a.fresh >= l.MaxUnauth:
		return &StreamError{Condition: "resource-constraint", Text: "too many connections that are not authenticated"}
	case s.key.IsValid() && int(p.all) >= l.MaxConnsPerAddress:
		return &StreamError{Condition: "policy-violation", Text: "too many connections from this address"}
	case s.key.IsValid() && int(p.fresh) >= l.MaxUnauthPerAddress:
		return &StreamError{Condition: "policy-violation", Text: "too many connections from this address that are not authenticated"}
	}
	a.streams[s] = struct{}{}
	a.fresh++
	a.adjust(s.key, 1, 1)
	return nil
}

// adjust changes the counts of an address. a.mu is held.
func (a *Acceptor) adjust(key netip.Prefix, all, fresh int32) {
	if !key.IsValid() {
		return
	}
	p := a.peers[key]
	p.all, p.fresh = p.all+all, p.fresh+fresh
	if p.all == 0 {
		delete(a.peers, key)
	} else {
		a.peers[key] = p
	}
}

// authenticated moves s to the other book.
func (a *Acceptor) authenticated(s *Stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.fresh = false
	a.fresh--
	a.adjust(s.key, 0, -1)
}

// forget takes s out of the books.
func (a *Acceptor) forget(s *Stream) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.streams[s]; !ok {
		return
	}
	delete(a.streams, s)
	a.streams = crowd.Left(a.streams, &a.most)
	if s.fresh {
		a.fresh--
		a.adjust(s.key, -1, -1)
	} else {
		a.adjust(s.key, -1, 0)
	}
	if len(a.streams) > 0 {
		return
	}
	a.rests.close()
	if a.closing {
		close(a.empty)
	}
}

// Count is the number of connections, and how many of them have authenticated.
func (a *Acceptor) Count() (all, authenticated int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.streams), len(a.streams) - a.fresh
}

// Shutdown ends all streams with system-shutdown and refuses new ones. It
// returns when all are gone, or with ctx's error when ctx is done first, having
// cut what was left. Listeners are closed by their owner.
func (a *Acceptor) Shutdown(ctx context.Context) error {
	a.init()
	a.mu.Lock()
	if !a.closing {
		a.closing = true
		if len(a.streams) == 0 {
			close(a.empty)
		}
	}
	left := a.list()
	a.mu.Unlock()
	for _, s := range left {
		s.Close(&StreamError{Condition: "system-shutdown"}) // RFC 6120 §4.9.3.20
	}
	select {
	case <-a.empty:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	left = a.list()
	a.mu.Unlock()
	if len(left) == 0 {
		return nil
	}
	for _, s := range left {
		s.kill()
	}
	return ctx.Err()
}

// list copies the streams. a.mu is held.
func (a *Acceptor) list() []*Stream {
	all := make([]*Stream, 0, len(a.streams))
	for s := range a.streams {
		all = append(all, s)
	}
	return all
}

// serves tells whether a domain is ours.
func (a *Acceptor) serves(domain string) bool { return slices.Contains(a.domains, domain) }
