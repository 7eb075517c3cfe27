package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/balance"
	"pharos/cluster"
	"pharos/engine"
	"pharos/loadcontrol"
	"pharos/loaddoc"
	"pharos/presence"
	"pharos/sip"
)

// loadControl is this server's part of the load control: on the leader it decides what is
// to be done about load, and on all it tells and hears levels over SIP.
type loadControl struct {
	s       *Server
	edge    *loadcontrol.Edge // nil: there is no address, or no secret
	standby []standby
	ctx     context.Context // of run; nil before
	tasks   sync.WaitGroup  // begun with mu held, before closed

	mu       sync.Mutex
	closed   bool
	balancer *balance.Balancer
	term     uint64
	inviting string    // the candidate that is being added, by its URI; "": none
	settled  time.Time // when that has ended well; until the table shows it
	joined   string    // its name
	starved  bool

	roll    []engine.Resident // who lives here, as of rolled
	rolled  time.Time
	rolling bool
}

// showsWithin is how long it takes at most until the table of nodes shows what a node has
// said of itself.
const showsWithin = 3 * time.Second

// newLoadControl makes it; its edge comes later.
func (s *Server) newLoadControl() *loadControl {
	c := &loadControl{s: s}
	for _, entry := range s.Config.Cluster.Standby {
		uri, command, _ := strings.Cut(entry, " ")
		c.standby = append(c.standby, standby{uri: uri, command: strings.TrimSpace(command)})
	}
	return c
}

// newControlEdge makes the edge towards other servers, nil where this one has no address or
// no secret by which others know it.
func (s *Server) newControlEdge() (*loadcontrol.Edge, error) {
	at := s.addresses().SIP
	text, err := s.Config.Cluster.ReadSecret()
	if err != nil || text == "" {
		return nil, err
	}
	secret, err := cluster.NewSecret(text)
	if err != nil {
		return nil, err
	}
	if s.identity, err = secret.Identity(s.node.Self()); err != nil || at == "" {
		return nil, err
	}
	var observers []presence.Entity
	for _, o := range s.Config.Cluster.Observers {
		user, domain, _ := strings.Cut(strings.ToLower(o), "@")
		observers = append(observers, presence.Entity{User: user, Domain: domain})
	}
	c := s.loads
	return loadcontrol.New(loadcontrol.Config{
		Name: s.node.Self(), Domain: s.Config.Domains[0], Contact: at, Key: secret.ControlKey(),
		Observers: observers, Accounts: s.accounts,
		State: c.state, Join: c.join, Joined: c.joinEnded, Log: s.Log.With("part", "load control"),
	}), nil
}

// sipTLS is that of the listeners for SIP over TLS: other servers of the service show each
// other certificates that follow from its secret, clients get the usual one.
func (s *Server) sipTLS() *tls.Config {
	c := s.cert.config("sip")
	if s.identity != nil {
		nodes := s.identity.TLS("")
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if cluster.IsNode(hello) {
				return nodes, nil
			}
			return nil, nil
		}
	}
	return c
}

// nodeTLS is how this server opens TLS towards another of the service; nil for everybody
// else.
func (s *Server) nodeTLS(t sip.Target) *tls.Config {
	if s.identity == nil {
		return nil
	}
	at := "sips:" + net.JoinHostPort(t.Host, strconv.Itoa(int(t.Addr.Port())))
	for _, m := range s.node.Members() {
		if sameHost(m.Address.SIP, at) {
			return s.identity.TLS(m.Name)
		}
	}
	if s.loads.entry(at) != nil {
		return s.identity.TLS("") // any node: it is not in the table yet
	}
	return nil
}

// system is simple's: nil where there are no other servers.
func (s *Server) system() func(*sip.ServerTx, *sip.Message) bool {
	if s.loads == nil || s.loads.edge == nil {
		return nil
	}
	return s.loads.edge.System
}

// depth is how full this server is, 0 to 1.
func (s *Server) depth() float64 {
	d := s.engine.Depth()
	if s.admission != nil {
		d = max(d, s.admission.full())
	}
	return d
}

