package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/engine"
	"pharos/fields"
	"pharos/presence"
)

// clerk is an engine without presence: a presentity has a version, which is durable, and those
// who watch it, a set of nodes, which is not. An edge on each node says to owners what it
// watches, and says it again when it hears that it was lost.
type clerk struct {
	o    *office
	name string
	node *Node

	mu      sync.Mutex
	epoch   uint64
	held    map[presence.Entity]*ledger
	waiting map[presence.Entity][]order // for the end of an export, or of the lease
	asked   map[uint64]order            // of other nodes
	last    uint64
	watches map[presence.Entity]bool // what the edge watches
	dead    bool
	paused  bool // the process stands still
	fenced  bool
	lost    int
	missed  map[string]int // how often something told by a node may have been missed
	arrived []arrivalNote
}

type arrivalNote struct {
	at    time.Duration
	count int
}

type ledger struct {
	version  int
	watchers map[string]bool
	exported bool
}

type orderKind byte

const (
	watch orderKind = iota + 1
	write           // a new version
)

type order struct {
	kind orderKind
	of   presence.Entity
	from string // node
	id   uint64
	to   string // the node that was asked
	done func()
}

// submit takes an order to the owner, as often as it takes.
func (c *clerk) submit(o order) {
	c.mu.Lock()
	dead, paused := c.dead, c.paused
	c.mu.Unlock()
	if dead {
		return
	}
	owner, ok := c.node.Owner(o.of)
	switch {
	case paused:
		c.later(100*time.Millisecond, func() { c.submit(o) })
	case !ok:
		c.locate(o)
	case owner == c.name:
		if !c.take(o) {
			c.later(50*time.Millisecond, func() { c.submit(o) })
		}
	default:
		c.mu.Lock()
		c.last++
		o.id, o.to = c.last, owner
		c.asked[o.id] = o
		c.mu.Unlock()
		if err := c.node.Send(owner, o.frame('?')); err != nil {
			c.mu.Lock()
			_, mine := c.asked[o.id]
			delete(c.asked, o.id)
			c.mu.Unlock()
			if mine {
				c.later(50*time.Millisecond, func() { c.locate(o) })
			}
		}
	}
}

func (c *clerk) locate(o order) {
	c.node.Locate(o.of, func(node string, err error) {
		switch {
		case errors.Is(err, engine.ErrStopped):
		case err != nil:
			c.later(200*time.Millisecond, func() { c.submit(o) })
		default:
			c.later(0, func() { c.submit(o) })
		}
	})
}

// later runs something unless the node is dead by then.
func (c *clerk) later(d time.Duration, f func()) {
	c.o.tasks.Go(func() {
		time.Sleep(d)
		c.mu.Lock()
		dead := c.dead
		c.mu.Unlock()
		if !dead && !c.o.closed.Load() {
			f()
		}
	})
}

// take carries an order out as the owner; false: not now.
func (c *clerk) take(o order) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.paused || c.fenced || !c.node.Valid() {
		return false
	}
	l := c.held[o.of]
	if l != nil && l.exported {
		c.waiting[o.of] = append(c.waiting[o.of], o)
		return true
	}
	c.o.acts(c, o.of)
	if l == nil {
		l = &ledger{version: c.o.table.version(o.of), watchers: map[string]bool{}}
		c.held[o.of] = l
	}
	switch o.kind {
	case watch:
		l.watchers[o.from] = true
	case write:
		if err := c.o.table.save(c.name, c.epoch, o.of, l.version+1); err != nil {
			c.fenced = true
			return false
		}
		l.version++
	}
	c.answer(o, '!')
	return true
}

// answer is called with mu held.
func (c *clerk) answer(o order, with byte) {
	if o.from == c.name {
		if with == '!' && o.done != nil {
			o.done()
		}
		return
	}
	_ = c.node.Send(o.from, o.frame(with)) // or it has gone
}

func (o order) frame(kind byte) []byte {
	b := []byte{kind, byte(o.kind)}
	b = binary.AppendUvarint(b, o.id)
	return fields.AppendEntity(b, o.of)
}

