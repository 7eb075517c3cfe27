package engine

import (
	"context"
	"slices"
	"sync"
	"time"

	"pharos/presence"
)

// A presentity that comes to life on one of several nodes may have been anywhere before:
// what was saved of it is read first, while its inputs wait. What was not saved, the
// edges of all nodes say again when its owner has died. They take a moment for it, in which
// neither those who watch are told, nor those who come are answered: they would see somebody
// go who has never been away.

// Bounds and times of loading.
const (
	// StateLoaders is how many reads are under way at once, and LoadTogether how many
	// presentities one read is for.
	StateLoaders = 4
	LoadTogether = 128
	// LoadTime bounds one read.
	LoadTime = 5 * time.Second
	// QuietTime is how long after a node has gone presentities that come to life tell nobody.
	QuietTime = 800 * time.Millisecond
)

// stateLoader reads what was saved off the shards. A presentity is in the queue at most
// once, as a resident.
type stateLoader struct {
	mu      sync.Mutex
	queue   []stateLoad
	workers int
	wg      sync.WaitGroup
}

type stateLoad struct {
	shard *shard
	r     *resident
}

func (e *Engine) loadState(s *shard, r *resident) {
	l := &e.states
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, stateLoad{s, r})
	if l.workers < StateLoaders {
		l.workers++
		l.wg.Go(e.loadStates)
	}
}

func (e *Engine) loadStates() {
	l := &e.states
	many, _ := e.loader.(ManyLoader)
	for {
		l.mu.Lock()
		n := min(len(l.queue), 1)
		if many != nil {
			n = min(len(l.queue), LoadTogether)
		}
		if n == 0 {
			l.queue = nil
			l.workers--
			l.mu.Unlock()
			return
		}
		list := l.queue[:n:n]
		l.queue = l.queue[n:]
		l.mu.Unlock()
		e.loadTogether(list, many)
	}
}

func (e *Engine) loadTogether(list []stateLoad, many ManyLoader) {
	ctx, cancel := context.WithTimeout(e.work, LoadTime)
	defer cancel()
	var all map[presence.Entity]Loaded
	var err error
	if many != nil {
		of := make([]presence.Entity, len(list))
		for i := range list {
			of[i] = list[i].r.p.Entity()
		}
		all, err = many.LoadMany(ctx, of)
	} else {
		of := list[0].r.p.Entity()
		var l Loaded
		l.Sources, l.Subscriptions, err = e.loader.Load(ctx, of)
		all = map[presence.Entity]Loaded{of: l}
	}
	for _, x := range list {
		l := all[x.r.p.Entity()]
		x.shard.put(func() { x.shard.stateLoaded(x.r, l, err) }, false)
	}
}

// comes prepares a presentity that has come to life here, where there are other nodes.
func (s *shard) comes(r *resident) {
	r.gones = len(s.departures)
	s.setTerm(r.p.Entity(), s.e.peers.Term(r.p.Entity()))
	if s.calm.After(s.now) {
		s.keepQuiet(r, s.calm)
	}
	if s.e.loader != nil {
		r.absent = true
		s.e.loadState(s, r)
	}
}

func (s *shard) keepQuiet(r *resident, until time.Time) {
	r.quiet = until
	s.due.want(r, until)
}

// stateLoaded brings what was saved.
func (s *shard) stateLoaded(r *resident, l Loaded, err error) {
	if r.dropped || !r.absent || r.moving != nil {
		return
	}
	if err != nil {
		s.notLoaded(r, err)
		return
	}
	r.absent = false
	sources, subs := s.withOwed(r.p.Entity(), l)
	for i, sub := range subs {
		if sub.Via.Node == "" { // saved while there was one node
			c := *sub
			c.Via.Node = s.e.self
			subs[i] = &c
		}
	}
	r.held = true
	_, err = r.p.Step(s.now, presence.Restore{Sources: sources, Subscriptions: subs})
	if err != nil {
		s.e.log.Error("what was saved cannot be restored", "entity", r.p.Entity().String(), "err", err)
	}
	s.measure(r)
	s.settleIn(r, subs)
	if r.restored = len(subs) > 0; r.restored {
		r.reload = s.now.Add(RestoreTime)
		if r.reload.Before(r.quiet) {
			r.reload = r.quiet
		}
		s.due.want(r, r.reload)
	}
	s.due.want(r, r.p.Deadline())
	s.resume(r)
}

