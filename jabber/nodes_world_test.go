package jabber

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/engine"
	"pharos/pidf"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
)

// nodes are worlds that are one service: with one store, and with peers in memory.
type nodes struct {
	t      testing.TB
	store  *store.Store
	mu     sync.Mutex
	worlds map[string]*world
	names  []string
	down   map[string]bool // what goes there or comes from there is lost
	dead   map[string]bool // and the others know
	homes  map[presence.Entity]string
	term   uint64
	wg     sync.WaitGroup
	deaf   bool                     // changes of documents are not heard
	slow   map[string]time.Duration // frames "from>to" are under way for longer
}

// wire is how long a frame is under way.
const wire = 300 * time.Microsecond

// testPeers are a node's engine.Peers.
type testPeers struct {
	ns   *nodes
	self string
	out  map[string]chan func() // frames to others, in order
}

func (p *testPeers) Self() string { return p.self }

func (p *testPeers) Owner(e presence.Entity) (string, bool) {
	p.ns.mu.Lock()
	defer p.ns.mu.Unlock()
	n, ok := p.ns.homes[e]
	return n, ok
}

func (p *testPeers) Era() uint64 { return 1 }

func (p *testPeers) Term(e presence.Entity) uint64 {
	p.ns.mu.Lock()
	defer p.ns.mu.Unlock()
	if p.ns.homes[e] == p.self {
		return p.ns.term + 1
	}
	return 0
}

func (p *testPeers) Locate(e presence.Entity, done func(string, error)) {
	p.ns.wg.Go(func() {
		time.Sleep(wire)
		p.ns.mu.Lock()
		n, ok := p.ns.homes[e]
		if !ok {
			n = p.self
			p.ns.homes[e] = n
		}
		p.ns.mu.Unlock()
		done(n, nil)
	})
}

func (p *testPeers) Send(node string, frame []byte) error {
	p.ns.mu.Lock()
	c := p.out[node]
	gone := p.ns.dead[node] || p.ns.dead[p.self]
	p.ns.mu.Unlock()
	if c == nil || gone {
		return engine.ErrStopped
	}
	select {
	case c <- func() { p.ns.worlds[node].engine.Receive(p.self, frame) }:
		return nil
	default:
		return engine.ErrOverload
	}
}

func (p *testPeers) Nodes() (others []string) {
	p.ns.mu.Lock()
	defer p.ns.mu.Unlock()
	for _, n := range p.ns.names {
		if n != p.self && !p.ns.dead[n] {
			others = append(others, n)
		}
	}
	return others
}

func (p *testPeers) Valid() bool { return true }

// tell is xdm.Config.Tell.
func (p *testPeers) tell(c *xdm.Change) {
	b := c.Encode()
	p.ns.mu.Lock()
	defer p.ns.mu.Unlock()
	if p.ns.deaf {
		return
	}
	for _, n := range p.ns.names {
		if n == p.self {
			continue
		}
		c, err := xdm.DecodeChange(b)
		if err != nil {
			p.ns.t.Error(err)
			return
		}
		p.out[n] <- func() { p.ns.worlds[n].documents.Heard(c) }
	}
}

// savedItems is engine.Loader.
type savedItems struct{ st *store.Store }

func (l savedItems) Load(ctx context.Context, of presence.Entity) ([]*presence.Source, []*presence.Subscription, error) {
	sources, subs, err := l.st.Load(ctx, of)
	for _, src := range sources {
		if src.Native.Type != pidf.Type {
			src.Doc, _ = RestoreItem(src.Native, "")
		} else if src.Doc, _, err = pidf.Parse(src.Native.Bytes); err != nil {
			return nil, nil, err
		}
	}
	return sources, subs, err
}

// amongNodes runs a test in a bubble with several nodes. homes says who lives where; others
// live where they are first asked for.
func amongNodes(t *testing.T, names, users []string, homes map[string]string, f func(ns *nodes)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ns := startNodes(t, names, users, homes)
		f(ns)
		ns.close()
	})
}

func startNodes(t testing.TB, names, users []string, homes map[string]string) *nodes {
	st, err := store.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	addUsers(t, st, users)
	ns := &nodes{t: t, store: st, worlds: map[string]*world{}, names: names, down: map[string]bool{}, dead: map[string]bool{}, homes: map[presence.Entity]string{},
		slow: map[string]time.Duration{}}
	for user, node := range homes {
		ns.homes[entity(user)] = node
	}
	mail, sip := &mailbox{}, &sipEdge{}
	for _, name := range names {
		p := &testPeers{ns: ns, self: name, out: map[string]chan func(){}}
		for _, other := range names {
			if other == name {
				continue
			}
			c := make(chan func(), 1<<14)
			p.out[other] = c
			ns.wg.Go(func() {
				for f := range c {
					ns.mu.Lock()
					slow := ns.slow[name+">"+other]
					ns.mu.Unlock()
					time.Sleep(wire + slow)
					ns.mu.Lock()
					gone := ns.down[other] || ns.down[name]
					ns.mu.Unlock()
					if !gone {
						f()
					}
				}
			})
		}
		ns.worlds[name] = startWorld(t, st.Node(), mail, sip, p, name)
	}
	return ns
}

