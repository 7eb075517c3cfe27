package engine

import (
	"errors"
	"slices"
	"time"

	"pharos/presence"
)

// Times of a node that may not act.
const (
	standTime = 50 * time.Millisecond // between two looks whether it may again
	leaseLook = time.Second           // between two looks whether it may still, when somebody waits for something
	walkChunk = 512                   // residents that a walk looks at between two rounds
)

// Gone says that a node has died or has begun anew: what it was asked and has not
// answered is asked again of the owner that takes its place; its sessions' sources
// and subscriptions go from all presentities here; its durable subscriptions (SIP
// dialogs) are adopted by this node, and the edges told (ClusterEdge.Adopt). What the edges
// have to say again is told to them by Lost.
func (e *Engine) Gone(node string) {
	e.outbox.forget(node)
	// A node that steps down itself takes leave of all; they go on.
	died := e.peers.Valid()
	for _, s := range e.shards {
		s.put(func() { s.nodeGone(node, died) }, false)
	}
	e.callsGone(node)
}

func (s *shard) nodeGone(node string, died bool) {
	s.calm, s.unsure = s.now.Add(QuietTime), s.now.Add(ReachTime)
	if died {
		s.gone[node] = s.now
	}
	s.departures = append(s.departures, node)
	for _, a := range s.requests {
		if a.node == node {
			a.tries = 0
			s.settleRequest(a, dropped)
		}
	}
	s.walk(s.catchUp)
}

// walk goes through all residents of now, a few in each round.
func (s *shard) walk(do func(*resident)) {
	w := walk{do: do, left: make([]*resident, 0, len(s.residents))}
	for _, r := range s.residents {
		w.left = append(w.left, r)
	}
	s.walks = append(s.walks, w)
}

type walk struct {
	do   func(*resident)
	left []*resident
}

// walkOn takes the next steps of a walk.
func (s *shard) walkOn() {
	if len(s.walks) == 0 {
		return
	}
	w := &s.walks[0]
	for range min(walkChunk, len(w.left)) {
		r := w.left[len(w.left)-1]
		w.left = w.left[:len(w.left)-1]
		if !r.dropped && !r.absent && r.moving == nil {
			w.do(r)
		}
	}
	if len(w.left) == 0 {
		s.walks[0] = walk{}
		s.walks = s.walks[1:]
	}
}

// catchUp lets go from a presentity what lived at nodes that have gone. It comes before
// the next input, or with the walk through all.
func (s *shard) catchUp(r *resident) {
	if r.absent || r.moving != nil {
		return
	}
	for r.gones < len(s.departures) {
		node := s.departures[r.gones]
		r.gones++
		s.depart(r, node)
	}
}

func (s *shard) depart(r *resident, node string) {
	of := r.p.Entity()
	it := item{to: of, in: presence.Depart{Node: node, To: s.e.self}}
	it.done = func(out presence.Outcome, err error) {
		if err == nil {
			s.e.adopt(of, out.Adopted)
		}
	}
	if r.policy == loading { // which may be about to shut out who would be told
		s.park(r, &it)
		return
	}
	s.step(r, &it)
}

// outlived tells whether the node that has sent an item has gone since: it says it again, if it still
// has reason to.
func (s *shard) outlived(it *item) bool {
	if it.far.from == "" {
		return false
	}
	for _, node := range s.departures[it.far.gones:] {
		if node == it.far.from {
			return true
		}
	}
	return false
}

// adopt tells the edges of durable subscriptions that are theirs now.
func (e *Engine) adopt(of presence.Entity, subs []*presence.Subscription) {
	if len(subs) == 0 {
		return
	}
	for i := range e.edges {
		c := e.edges[i].cluster
		if c == nil {
			continue
		}
		var list []*presence.Subscription
		for _, sub := range subs {
			if sub.Via.Edge == e.edges[i].name {
				list = append(list, sub)
			}
		}
		if len(list) > 0 {
			c.Adopt(of, list)
		}
	}
}

