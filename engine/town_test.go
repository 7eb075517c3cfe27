package engine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// town is several engines with a registry of homes and a store that they share.
type town struct {
	t     *testing.T
	delay func(from, to string) time.Duration // of frames; nil: none

	mu      sync.Mutex
	homes   map[presence.Entity]home
	choose  func(presence.Entity) string // who gets a newcomer; nil: the node that asks
	nodes   map[string]*townNode
	records map[saveKey]presence.Save
	moving  map[presence.Entity]bool // homes whose state has not come yet
	lost    atomic.Bool              // Locate finds nobody
	unread  atomic.Bool              // Load fails
	pols    *rules
	wg      sync.WaitGroup
}

type home struct {
	node  string
	epoch uint64
}

// townNode is one of them; it is its Peers, Saver and Loader.
type townNode struct {
	*Engine
	town   *town
	name   string
	sip    *desk
	xmpp   *desk
	box    *box
	links  map[string]*townLink // to others
	hints  map[presence.Entity]home
	valid  atomic.Bool
	full   atomic.Bool // links refuse
	epoch  uint64      // under which it saves; town.mu
	alive  bool        // town.mu
	fence  uint64      // epochs below are fenced; town.mu
	broken bool        // saves fail; town.mu
	stop   func() error
	saves  chan diskWrite
	slow   atomic.Int64 // nanoseconds a save takes
	loads  atomic.Int64
	eras   atomic.Uint64 // that have ended
}

type townLink struct {
	mu     sync.Mutex
	frames chan townFrame
	closed bool
}

type townFrame struct {
	b  []byte
	at time.Time
}

var errFenced = errors.New("fenced")

// errAway passes by itself.
var errAway = errors.New("the database is away")

func newTown(t *testing.T, names ...string) *town {
	w := &town{t: t, moving: map[presence.Entity]bool{}, homes: map[presence.Entity]home{}, nodes: map[string]*townNode{}, records: map[saveKey]presence.Save{}, pols: &rules{}}
	for _, name := range names {
		w.start(name)
	}
	return w
}

// start begins a node, or begins it anew.
func (w *town) start(name string) *townNode {
	n := &townNode{town: w, name: name, links: map[string]*townLink{}, hints: map[presence.Entity]home{}, alive: true, box: &box{},
		saves: make(chan diskWrite, 10000), epoch: 1}
	n.valid.Store(true)
	if old := w.nodes[name]; old != nil {
		n.epoch, n.fence = old.fence+1, old.fence
	}
	n.Engine = New(Config{Shards: 2, Save: n, Policies: w.pols, Mailbox: n.box, Peers: townPeers{n}, Loader: n, Fenced: errFenced,
		Transient: func(err error) bool { return errors.Is(err, errAway) }})
	n.sip, n.xmpp = newDesk(n, "sip"), newDesk(n, "xmpp")
	n.Register("sip", n.sip)
	n.Register("xmpp", n.xmpp)
	w.mu.Lock()
	w.nodes[name] = n
	for _, o := range w.nodes {
		if o != n && o.alive {
			n.links[o.name], o.links[name] = w.link(n, o), w.link(o, n)
		}
	}
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- n.Run(ctx) }()
	w.wg.Go(n.disk)
	n.stop = sync.OnceValue(func() error {
		cancel()
		err := <-ended
		close(n.saves)
		return err
	})
	return n
}

func (w *town) link(from, to *townNode) *townLink {
	l := &townLink{frames: make(chan townFrame, 1<<14)}
	w.wg.Go(func() {
		for f := range l.frames {
			time.Sleep(time.Until(f.at))
			l.mu.Lock()
			if !l.closed {
				to.Receive(from.name, f.b)
			}
			l.mu.Unlock()
		}
	})
	return l
}

func (l *townLink) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.frames)
	}
}

