// Package server is the program as a value: New opens and wires everything,
// Run serves until its context ends. It is the only place that knows all parts.
package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"pharos/account"
	"pharos/cluster"
	"pharos/config"
	"pharos/engine"
	"pharos/jabber"
	"pharos/load"
	"pharos/policy"
	"pharos/presence"
	"pharos/redirect"
	"pharos/simple"
	"pharos/sip"
	"pharos/store"
	"pharos/xcap"
	"pharos/xdm"
	"pharos/xmpp"
)

// Options of New.
type Options struct {
	Config     config.Config
	ConfigFile string // read again by Reload; empty: the defaults stay
	Data       string // folder; made when missing, readable by the owner only
	Version    string
	Log        *slog.Logger   // nil: discards
	Level      *slog.LevelVar // set by Reload; may be nil
	Network    Network        // nil: the machine's own, and the control socket
	// Of several nodes in one process, for stories: the store that they share, which stays the
	// caller's, as this node sees it, and the bus between them. Nil: as configured.
	// Lease is cluster.Config's, longer where hours go by in a moment and no node fails.
	Share *store.Store
	Bus   cluster.Bus
	Lease time.Duration
}

// DrainWithin bounds a shutdown, from the end of Run's context to its return.
const DrainWithin = 10 * time.Second

// Server is one running Pharos. Several can live in one process.
type Server struct {
	Options
	net       Network
	admin     *Admin
	store     *store.Store
	accounts  *account.Accounts
	docs      *xdm.Documents
	iconRoot  func(domain string) string
	xcap      *xcap.Edge
	engine    *engine.Engine
	node      *cluster.Node // nil: this server is alone
	admission *admission
	loads     *loadControl // nil: this server is alone
	redirects *redirect.Redirects
	identity  *cluster.Identity // nil: this server is alone, or shares no secret
	sip       *sip.Stack
	simple    *simple.Edge
	jabber    *jabber.Edge
	xmpp      *xmpp.Acceptor
	watch     *watchEdge
	cert      *certificate
	contact   *contacts
	http      http.Handler

	permanent map[presence.Entity][]byte // permanent presence that was restored

	started time.Time
	ready   chan struct{}
	open    []open // guarded by mu until ready is closed, then constant
	mu      sync.Mutex
	closing atomic.Bool
}

// New opens the data folder and wires all parts. It opens no port; Run does.
func New(o Options) (*Server, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	check := o.Config
	if o.Share != nil { // what is to be checked for is there already
		check.Store.URL = "postgres://shared/shared"
	}
	if o.Bus != nil {
		check.Cluster.Listen = "127.0.0.1:0"
	}
	if err := check.Check(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Data, 0o700); err != nil {
		return nil, fmt.Errorf("server: data folder: %w", err)
	}
	if st, err := os.Stat(o.Data); err == nil && st.Mode().Perm()&0o022 != 0 {
		o.Log.Warn("others may write to the data folder, and so replace what is in it; run: chmod go-w", "folder", o.Data, "mode", st.Mode().String())
	}
	s := &Server{Options: o, ready: make(chan struct{}), net: o.Network}
	if s.net == nil {
		s.net = machine{}
	}
	var err error
	if s.cert, err = loadCertificate(o.Config, o.Data); err != nil {
		return nil, err
	}
	if s.store, err = s.openStore(context.Background()); err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if err = s.newNode(); err == nil {
		err = s.wire()
	}
	if err != nil {
		s.store.Close()
		return nil, err
	}
	return s, nil
}

var handlings = map[string]presence.Handling{"confirm": presence.Confirm, "allow": presence.Allow, "block": presence.Block}