// run tells and hears until ctx ends.
func (c *loadControl) run(ctx context.Context) {
	c.mu.Lock()
	c.ctx = ctx
	c.mu.Unlock()
	if c.edge != nil {
		c.edge.Run(ctx)
	} else {
		<-ctx.Done()
	}
}

// background does something that close waits for.
func (c *loadControl) background(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.tasks.Go(f)
	}
}

// close waits for what is under way; nothing more begins. It comes after run, and after users
// have been handed over: their clients are told by then.
func (c *loadControl) close() error {
	c.mu.Lock()
	c.closed = true
	c.mu.Unlock()
	c.tasks.Wait()
	return nil
}

// Round is cluster.Control's.
func (c *loadControl) Round(now time.Time, term uint64, members []cluster.Member) cluster.Orders {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.balancer == nil || c.term != term {
		set := &c.s.Config.Cluster
		c.balancer = balance.NewBalancer(balance.Settings{Low: set.Low, Band: set.Band, Moves: set.Moves})
		c.term, c.inviting = term, ""
	}
	nodes := make([]balance.Node, 0, len(members)+1)
	for i := range members {
		m := &members[i]
		if m.State == cluster.Active && m.Name == c.joined {
			c.inviting, c.joined = "", ""
		}
		n := balanceNode(m)
		n.Spare = m.Spare || c.entry(m.Address.SIP) != nil
		nodes = append(nodes, n)
	}
	if c.joined != "" && now.Sub(c.settled) > showsWithin {
		c.inviting, c.joined = "", ""
	}
	if c.inviting != "" {
		nodes = append(nodes, balance.Node{Name: c.inviting, State: balance.Joining})
	}
	d := c.balancer.Round(now, nodes, c.candidates(members))
	if d.Starved != c.starved {
		c.starved = d.Starved
		if d.Starved {
			c.s.Log.Warn("all servers are at their maximum level, and there is none to be added: newcomers are refused as levels go on rising")
		}
	}
	return c.orders(now, &d, members)
}

func (c *loadControl) orders(now time.Time, d *balance.Decision, members []cluster.Member) cluster.Orders {
	o := cluster.Orders{States: map[string]string{}}
	for _, m := range d.Moves {
		o.Moves = append(o.Moves, cluster.Order{From: m.From, To: m.To, Users: m.Users})
	}
	if d.Drain != "" {
		c.s.Log.Info("there is little to do: a server is given up", "node", d.Drain)
		o.States[d.Drain] = cluster.Retiring
	}
	for _, m := range members {
		if m.State == cluster.Retiring && slices.Contains(d.Retire, m.Name) { // whom the operator drains stays so
			o.States[m.Name] = cluster.Standby
		}
	}
	if d.Invite == "" || c.ctx == nil || c.ctx.Err() != nil {
		return o
	}
	if c.edge == nil {
		// Without SIP between the servers a standby is just told.
		for _, m := range members {
			if m.State == cluster.Standby && (m.Name == d.Invite || sameHost(m.Address.SIP, d.Invite)) {
				c.s.Log.Info("all servers are at their maximum level: a standby is added", "node", m.Name)
				o.States[m.Name] = cluster.Active
				return o
			}
		}
		c.balancer.Failed(d.Invite, now)
		return o
	}
	c.inviting = d.Invite
	command := ""
	if s := c.entry(d.Invite); s != nil {
		command = s.command
	}
	ctx, term, uri := c.ctx, c.term, d.Invite
	c.tasks.Go(func() { c.add(ctx, term, uri, command) })
	return o
}

// candidates are the list of the configuration, and the standbys that wait in the table.
func (c *loadControl) candidates(members []cluster.Member) (list []balance.Candidate) {
	listed := map[string]bool{}
	for i := range c.standby {
		x := balance.Candidate{URI: c.standby[i].uri}
		for k := range members {
			if m := &members[k]; sameHost(m.Address.SIP, x.URI) {
				x.State = balanceState(m.State)
				listed[m.Name] = true
			}
		}
		list = append(list, x)
	}
	for k := range members {
		m := &members[k]
		if m.State != cluster.Standby || listed[m.Name] {
			continue
		}
		uri := m.Address.SIP
		if uri == "" || c.edge == nil {
			uri = m.Name
		}
		if uri == m.Name && c.edge != nil {
			continue // nobody can invite it
		}
		list = append(list, balance.Candidate{URI: uri, State: balance.Standby})
	}
	return list
}