// end stops all.
func (w *town) end() {
	for _, n := range w.nodes {
		if err := n.stop(); err != nil && n.alive {
			w.t.Errorf("%s: Run: %v", n.name, err)
		}
		for _, s := range n.shards {
			if c := s.open.Load(); c != 0 {
				w.t.Errorf("%s: %d inputs were never answered", n.name, c)
			}
		}
	}
	for _, n := range w.nodes {
		w.cut(n)
	}
	w.wg.Wait()
}

// cut closes the links of a node.
func (w *town) cut(n *townNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, o := range w.nodes {
		for _, l := range []*townLink{o.links[n.name], n.links[o.name]} {
			if l != nil {
				l.close()
			}
		}
		delete(o.links, n.name)
		delete(n.links, o.name)
	}
}

// inTown runs fn with engines in virtual time.
func inTown(t *testing.T, fn func(w *town), names ...string) {
	t.Helper()
	if len(names) == 0 {
		names = []string{"a", "b", "c"}
	}
	bubble(t, func(t *testing.T) {
		w := newTown(t, names...)
		defer w.end()
		fn(w)
	})
}

// kill ends a node without a word; its homes go to heir, and everybody else hears of it
// after a while.
func (w *town) kill(name, heir string, after time.Duration) {
	n := w.nodes[name]
	n.valid.Store(false)
	w.cut(n)
	w.mu.Lock()
	n.alive = false
	w.mu.Unlock()
	w.wg.Go(func() { _ = n.stop() })
	time.Sleep(after)
	w.bury(n, heir)
}

// bury gives the homes of a node that acts no more to another, and has the others know.
func (w *town) bury(n *townNode, heir string) {
	w.mu.Lock()
	n.fence = n.epoch + 1
	var heired []presence.Entity
	was := map[presence.Entity]bool{}
	for e, h := range w.homes {
		if h.node == n.name {
			w.homes[e] = home{heir, h.epoch + 1}
			was[e] = true
			for k := range w.records {
				if k.of == e && !slices.Contains(heired, e) {
					heired = append(heired, e)
				}
			}
		}
	}
	w.nodes[heir].adopt(w, was)
	w.mu.Unlock()
	var heard sync.WaitGroup
	for _, o := range w.nodes {
		if o.alive && o != n {
			heard.Go(func() {
				if w.delay != nil {
					time.Sleep(20 * w.delay(n.name, o.name))
				}
				o.Gone(n.name)
				o.Lost(func(e presence.Entity) bool { return was[e] })
			})
		}
	}
	heard.Wait()
	w.nodes[heir].Arrive(heired)
}

// adopt has a node know of homes that it has got; w.mu is held.
func (n *townNode) adopt(w *town, of map[presence.Entity]bool) {
	for e := range of {
		n.hints[e] = w.homes[e]
	}
}

// move hands a presentity over to another node.
func (w *town) move(of presence.Entity, to string) error {
	w.mu.Lock()
	from := w.homes[of].node
	a, b := w.nodes[from], w.nodes[to]
	w.mu.Unlock()
	if a == nil || from == to {
		return nil
	}
	type export struct {
		state []byte
		err   error
	}
	got := make(chan export, 1)
	if err := a.Export(of, func(state []byte, err error) { got <- export{state, err} }); err != nil {
		return err
	}
	x := <-got
	if x.err != nil {
		return x.err
	}
	w.mu.Lock()
	h := w.homes[of]
	if h.node != from || !a.alive || !b.alive {
		w.mu.Unlock()
		a.KeepHere(of)
		return errors.New("moved by another")
	}
	h = home{to, h.epoch + 1}
	w.homes[of] = h
	a.hints[of] = h
	w.moving[of] = true
	w.mu.Unlock()
	if w.delay != nil {
		time.Sleep(w.delay(from, to))
	}
	w.mu.Lock()
	delete(w.moving, of)
	if w.homes[of] == h && b.alive { // else it has an heir already
		if err := b.Import(of, bytes.Clone(x.state)); err != nil {
			w.t.Errorf("import: %v", err)
		}
		b.hints[of] = h
	}
	w.mu.Unlock()
	b.Found([]presence.Entity{of})
	a.Forget(of)
	return nil
}

