package engine

import (
	"errors"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// replied takes the answer of an owner, on the goroutine that has received it.
func (s *shard) replied(number uint64, r *transfer.Reader) {
	s.put(func() {
		place, rest, err := r.Uint(), r.Bool(), wireErrors.Read(r)
		if r.Err() != nil {
			err = r.Err()
		}
		s.reply(number, place, rest, err, r)
	}, true)
}

func (s *shard) reply(number, place uint64, rest bool, err error, r *transfer.Reader) {
	a := s.requests[number]
	if a == nil || place >= uint64(a.sent) {
		return
	}
	end := place + 1
	if rest {
		end = uint64(a.sent)
	}
	for i := place; i < end; i++ {
		if a.fates[i] != waits {
			continue
		}
		a.left--
		it := &a.queue[i]
		switch {
		case errors.Is(err, errElsewhere), errors.Is(err, ErrStopped):
			a.fates[i] = refused
		case errors.Is(err, errDropped):
			a.fates[i] = dropped
		case rest && errors.Is(err, ErrOverload) && it.patient():
			a.fates[i] = busy // all that came behind it was refused, too: the order is kept
		default:
			a.fates[i] = answered
			s.hand(it, err, r)
		}
	}
	if a.left == 0 {
		s.settleRequest(a, answered)
	}
}

// hand gives an answer to whoever waits for it here.
func (s *shard) hand(it *item, err error, r *transfer.Reader) {
	u, silent := it.in.(presence.Unwatch)
	if silent && u.Silent {
		s.e.mirror.Forget(it.to, u.ID)
	}
	if err == nil && it.look != nil {
		it.far.answer(r)
	} else if err == nil && it.done != nil {
		out := r.Outcome()
		it.done(out, r.Err())
	} else if err != nil {
		s.drop(&item{look: it.look, done: it.done}, err)
	}
	if it.asked {
		s.open.Add(-1)
	}
	*it = item{}
}

// settleRequest ends a request. What was refused stays at the head of the line; what
// has no answer yet has the fate given.
func (s *shard) settleRequest(a *away, open fate) {
	delete(s.requests, a.number)
	queue := make([]item, 0, len(a.queue))
	lost, progress, later := false, false, false
	for i := range a.queue {
		it := &a.queue[i]
		if i < a.sent {
			f := a.fates[i]
			if f == waits {
				f = open
			}
			switch f {
			case answered:
				progress = true
				continue
			case waits: // too late
				progress = true
				s.drop(it, ErrGone)
				continue
			case dropped:
				it.sentBefore()
			}
			lost, later = lost || f != busy, later || f == busy
		}
		queue = append(queue, *it)
	}
	a.queue, a.number, a.sent, a.fates = queue, 0, 0, a.fates[:0]
	if progress {
		a.tries, a.warned = 0, false
	}
	if a.tries == 0 {
		a.since = s.now
	}
	a.due, a.deferred = time.Time{}, later && !lost
	switch {
	case a.deferred:
		s.look(a, s.now.Add(a.pause()))
	case !lost:
	case a.tries == 0: // the first time at once
		a.tries, a.astray = 1, true
	default:
		s.later(a)
	}
	s.tidy(a)
}

// sentBefore notes that an input may have been done already.
func (it *item) sentBefore() {
	if it.far == nil {
		it.far = &far{}
	}
	it.far.again = true
}

// unsent finds what has gone to a node to which there is no way.
func (s *shard) unsent(node string) {
	for _, a := range s.requests {
		if a.node == node {
			if a.tries == 0 {
				a.tries, a.since = 1, s.now // not at once: Owner still says so
			}
			s.settleRequest(a, dropped)
		}
	}
}