func (c *clerk) Receive(from string, frame []byte) {
	r := fields.Of(frame)
	what := r.Byte()
	o := order{kind: orderKind(r.Byte()), id: r.Uint(), of: r.Entity(), from: from}
	if !r.OK() {
		c.o.t.Errorf("%s: a frame from %s that cannot be read", c.name, from)
		return
	}
	switch what {
	case '?':
		c.receive(o)
	default:
		c.mu.Lock()
		mine, ok := c.asked[o.id]
		delete(c.asked, o.id)
		c.mu.Unlock()
		switch {
		case !ok:
		case what == '!':
			if mine.done != nil {
				mine.done()
			}
		default: // not its own
			c.locate(mine)
		}
	}
}

// receive takes an order of another node.
func (c *clerk) receive(o order) {
	if owner, ok := c.node.Owner(o.of); ok && owner == c.name {
		if !c.take(o) {
			c.later(50*time.Millisecond, func() { c.receive(o) })
		}
		return
	} else if ok {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.answer(o, '-')
		return
	}
	c.node.Locate(o.of, func(node string, err error) {
		c.later(0, func() {
			if err == nil && node == c.name {
				c.receive(o)
				return
			}
			c.mu.Lock()
			defer c.mu.Unlock()
			c.answer(o, '-')
		})
	})
}

func (c *clerk) Gone(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.held {
		delete(l.watchers, node)
	}
	for e, list := range c.waiting {
		c.waiting[e] = slices.DeleteFunc(list, func(o order) bool { return o.from == node })
	}
	for id, o := range c.asked {
		if o.to == node {
			delete(c.asked, id)
			c.later(0, func() { c.submit(o) })
		}
	}
}

func (c *clerk) Lost(lost func(presence.Entity) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range c.watches {
		if lost(e) {
			c.lost++
			c.later(0, func() { c.submit(order{kind: watch, of: e, from: c.name}) })
		}
	}
}

func (c *clerk) Arrive(of []presence.Entity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.arrived = append(c.arrived, arrivalNote{time.Since(c.o.began), len(of)})
	for _, e := range of {
		if c.held[e] == nil {
			c.held[e] = &ledger{version: c.o.table.version(e), watchers: map[string]bool{}}
		}
	}
}

func (c *clerk) Disown() {
	c.mu.Lock()
	defer c.mu.Unlock()
	clear(c.held)
	for e, list := range c.waiting {
		for _, o := range list {
			c.resubmit(o)
		}
		delete(c.waiting, e)
	}
	c.fenced = false
}

// resubmit has an order that has waited go to whoever is the owner; mu is held.
func (c *clerk) resubmit(o order) {
	if o.from == c.name {
		c.later(0, func() { c.submit(o) })
	} else {
		c.later(0, func() { c.receive(o) })
	}
}

func (c *clerk) Found([]presence.Entity) {}

func (c *clerk) Export(of presence.Entity, done func([]byte, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.held[of]
	if l == nil {
		c.held[of] = &ledger{exported: true}
		c.later(0, func() { done(nil, nil) })
		return nil
	}
	if l.exported {
		c.o.t.Errorf("%s exports %s twice", c.name, of)
	}
	l.exported = true
	state := binary.AppendUvarint([]byte{1}, uint64(l.version))
	for w := range l.watchers {
		state = fields.AppendText(state, w)
	}
	c.later(time.Millisecond, func() { done(state, nil) })
	return nil
}

// freed ends an export; mu is held.
func (c *clerk) freed(of presence.Entity) {
	for _, o := range c.waiting[of] {
		c.resubmit(o)
	}
	delete(c.waiting, of)
}

func (c *clerk) Forget(of presence.Entity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.held, of)
	c.freed(of)
}

func (c *clerk) KeepHere(of presence.Entity) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.held[of]; l != nil {
		l.exported = false
		if l.watchers == nil {
			delete(c.held, of)
		}
	}
	c.freed(of)
}

