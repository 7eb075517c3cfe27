package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pharos/balance"
	"pharos/cluster"
	"pharos/config"
	"pharos/engine"
	"pharos/jabber"
	"pharos/presence"
	"pharos/simple"
	"pharos/store"
	"pharos/xdm"
)

// ErrKilled as the cause of the end of Run's context has the server end as kill -9 would have it,
// for stories: it leaves nothing in order, and nothing that it does from then on is saved.
var ErrKilled = errors.New("server: killed")

// ClusterStatus is what 'pharos cluster status' shows, ClusterNode a line of it, Condition whether this server takes part.
type (
	ClusterStatus = cluster.Status
	ClusterNode   = cluster.NodeRow
	Condition     = cluster.Condition
	clusterMember = cluster.Member
)

// topicDocuments is for xdm.Change.
const topicDocuments = 'x'

// topicAccounts is for accounts that were made, changed or removed.
const topicAccounts = 'a'

// Times of a node.
const (
	// handOverWithin bounds the moving of what lives here to the others at the end.
	handOverWithin = 5 * time.Second
	// leaveWithin bounds the last words to the registry.
	leaveWithin = time.Second
	// ghostsWithin bounds what is done once for a node that has died.
	ghostsWithin = time.Minute
)

// openStore opens what the configuration says.
func (s *Server) openStore(ctx context.Context) (*store.Store, error) {
	log := store.WithLog(s.Log.With("part", "store"))
	switch {
	case s.Share != nil:
		return s.Share, nil
	case s.Config.Store.URL != "":
		return store.OpenPostgres(ctx, s.Config.Store.URL, s.Data, log)
	}
	return store.Open(ctx, s.Data, log)
}

// newNode makes this server one of several, if it is to be one.
func (s *Server) newNode() error {
	c := &s.Config.Cluster
	if c.Node == "" {
		return nil
	}
	bus, err := s.newBus()
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	s.admission = &admission{of: balance.NewAdmission(c.Node, c.Users)}
	s.loads = s.newLoadControl()
	state := cluster.Active
	if c.Standing {
		state = cluster.Standby
	}
	s.node = cluster.New(cluster.Config{
		Name: c.Node, Registry: s.store, Bus: bus, Address: s.addresses(), Version: s.Version,
		Residents: s.residents, Max: c.Max, State: state, Moves: c.Moves, Lease: s.Lease, Load: s.load, Fence: s.store.Fence,
		Admit: s.admission.admit, Seen: s.seen, Moved: s.moved, Heir: s.heir, Control: s.loads, Redirects: s.redirected, Log: s.Log.With("part", "cluster"),
	})
	return nil
}

// seen takes the table of nodes.
func (s *Server) seen(nodes []cluster.Member) {
	s.admission.seen(nodes)
	s.loads.seen(nodes)
}

// newBus is the bus that the configuration asks for.
func (s *Server) newBus() (cluster.Bus, error) {
	if s.Bus != nil {
		return s.Bus, nil
	}
	c := &s.Config.Cluster
	text, err := c.ReadSecret()
	if err != nil {
		return nil, err
	}
	secret, err := cluster.NewSecret(text)
	if err != nil {
		return nil, err
	}
	return cluster.NewNATS(cluster.NATSConfig{
		Node: c.Node, Secret: secret, Listen: c.Listen, Peers: c.Peers, URL: c.NATS, Log: s.Log.With("part", "bus"),
	})
}

// peers are the engine's, the loader what it brings presentities back with.
func (s *Server) peers() (engine.Peers, engine.Loader) {
	if s.node == nil {
		return nil, nil
	}
	return s.node, loader{s}
}

