package soak

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pharos/bench"
	"pharos/bench/client"
	"pharos/sip"
)

// run is a service with its users.
type run struct {
	ctx      context.Context // of the clients
	h        *bench.Hosted
	nodes    []*bench.HostedNode
	o        *oracle
	phones   []*phone
	chats    []*chat
	sockets  []*socket
	xcap     *documents
	messages *messages
	quiet    atomic.Bool // nothing is wrong with the service
	lanes    chan struct{}
	busy     sync.WaitGroup
	slow     time.Duration // clients wait so long at most after a login that failed
	turn     int           // of the nodes that are stopped and drained
	count    struct {
		online, phones                                             atomic.Int64 // now
		ended, refused, retried, dialogs, notifies, skipped, stale atomic.Int64
	}

	mu       sync.Mutex
	docs     map[string]*entry // by user
	tallies  map[string]int
	troubles map[string]int
}

// newRun makes the clients of n users; none of them is there yet.
func newRun(ctx context.Context, h *bench.Hosted, n int) (*run, error) {
	r := &run{ctx: ctx, h: h, nodes: h.Nodes(), xcap: newDocuments(), messages: newMessages(), lanes: make(chan struct{}, atOnce),
		docs: map[string]*entry{}, tallies: map[string]int{}, troubles: map[string]int{}, slow: 5 * time.Second}
	r.o = &oracle{frozen: make([]atomic.Bool, len(r.nodes))}
	for i := range n {
		r.o.users = append(r.o.users, &user{name: name(i)})
	}
	var s *socket
	for i, u := range r.o.users {
		home := i / circle % len(r.nodes)
		watches := func(k kind) (ws []*watch) {
			for _, j := range contacts(i, n) {
				ws = append(ws, &watch{watcher: u, by: k, of: r.o.users[j]})
			}
			r.o.watches = append(r.o.watches, ws...)
			return ws
		}
		if hasChat(i) {
			u.chat = newChat(r, u, home, watches(byChat))
			r.chats = append(r.chats, u.chat)
		}
		if hasPhone(i) {
			if len(r.phones)%phonesPerSocket == 0 {
				var err error
				if s, err = newSocket(); err != nil {
					return r, err
				}
				r.sockets = append(r.sockets, s)
			}
			u.phone = newPhone(r, u, s, home, watches(byPhone))
			r.phones = append(r.phones, u.phone)
		}
	}
	return r, nil
}

// come has everybody log in, spread over a time; it returns when all have tried.
func (r *run) come(ctx context.Context, over time.Duration) {
	var g sync.WaitGroup
	step := over / time.Duration(max(1, len(r.phones)+len(r.chats)))
	lanes := make(chan struct{}, 64)
	k := 0
	from := time.Now()
	next := func() bool {
		k++
		pause(ctx, time.Until(from.Add(time.Duration(k)*step)))
		return ctx.Err() == nil
	}
	for i := range max(len(r.phones), len(r.chats)) {
		if i < len(r.chats) && next() {
			c := r.chats[i]
			c.want(true)
			go c.run(r.ctx)
		}
		if i < len(r.phones) && next() {
			lanes <- struct{}{}
			g.Go(func() {
				r.phones[i].come(r.ctx)
				<-lanes
			})
		}
	}
	g.Wait()
}

// there tells how many are there who want to be.
func (r *run) there() (chats, phones int) {
	return int(r.count.online.Load()), int(r.count.phones.Load())
}

// calm waits until everybody is there and is told what is so, to the number; it returns who is not.
func (r *run) calm(ctx context.Context, limit time.Duration) (took time.Duration, wrong []string) {
	from := time.Now()
	for {
		wrong = r.notCalm()
		if len(wrong) == 0 || time.Since(from) > limit || ctx.Err() != nil {
			return time.Since(from), wrong
		}
		pause(ctx, lookEvery)
	}
}

// notCalm is who is not as he should be; only of the first it says why.
func (r *run) notCalm() (wrong []string) {
	add := func(why func() string) {
		if len(wrong) < 50 {
			wrong = append(wrong, why())
		} else {
			wrong = append(wrong, "")
		}
	}
	for _, c := range r.chats {
		if online, _ := c.is(); !online {
			add(func() string { return c.u.name + "'s chat is not there" })
		}
	}
	for _, p := range r.phones {
		if !p.is() {
			add(func() string { return p.u.name + "'s phone is not there" })
		}
	}
	for _, u := range r.o.users {
		for k := range kinds {
			if u.says[k].unsure.Load() {
				add(func() string { return fmt.Sprintf("%s's %v does not know what it says", u.name, k) })
			}
		}
	}
	for _, w := range r.o.watches {
		switch {
		case !w.stands.Load():
			add(func() string { return w.String() + " does not stand" })
		case !r.o.right(w, true):
			add(w.String)
		}
	}
	return wrong
}

