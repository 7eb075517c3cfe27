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
	index int
	count counters
	open  atomic.Int64 // inputs accepted and not yet answered
	wake  chan struct{}

	mu        sync.Mutex
	inbox     []item
	changed   []presence.Entity // policies
	renew     bool              // all policies
	loads     []loaded
	saved     []*batch
	asleep    bool
	stopped   bool
	runs      bool // run has begun and not ended
	ended     bool
	disowning []chan struct{} // who waits for disown

	spare     []item
	roomy     int // rounds in a row that had much too much room for their items
	residents map[presence.Entity]*resident
	most      struct{ residents, away, requests int } // see thin
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
	remote
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
	far   *far // where there are other nodes; may be nil
}

// resident is a presentity in memory.
type resident struct {
	p        *presence.Presentity
	at       time.Time // place in deadlines
	pos      int       // -1: in none
	policy   policyState
	stale    bool            // the policy changed while it was being loaded
	least    uint64          // the revision of the policy that its former owner had: an older one says the same, and would not be taken
	restored bool            // its subscriptions want to be told once the policy is there
	untold   map[string]bool // those here that want to be, since a former owner's last word has not come
	reload   time.Time       // when to try again to load
	parked   []item
	held     bool      // worked on: not to be let go as idle
	absent   bool      // what was saved of it is being loaded
	failing  time.Time // since when that does not work
	arrived  bool      // it is wanted here even if nobody has asked for it
	moving   *moving
	quiet    time.Time // until then nobody is told by answers; zero: now
	late     []item    // what waits for that
	lateAll  bool      // everything waits for it
	gones    int       // of the departures, those that it knows of
	dropped  bool      // no longer among the residents; who has kept it lets it be
	batch    *batch    // the last one that an outcome of this presentity waits for

	sources, subscriptions, pending int
}

type policyState uint8

const (
	unknown policyState = iota
	loading
	known
	failed // could not be loaded again: the old one no longer counts
)

func newShard(e *Engine, index int) *shard {
	s := &shard{e: e, index: index, wake: make(chan struct{}, 1), residents: make(map[presence.Entity]*resident),
		owed: make(map[saveKey]presence.Save)}
	if e.self != "" {
		s.remote = remote{away: make(map[presence.Entity]*away), requests: make(map[uint64]*away), out: make(map[string][]byte),
			terms: make(map[presence.Entity]uint64), asking: make(map[presence.Entity]bool),
			gone: make(map[string]time.Time)}
	}
	return s
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

func (s *shard) resident(of presence.Entity) *resident {
	r := s.residents[of]
	if r == nil {
		r = s.bare(of)
		if s.e.self != "" {
			s.comes(r)
		}
	}
	return r
}

// bare makes a resident of which nothing is known.
func (s *shard) bare(of presence.Entity) *resident {
	if s.e.self != "" {
		of = of.Clone() // lest it keep the message that named it
	}
	r := &resident{p: presence.New(of), pos: -1}
	s.residents[of] = r
	s.local.presentities++
	return r
}

func (s *shard) forget(r *resident) {
	if r.dropped {
		return // already
	}
	r.dropped = true
	s.due.remove(r)
	delete(s.residents, r.p.Entity())
	s.local.presentities--
}

func (s *shard) dropIdle(r *resident) {
	if !r.held && r.batch == nil && r.policy != loading && !r.absent && r.moving == nil && len(r.parked)+len(r.late) == 0 && r.p.Idle() {
		s.forget(r)
	}
}

// take works on one item from the inbox, or parks it.
func (s *shard) take(it *item) {
	if s.e.self != "" && !s.here(it) {
		return
	}
	r := s.resident(it.to)
	switch {
	case r.absent || r.moving != nil:
		s.park(r, it)
	case !r.quiet.IsZero() && s.waitsQuietly(r, it):
		r.late = append(r.late, *it)
		s.parked++
	case it.far.isLight():
		s.step(r, it)
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
	case presence.Retract, presence.Unwatch, presence.Keep, presence.Undo, presence.Remove, presence.Depart:
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
	if p := s.e.known.get(r.p.Entity()); p != nil && p.Revision >= r.least {
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
	if r.moving != nil {
		r.policy = unknown // the one who has it next loads it
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
		r.restored, r.untold = false, nil
		s.renotify(r)
	} else if len(r.untold) > 0 {
		s.tellUntold(r)
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
	if s.e.self != "" && !s.ready(r, it) {
		return
	}
	if it.look != nil {
		s.answer(r, it, nil)
		return
	}
	out, err := r.p.Step(s.now, it.in)
	if u, ok := it.in.(presence.Unwatch); ok && u.Silent && s.e.mirror != nil {
		s.e.mirror.Forget(it.to, u.ID) // what a former owner elsewhere had told it
	}
	if err != nil && it.far != nil && it.far.again {
		out, err = s.doneBefore(r, it, err)
	}
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
	if s.e.self != "" {
		s.dispatch()
		s.flush() // of what has come home
	}
}