func (c *clerk) Import(of presence.Entity, state []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.held[of] != nil {
		c.o.t.Errorf("%s imports %s, and has it already", c.name, of)
	}
	r := fields.Of(state[1:])
	l := &ledger{version: int(r.Uint()), watchers: map[string]bool{}}
	for r.Len() > 0 {
		l.watchers[r.Text()] = true
	}
	c.held[of] = l
	// Who has died in the meantime is gone here, too.
	for w := range l.watchers {
		if w != c.name && !slices.Contains(c.node.Nodes(), w) {
			delete(l.watchers, w)
		}
	}
	return nil
}

// office is a service of several nodes in one bubble.
type office struct {
	jumps  atomic.Bool // the database's clock does: who leads learns a renewal later that another does, in a later term
	t      *testing.T
	table  *table
	bus    *Memory
	began  time.Time
	tasks  sync.WaitGroup
	closed atomic.Bool
	before func(*Node) // is called with each node before it runs

	mu    sync.Mutex
	desks map[string]*desk
}

// desk is one node in it.
type desk struct {
	*clerk
	view   *view
	config Config
	stop   context.CancelFunc
	ended  chan error
}

func newOffice(t *testing.T, names ...string) *office {
	o := &office{t: t, table: newTable(t), bus: NewMemory(), began: time.Now(), desks: map[string]*desk{}}
	for _, name := range names {
		o.start(name, nil)
	}
	return o
}

// start starts a node, again if it was there before.
func (o *office) start(name string, change func(*Config)) *desk {
	o.mu.Lock()
	d := &desk{view: &view{table: o.table, node: name}, ended: make(chan error, 1)}
	var watches map[presence.Entity]bool
	o.mu.Unlock()
	if watches == nil {
		watches = map[presence.Entity]bool{}
	}
	c := &clerk{o: o, name: name, held: map[presence.Entity]*ledger{}, waiting: map[presence.Entity][]order{}, asked: map[uint64]order{}, watches: watches, missed: map[string]int{}}
	d.clerk = c
	d.config = Config{
		Name: name, Registry: d.view, Bus: o.bus.Join(name), Version: "test", Max: 1000, Hints: 1 << 12,
		Fence: func(_ string, epoch uint64) { c.mu.Lock(); defer c.mu.Unlock(); c.epoch = epoch },
	}
	if *verbose {
		d.config.Log = slog.New(clockHandler{slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelDebug}), o.began}).With("at", name)
	}
	if change != nil {
		change(&d.config)
	}
	c.node = New(d.config)
	c.node.Use(c)
	if o.before != nil {
		o.before(c.node)
	}
	c.node.Topic('x', func(string, []byte) {}, func(from string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.missed[from]++
	})
	ctx, cancel := context.WithCancel(context.Background())
	d.stop = cancel
	o.mu.Lock()
	o.desks[name] = d
	o.mu.Unlock()
	go func() { d.ended <- c.node.Run(ctx) }()
	return d
}

// kill ends a node as kill -9 does.
func (o *office) kill(name string) {
	o.mu.Lock()
	d := o.desks[name]
	o.mu.Unlock()
	o.bus.Stop(name)
	d.view.kill()
	d.clerk.mu.Lock()
	d.dead = true
	d.clerk.mu.Unlock()
	d.stop()
	<-d.ended
	o.mu.Lock()
	delete(o.desks, name)
	o.mu.Unlock()
}

// suspend has a node stand still, as SIGSTOP does, and resume go on.
func (o *office) suspend(name string) {
	d := o.desk(name)
	o.bus.Freeze(name)
	d.view.freeze()
	d.clerk.mu.Lock()
	d.paused = true
	d.clerk.mu.Unlock()
}

func (o *office) resume(name string) {
	d := o.desk(name)
	d.clerk.mu.Lock()
	d.paused = false
	d.clerk.mu.Unlock()
	d.view.thaw()
	o.bus.Thaw(name)
}

func (o *office) desk(name string) *desk {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.desks[name]
}

func (o *office) all() []*desk {
	o.mu.Lock()
	defer o.mu.Unlock()
	var list []*desk
	for _, name := range slices.Sorted(maps.Keys(o.desks)) {
		list = append(list, o.desks[name])
	}
	return list
}