// useNode connects the node with the parts that take what comes from others.
func (s *Server) useNode() {
	if s.node == nil {
		return
	}
	s.node.Use(s.engine)
	s.node.Topic(topicDocuments, func(from string, b []byte) {
		c, err := xdm.DecodeChange(b)
		if err != nil {
			s.Log.Error("a change on another server is not understood; everything is read again", "node", from, "err", err)
			s.docs.Missed()
			return
		}
		s.docs.Heard(c)
	}, func(string) { s.docs.Missed() })
	s.node.Topic(topicAccounts, func(_ string, b []byte) {
		user, domain, _ := strings.Cut(string(b), "\x00")
		u := presence.Entity{User: user, Domain: domain}
		s.accounts.Changed(u)
		s.engine.PolicyHeardOf(u) // who has the address next has not let in whom the last one did
	}, func(string) { s.accounts.Missed() })
}

// tellAccounts is Admin's told, nil without others: who has a new password, or no account any
// more, is let in nowhere with what was known of him.
func (s *Server) tellAccounts() func(presence.Entity) {
	if s.node == nil {
		return nil
	}
	return func(u presence.Entity) {
		if err := s.node.Tell(topicAccounts, []byte(u.User+"\x00"+u.Domain)); err != nil {
			s.Log.Warn("a changed account is not told to the other servers", "entity", u.String(), "err", err)
		}
	}
}

// tellOthers is xdm's Tell, nil without others.
func (s *Server) tellOthers() func(*xdm.Change) {
	if s.node == nil {
		return nil
	}
	return func(c *xdm.Change) {
		if err := s.node.Tell(topicDocuments, c.Encode()); err != nil {
			s.Log.Warn("a change is not told to the other servers", "entity", c.User.String(), "err", err)
		}
	}
}

// residents are users on whom the level depends.
func (s *Server) residents(most int, done func([]presence.Entity)) {
	s.engine.Roll(most, func(all []engine.Resident) {
		list := make([]presence.Entity, 0, min(most, len(all)))
		for i := range all[:min(most, len(all))] {
			list = append(list, all[i].Entity)
		}
		done(list)
	})
}

// load is what this server has to do, as the paper counts it.
func (s *Server) load() (level float64, users int) {
	st := s.engine.Stats()
	w := balance.Weights{User: s.Config.Cluster.Users, Resource: s.Config.Cluster.Records}
	level, users = w.Level(st.Presentities, st.Sources+st.Subscriptions), st.Presentities
	switch s.node.State() {
	case cluster.Draining, cluster.Retiring, cluster.Standby: // also those of whom nothing is in memory have to go
		users = max(users, s.node.Homes())
	}
	return level, users
}

// admission chooses the node for newcomers.
type admission struct {
	mu       sync.Mutex
	of       *balance.Admission
	pressure atomic.Uint64 // bits of what balance.Fullness says
}

// full is how full the service is, as load's gates count it.
func (a *admission) full() float64 { return math.Float64frombits(a.pressure.Load()) }

func (a *admission) seen(nodes []cluster.Member) {
	list := make([]balance.Node, 0, len(nodes))
	for _, m := range nodes {
		if m.State == cluster.Dead || m.State == cluster.Left || time.Until(m.Expires) <= 0 {
			continue
		}
		list = append(list, balanceNode(&m))
	}
	a.pressure.Store(math.Float64bits(balance.Fullness(list)))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.of.Update(list)
}

func (a *admission) admit(presence.Entity) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	node, _ := a.of.Admit()
	return node
}

// addresses are where clients and servers find this one.
func (s *Server) addresses() cluster.Address {
	c := &s.Config.Cluster
	a := cluster.Address{Bus: c.Listen, SIP: c.SIP, XMPP: c.XMPP}
	for _, uri := range s.Config.Listen {
		l, err := config.ParseListener(uri)
		if err != nil {
			continue
		}
		host, _, err := net.SplitHostPort(l.Address)
		if ip := net.ParseIP(host); err != nil || host == "" || ip != nil && ip.IsUnspecified() {
			continue
		}
		set := func(to *string, v string) {
			if *to == "" {
				*to = v
			}
		}
		switch l.Scheme {
		case "sip+tcp": // before UDP: documents between servers are larger than a datagram
			if c.SIP == "" {
				a.SIP = "sip:" + l.Address + ";transport=tcp"
			}
		case "sip+udp":
			set(&a.SIP, "sip:"+l.Address+";transport=udp")
		case "sips":
			set(&a.SIP, "sips:"+l.Address)
		case "xmpp", "xmpp+insecure":
			set(&a.XMPP, l.Address)
		case "https":
			set(&a.HTTP, "https://"+l.Address)
		case "http+insecure":
			set(&a.HTTP, "http://"+l.Address)
		}
	}
	return a
}

