package engine

import (
	"time"

	"pharos/crowd"
	"pharos/presence"
)

// run is the owner.
func (s *shard) run(kill <-chan struct{}) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	s.now = time.Now()
	s.begin()
	s.mu.Lock()
	s.runs = true
	s.mu.Unlock()
	defer s.end()
	for {
		s.mu.Lock()
		items := s.inbox
		s.inbox = s.spare[:0]
		s.spare = nil
		idle := len(items) == 0 && len(s.changed) == 0 && len(s.loads) == 0 && len(s.saved) == 0 && !s.renew && len(s.walks) == 0 && len(s.kept) == 0
		s.asleep = idle
		stopped := s.stopped
		s.mu.Unlock()

		s.now = time.Now()
		if s.e.self != "" {
			if stopped {
				s.ending()
			}
			s.disownIfAsked()
			if !s.mayAct() {
				s.stand(items)
				s.spare = s.emptied(items)
				if stopped && s.forsaken() {
					s.abandon()
					return
				}
				if stopped && s.empty() || !s.pause(timer, kill) {
					return
				}
				continue
			}
			if len(s.kept) > 0 {
				items, s.kept = append(s.kept, items...), nil
			}
		}
		if idle {
			s.spare = items
			if s.overdue() {
				s.flush()
				s.settle()
				continue
			}
			if stopped && s.empty() {
				if len(s.owed) > 0 && !s.lastTry {
					s.lastTry = true
					s.saveOwed()
					continue
				}
				s.settle()
				return
			}
			wait := time.Hour
			if next := s.next(); !next.IsZero() {
				wait = next.Sub(s.now)
			}
			if s.e.self != "" && s.open.Load() > 0 {
				wait = min(wait, leaseLook)
			}
			timer.Reset(wait)
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
				if s.e.self != "" && s.stops() {
					s.kept = append(s.kept, items[i:]...)
					break
				}
			}
			for j := i; j < min(i+chunk, len(items)); j++ {
				s.take(&items[j])
			}
			s.flush()
			s.events()
		}
		s.walkOn()
		s.overdue()
		s.flush()
		s.settle()
		s.spare = s.emptied(items)
		s.thin()
		select {
		case <-kill:
			s.abandon()
			return
		default:
		}
	}
}

// thin gives back the room of tables that a crowd has filled.
func (s *shard) thin() {
	s.residents = crowd.Left(s.residents, &s.most.residents)
	s.away = crowd.Left(s.away, &s.most.away)
	s.requests = crowd.Left(s.requests, &s.most.requests)
}

// emptied gives the room of items that were taken for those to come, unless
// none of the last fewAtATime rounds has needed an eighth of it: there are many
// shards, and what each has once needed for a burst adds up.
func (s *shard) emptied(items []item) []item {
	switch n := len(items); {
	case n == 0:
	case fits(n, cap(items)):
		s.roomy = 0
	case s.roomy < fewAtATime:
		s.roomy++
	default:
		s.roomy = 0
		return nil
	}
	clear(items)
	return items[:0]
}

const fewAtATime = 16

// events takes what the workers and the saver have brought back.
func (s *shard) events() {
	s.mu.Lock()
	changed, loads, saved, renew := s.changed, s.loads, s.saved, s.renew
	s.changed, s.loads, s.saved, s.renew = nil, nil, nil, false
	s.mu.Unlock()
	for _, b := range saved {
		b.finished = true
	}
	if !s.finish() {
		return
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

// finish completes what was saved; false when this node is found to be fenced.
func (s *shard) finish() bool {
	if len(s.inflight) == 0 || !s.inflight[0].finished {
		return true
	}
	for _, h := range s.e.holders {
		h.Hold()
		defer h.Release()
	}
	for len(s.inflight) > 0 && s.inflight[0].finished {
		b := s.inflight[0]
		if s.fences(b) {
			s.fenced = true
			return false // all of it will be dropped
		}
		s.inflight[0] = nil
		s.inflight = s.inflight[1:]
		s.complete(b)
	}
	return true
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

// overdue lets time pass where it is due; false if nowhere.
func (s *shard) overdue() bool {
	any := false
	if !s.retry.IsZero() && !s.retry.After(s.now) {
		s.saveOwed()
		any = true
	}
	if !s.awayDue.IsZero() && !s.awayDue.After(s.now) {
		s.lookAfter()
		any = true
	}
	for len(s.due) > 0 && !s.due[0].at.After(s.now) {
		r := s.due[0]
		s.due.remove(r)
		any = true
		if r.moving != nil {
			continue // KeepHere puts it back
		}
		if !r.quiet.IsZero() && !r.quiet.After(s.now) {
			s.quietOver(r)
			if r.dropped {
				continue
			}
		}
		if r.absent {
			if !r.reload.IsZero() && !r.reload.After(s.now) {
				r.reload = time.Time{}
				s.e.loadState(s, r)
			}
			s.due.want(r, r.reload)
			s.due.want(r, r.quiet)
			continue
		}
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
			if !r.dropped { // the tick may have left nothing
				s.due.want(r, r.reload)
				s.due.want(r, r.quiet)
			}
			continue
		}
		s.due.want(r, r.p.Deadline())
		s.due.want(r, r.reload)
		s.due.want(r, r.quiet)
		s.dropIdle(r)
	}
	return any
}

func (s *shard) next() time.Time {
	t := s.retry
	if len(s.due) > 0 && (t.IsZero() || s.due[0].at.Before(t)) {
		t = s.due[0].at
	}
	if !s.awayDue.IsZero() && (t.IsZero() || s.awayDue.Before(t)) {
		t = s.awayDue
	}
	return t
}

// end is when nobody takes anything any more.
func (s *shard) end() {
	s.mu.Lock()
	s.runs, s.ended = false, true
	list := s.disowning
	s.mu.Unlock()
	for _, done := range list {
		close(done)
	}
}

// abandon answers all that is left when draining took too long.
func (s *shard) abandon() {
	s.mu.Lock()
	items := append(s.kept, s.inbox...)
	s.inbox, s.kept, s.ended = nil, nil, true
	s.mu.Unlock()
	refuse := func(it *item) {
		if it.far != nil && it.far.run != nil {
			return
		}
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
		for _, it := range s.takeParked(r) {
			refuse(&it)
		}
	}
	for _, a := range s.away {
		for i := range a.queue {
			refuse(&a.queue[i])
		}
	}
	clear(s.away)
	clear(s.requests)
	s.flush()
	for _, b := range s.inflight {
		for i := range b.waiting {
			w := &b.waiting[i]
			it := &item{to: w.r.p.Entity(), done: w.done, asked: w.asked, far: w.far}
			if it.asked && it.foreign() {
				s.drop(it, errDropped) // it may be saved yet
			} else {
				refuse(it)
			}
		}
	}
	s.inflight = nil
	s.settle()
}