// townPeers are the Peers of a node.
type townPeers struct{ *townNode }

func (n townPeers) Self() string { return n.name }

func (n townPeers) Owner(e presence.Entity) (string, bool) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	h, ok := n.hints[e]
	return h.node, ok
}

func (n townPeers) Era() uint64 { return 1 + n.eras.Load() }

func (n townPeers) Term(e presence.Entity) uint64 {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	if h := n.hints[e]; h.node == n.name {
		return h.epoch
	}
	return 0
}

func (n townPeers) Locate(e presence.Entity, done func(string, error)) {
	n.town.wg.Go(func() {
		time.Sleep(2 * time.Millisecond)
		w := n.town
		w.mu.Lock()
		if !n.valid.Load() || w.lost.Load() {
			w.mu.Unlock()
			done("", errors.New("not in the service"))
			return
		}
		h, ok := w.homes[e]
		if !ok {
			h = home{n.name, 1}
			if w.choose != nil {
				h.node = w.choose(e)
			}
			w.homes[e] = h
		}
		if h.node == n.name && w.moving[e] {
			h.node = "" // it is on its way here
		} else {
			n.hints[e] = h
		}
		w.mu.Unlock()
		if h.node == "" {
			done("", errors.New("on its way"))
			return
		}
		done(h.node, nil)
	})
}

func (n townPeers) Send(node string, frame []byte) error {
	if n.full.Load() {
		return ErrOverload
	}
	n.town.mu.Lock()
	l, delay := n.links[node], n.town.delay
	n.town.mu.Unlock()
	if l == nil {
		return ErrGone
	}
	at := time.Now()
	if delay != nil {
		at = at.Add(delay(n.name, node))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return ErrGone
	}
	select {
	case l.frames <- townFrame{frame, at}:
		return nil
	default:
		return ErrOverload
	}
}

