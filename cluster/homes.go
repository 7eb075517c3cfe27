package cluster

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// Bounds and times of homes.
const (
	// MaxSettled is how many entities one question to the registry is about.
	MaxSettled = 500
	// MaxLocating bounds the entities whose owner is being looked for; more is ErrOverload.
	MaxLocating = 1 << 16
	// LocateWithin is how long an owner is looked for.
	LocateWithin = 5 * time.Second
	// IdleAfter is how long nobody has asked for a home here until it is looked at whether it can be given up.
	IdleAfter = 10 * time.Minute

	registryWithin = 2 * time.Second        // for one call
	locateAgain    = 100 * time.Millisecond // after an answer that was of no use
	releaseEvery   = 10 * time.Second
	maxReleased    = 2000 // looked at in that time
	ownShards      = 64
)

// ownShard has homes at this node.
//
// Only what this node itself has read or written in the registry in its present
// era is in it, or what the last owner has handed over in this era. As long as the
// lease holds, nobody else can have changed such a home: only its owner moves it, and heirs need the
// owner's death. So the set is right, though not complete: a home may be at this node that it
// has not been asked for yet.
type ownShard struct {
	mu sync.RWMutex
	of map[presence.Entity]*home
}

type home struct {
	epoch   atomic.Uint64
	since   uint32        // tick when it came
	used    atomic.Uint32 // minute
	leaving atomic.Bool   // being moved or given up: nobody else may begin that
}

// tickets are for those who read the registry and enter later what they have read: by then
// a home may have gone, or come to somebody else.
type tickets struct {
	mu   sync.Mutex
	open map[*ticket]struct{}
}

type ticket struct{ changed map[presence.Entity]struct{} }

func (t *tickets) begin() *ticket {
	k := &ticket{}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.open == nil {
		t.open = map[*ticket]struct{}{}
	}
	t.open[k] = struct{}{}
	return k
}

func (t *tickets) end(k *ticket) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.open, k)
}

// change says that what was read of e up to now does not hold any more.
func (t *tickets) change(e presence.Entity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k := range t.open {
		if k.changed == nil {
			k.changed = map[presence.Entity]struct{}{}
		}
		k.changed[e] = struct{}{}
	}
}

func (t *tickets) holds(k *ticket, e presence.Entity) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, changed := k.changed[e]
	return !changed
}

// recent remembers for a while which homes have moved, and the epochs that they got: what others say
// of one home may overtake each other.
type recent struct {
	mu       sync.Mutex
	now, was map[uint64]uint64 // by hash
}

// maxRecent bounds each half; what is beyond is not remembered.
const maxRecent = 1 << 17

// newer tells whether an epoch is the highest that was heard of, and remembers it.
func (r *recent) newer(hash, epoch uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if max(r.now[hash], r.was[hash]) > epoch {
		return false
	}
	if r.now == nil {
		r.now = map[uint64]uint64{}
	}
	if len(r.now) < maxRecent {
		r.now[hash] = epoch
	}
	return true
}

// turn forgets what is old.
func (r *recent) turn() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now, r.was = nil, r.now
}

func (n *Node) shard(hash uint64) *ownShard { return &n.own[hash>>32%ownShards] }

func (n *Node) home(e presence.Entity) *home {
	s := n.shard(n.hints.hash(e))
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.of[e]
}

// Owner is engine.Peers'.
func (n *Node) Owner(e presence.Entity) (string, bool) {
	x := n.hints.hash(e)
	s := n.shard(x)
	s.mu.RLock()
	h := s.of[e]
	s.mu.RUnlock()
	if h != nil {
		if m := n.minute.Load(); h.used.Load() != m {
			h.used.Store(m)
		}
		return n.c.Name, true
	}
	if i, _ := n.hints.get(x); i != 0 {
		if p := n.byIndex[i].Load(); p != nil {
			return p.name, true
		}
	}
	return "", false
}

// Term is engine.Peers'.
func (n *Node) Term(e presence.Entity) uint64 {
	if h := n.home(e); h != nil {
		return h.epoch.Load()
	}
	return 0
}

// have enters a home at this node that was read with a ticket in an era. False: it may not
// be so any more. Call it with arrivals held.
func (n *Node) have(e presence.Entity, epoch, era uint64, k *ticket) bool {
	x := n.hints.hash(e)
	s := n.shard(x)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.era.Load() != era || k != nil && !n.reads.holds(k, e) {
		return false
	}
	if s.of[e] != nil {
		return true
	}
	h := &home{since: n.tick()}
	h.epoch.Store(epoch)
	h.used.Store(n.minute.Load())
	s.of[e] = h
	n.owned.Add(1)
	n.hints.forget(x)
	return true
}