// settleIn has the subscriptions of nodes that are no more go on here, and the edges know of
// those that are here.
func (s *shard) settleIn(r *resident, subs []*presence.Subscription) {
	alive := append(s.e.peers.Nodes(), s.e.self)
	var dead []string
	var ours []*presence.Subscription
	for _, sub := range subs {
		if !slices.Contains(alive, sub.Via.Node) && !slices.Contains(dead, sub.Via.Node) {
			dead = append(dead, sub.Via.Node)
		}
		if sub.Via.Node == s.e.self {
			ours = append(ours, sub)
		}
	}
	s.e.adopt(r.p.Entity(), ours)
	for _, node := range dead {
		s.depart(r, node)
	}
}

// notLoaded: without what was saved nothing may be done.
func (s *shard) notLoaded(r *resident, err error) {
	s.count.loadErrors.Add(1)
	s.e.log.Error("presentity not loaded", "entity", r.p.Entity().String(), "err", err)
	if r.failing.IsZero() {
		r.failing = s.now
	}
	patient := s.now.Sub(r.failing) < PatientTime
	for _, it := range s.takeParked(r) {
		switch {
		case it.foreign():
			s.refuse(&it, errElsewhere) // who has sent it knows how long it may wait
		case patient && it.patient():
			s.park(r, &it)
		default:
			s.drop(&it, err)
		}
	}
	if !r.arrived && len(r.parked) == 0 {
		s.forget(r)
		return
	}
	r.reload = s.now.Add(RetryAfter)
	s.due.want(r, r.reload)
}

// withOwed is what was loaded as it would be if all that is owed had been saved.
func (s *shard) withOwed(of presence.Entity, l Loaded) ([]*presence.Source, []*presence.Subscription) {
	if len(s.owed) == 0 {
		return l.Sources, l.Subscriptions
	}
	sources := slices.DeleteFunc(slices.Clone(l.Sources), func(src *presence.Source) bool {
		_, ok := s.owed[saveKey{of, presence.SavedSource, src.SaveKey()}]
		return ok
	})
	subs := slices.DeleteFunc(slices.Clone(l.Subscriptions), func(sub *presence.Subscription) bool {
		_, ok := s.owed[saveKey{of, presence.SavedSubscription, sub.ID}]
		return ok
	})
	for k, sv := range s.owed {
		switch {
		case k.of != of || sv.Delete:
		case sv.Source != nil:
			sources = append(sources, sv.Source)
		case sv.Subscription != nil:
			subs = append(subs, sv.Subscription)
		}
	}
	return sources, subs
}

// takeParked takes out all that waits for a presentity, in order.
func (s *shard) takeParked(r *resident) []item {
	parked := append(r.late, r.parked...)
	r.late, r.parked, r.lateAll = nil, nil, false
	s.parked -= len(parked)
	return parked
}

// resume goes on with what has waited.
func (s *shard) resume(r *resident) {
	r.held = true
	parked := s.takeParked(r)
	for i := range parked {
		s.take(&parked[i])
	}
	r.held = false
	if !r.dropped {
		s.dropIdle(r)
	}
}

// waitsQuietly tells whether an input waits for the end of the quiet time: an answer
// would show a state that is not complete yet. What sessions say comes before it, but nothing
// that undoes what is waiting.
func (s *shard) waitsQuietly(r *resident, it *item) bool {
	if !r.quiet.After(s.now) {
		return len(r.late) > 0
	}
	switch in := it.in.(type) {
	case presence.Publish:
		return r.lateAll
	case presence.Watch:
		return in.Package != presence.Reach || r.lateAll
	case presence.Unwatch, presence.Keep:
		return true
	case nil:
		return !it.far.isLight()
	case presence.Tick, presence.Depart, presence.SetPolicy, presence.Renotify, presence.Undo:
		return false
	}
	r.lateAll = true
	return true
}

func (f *far) isLight() bool { return f != nil && f.light }

// quietOver takes what has waited for the end of the quiet time.
func (s *shard) quietOver(r *resident) {
	r.quiet = time.Time{}
	late := r.late
	r.late, r.lateAll = nil, false
	s.parked -= len(late)
	r.held = true
	if r.restored && !r.absent {
		r.reload = time.Time{}
		s.needPolicy(r) // tells those who were restored before it answers those who come
	}
	for i := range late {
		s.take(&late[i])
	}
	r.held = false
}