// kill has a node die without a word. Its homes go to heir.
func (ns *nodes) kill(name, heir string) {
	ns.t.Helper()
	ns.fail(name)
	ns.bury(name, heir)
}

// fail has a node die, and nobody knows of it yet.
func (ns *nodes) fail(name string) {
	ns.mu.Lock()
	ns.down[name] = true
	ns.mu.Unlock()
	ns.worlds[name].dies = true
	for _, w := range ns.worlds {
		for _, c := range w.clients {
			if c.host.name == name {
				c.conn.Close()
			}
		}
	}
}

// bury has the others know.
func (ns *nodes) bury(name, heir string) {
	ns.t.Helper()
	ns.mu.Lock()
	ns.dead[name] = true
	var lost []presence.Entity
	for e, n := range ns.homes {
		if n == name {
			ns.homes[e] = heir
			lost = append(lost, e)
		}
	}
	ns.term++
	ns.mu.Unlock()
	ns.each(func(w *world) {
		w.engine.Gone(name)
		if w.name == heir {
			w.engine.Arrive(lost)
			if err := w.edge.Inherit(name); err != nil {
				ns.t.Error(err)
			}
		}
		w.engine.Found(lost)
		w.engine.Lost(func(e presence.Entity) bool { return slices.Contains(lost, e) })
	})
}

// each calls f for all that live.
func (ns *nodes) each(f func(w *world)) {
	for _, n := range ns.names {
		ns.mu.Lock()
		dead := ns.dead[n]
		ns.mu.Unlock()
		if !dead {
			f(ns.worlds[n])
		}
	}
}

func (ns *nodes) close() {
	ns.t.Helper()
	for _, n := range ns.names {
		ns.worlds[n].closeEdge()
	}
	time.Sleep(100 * time.Millisecond) // for what the edges said last
	ns.mu.Lock()
	for _, n := range ns.names {
		ns.dead[n], ns.down[n] = true, true
	}
	ns.mu.Unlock()
	for _, n := range ns.names {
		ns.worlds[n].close()
	}
	for _, n := range ns.names {
		for _, c := range ns.worlds[n].peers.out {
			close(c)
		}
	}
	ns.wg.Wait()
	if err := ns.store.Close(); err != nil {
		ns.t.Error("store:", err)
	}
}

// inWorlds runs a test alone, and among three nodes to which the clients connect by turns.
func inWorlds(t *testing.T, users []string, f func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("alone", func(t *testing.T) { inWorld(t, users, func(w *world) { f(t, w) }) })
	t.Run("among three", func(t *testing.T) {
		amongNodes(t, []string{"a", "b", "c"}, users, nil, func(ns *nodes) {
			w := ns.worlds["a"]
			w.among = ns
			f(t, w)
		})
	})
}

// login is the world's, on a node.
func (ns *nodes) login(node, user, resource string) *client {
	ns.t.Helper()
	return ns.worlds[node].login(user, resource)
}

// arrive logs in, asks for the roster and becomes available.
func (ns *nodes) arrive(node, user, resource string) *client {
	ns.t.Helper()
	c := ns.login(node, user, resource)
	c.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
	return c
}

// friends have both subscribed to one another.
func (ns *nodes) friends(a, b string) {
	ns.t.Helper()
	w := ns.worlds[ns.names[0]]
	for _, p := range [][2]string{{a, b}, {b, a}} {
		_, err := w.store.UpdateItem(context.Background(), entity(p[0]), entity(p[1]), func(it *store.Item) bool {
			it.To, it.From, it.Visible = true, true, true
			return true
		})
		if err != nil {
			ns.t.Fatal(err)
		}
	}
}

// has fails unless what came and was not taken has all these; those that begin with ! it
// must not have.
func (c *client) has(t testing.TB, what string, parts ...string) {
	t.Helper()
	got := c.pending()
	for _, p := range parts {
		p, not := strings.CutPrefix(p, "!")
		if strings.Contains(got, p) == not {
			t.Errorf("%s: %s got%s\nwhere %q, not: %v", what, c.name, got, p, not)
		}
	}
	c.drop()
}

// times counts.
func (c *client) times(part string) int { return strings.Count(c.pending(), part) }

// isolate cuts a node off; its clients stay. After a while the others bury it.
func (ns *nodes) isolate(name, heir string) {
	ns.t.Helper()
	ns.mu.Lock()
	ns.down[name] = true
	ns.mu.Unlock()
	time.Sleep(3 * time.Second)
	ns.bury(name, heir)
}

// heal brings it back: it owns nothing, and says everything again.
func (ns *nodes) heal(name string) {
	ns.t.Helper()
	ns.mu.Lock()
	ns.down[name], ns.dead[name] = false, false
	ns.term++
	ns.mu.Unlock()
	w := ns.worlds[name]
	w.engine.Disown()
	ns.each(func(o *world) {
		if o != w {
			w.engine.Gone(o.name)
		}
	})
	w.documents.Missed()
	w.engine.Lost(func(presence.Entity) bool { return true })
}