// part takes a home away that has gone elsewhere or was given up.
func (n *Node) part(e presence.Entity, era uint64) {
	s := n.shard(n.hints.hash(e))
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.era.Load() != era {
		return // nothing is left of it anyway
	}
	if s.of[e] != nil {
		delete(s.of, e)
		n.owned.Add(-1)
	}
	n.reads.change(e)
}

// partAll takes all away. The era is over already, so that nothing comes afterwards.
func (n *Node) partAll() {
	for i := range n.own {
		s := &n.own[i]
		s.mu.Lock()
		n.owned.Add(-int64(len(s.of)))
		s.of = map[presence.Entity]*home{}
		s.mu.Unlock()
	}
}

// pick takes homes here, at most so many, for which fit is true.
func (n *Node) pick(most int, fit func(presence.Entity, *home) bool) []presence.Entity {
	var list []presence.Entity
	for i := range n.own {
		if len(list) >= most {
			break
		}
		s := &n.own[i]
		s.mu.RLock()
		for e, h := range s.of {
			if fit(e, h) {
				if list = append(list, e); len(list) >= most {
					break
				}
			}
		}
		s.mu.RUnlock()
	}
	return list
}

// Homes is how many homes here this node knows of.
func (n *Node) Homes() int { return int(n.owned.Load()) }

// hint remembers where a home is; false: that node has gone.
func (n *Node) hint(e presence.Entity, p *peer) bool {
	if n.byIndex[p.index].Load() != p {
		return false
	}
	n.hints.put(n.hints.hash(e), p.index, n.tick())
	return n.byIndex[p.index].Load() == p
}

// locator looks for owners: many entities with one question, one question at a time, so that
// while it is under way the next gathers.
type locator struct {
	mu    sync.Mutex
	of    map[presence.Entity]*sought
	ready []presence.Entity
	later []presence.Entity // asked for again when their time has come
	wake  chan struct{}
	ended error
}

type sought struct {
	since time.Time
	done  []func(string, error)
}

func (l *locator) init() {
	l.of = map[presence.Entity]*sought{}
	l.wake = make(chan struct{}, 1)
}

// Locate is engine.Peers'.
func (n *Node) Locate(e presence.Entity, done func(string, error)) {
	l := &n.locator
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.of[e]
	switch {
	case l.ended != nil:
		go done("", l.ended)
		return
	case s == nil && len(l.of) >= MaxLocating:
		go done("", engine.ErrOverload)
		return
	case s == nil:
		s = &sought{since: time.Now()}
		l.of[e] = s
		l.ready = append(l.ready, e)
		poke(l.wake)
	}
	s.done = append(s.done, done)
}

// again has all that are put off asked for now.
func (l *locator) again() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.later) > 0 {
		l.ready = append(l.ready, l.later...)
		l.later = nil
		poke(l.wake)
	}
}

// take is the next batch, and whether some wait for their time.
func (l *locator) take() (batch []presence.Entity, waiting bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := min(len(l.ready), MaxSettled)
	batch = l.ready[:k:k]
	if l.ready = l.ready[k:]; len(l.ready) == 0 {
		l.ready = nil
	}
	return batch, len(l.later) > 0
}

// putOff has entities asked for again; those for which it is too late get the error.
func (l *locator) putOff(of []presence.Entity, err error) {
	var late []func(string, error)
	l.mu.Lock()
	for _, e := range of {
		if s := l.of[e]; s == nil {
			continue
		} else if time.Since(s.since) < LocateWithin {
			l.later = append(l.later, e)
		} else {
			delete(l.of, e)
			late = append(late, s.done...)
		}
	}
	l.mu.Unlock()
	for _, done := range late {
		done("", err)
	}
}

// found answers those who have asked for an entity.
func (l *locator) found(e presence.Entity, node string) {
	l.mu.Lock()
	s := l.of[e]
	delete(l.of, e)
	l.mu.Unlock()
	if s == nil {
		return // fail has answered
	}
	for _, done := range s.done {
		done(node, nil)
	}
}

// fail ends everything that is sought, and all that will be.
func (l *locator) fail(err error) {
	l.mu.Lock()
	of := l.of
	l.of, l.ready, l.later, l.ended = nil, nil, nil, err
	l.mu.Unlock()
	for _, s := range of {
		for _, done := range s.done {
			done("", err)
		}
	}
}