// entry is what the configuration says of a server with this address.
func (c *loadControl) entry(uri string) *standby {
	for i := range c.standby {
		if sameHost(c.standby[i].uri, uri) {
			return &c.standby[i]
		}
	}
	return nil
}

// sameHost tells whether two SIP URIs lead to the same host and port.
func sameHost(a, b string) bool {
	x, err := sip.ParseURI(a)
	y, yerr := sip.ParseURI(b)
	if err != nil || yerr != nil {
		return false
	}
	port := func(u sip.URI) int {
		switch {
		case u.Port != 0:
			return u.Port
		case u.Scheme == "sips" || u.Transport() == "TLS":
			return 5061
		}
		return 5060
	}
	return strings.EqualFold(x.Host, y.Host) && port(x) == port(y)
}

// balanceState is a state as load is decided by it.
func balanceState(state string) balance.State {
	if state == cluster.Retiring {
		return balance.Draining
	}
	return balance.State(state)
}

func balanceNode(m *cluster.Member) balance.Node {
	return balance.Node{
		Name: m.Name, State: balanceState(m.State), Users: m.Users, Level: m.Level, Max: m.Max, Report: uint64(m.Expires.UnixNano()),
	}
}

// seen takes the table of nodes: it says whom to hear.
func (c *loadControl) seen(members []cluster.Member) {
	if c.edge == nil {
		return
	}
	var peers []loadcontrol.Peer
	leader, users := "", 0
	for i := range members {
		m := &members[i]
		users += m.Users
		if m.Leader {
			leader = m.Name
		}
		if !running(m) || m.Address.SIP == "" {
			continue
		}
		if m.Name == c.s.node.Self() {
			continue
		}
		peers = append(peers, loadcontrol.Peer{Name: m.Name, URI: m.Address.SIP})
	}
	if c.s.node.State() == cluster.Standby {
		peers = nil // who takes no part hears nobody
	}
	c.edge.Exchange(peers, leader)
	if users <= 2*loadcontrol.ListedUsers { // they may be asked for at any time
		c.residents(2 * loadcontrol.ListedUsers)
	}
}

// running tells whether a node takes part in the service.
func running(m *cluster.Member) bool {
	switch m.State {
	case cluster.Active, cluster.Draining, cluster.Retiring, cluster.Joining:
		return time.Until(m.Expires) > 0
	}
	return false
}

// state is the system as this server knows it, for the document.
func (c *loadControl) state(users int) *loaddoc.Document {
	d := &loaddoc.Document{}
	self := c.s.node.Self()
	members := c.s.node.Members()
	for i := range members {
		m := &members[i]
		if !running(m) {
			if m.State == cluster.Standby && time.Until(m.Expires) > 0 && m.Address.SIP != "" && c.entry(m.Address.SIP) == nil {
				d.Addable = append(d.Addable, m.Address.SIP)
			}
			continue
		}
		s := loaddoc.Server{ID: m.Name, URI: m.Address.SIP, State: documentState(m.State), Level: m.Level, Max: m.Max, Count: m.Users}
		if m.Name == self {
			s.Level, s.Count = c.s.load()
			s.State = documentState(c.s.node.State())
		}
		d.Users += s.Count
		d.Servers = append(d.Servers, s)
	}
	d.Count = len(d.Servers)
	for i := range c.standby {
		uri := c.standby[i].uri
		in := false
		for k := range d.Servers {
			in = in || sameHost(d.Servers[k].URI, uri)
		}
		if !in {
			d.Addable = append(d.Addable, uri)
		}
	}
	if users >= 0 && d.Users > users {
		return d
	}
	if users < 0 {
		users = loaddoc.MaxUsers
	}
	for i := range d.Servers {
		if d.Servers[i].ID == self {
			d.Servers[i].Users = c.residents(users)
		}
	}
	return d
}

// documentState is a state as the document has it, which does not tell why a server drains.
func documentState(state string) string { return string(balanceState(state)) }

