package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"pharos/presence"
)

// shard owns a part of the presentities. The fields under mu are the inbox, all
// that others touch; the rest belongs to the goroutine of run.
type shard struct {
	e     *Engine
	count counters
	open  atomic.Int64 // inputs accepted and not yet answered
	wake  chan struct{}

	mu      sync.Mutex
	inbox   []item
	changed []presence.Entity // policies
	renew   bool              // all policies
	loads   []loaded
	saved   []*batch
	asleep  bool
	stopped bool

	spare     []item
	residents map[presence.Entity]*resident
	due       deadlines
	gathering *batch
	inflight  []*batch // in the order of the saves
	free      []*batch
	owed      map[saveKey]presence.Save
	retry     time.Time // of what is owed; zero: nothing
	parked    int
	lastTry   bool // what is owed was tried once more for the end
	now       time.Time
	local     localCounts
}

// localCounts are added to the shared counters once per round.
type localCounts struct {
	presentities, sources, subscriptions, pending int64
	steps, notices, saves                         uint64
}

// item is one input, or a look at the presentity.
type item struct {
	to    presence.Entity
	in    presence.Input
	done  func(presence.Outcome, error)
	look  func(p *presence.Presentity, now time.Time, err error)
	asked bool // submitted from outside: counts in open
}

// resident is a presentity in memory.
type resident struct {
	p        *presence.Presentity
	at       time.Time // place in deadlines
	pos      int       // -1: in none
	policy   policyState
	stale    bool      // the policy changed while it was being loaded
	restored bool      // its subscriptions want to be told once the policy is there
	reload   time.Time // when to try again to load
	parked   []item
	held     bool   // worked on: not to be let go as idle
	batch    *batch // the last one that an outcome of this presentity waits for

	sources, subscriptions, pending int
}

type policyState uint8

const (
	unknown policyState = iota
	loading
	known
	failed // could not be loaded again: the old one no longer counts
)

func newShard(e *Engine) *shard {
	return &shard{e: e, wake: make(chan struct{}, 1), residents: make(map[presence.Entity]*resident),
		owed: make(map[saveKey]presence.Save)}
}

// submit is called from anywhere.
func (s *shard) submit(it item) error {
	s.mu.Lock()
	if s.stopped {
		s.mu.Unlock()
		return ErrStopped
	}
	if s.open.Load() >= s.e.queue {
		s.mu.Unlock()
		s.count.overloads.Add(1)
		return ErrOverload
	}
	s.open.Add(1)
	s.inbox = append(s.inbox, it)
	s.rouse()
	return nil
}

