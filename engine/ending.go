package engine

// An engine that ends does not wait for other nodes for as long as one that lives: they may end at the same time, and
// what would be taken away at them they take away themselves when this node has gone.

// ending notes that the engine ends.
func (s *shard) ending() {
	if !s.last.IsZero() {
		return
	}
	s.last = s.now.Add(LastTime)
	for _, a := range s.away {
		if a.due.IsZero() || a.due.After(s.last) {
			s.look(a, s.last)
		}
	}
}

// forsaken tells, of an engine that ends, whether this node will not act any more before it has ended.
func (s *shard) forsaken() bool { return s.e.peers.Era() == 0 || !s.last.After(s.now) }

// lastOf gives a line up.
func (s *shard) lastOf(a *away) {
	s.log("an owner is not waited for, since this node ends", a)
	delete(s.requests, a.number)
	delete(s.away, a.of)
	for i := range a.queue {
		if i < a.sent && a.fates[i] == answered {
			continue
		}
		s.drop(&a.queue[i], ErrStopped)
	}
}