// residents are the users of this server in detail, as of a second ago: the engine is asked for
// the next time.
func (c *loadControl) residents(limit int) (list []loaddoc.User) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.rolling && now.Sub(c.rolled) >= loadcontrol.Interval/2 {
		c.callRoll(limit, func() {})
	}
	for _, r := range c.roll[:min(limit, len(c.roll))] {
		u := loaddoc.User{ID: r.Entity.String(), XMPP: r.XMPP, SIP: r.SIP, Resources: r.Resources, Presence: "<basic>closed</basic>"}
		if r.Open {
			u.Presence = "<basic>open</basic>"
		}
		list = append(list, u)
	}
	return list
}

// callRoll asks the engine for the residents. mu is held.
func (c *loadControl) callRoll(limit int, done func()) {
	c.rolling = true
	c.s.engine.Roll(limit, func(all []engine.Resident) {
		c.mu.Lock()
		c.roll, c.rolled, c.rolling = all, time.Now(), false
		c.mu.Unlock()
		done()
	})
}

// fresh waits until the residents are those of now: who joins gets the newest document.
func (c *loadControl) fresh(ctx context.Context) {
	called := make(chan struct{})
	c.mu.Lock()
	c.callRoll(2*loadcontrol.ListedUsers, func() { close(called) })
	c.mu.Unlock()
	select {
	case <-called:
	case <-ctx.Done():
	}
}

// join answers an INVITE: a standby is willing.
func (c *loadControl) join(by string, _ *loaddoc.Document) (status int) {
	n := c.s.node
	switch {
	case c.s.closing.Load():
		return 603
	case n.State() != cluster.Standby:
		return 486 // it takes part already
	}
	if err := n.SetState(n.Self(), cluster.Joining); err != nil {
		return 603
	}
	c.s.Log.Info("this server joins", "asked by", by)
	return 200
}

// joinEnded has this server take users, once it has the document.
func (c *loadControl) joinEnded(d *loaddoc.Document, err error) {
	n := c.s.node
	if n.State() != cluster.Joining {
		return
	}
	state := cluster.Active
	if err != nil {
		c.s.Log.Warn("this server has not joined", "err", err)
		state = cluster.Standby
	}
	if err := n.SetState(n.Self(), state); err != nil {
		c.s.Log.Error("this server cannot change its state", "state", state, "err", err)
	}
}

// add has a candidate join, and starts it first where it does not answer and the
// configuration says how.
func (c *loadControl) add(ctx context.Context, term uint64, uri, command string) {
	c.s.Log.Info("all servers are at their maximum level: one is added", "candidate", uri)
	c.fresh(ctx)
	name, err := c.invite(ctx, uri)
	if errors.Is(err, loadcontrol.ErrNoAnswer) && command != "" {
		if err = c.start(ctx, uri, command); err == nil {
			name, err = c.inviteUntil(ctx, uri, time.Now().Add(startWithin))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.term != term || c.inviting != uri {
		return
	}
	if err != nil {
		c.inviting = ""
		c.balancer.Failed(uri, time.Now())
		c.s.Log.Warn("a server cannot be added", "candidate", uri, "err", err)
		return
	}
	c.joined, c.settled = name, time.Now()
	c.s.Log.Info("a server has joined", "node", name, "candidate", uri)
}

func (c *loadControl) invite(ctx context.Context, uri string) (name string, err error) {
	type end struct {
		name string
		err  error
	}
	ended := make(chan end, 1)
	c.edge.Join(uri, func(name string, err error) { ended <- end{name, err} })
	select {
	case e := <-ended:
		return e.name, e.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// inviteUntil asks again and again while nobody answers.
func (c *loadControl) inviteUntil(ctx context.Context, uri string, until time.Time) (name string, err error) {
	for {
		name, err = c.invite(ctx, uri)
		if !errors.Is(err, loadcontrol.ErrNoAnswer) {
			return name, err
		}
		t := time.NewTimer(time.Second)
		select {
		case <-ctx.Done():
			t.Stop()
			return "", ctx.Err()
		case <-t.C:
		}
		if time.Now().After(until) {
			return "", fmt.Errorf("%w, %v after it was started", err, startWithin)
		}
	}
}