// Lost has every edge say again what it had said to the owners of presentities for
// which lost is true: see ClusterEdge.Lost.
func (e *Engine) Lost(lost func(presence.Entity) bool) {
	for i := range e.edges {
		if c := e.edges[i].cluster; c != nil {
			c.Lost(lost)
		}
	}
}

// Arrive says that presentities have come here to stay (their node has died): those
// which hold something durable are loaded now, and their watchers told.
func (e *Engine) Arrive(of []presence.Entity) {
	e.eachShard(of, func(s *shard, of []presence.Entity) {
		until := s.now.Add(RestoreTime)
		if until.Before(s.calm) {
			until = s.calm
		}
		for _, x := range of {
			if node, ok := s.e.peers.Owner(x); !ok || node != s.e.self || s.residents[x] != nil {
				continue
			}
			r := s.resident(x)
			r.arrived = true
			s.keepQuiet(r, until)
			if a := s.away[x]; a != nil {
				s.tidy(a)
			}
		}
	})
}

// Disown drops everything that this node owns, without a word to anybody: its lease
// has run out, and others may act already. What is submitted meanwhile waits for
// its owner, bounded in number and time. A Saver that answers Config.Fenced has the same
// effect but for the dropping: the engine stands still until Disown. Owner must not name
// this node any more. It waits until all is dropped, so it is not for goroutines of the engine.
func (e *Engine) Disown() {
	for _, s := range e.shards {
		done := make(chan struct{})
		s.mu.Lock()
		if !s.runs {
			s.mu.Unlock()
			continue
		}
		s.disowning = append(s.disowning, done)
		s.rouse()
		<-done
	}
}

// disown drops all residents. Inputs without an answer look for their owner again.
func (s *shard) disown() {
	var again []item
	collect := func(b *batch) {
		if b == nil {
			return
		}
		for i := range b.waiting {
			if w := &b.waiting[i]; w.asked {
				it := item{to: w.r.p.Entity(), in: w.in, done: w.done, asked: true, far: w.far}
				it.sentBefore()
				again = append(again, it)
			}
		}
	}
	for _, b := range s.inflight {
		collect(b)
	}
	collect(s.gathering)
	var exports []func([]byte, error)
	for _, r := range s.residents {
		for _, it := range s.takeParked(r) {
			if it.asked {
				again = append(again, it)
			}
		}
		if r.moving != nil && r.moving.done != nil {
			exports = append(exports, r.moving.done)
		}
		if r.batch == nil && !r.absent {
			// What watchers here were shown, the next owner cannot know. Where something waited
			// to be saved, they were not told all of it.
			s.e.mirror.Learn(r.p.Export(), s.e.self)
		}
		s.leave(r)
	}
	s.inflight, s.gathering, s.fenced = nil, nil, false
	clear(s.owed)
	s.strangers = nil
	s.retry, s.walks = time.Time{}, nil
	for _, a := range s.requests { // the owners have let go of this node
		a.tries = 0
		s.settleRequest(a, dropped)
	}
	for _, done := range exports {
		done(nil, ErrGone)
	}
	for i := range again {
		it := &again[i]
		if it.foreign() {
			s.refuse(it, errDropped)
		} else {
			s.take(it)
		}
	}
	s.dispatch()
	s.settle()
}

// mayAct tells whether this node may act as an owner.
func (s *shard) mayAct() bool {
	s.standing = s.fenced || !s.e.peers.Valid()
	if !s.standing {
		s.stoodSince, s.gaveUp = time.Time{}, false
	}
	return !s.standing
}

// fences tells whether a batch was refused since this node is no owner any more. What it was to
// save stays undone, and nobody is told: others decide now.
func (s *shard) fences(b *batch) bool {
	return b.err != nil && s.e.fenced != nil && errors.Is(b.err, s.e.fenced)
}