// wire builds the parts, innermost first.
func (s *Server) wire() error {
	c := s.Config
	s.accounts = account.New(s.store, c.Domains)
	s.accounts.LogTo(s.Log.With("part", "login"))
	peers, bring := s.peers()
	s.engine = engine.New(engine.Config{
		Peers: peers, Loader: bring, Fenced: store.ErrFenced, Transient: store.Transient,
		Save:     s.store,
		Policies: &policy.Loader{Store: s.store, Default: handlings[c.Policy.Default]},
		Mailbox:  mailbox{st: s.store, max: c.Limits.OfflineMessages},
		Log:      s.Log.With("part", "engine"),
	})
	s.iconRoot = iconRoot(&c)
	s.useNode()
	s.docs = xdm.New(xdm.Config{Store: s.store, Tell: s.tellOthers(), Default: handlings[c.Policy.Default],
		Limits: xdm.Limits{Documents: c.XCAP.Documents, Bytes: c.XCAP.Bytes, Body: c.XCAP.Body}})
	s.docs.Listen(s.policyChanged)
	s.docs.Listen(s.permanentChanged)
	trusted, err := config.Prefixes(c.SIP.Trusted)
	if err != nil {
		return err
	}
	gate := load.NewGate(s.depth)
	if s.node != nil {
		if err := s.useRedirects(); err != nil {
			return err
		}
		if s.loads.edge, err = s.newControlEdge(); err != nil {
			return fmt.Errorf("server: %w", err)
		}
	}
	var at cluster.Address // of this server among others
	if s.node != nil {
		at = s.addresses()
	}
	s.contact = &contacts{fixed: c.SIP.Contact}
	s.simple = simple.New(simple.Config{
		Engine: s.engine, Accounts: s.accounts, Store: s.store, Documents: s.docs, Gate: gate, Domains: c.Domains,
		XCAP:    simple.XCAP{Root: s.publicRoot, Space: func(auid string) (string, bool) { return s.xcap.Space(auid) }},
		Trusted: trusted, Contact: s.contact.of, Log: s.Log.With("part", "sip"),
		Address: at.SIP, System: s.system(), Redirect: s.simpleRedirect(),
	})
	s.sip = sip.NewStack(sip.Config{
		Handler: s.simple, Log: s.Log.With("part", "sip"), TLS: &tls.Config{MinVersion: tls.VersionTLS12},
		Limits: sipLimits(c.Limits), Dial: s.net.Dial, Overload: gate.Loss, TLSFor: s.nodeTLS,
	})
	s.simple.Use(s.sip)
	if s.loads != nil && s.loads.edge != nil {
		s.loads.edge.Use(s.sip)
	}
	s.jabber = jabber.New(jabber.Config{
		Engine: s.engine, Accounts: s.accounts, Store: s.store, Documents: s.docs, Icon: s.iconOf, Gate: gate, Domains: c.Domains,
		Version: s.Version, Log: s.Log.With("part", "xmpp"), Address: at.XMPP, Redirect: s.jabberRedirect(),
	})
	s.xmpp = &xmpp.Acceptor{
		Domains: c.Domains, TLS: s.cert.config("xmpp-client"), Auth: authenticator{s.accounts},
		Log: s.Log.With("part", "xmpp"), Limits: xmppLimits(c.Limits), Features: s.jabber.Features(), Serve: s.jabber.Serve,
	}
	if s.xcap, err = s.newXCAP(gate); err != nil {
		return err
	}
	s.watch = newWatchEdge(s.engine, s.asked)
	s.engine.Register("sip", s.simple)
	s.engine.Register("xmpp", s.jabber)
	s.engine.Register(watchName, s.watch)
	s.admin = &Admin{store: s.store, docs: s.docs, accounts: s.accounts, domains: c.Domains, removed: s.userRemoved, policy: s.engine.PolicyChanged, told: s.tellAccounts()}
	s.http = s.routes()
	return s.restore()
}

// policyChanged has living subscriptions decided anew. Who changes rows or blocks
// says so himself, when it is the time for it.
func (s *Server) policyChanged(c *xdm.Change) {
	switch {
	case c.Remote && c.User.Domain == "":
		s.engine.PoliciesMissed()
	case c.Remote && !c.ByXCAP && !c.Doubtful && (c.Policy || len(c.Items) > 0):
		s.engine.PolicyHeardOf(c.User)
	case c.Remote && (c.Policy || len(c.Items) > 0 || len(c.Documents) > 0): // rules may name a list of the user's
		s.engine.PolicyHeard(c.User)
	case c.Policy && c.ByXCAP:
		s.engine.PolicyChanged(c.User)
	}
}

// restore gives the parts back what outlived the last process, before any
// listener opens. Of several servers each gets presentities as their homes come to it.
func (s *Server) restore() error {
	if s.node != nil {
		return nil
	}
	var all []*presence.Subscription
	s.permanent = map[presence.Entity][]byte{}
	err := s.store.Saved(func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error {
		kept := s.revive(e, sources)
		for _, src := range kept {
			if src.ID == permanentID {
				s.permanent[e] = src.Native.Bytes
			}
		}
		all = append(all, subs...)
		return s.engine.Restore(e, kept, subs)
	})
	if err != nil {
		return fmt.Errorf("server: restore: %w", err)
	}
	if err := s.simple.Restore(all); err != nil {
		return fmt.Errorf("server: restore: %w", err)
	}
	return nil
}

// userRemoved ends what a user had open whose account is gone: sessions,
// registrations, publications, and the subscriptions of those who watched.
func (s *Server) userRemoved(ctx context.Context, u presence.Entity) error {
	s.jabber.End(ctx, u, "not-authorized")
	s.simple.Removed(u)
	// Who has the address next has not let in whom this one did.
	defer s.engine.PolicyChanged(u)
	if _, err := s.engine.Step(ctx, u, presence.Remove{}); err != nil {
		return fmt.Errorf("%s is removed, but what it had open was not ended: %w", u, err)
	}
	return nil
}