// rouse ends the critical section of one who has put something in.
func (s *shard) rouse() {
	asleep := s.asleep
	s.asleep = false
	s.mu.Unlock()
	if asleep {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *shard) policyChanged(of presence.Entity) {
	s.mu.Lock()
	// It must come before the inputs that follow it; that it also comes before
	// those already in the inbox does no harm.
	s.changed = append(s.changed, of)
	s.rouse()
}

func (s *shard) policiesChanged() {
	s.mu.Lock()
	s.renew = true
	s.rouse()
}

func (s *shard) policyLoaded(l loaded) {
	s.mu.Lock()
	s.loads = append(s.loads, l)
	s.rouse()
}

func (s *shard) batchSaved(b *batch) {
	s.mu.Lock()
	s.saved = append(s.saved, b)
	s.rouse()
}

// stop lets nothing more in; run returns when all that came in is done.
func (s *shard) stop() {
	s.mu.Lock()
	s.stopped = true
	s.rouse()
}

// run is the owner.
func (s *shard) run(kill <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	s.now = time.Now()
	s.begin()
	for {
		s.mu.Lock()
		items := s.inbox
		s.inbox = s.spare[:0]
		s.spare = nil
		idle := len(items) == 0 && len(s.changed) == 0 && len(s.loads) == 0 && len(s.saved) == 0 && !s.renew
		s.asleep = idle
		stopped := s.stopped
		s.mu.Unlock()

		s.now = time.Now()
		if idle {
			s.spare = items
			if s.overdue() {
				s.flush()
				s.settle()
				continue
			}
			if stopped && s.parked == 0 && len(s.inflight) == 0 {
				if len(s.owed) > 0 && !s.lastTry {
					s.lastTry = true
					s.saveOwed()
					continue
				}
				s.settle()
				return
			}
			if next := s.next(); !next.IsZero() {
				timer.Reset(next.Sub(s.now))
			} else {
				timer.Reset(time.Hour)
			}
			select {
			case <-s.wake:
			case <-timer.C:
			case <-kill:
				s.abandon()
				return
			}
			continue
		}
		s.events()
		for i := 0; i < len(items); i += chunk {
			if i > 0 {
				s.now = time.Now()
			}
			for j := i; j < min(i+chunk, len(items)); j++ {
				s.take(&items[j])
			}
			s.flush()
			s.events()
		}
		s.overdue()
		s.flush()
		s.settle()
		clear(items)
		s.spare = items[:0]
		select {
		case <-kill:
			s.abandon()
			return
		default:
		}
	}
}

// events takes what the workers and the saver have brought back.
func (s *shard) events() {
	s.mu.Lock()
	changed, loads, saved, renew := s.changed, s.loads, s.saved, s.renew
	s.changed, s.loads, s.saved, s.renew = nil, nil, nil, false
	s.mu.Unlock()
	for _, b := range saved {
		b.finished = true
	}
	for len(s.inflight) > 0 && s.inflight[0].finished {
		b := s.inflight[0]
		s.inflight[0] = nil
		s.inflight = s.inflight[1:]
		s.complete(b)
	}
	if renew {
		for _, r := range s.residents {
			if r.policy != unknown {
				s.load(r)
			}
		}
	}
	for _, of := range changed {
		if r := s.residents[of]; r != nil && r.policy != unknown {
			s.load(r)
		}
	}
	for _, l := range loads {
		s.decided(l)
	}
	s.flush()
}

// begin arms the deadlines of those who were restored.
func (s *shard) begin() {
	for _, r := range s.residents {
		if r.restored {
			r.reload = s.now.Add(RestoreTime)
			s.due.want(r, r.reload)
		}
		s.due.want(r, r.p.Deadline())
	}
}

func (s *shard) restore(of presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error {
	r := s.resident(of)
	if _, err := r.p.Step(time.Now(), presence.Restore{Sources: sources, Subscriptions: subs}); err != nil {
		return err
	}
	r.restored = len(subs) > 0
	s.measure(r)
	if r.p.Idle() {
		s.forget(r)
	}
	s.settle()
	return nil
}

// overdue lets time pass where it is due; false if nowhere.
func (s *shard) overdue() bool {
	any := false
	if !s.retry.IsZero() && !s.retry.After(s.now) {
		s.saveOwed()
		any = true
	}
	for len(s.due) > 0 && !s.due[0].at.After(s.now) {
		r := s.due[0]
		s.due.remove(r)
		any = true
		if !r.reload.IsZero() && !r.reload.After(s.now) {
			r.reload = time.Time{}
			s.needPolicy(r)
		}
		if d := r.p.Deadline(); !d.IsZero() && !d.After(s.now) {
			if r.policy == loading {
				// The policy may be about to shut out who would be told. When
				// it has come the tick follows.
				continue
			}
			s.step(r, &item{in: presence.Tick{}})
			if s.residents[r.p.Entity()] == r { // the tick may have left nothing
				s.due.want(r, r.reload)
			}
			continue
		}
		s.due.want(r, r.p.Deadline())
		s.due.want(r, r.reload)
		s.dropIdle(r)
	}
	return any
}

func (s *shard) next() time.Time {
	t := s.retry
	if len(s.due) > 0 && (t.IsZero() || s.due[0].at.Before(t)) {
		t = s.due[0].at
	}
	return t
}

func (s *shard) resident(of presence.Entity) *resident {
	r := s.residents[of]
	if r == nil {
		r = &resident{p: presence.New(of), pos: -1}
		s.residents[of] = r
		s.local.presentities++
	}
	return r
}

func (s *shard) forget(r *resident) {
	if s.residents[r.p.Entity()] != r {
		return // already
	}
	s.due.remove(r)
	delete(s.residents, r.p.Entity())
	s.local.presentities--
}

func (s *shard) dropIdle(r *resident) {
	if !r.held && r.batch == nil && r.policy != loading && len(r.parked) == 0 && r.p.Idle() {
		s.forget(r)
	}
}

// take works on one item from the inbox, or parks it.
func (s *shard) take(it *item) {
	r := s.resident(it.to)
	switch {
	case r.policy == loading:
		// Even what needs no policy waits: order is kept, and what follows a
		// change of policy is not shown to those it shuts out.
		s.park(r, it)
	case r.policy == known || s.e.policies == nil:
		s.step(r, it)
	case r.policy == unknown && !decides(it):
		// While there is no watcher there is nobody to decide about.
		s.step(r, it)
	case r.policy == failed && takesAway(it):
		s.step(r, it)
	default:
		s.park(r, it)
		s.needPolicy(r)
	}
}

// decides: the policy speaks as soon as there is somebody to be told.
func decides(it *item) bool {
	switch it.in.(type) {
	case nil, presence.Watch, presence.Direct:
		return true
	}
	return false
}

// takesAway: what goes is let go in any case, lest a store that fails leave ghosts.
func takesAway(it *item) bool {
	switch it.in.(type) {
	case presence.Retract, presence.Unwatch, presence.Keep, presence.Undo, presence.Remove:
		return true
	}
	return false
}

func (s *shard) park(r *resident, it *item) {
	r.parked = append(r.parked, *it)
	s.parked++
}

// load asks for the policy, again if it is being loaded.
func (s *shard) load(r *resident) {
	if r.policy == loading {
		r.stale = true
		return
	}
	s.needPolicy(r)
}

func (s *shard) needPolicy(r *resident) {
	if r.policy == loading {
		return
	}
	r.policy = loading
	r.reload = time.Time{}
	if s.e.policies == nil {
		s.decided(loaded{of: r.p.Entity(), policy: &presence.Policy{Default: presence.Confirm}})
		return
	}
	if p := s.e.known.get(r.p.Entity()); p != nil {
		// If it changes just now, policyChanged comes after this and loads it.
		s.decided(loaded{of: r.p.Entity(), policy: p})
		return
	}
	s.e.loadPolicy(s, r.p.Entity())
}

// decided brings a policy that was asked for.
func (s *shard) decided(l loaded) {
	r := s.residents[l.of]
	if r == nil || r.policy != loading {
		return
	}
	if r.stale {
		r.stale = false
		s.e.loadPolicy(s, l.of)
		return
	}
	// It must not be let go as idle between the policy and what waited for it.
	r.held = true
	defer func() {
		r.held = false
		s.dropIdle(r)
	}()
	parked := r.parked
	r.parked = nil
	s.parked -= len(parked)
	if l.err != nil {
		s.undecided(r, parked, l.err)
		return
	}
	r.policy = known
	s.step(r, &item{in: presence.SetPolicy{Policy: l.policy}})
	if r.restored {
		r.restored = false
		s.step(r, &item{in: presence.Renotify{}})
	}
	for i := range parked {
		s.step(r, &parked[i])
	}
	s.due.want(r, r.p.Deadline())
}

// undecided: without a policy nothing may be shown to anybody.
func (s *shard) undecided(r *resident, parked []item, err error) {
	s.count.policyErrors.Add(1)
	s.e.log.Error("policy not loaded", "entity", r.p.Entity().String(), "err", err)
	r.policy, r.reload = failed, s.now.Add(RetryAfter)
	for i := range parked {
		it := &parked[i]
		if takesAway(it) {
			s.step(r, it)
		} else {
			s.answer(r, it, err)
		}
	}
	s.due.want(r, r.reload)
	s.due.want(r, r.p.Deadline())
}

// step is where an input meets its presentity.
func (s *shard) step(r *resident, it *item) {
	if it.look != nil {
		s.answer(r, it, nil)
		return
	}
	out, err := r.p.Step(s.now, it.in)
	s.local.steps++
	s.measure(r)
	s.due.want(r, r.p.Deadline())
	s.conclude(r, it, out, err)
}

// answer is for what changes nothing.
func (s *shard) answer(r *resident, it *item, err error) {
	if it.look != nil {
		it.look(r.p, s.now, err)
		s.open.Add(-1)
		s.dropIdle(r)
		return
	}
	s.conclude(r, it, presence.Outcome{}, err)
}

// measure keeps the counters of what is held.
func (s *shard) measure(r *resident) {
	a, b, c := r.p.Size()
	s.local.sources += int64(a - r.sources)
	s.local.subscriptions += int64(b - r.subscriptions)
	s.local.pending += int64(c - r.pending)
	r.sources, r.subscriptions, r.pending = a, b, c
}

// settle makes the round's counts visible.
func (s *shard) settle() {
	l, c := &s.local, &s.count
	c.presentities.Add(l.presentities)
	c.sources.Add(l.sources)
	c.subscriptions.Add(l.subscriptions)
	c.pending.Add(l.pending)
	c.steps.Add(l.steps)
	c.notices.Add(l.notices)
	c.saves.Add(l.saves)
	c.owed.Store(int64(len(s.owed)))
	*l = localCounts{}
}

// abandon answers all that is left when draining took too long.
func (s *shard) abandon() {
	s.mu.Lock()
	items := s.inbox
	s.inbox = nil
	s.mu.Unlock()
	refuse := func(it *item) {
		if it.look != nil {
			it.look(nil, s.now, ErrStopped)
		} else if it.done != nil {
			it.done(presence.Outcome{}, ErrStopped)
		}
		if it.asked {
			s.open.Add(-1)
		}
	}
	for i := range items {
		refuse(&items[i])
	}
	for _, r := range s.residents {
		for i := range r.parked {
			refuse(&r.parked[i])
		}
		r.parked = nil
	}
	for _, b := range s.inflight {
		for i := range b.waiting {
			w := &b.waiting[i]
			refuse(&item{done: w.done, asked: w.asked})
		}
	}
	s.inflight = nil
	s.settle()
}