func (n townPeers) Nodes() (names []string) {
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	for name := range n.links {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (n townPeers) Valid() bool { return n.valid.Load() }

func (n *townNode) Save(saves []presence.Save, done func(error)) {
	n.town.mu.Lock()
	epoch := n.epoch
	n.town.mu.Unlock()
	n.saves <- diskWrite{slices.Clone(saves), func(err error) { done(err) }, epoch}
}

// disk writes what this node saves to the store of all.
func (n *townNode) disk() {
	for x := range n.saves {
		time.Sleep(time.Duration(n.slow.Load()))
		w := n.town
		w.mu.Lock()
		if n.broken {
			w.mu.Unlock()
			x.done(errAway)
			continue
		}
		if x.epoch < n.fence {
			w.mu.Unlock()
			x.done(fmt.Errorf("%w", errFenced))
			continue
		}
		for _, sv := range x.saves {
			if sv.Delete {
				delete(w.records, keyOf(&sv))
			} else {
				w.records[keyOf(&sv)] = sv
			}
		}
		w.mu.Unlock()
		x.done(nil)
	}
}

func (n *townNode) Load(_ context.Context, of presence.Entity) (sources []*presence.Source, subs []*presence.Subscription, err error) {
	time.Sleep(time.Millisecond)
	n.loads.Add(1)
	if n.town.unread.Load() {
		return nil, nil, errDisk
	}
	n.town.mu.Lock()
	defer n.town.mu.Unlock()
	for k, sv := range n.town.records {
		switch {
		case k.of != of:
		case sv.Source != nil:
			sources = append(sources, sv.Source)
		default:
			subs = append(subs, sv.Subscription)
		}
	}
	return sources, subs, nil
}

func (n *townNode) must(of presence.Entity, in presence.Input) presence.Outcome {
	n.town.t.Helper()
	out, err := n.Step(context.Background(), of, in)
	if err != nil {
		n.town.t.Fatalf("%s: %T to %s: %v", n.name, in, of, err)
	}
	return out
}

func (w *town) expect(p *desk, want ...string) {
	w.t.Helper()
	synctest.Wait()
	if got := p.saw(); !equal(got, want) {
		w.t.Fatalf("watchers at %s saw %q, want %q", p.n.name, got, want)
	}
}

// desk is an edge that says again what it has said, and remembers what its watchers were
// told last.
type desk struct {
	phone
	n       *townNode
	edge    string
	mu      sync.Mutex
	now     map[string]*said // by user and key
	count   int
	last    map[string]*presence.Notice // by user and subscription
	adopted []string
	calls   []string
	answer  func(request []byte) []byte
	mute    bool // calls are never answered
	losses  int  // calls of Lost
}

type said struct {
	of presence.Entity
	in presence.Input
	at int // its place among all
}

func newDesk(n *townNode, edge string) *desk {
	return &desk{n: n, edge: edge, now: map[string]*said{}, last: map[string]*presence.Notice{}}
}

// say submits what is not saved, and remembers it.
func (d *desk) say(of presence.Entity, in presence.Input) {
	switch in := in.(type) {
	case presence.Publish:
		d.sayAs(of, in.ID.String(), in)
	case presence.Watch:
		d.sayAs(of, in.ID, in)
	default:
		panic("what is this replaced by?")
	}
}

// sayAs is say for what replaces what was said under the key before.
func (d *desk) sayAs(of presence.Entity, key string, in presence.Input) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.count++
	x := &said{of, in, d.count}
	d.now[of.User+" "+key] = x
	d.submit(of.User+" "+key, x)
}

// unsay takes back what was said.
func (d *desk) unsay(of presence.Entity, key string, in presence.Input) {
	d.mu.Lock()
	defer d.mu.Unlock()
	key = of.User + " " + key
	if d.now[key] == nil {
		return
	}
	delete(d.now, key)
	if u, ok := in.(presence.Unwatch); ok {
		delete(d.last, of.User+" "+u.ID)
	}
	d.submit(key, &said{of, in, 0})
}

// submit says something until it is heard, as long as it is the last word; d.mu is held.
func (d *desk) submit(key string, x *said) {
	again := func(err error) {
		if err == nil || errors.Is(err, ErrStopped) || errors.Is(err, presence.ErrNoSubscription) {
			return
		}
		time.AfterFunc(500*time.Millisecond, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			if is := d.now[key]; is == x || is == nil && takesAway(&item{in: x.in}) {
				d.submit(key, x)
			}
		})
	}
	again(d.n.Submit(x.of, x.in, func(_ presence.Outcome, err error) { again(err) }))
}

func (d *desk) Notify(n *presence.Notice) {
	d.phone.Notify(n)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, tg := range n.Targets {
		key := n.Presentity.User + " " + tg.Sub
		was := d.last[key]
		d.last[key] = n
		if was == nil || was.View == nil || n.View == nil {
			continue
		}
		if was.View.Parts().Origin == n.View.Parts().Origin && n.View.Version < was.View.Version {
			d.n.town.t.Errorf("%s at %s: version %d of %s after %d", tg.Sub, d.n.name, n.View.Version, n.Presentity, was.View.Version)
		}
	}
}

func (d *desk) Lost(lost func(presence.Entity) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.losses++
	keys := slices.SortedFunc(maps.Keys(d.now), func(a, b string) int { return d.now[a].at - d.now[b].at })
	for _, key := range keys { // as they were said
		if x := d.now[key]; lost(x.of) {
			d.submit(key, x)
		}
	}
}

func (d *desk) Adopt(of presence.Entity, subs []*presence.Subscription) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, s := range subs {
		d.adopted = append(d.adopted, of.User+"/"+s.ID+"@"+s.Via.Node)
	}
}

func (d *desk) Called(from string, request []byte, answer func([]byte)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.calls = append(d.calls, from+":"+string(request))
	if d.mute {
		return
	}
	b := []byte(d.n.name + "/" + d.edge + " heard " + string(request) + " of " + from)
	if d.answer != nil {
		b = d.answer(request)
	}
	answer(b)
}