// verify looks, when all is calm, for what was acknowledged and is not there, and asks the service anew, at
// random nodes, for everybody's presence.
func (r *run) verify(ctx context.Context) (looked map[string]int) {
	looked = map[string]int{}
	var mu sync.Mutex
	each := func(what string, n int, do func(i int) error) {
		var g sync.WaitGroup
		lanes := make(chan struct{}, 32)
		for i := range n {
			lanes <- struct{}{}
			g.Go(func() {
				defer func() { <-lanes }()
				err := do(i)
				mu.Lock()
				defer mu.Unlock()
				if looked[what]++; err != nil {
					r.o.never("at the end, %s: %v", what, err)
				}
			})
		}
		g.Wait()
	}
	each("rosters", len(r.chats), func(i int) error { return r.chats[i].verify() })
	var withDoc []string
	for u := range r.docs {
		withDoc = append(withDoc, u)
	}
	each("documents", len(withDoc), func(i int) error {
		var n int
		for range 5 {
			var known bool
			if n, known = r.xcap.get(ctx, r.nodes[rand.IntN(len(r.nodes))], withDoc[i]); known {
				if !r.docs[withDoc[i]].may(n) {
					return fmt.Errorf("%s's document is %d, not %d", withDoc[i], n, r.docs[withDoc[i]].is)
				}
				return nil
			}
			pause(ctx, time.Second)
		}
		return fmt.Errorf("%s's document cannot be read", withDoc[i])
	})
	each("presences, fetched", len(r.phones)*(circle-1), func(i int) error {
		p := r.phones[i/(circle-1)]
		if i%(circle-1) >= len(p.subs) {
			return nil
		}
		return p.fetch(ctx, p.subs[i%(circle-1)].w.of)
	})
	return looked
}

// verify reads the roster.
func (c *chat) verify() error {
	a := c.query("get", "<query xmlns='"+client.NSRoster+"'/>", 20*time.Second)
	if a == nil || a.Attr("type") != "result" {
		return fmt.Errorf("%s's roster cannot be read", c.u.name)
	}
	found := 0
	for item := range a.Child(client.NSRoster, "query").Children() {
		who, _, _ := strings.Cut(item.Attr("jid"), "@")
		if _, w := c.watchOf(who); w == nil {
			return fmt.Errorf("%s has %s in his roster", c.u.name, who)
		}
		found++
		if s := item.Attr("subscription"); s != "both" {
			return fmt.Errorf("%s's contact %s has subscription %q", c.u.name, who, s)
		}
		c.mu.Lock()
		e := c.names[who]
		c.mu.Unlock()
		if e == nil {
			continue
		}
		n, _ := strconv.Atoi(strings.TrimPrefix(item.Attr("name"), rosterName(-1)))
		if !e.may(n) {
			return fmt.Errorf("%s's contact %s is called %q, not %d", c.u.name, who, item.Attr("name"), e.is)
		}
	}
	if found != len(c.watches) {
		return fmt.Errorf("%s has %d contacts, not %d", c.u.name, found, len(c.watches))
	}
	return nil
}

// rosterName is what a contact is called by the nth change; -1: what all begin with.
func rosterName(n int) string {
	if n < 0 {
		return "name "
	}
	return "name " + strconv.Itoa(n)
}

// fetch asks a random node for a contact's presence (RFC 6665 §4.4.3) and compares.
func (p *phone) fetch(ctx context.Context, of *user) error {
	s := &subscription{p: p, w: &watch{watcher: p.u, by: byPhone, of: of}, on: true, fetches: true, callID: client.ID(), local: client.ID()}
	p.s.put(s.callID, s)
	defer p.s.put(s.callID, nil)
	at := p.r.nodes[rand.IntN(len(p.r.nodes))].SIP()
	var m *sip.Message
	var err error
	for range 3 {
		if m, err = p.ask(ctx, at, s.request("sip:"+of.name+"@"+bench.Domain, 0)); err == nil {
			break
		}
	}
	if err == nil && m.Status/100 != 2 {
		err = fmt.Errorf("%d %s", m.Status, m.Reason)
	}
	if err != nil {
		return fmt.Errorf("%s at %v: %w", of.name, at, err)
	}
	for range 50 {
		s.mu.Lock()
		told := s.heard > 0
		s.mu.Unlock()
		if told {
			break
		}
		pause(ctx, 100*time.Millisecond)
	}
	if !p.r.o.right(s.w, true) {
		return fmt.Errorf("fetched at %v: %v", at, s.w)
	}
	return nil
}

func (r *run) tally(what string) {
	r.mu.Lock()
	r.tallies[what]++
	r.mu.Unlock()
}

// trouble counts what clients were refused, by reason.
func (r *run) trouble(what string, err error) {
	s := err.Error()
	if i := strings.LastIndex(s, ": "); i >= 0 && strings.Contains(s, "->") {
		s = s[i+2:] // without the addresses of a connection
	}
	r.mu.Lock()
	r.troubles[what+": "+s]++
	r.mu.Unlock()
}

func (r *run) troubleStatus(what string, m *sip.Message) {
	r.trouble(what, fmt.Errorf("%d %s", m.Status, m.Reason))
}

// backoff is how long a client waits that could not log in for the nth time.
func (r *run) backoff(tries int) time.Duration {
	d := min(r.slow, time.Second<<min(tries/len(r.nodes), 5))
	return d/2 + rand.N(d)
}

func (r *run) close() {
	for _, s := range r.sockets {
		s.Close()
	}
	r.xcap.hc.CloseIdleConnections()
}

func pause(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