// locating is the goroutine of the locator.
func (n *Node) locating(ctx context.Context) {
	l := &n.locator
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		batch, waiting := l.take()
		if len(batch) > 0 {
			n.settle(ctx, batch)
			continue
		}
		if waiting {
			t.Reset(locateAgain)
		}
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-t.C:
			l.again()
		}
	}
}

// settle asks the registry for a batch.
func (n *Node) settle(ctx context.Context, batch []presence.Entity) {
	era := n.era.Load()
	if era == 0 || n.knows.Load() != era {
		n.locator.putOff(batch, ErrOut) // whoever comes here asks which of his watchers' nodes are alive
		return
	}
	k := n.reads.begin()
	defer n.reads.end(k)
	wish := make(map[presence.Entity]string, len(batch))
	for _, e := range batch {
		wish[e] = n.admit(e)
	}
	ctx, cancel := context.WithTimeout(ctx, registryWithin)
	defer cancel()
	homes, err := n.c.Registry.Settle(ctx, wish)
	n.count.settles.Add(1)
	if err != nil {
		n.log.Warn("homes cannot be looked up", "of", len(batch), "err", err)
		n.locator.putOff(batch, err)
		return
	}
	var off []presence.Entity
	strange := false
	for _, e := range batch {
		h, ok := homes[e]
		switch {
		case ok && h.Node == n.c.Name && n.arrive(e, h.Epoch, era, k):
			n.locator.found(e, n.c.Name)
			continue
		case ok && h.Node != n.c.Name:
			if p := n.peer(h.Node); p == nil {
				strange = true
			} else if n.hint(e, p) {
				if n.reads.holds(k, e) {
					n.locator.found(e, h.Node)
					continue
				}
				n.hints.forget(n.hints.hash(e))
			}
		}
		off = append(off, e)
	}
	if strange {
		poke(n.wakeKeep) // a node that is new, or one whose death has not been heard of
	}
	if len(off) > 0 {
		n.locator.putOff(off, engine.ErrGone)
	}
}

// admit chooses the node for somebody without a home.
func (n *Node) admit(e presence.Entity) string {
	if n.c.Admit != nil {
		if node := n.c.Admit(e); node != "" {
			return node
		}
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	if n.state == Active {
		return n.c.Name
	}
	best, room := n.c.Name, 0.0
	for i := range n.members {
		m := &n.members[i]
		if r := m.Max - m.Level; m.State == Active && n.peers[m.Name] != nil && (best == n.c.Name || r > room) {
			best, room = m.Name, r
		}
	}
	return best
}

// release gives up the homes of those of whom nothing has been here for long, so that
// the table does not grow with each address that somebody has once asked for.
func (n *Node) release(ctx context.Context) {
	t := time.NewTicker(releaseEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n.recent.turn()
		minute := uint32(n.now() / time.Minute)
		n.minute.Store(minute)
		idle := n.pick(maxReleased, func(_ presence.Entity, h *home) bool {
			return !h.leaving.Load() && minute-h.used.Load() >= uint32(IdleAfter/time.Minute)
		})
		for group := range slices.Chunk(idle, MoveGroup) {
			if ctx.Err() == nil {
				n.releaseGroup(ctx, group)
			}
		}
	}
}

// releaseGroup gives up those of a group of whom nothing is in memory. An Export that has nothing
// says so, and what comes meanwhile waits for the end.
func (n *Node) releaseGroup(ctx context.Context, group []presence.Entity) {
	era := n.era.Load()
	if era == 0 {
		return
	}
	out := n.export(ctx, group)
	empty := map[presence.Entity]uint64{}
	for e, x := range out {
		if len(x.state) == 0 {
			empty[e] = x.home.epoch.Load()
		} else {
			x.home.used.Store(n.minute.Load())
			n.keepHere(e, x.home)
		}
	}
	if len(empty) == 0 {
		return
	}
	rctx, cancel := context.WithTimeout(ctx, registryWithin)
	defer cancel()
	if err := n.c.Registry.Release(rctx, n.c.Name, empty); err != nil {
		// It may still happen, so who is to be kept needs another epoch.
		gone := n.resolve(ctx, era, empty, out)
		for e := range empty {
			if _, away := gone[e]; !away {
				n.keepHere(e, out[e].home)
			}
		}
		for e := range gone {
			n.part(e, era)
			n.engine.Forget(e)
		}
		return
	}
	for e := range empty {
		n.part(e, era)
		n.engine.Forget(e)
	}
	n.count.released.Add(uint64(len(empty)))
}