// Admin is for managing users.
func (s *Server) Admin() *Admin { return s.admin }

// Ready is closed once all listeners accept.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// Run listens, serves, and after ctx ended drains within DrainWithin: no new
// work is begun, XMPP streams end with system-shutdown, what was accepted is
// committed, and the store is closed. It returns nil after a clean end.
func (s *Server) Run(ctx context.Context) error {
	s.started = time.Now()

	// The engine outlives the listeners: it must finish what they accepted.
	engineCtx, stopEngine := context.WithCancel(context.WithoutCancel(ctx))
	defer stopEngine()
	var inner errgroup.Group
	inner.Go(func() error { return s.engine.Run(engineCtx) })
	serveCtx, stopServing := context.WithCancel(ctx)
	defer stopServing()
	var outer errgroup.Group
	// First, so that one that waits for the others can be asked why.
	err := s.listenControl(serveCtx, &outer, stopServing)
	leave := func(context.Context, bool) error { return nil }
	if err == nil {
		leave, err = s.join(serveCtx)
	}
	going := err == nil && serveCtx.Err() == nil // it may have been told to stop while it waited for the others
	if going {
		s.resume(ctx)
		err = s.listen(serveCtx, &outer, stopServing)
	}
	served := going && err == nil
	if served && s.loads != nil {
		outer.Go(func() error { s.loads.run(serveCtx); return nil })
	}
	if served {
		close(s.ready)
		s.Log.Info("ready", "domains", s.Config.Domains, "listen", s.listening())
		<-serveCtx.Done()
		s.Log.Info("stopping", "within", DrainWithin)
	}

	s.closing.Store(true)
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), DrainWithin)
	defer cancel()
	s.closeListeners()
	orderly := !errors.Is(context.Cause(ctx), ErrKilled)
	switch {
	case orderly && going:
		s.handOver(drain)
	case !orderly:
		err = errors.Join(err, leave(drain, false))
	}
	if s.loads != nil {
		err = errors.Join(err, within(drain, "load control", s.loads.close))
	}
	err = errors.Join(err, s.jabber.Close(drain), s.xmpp.Shutdown(drain))
	stopEngine()
	err = errors.Join(err, within(drain, "engine", inner.Wait))
	s.lastWords(drain)
	err = errors.Join(err, s.sip.Close())
	s.simple.Close()
	// What phones had not answered has come back from the SIP side.
	err = errors.Join(err, within(drain, "messages", func() error { s.engine.Settle(); return nil }))
	err = errors.Join(err, within(drain, "listeners", outer.Wait))
	if orderly {
		err = errors.Join(err, leave(drain, true))
	}
	s.docs.Close()
	err = errors.Join(err, s.store.Close())
	if served {
		s.Log.Info("stopped")
	}
	return err
}

// resume goes on with what the last process had begun.
func (s *Server) resume(ctx context.Context) {
	if err := s.jabber.Resume(); err != nil {
		s.Log.Error("what contacts are still to be told of changed documents is not known", "err", err)
	}
	if s.node != nil {
		return // the leader has done so when the last process had ended
	}
	if err := s.followPermanent(ctx, s.permanent); err != nil {
		s.Log.Error("permanent presence not looked up", "err", err)
	}
	s.permanent = nil
}

// lastWordsWithin is how long phones are given to be told that the XMPP users
// they watch have gone with the server.
const lastWordsWithin = time.Second

// lastWords waits until no NOTIFY waits to be sent.
func (s *Server) lastWords(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lastWordsWithin)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for s.simple.Stats().Waiting > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// within waits for a part to end, but not longer than the drain.
func within(ctx context.Context, part string, wait func() error) error {
	done := make(chan error, 1)
	go func() { done <- wait() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("server: %s did not end in time", part)
	}
}

// Reload reads the certificate and, of the configuration file, the log level
// again; the other keys need a restart, and Reload says which have changed.
func (s *Server) Reload() error {
	c := s.Config
	if s.ConfigFile != "" {
		var err error
		if c, err = config.Load(s.ConfigFile); err != nil {
			return fmt.Errorf("reload: nothing changed: %w", err)
		}
	}
	if err := s.cert.reload(c); err != nil {
		return fmt.Errorf("reload: nothing changed: %w", err)
	}
	if s.Level != nil {
		if err := s.Level.UnmarshalText([]byte(c.Log.Level)); err != nil {
			return err
		}
	}
	for _, key := range s.Config.Differs(c) {
		if key != "log.level" && key != "tls.cert" && key != "tls.key" {
			s.Log.Warn("changed in the file, but needs a restart", "key", key)
		}
	}
	s.Log.Info("reloaded", "file", s.ConfigFile)
	return nil
}

// SocketPath is where the commands reach a running server.
func SocketPath(data string) string { return filepath.Join(data, "pharos.sock") }