// stand keeps what comes while this node may not act. What waits for too long is refused.
func (s *shard) stand(items []item) {
	if s.stoodSince.IsZero() {
		s.stoodSince = s.now
	}
	for i := range items {
		it := &items[i]
		if it.far != nil && it.far.run != nil && it.far.always {
			it.far.run()
		} else {
			s.kept = append(s.kept, *it)
		}
	}
	if stood := s.now.Sub(s.stoodSince); stood >= WaitTime {
		kept := s.kept[:0]
		for i := range s.kept {
			if it := &s.kept[i]; it.far != nil && it.far.late != nil {
				s.count.overloads.Add(1)
				it.far.late()
			} else if it.far != nil && it.far.run != nil || it.patient() && stood < PatientTime {
				kept = append(kept, *it)
			} else {
				s.count.overloads.Add(1)
				s.drop(it, ErrOverload)
			}
		}
		clear(s.kept[len(kept):])
		s.kept = kept
		s.giveUp()
	}
	if !s.awayDue.IsZero() && !s.awayDue.After(s.now) {
		s.lookAfter()
	}
	s.dispatch()
	s.settle()
}

// giveUp answers what had come before this node stood still and waits for a save, for a policy or for another node:
// clients are not to wait for as long as a database may be away. What is under way may have
// its effect yet, but for a save that fails, which is undone as ever.
func (s *shard) giveUp() {
	if s.gaveUp {
		return
	}
	s.gaveUp = true
	for _, b := range append(slices.Clone(s.inflight), s.gathering) {
		if b == nil {
			continue
		}
		for i := range b.waiting {
			if w := &b.waiting[i]; w.asked && !(&item{in: w.in, done: w.done}).patient() {
				s.drop(&item{done: w.done, asked: true}, ErrGone)
				w.asked, w.done, w.late = false, nil, true
			}
		}
	}
	for _, a := range s.requests {
		s.unanswered(a)
	}
	if s.parked == 0 {
		return
	}
	keep := func(list []item) []item {
		return slices.DeleteFunc(list, func(it item) bool {
			if !it.asked || it.patient() {
				return false
			}
			s.parked--
			s.count.overloads.Add(1)
			if it.foreign() {
				s.refuse(&it, errElsewhere) // who has sent it knows how long it may wait
			} else {
				s.refuse(&it, ErrOverload)
			}
			return true
		})
	}
	for _, r := range s.residents {
		r.parked, r.late = keep(r.parked), keep(r.late)
	}
}

// empty tells whether nothing is left to be done.
func (s *shard) empty() bool {
	return s.parked == 0 && len(s.inflight) == 0 && s.gathering == nil && len(s.away) == 0 && len(s.kept) == 0
}

// disownIfAsked drops everything, if Disown was called.
func (s *shard) disownIfAsked() {
	s.mu.Lock()
	list := s.disowning
	s.disowning = nil
	s.mu.Unlock()
	if len(list) == 0 {
		return
	}
	s.disown()
	for _, done := range list {
		close(done)
	}
}

// stops tells whether the rest of a round has to wait.
func (s *shard) stops() bool {
	s.mu.Lock()
	asked := len(s.disowning) > 0
	s.mu.Unlock()
	return asked || !s.mayAct()
}

// pause waits until something comes, or it is time to look again; false: it is the end.
func (s *shard) pause(timer *time.Timer, kill <-chan struct{}) bool {
	timer.Reset(standTime)
	select {
	case <-s.wake:
	case <-timer.C:
	case <-kill:
		s.abandon()
		return false
	}
	return true
}

// ready prepares a presentity for an input; false: whoever has sent it has gone meanwhile.
func (s *shard) ready(r *resident, it *item) bool {
	s.catchUp(r)
	if it.far != nil && s.outlived(it) {
		if it.asked {
			s.open.Add(-1)
		}
		return false
	}
	if it.asked && it.in != nil {
		node := s.e.self
		if it.foreign() {
			node = it.far.from
		}
		it.in = placed(it.in, node)
	}
	return true
}

// renotify tells restored subscriptions how things stand. Those that have heard of a change since do
// not hear of it twice.
func (s *shard) renotify(r *resident) {
	if s.e.self == "" {
		s.step(r, &item{in: presence.Renotify{}})
		return
	}
	s.tellIf(r, func(n *presence.Notice) bool {
		return n.View == nil || len(n.Targets) == 0 || n.Targets[0].Shown != n.View
	})
}