// loader brings presentities back from the store.
type loader struct{ s *Server }

// Load is engine.Loader's.
func (l loader) Load(ctx context.Context, of presence.Entity) ([]*presence.Source, []*presence.Subscription, error) {
	sources, subs, err := l.s.store.Load(ctx, of)
	return l.s.revive(of, sources), subs, err
}

// LoadMany is engine.ManyLoader's.
func (l loader) LoadMany(ctx context.Context, of []presence.Entity) (map[presence.Entity]engine.Loaded, error) {
	all := make(map[presence.Entity]engine.Loaded, len(of))
	err := l.s.store.LoadMany(ctx, of, func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error {
		all[e] = engine.Loaded{Sources: l.s.revive(e, sources), Subscriptions: subs}
		return nil
	})
	return all, err
}

// revive makes the documents of stored sources; those that cannot be read are left out.
func (s *Server) revive(e presence.Entity, sources []*presence.Source) []*presence.Source {
	kept := sources[:0]
	for _, src := range sources {
		if doc, ok := jabber.RestoreItem(src.Native, s.iconOf(e)); ok {
			src.Doc = doc
			kept = append(kept, src)
			continue
		}
		doc, known, err := simple.Document(src.Native)
		if !known {
			err = fmt.Errorf("a payload of type %q", src.Native.Type)
		}
		if err != nil {
			s.Log.Error("a stored publication cannot be read; it is left out", "entity", e.String(), "err", err)
			continue
		}
		src.Doc = doc
		kept = append(kept, src)
	}
	return kept
}

// heir does what a node that has died still had to do, on the leader.
func (s *Server) heir(ctx context.Context, node string) {
	if err := s.jabber.Inherit(node); err != nil {
		s.Log.Error("what a dead server still owed to contacts is not known", "node", node, "err", err)
	}
	ctx, cancel := context.WithTimeout(ctx, ghostsWithin)
	defer cancel()
	if err := s.followPermanent(ctx, nil); err != nil && ctx.Err() == nil {
		s.Log.Error("permanent presence not looked up", "err", err)
	}
}

// join has the node take part, and waits until it does. leave ends that: at the orderly end of a
// process the lease is given back.
func (s *Server) join(ctx context.Context) (leave func(ctx context.Context, orderly bool) error, err error) {
	if s.node == nil {
		return func(context.Context, bool) error { return nil }, nil
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- s.node.Run(run) }()
	leave = func(ctx context.Context, orderly bool) error {
		defer cancel()
		var err error
		if orderly {
			last, stop := context.WithTimeout(ctx, leaveWithin)
			defer stop()
			err = s.node.Leave(last)
		} else {
			s.store.Fence(s.node.Self(), 0) // an epoch that is nobody's
		}
		cancel()
		return errors.Join(err, <-ended)
	}
	select {
	case <-s.node.Entered():
	case <-ctx.Done(): // told to stop before it began
	case err = <-ended:
		ended <- nil
		err = fmt.Errorf("server: the bus between servers: %w", err)
	}
	return leave, err
}

// handOver moves what lives here to the others, so that nobody notices that this server goes.
func (s *Server) handOver(ctx context.Context) {
	if s.node == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handOverWithin)
	defer cancel()
	begun := time.Now()
	before := s.node.Homes()
	if err := s.node.Drain(ctx); err != nil {
		s.Log.Warn("not all users could be handed over; the others take them when this server has gone", "left", s.node.Homes(), "err", err)
		return
	}
	s.Log.Info("users are handed over", "users", before-s.node.Homes(), "took", time.Since(begun).String())
}
