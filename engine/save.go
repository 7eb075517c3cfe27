package engine

import (
	"fmt"
	"slices"
	"time"

	"pharos/presence"
)

// batch is the saves of one round, and the outcomes that wait for them.
type batch struct {
	shard    *shard
	saves    []presence.Save
	waiting  []waiting
	err      error
	finished bool
	done     func(error) // made once: a batch is used again
}

// waiting is an outcome that is announced when its batch is saved.
type waiting struct {
	r     *resident
	out   presence.Outcome
	err   error
	done  func(presence.Outcome, error)
	asked bool
	saves bool // has records in this batch
	late  bool // was told already that it may not have been done
	in    presence.Input
	far   *far // in and far only where there are other nodes: see disown
}

type saveKey struct {
	of   presence.Entity
	kind presence.SaveKind
	key  string
}

func keyOf(sv *presence.Save) saveKey { return saveKey{sv.Presentity, sv.Kind, sv.Key} }

// maxBatch bounds the records of one Save call.
const maxBatch = 1024

// conclude has an outcome saved and announced, or announced at once if there
// is nothing to save and nothing earlier of this presentity that waits.
func (s *shard) conclude(r *resident, it *item, out presence.Outcome, err error) {
	saves := len(out.Saves) > 0 && s.e.save != nil
	if !saves && r.batch == nil {
		if it.done != nil {
			it.done(out, err)
		}
		if it.asked {
			s.open.Add(-1)
		}
		s.announce(&out)
		s.dropIdle(r)
		return
	}
	b := r.batch
	if saves {
		b = s.gather()
		b.saves = append(b.saves, out.Saves...)
		for i := range out.Saves {
			if len(s.owed) > 0 {
				delete(s.owed, keyOf(&out.Saves[i]))
			}
		}
		r.batch = b
	}
	w := waiting{r: r, out: out, err: err, done: it.done, asked: it.asked, saves: saves}
	if s.e.self != "" {
		w.in, w.far = it.in, it.far
	}
	b.waiting = append(b.waiting, w)
	if b == s.gathering && len(b.saves) >= maxBatch {
		s.flush()
	}
}

func (s *shard) announce(out *presence.Outcome) {
	s.local.notices += uint64(len(out.Notices))
	if s.e.self != "" {
		s.announceFar(out)
		return
	}
	for _, n := range out.Notices {
		s.e.notify(n)
	}
	s.e.watcherChanges(out.Watchers)
}

func (s *shard) gather() *batch {
	if s.gathering != nil {
		return s.gathering
	}
	if len(s.free) > 0 { // in turn, so that none keeps its room unused
		s.gathering = s.free[0]
		s.free = slices.Delete(s.free, 0, 1)
		return s.gathering
	}
	b := &batch{shard: s}
	b.done = func(err error) {
		b.err = err
		b.shard.batchSaved(b)
	}
	s.gathering = b
	return b
}

// flush hands the gathered saves over.
func (s *shard) flush() {
	b := s.gathering
	if b == nil {
		return
	}
	s.gathering = nil
	s.inflight = append(s.inflight, b)
	s.local.saves += uint64(len(b.saves))
	s.e.save.Save(b.saves, b.done)
}

// complete answers and announces what waited for a batch.
func (s *shard) complete(b *batch) {
	if b.err != nil {
		s.owe(b)
	}
	// The list may grow while we go through it.
	for i := 0; i < len(b.waiting); i++ {
		w := &b.waiting[i] // what follows only appends
		err := w.err
		if b.err != nil && w.saves && (w.asked || w.late) {
			err = fmt.Errorf("engine: not saved: %w", b.err)
		}
		if w.done != nil {
			if err != nil {
				w.done(presence.Outcome{}, err)
			} else {
				w.done(w.out, nil)
			}
		}
		if w.asked {
			s.open.Add(-1)
		}
		if err == nil || w.err != nil {
			s.announce(&w.out)
			continue
		}
		// The answer to a failed Watch has nobody to go to; all else was, in
		// this order, what the presentity held.
		told := w.out
		told.Notices = nil
		for _, n := range w.out.Notices {
			if !n.Answer {
				told.Notices = append(told.Notices, n)
			}
		}
		s.announce(&told)
		s.step(w.r, &item{in: presence.Undo{Saves: w.out.Saves}})
	}
	for i := range b.waiting {
		r := b.waiting[i].r
		if r.batch == b {
			r.batch = nil
		}
		if r.batch == nil && !r.dropped {
			s.exportNow(r)
			s.dropIdle(r)
		}
	}
	again := len(s.free) < 8 && worthKeeping(len(b.saves), cap(b.saves)) && worthKeeping(len(b.waiting), cap(b.waiting))
	clear(b.saves)
	clear(b.waiting)
	b.saves, b.waiting, b.err, b.finished = b.saves[:0], b.waiting[:0], nil, false
	if again {
		s.free = append(s.free, b)
	}
}

// worthKeeping tells whether a list's room, of which n were used, is worth being kept for another batch. What a burst has
// made of it, as when the database is away, goes with the first small batch that it is used for.
func worthKeeping(n, room int) bool { return fits(n, room) && room <= 4*maxBatch }

// fits tells whether a list's room is not much too large for the n that needed it.
func fits(n, room int) bool { return room <= 64 || n > room/8 }

// owe notes the records of a failed batch, but for those that a later save
// replaces anyway.
func (s *shard) owe(b *batch) {
	s.count.saveErrors.Add(1)
	s.e.log.Error("records not saved", "count", len(b.saves), "err", b.err)
	later := make(map[saveKey]bool)
	for _, o := range s.inflight {
		for i := range o.saves {
			later[keyOf(&o.saves[i])] = true
		}
	}
	if s.gathering != nil {
		for i := range s.gathering.saves {
			later[keyOf(&s.gathering.saves[i])] = true
		}
	}
	for i := range b.saves {
		if k := keyOf(&b.saves[i]); !later[k] {
			s.owed[k] = b.saves[i]
		}
	}
	s.retry = s.now.Add(RetryAfter)
}

// saveOwed tries again. Their order does not matter: there is one per key.
func (s *shard) saveOwed() {
	s.retry = time.Time{}
	if len(s.owed) == 0 {
		return
	}
	b := s.gather()
	for k, sv := range s.owed {
		b.saves = append(b.saves, sv)
		delete(s.owed, k)
	}
	s.flush()
}