// close ends all in order.
func (o *office) close() {
	o.closed.Store(true)
	for _, d := range o.all() {
		d.clerk.mu.Lock()
		d.dead = true
		d.clerk.mu.Unlock()
		d.stop()
		if err := <-d.ended; err != nil {
			o.t.Errorf("%s: %v", d.name, err)
		}
	}
	o.tasks.Wait()
}

// acts is the referee: nobody else may be able to act for e at the moment that c does.
func (o *office) acts(c *clerk, e presence.Entity) {
	for _, d := range o.all() {
		if d.clerk == c || d.node == nil {
			continue
		}
		if owner, ok := d.node.Owner(e); ok && owner == d.name && d.node.Valid() {
			if h := d.node.home(e); h != nil && !h.leaving.Load() {
				o.t.Errorf("%v: %s acts for %s, and %s could, too", time.Since(o.began), c.name, e, d.name)
			}
		}
	}
}

// referee looks at all entities and terms now and then.
func (o *office) referee(entities []presence.Entity) {
	for !o.closed.Load() {
		leaders := map[uint64]string{}
		for _, d := range o.all() {
			if term, ok := d.node.Leading(); ok {
				if other := leaders[term]; other != "" {
					o.t.Errorf("%s and %s lead in term %d", d.name, other, term)
				}
				leaders[term] = d.name
			}
		}
		if len(leaders) > 1 && !o.jumps.Load() {
			o.t.Errorf("%v: several lead: %v", time.Since(o.began), leaders)
		}
		for _, e := range entities {
			owner := ""
			for _, d := range o.all() {
				h := d.node.home(e)
				if h == nil || h.leaving.Load() || !d.node.Valid() {
					continue
				}
				if owner != "" {
					o.t.Errorf("%v: %s and %s both own %s", time.Since(o.began), owner, d.name, e)
				}
				owner = d.name
			}
		}
		time.Sleep(23 * time.Millisecond)
	}
}

// watch has the edge of a node watch somebody.
func (o *office) watch(name string, e presence.Entity) {
	d := o.desk(name)
	d.clerk.mu.Lock()
	d.watches[e] = true
	d.clerk.mu.Unlock()
	d.submit(order{kind: watch, of: e, from: name})
}

// check wants every watch of every node to be known to the one owner, and nothing else.
func (o *office) check(entities []presence.Entity) error {
	all := o.all()
	for _, e := range entities {
		var owners []string
		for _, d := range all {
			if h := d.node.home(e); h != nil && d.node.Valid() {
				owners = append(owners, d.name)
				d.clerk.mu.Lock()
				l := d.held[e]
				watchers := map[string]bool{}
				if l != nil {
					watchers = maps.Clone(l.watchers)
				}
				d.clerk.mu.Unlock()
				for _, w := range all {
					w.clerk.mu.Lock()
					want := w.watches[e]
					w.clerk.mu.Unlock()
					if want != watchers[w.name] {
						return fmt.Errorf("%s has of %s that %s watches: %v, and it is %v", d.name, e, w.name, watchers[w.name], want)
					}
					delete(watchers, w.name)
				}
				if len(watchers) > 0 {
					return fmt.Errorf("%s has watchers of %s who are no more: %v", d.name, e, watchers)
				}
			}
		}
		if len(owners) > 1 {
			return fmt.Errorf("%s has owners %v", e, owners)
		}
		if len(owners) == 0 {
			for _, d := range all {
				if d.watches[e] {
					return fmt.Errorf("%s has no owner, and %s watches", e, d.name)
				}
			}
		}
	}
	return nil
}

// right waits until check is content, and returns how long that took.
func (o *office) right(entities []presence.Entity, within time.Duration) time.Duration {
	o.t.Helper()
	begun := time.Now()
	var err error
	for time.Since(begun) < within {
		synctest.Wait()
		if err = o.check(entities); err == nil {
			return time.Since(begun)
		}
		time.Sleep(10 * time.Millisecond)
	}
	o.t.Errorf("not right after %v: %v", within, err)
	return within
}
