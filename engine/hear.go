package engine

import (
	"slices"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// Bounds of what is heard from owners on other nodes.
const (
	// MaxHeard is how many notices of other nodes may wait in one shard. What comes beyond is not
	// kept; the owner is asked to tell again.
	MaxHeard = 1 << 15
	// MaxTerms bounds the presentities, per shard, of which is known in which term of their home
	// they were last heard of; beyond, arbitrary ones are forgotten.
	MaxTerms = 1 << 17
	// noticeBytes is the size from which the targets of a notice go in another message.
	noticeBytes = 256 << 10
)

// announceFar hands out notices where there are other nodes.
func (s *shard) announceFar(out *presence.Outcome) {
	for _, n := range out.Notices {
		switch {
		case n.Direct != nil:
			s.tellDirect(n)
		case n.Node == "" || n.Node == s.e.self:
			// Its owner may have been another, who was lost: then this has been told some of it.
			for _, n := range s.e.mirror.Recall(n) {
				s.e.notify(n)
			}
		default:
			s.tell(n.Node, s.e.peers.Term(n.Presentity), n)
		}
	}
	s.e.watcherChanges(out.Watchers)
}

// tell sends a notice to a node. Term is that of the presentity's home: of two owners
// who have both told something, the later is right, whatever came first. 0: it has no part in that.
func (s *shard) tell(node string, term uint64, n *presence.Notice) {
	for from, more := 0, true; more; more = from > 0 {
		m := transfer.AppendEntity(message(saysNotice), n.Presentity)
		m = transfer.AppendUint(m, term)
		m, from = transfer.AppendNotice(m, n, from, noticeBytes)
		s.send(node, m)
	}
}

// hear takes a notice from another node, on the goroutine that has received it.
func (s *shard) hear(node string, of presence.Entity, term uint64, r *transfer.Reader) {
	if s.heard.Add(1) > MaxHeard {
		s.heard.Add(-1)
		s.mu.Lock()
		if s.missed == nil {
			s.missed = make(map[presence.Entity]bool)
		}
		s.missed[of] = true
		s.mu.Unlock()
		return
	}
	s.put(func() {
		s.hearNow(node, of, term, r)
		if s.heard.Add(-1) == MaxHeard/2 {
			s.askMissed()
		}
	}, true)
}

// askMissed asks about all that was not kept, now that there is room again.
func (s *shard) askMissed() {
	s.mu.Lock()
	missed := s.missed
	s.missed = nil
	s.mu.Unlock()
	for of := range missed {
		s.askAgain(of)
	}
	if len(missed) > 0 {
		s.e.Lost(func(x presence.Entity) bool { return missed[x] }) // what has ended, nobody tells again
	}
}

func (s *shard) hearNow(node string, of presence.Entity, term uint64, r *transfer.Reader) {
	if term > 0 {
		if was := s.terms[of]; term < was {
			// What a former owner had said. Or else the home was given back, and its terms began
			// anew: the owner knows.
			s.askAgain(of)
			if r.Ends() { // of that the owner cannot tell again
				s.e.Lost(func(x presence.Entity) bool { return x == of })
			}
			return
		}
		s.setTerm(of, term)
	}
	for r.More() && r.Err() == nil {
		for _, n := range s.e.mirror.Notices(r) {
			s.e.notify(n)
		}
	}
	if r.Err() != nil {
		s.e.log.Error("a notice cannot be read", "node", node, "entity", of.String(), "err", r.Err())
		s.askAgain(of)
	}
}

func (s *shard) setTerm(of presence.Entity, term uint64) {
	was, ok := s.terms[of]
	if ok && was == term {
		return // and the key that is there stays
	}
	if !ok && len(s.terms) >= MaxTerms {
		for o := range s.terms {
			delete(s.terms, o)
			break
		}
	}
	s.terms[of.Clone()] = term // the message that named it is not to be kept
}

// askAgain has the owner tell this node's watchers everything once more.
func (s *shard) askAgain(of presence.Entity) {
	if s.asking[of] {
		return
	}
	s.asking[of] = true
	q := &question{kind: asksAgain}
	it := item{to: of, asked: true, far: &far{ask: q, light: true}}
	it.far.answer = func(r *transfer.Reader) {
		delete(s.asking, of)
		s.setTerm(of, r.Uint())
	}
	it.look = func(*presence.Presentity, time.Time, error) {
		// It lives here, and whoever had not been told when it came has been since (untold); or nobody knows where, and it is said
		// again in any case.
		delete(s.asking, of)
	}
	s.open.Add(1)
	s.take(&it)
}

// tellAgain tells the watchers at one node everything once more.
func (s *shard) tellAgain(r *resident, node string) {
	if r.restored {
		return // all of them will be told
	}
	s.tellIf(r, func(n *presence.Notice) bool { return n.Node == node })
}

// tellUntold tells those here whom the last word of a former owner elsewhere had not reached when the presentity came.
// He had said it, so that they are held to know.
func (s *shard) tellUntold(r *resident) {
	s.tellIf(r, func(n *presence.Notice) bool {
		n.Targets = slices.DeleteFunc(n.Targets, func(t presence.Target) bool { return !r.untold[t.Sub] })
		return len(n.Targets) > 0
	})
	r.untold = nil
}

// tellIf is a Renotify for some: which may also leave out targets of a notice.
func (s *shard) tellIf(r *resident, which func(*presence.Notice) bool) {
	out, err := r.p.Step(s.now, presence.Renotify{})
	s.local.steps++
	s.measure(r)
	if err != nil {
		return
	}
	out.Notices = slices.DeleteFunc(out.Notices, func(n *presence.Notice) bool { return n.Answer && !which(n) })
	s.conclude(r, &item{}, out, nil)
}

// retell has the watchers at a node told everything again, since something was lost on the
// way to it. Of what has ended its edges have to ask.
func (e *Engine) retell(node string) {
	_ = e.peers.Send(node, frameOf(transfer.AppendEntity(message(saysLost), presence.Entity{})))
	for _, s := range e.shards {
		s.put(func() { s.walk(func(r *resident) { s.tellAgain(r, node) }) }, false)
	}
}
