package engine

import (
	"errors"
	"slices"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// A presentity moves in this order: Export here, when nothing of it waits for its save, the
// state to the other node, the home in the store, Import there, Forget here. In between
// inputs wait at the old owner, or where they were submitted.

// goneMemory is how long is remembered that a node has gone: a presentity that was exported
// before another node knew of it, and is imported after, does not bring its sessions back.
const goneMemory = 10 * time.Second

var (
	errMoving = errors.New("engine: the presentity is being moved already")
	errOwed   = errors.New("engine: a record of the presentity is not saved")

	errDeparting = errors.New("engine: a node has gone, and the presentity waits for its policy")
	errUntold    = errors.New("engine: watchers are still to be told what the former owner said, and the presentity waits for its policy")
)

// moving is an Export that has not ended.
type moving struct {
	done     func(state []byte, err error) // nil: it has been called
	exported *presence.Holding             // what it was called with; nil: nothing
}

// Export takes a presentity out to be moved: when what it waits for is saved, done
// gets its whole state; nil: nothing is held here, so that the home may as well be given
// back. Inputs that come afterwards wait, until Forget, after which
// they go to the new owner, or KeepHere, after which they are taken here as ever. An error
// ends the Export. done is called by a goroutine that must not be made to wait.
func (e *Engine) Export(of presence.Entity, done func(state []byte, err error)) error {
	s := e.shardOf(of)
	s.mu.Lock()
	stopped := s.ended
	s.mu.Unlock()
	if stopped {
		return ErrStopped
	}
	s.put(func() { s.export(of, done) }, false)
	return nil
}

func (s *shard) export(of presence.Entity, done func([]byte, error)) {
	r := s.residents[of]
	if r == nil {
		if node, ok := s.e.peers.Owner(of); !ok || node != s.e.self {
			done(nil, errElsewhere)
			return
		}
		r = s.bare(of)
		r.absent = true
	}
	if r.moving != nil {
		done(nil, errMoving)
		return
	}
	r.moving = &moving{done: done}
	s.exportNow(r)
}

// exportNow ends the wait of an Export, if nothing is to be waited for.
func (s *shard) exportNow(r *resident) {
	m := r.moving
	if m == nil || m.done == nil || r.batch != nil {
		return
	}
	of := r.p.Entity()
	// A node that has gone may be back by the time the state is elsewhere, and would be taken for what it was.
	r.moving = nil
	s.catchUp(r)
	r.moving = m
	switch {
	case r.batch != nil:
		return // that has to be saved first
	case slices.ContainsFunc(r.parked, departs):
		s.keepHere(r)
		m.done(nil, errDeparting)
		return
	case len(r.untold) > 0: // the next owner would not know
		s.keepHere(r)
		m.done(nil, errUntold)
		return
	}
	done := m.done
	m.done = nil
	if len(s.owed) > 0 {
		for k := range s.owed {
			if k.of == of {
				s.keepHere(r)
				done(nil, errOwed)
				return
			}
		}
	}
	if r.absent || r.p.Idle() {
		done(nil, nil)
		return
	}
	m.exported = r.p.Export()
	b := transfer.AppendBool(transfer.Begin(make([]byte, 0, 1024)), r.restored)
	gone := []string{s.e.self} // whose sessions are of now in any case
	for node, at := range s.gone {
		if s.now.Sub(at) < 2*goneMemory { // the other node may remember it a little longer
			gone = append(gone, node)
		}
	}
	b = transfer.AppendUint(b, uint64(len(gone)))
	for _, node := range gone {
		b = transfer.AppendString(b, node)
	}
	done(transfer.AppendHolding(b, m.exported), nil)
}

// departs tells of an item that lets go what lived at a node.
func departs(it item) bool {
	_, ok := it.in.(presence.Depart)
	return ok
}

// Forget ends an Export: the presentity lives elsewhere now.
func (e *Engine) Forget(of presence.Entity) {
	s := e.shardOf(of)
	s.put(func() {
		r := s.residents[of]
		if r == nil || r.moving == nil {
			return
		}
		if h := r.moving.exported; h != nil {
			s.e.mirror.Learn(h, s.e.self)
		}
		parked := s.takeParked(r)
		s.leave(r)
		for i := range parked {
			s.take(&parked[i])
		}
	}, false)
}

// leave lets go of a presentity that still holds something.
func (s *shard) leave(r *resident) {
	s.local.sources -= int64(r.sources)
	s.local.subscriptions -= int64(r.subscriptions)
	s.local.pending -= int64(r.pending)
	s.forget(r)
}

// KeepHere ends an Export that led nowhere.
func (e *Engine) KeepHere(of presence.Entity) {
	s := e.shardOf(of)
	s.put(func() {
		if r := s.residents[of]; r != nil && r.moving != nil {
			s.keepHere(r)
		}
	}, false)
}

func (s *shard) keepHere(r *resident) {
	r.moving = nil
	if r.absent {
		if s.e.loader != nil {
			s.e.loadState(s, r)
			return
		}
		r.absent = false
	}
	s.goesOn(r)
}

// goesOn has time pass again for a presentity that stood still, and takes what has waited.
func (s *shard) goesOn(r *resident) {
	r.held = true
	s.catchUp(r)
	s.due.want(r, r.p.Deadline())
	s.due.want(r, r.reload)
	s.due.want(r, r.quiet)
	if r.policy != known && r.policy != loading && !r.p.Idle() && (!r.restored || r.reload.IsZero()) {
		s.needPolicy(r)
	}
	s.resume(r)
}

// Import takes over what Export has made on another node, after which Owner may name
// this node; Found has what waits for it taken. The home is here already. An error: the state cannot be
// read; Arrive then, and Lost for it on all nodes.
func (e *Engine) Import(of presence.Entity, state []byte) error {
	if len(state) == 0 {
		return nil // it comes to life when it is needed
	}
	r, err := transfer.Open(state)
	if err != nil {
		return err
	}
	restored := r.Bool()
	var gone []string
	for range min(r.Uint(), transfer.MaxItems) {
		if r.Err() != nil {
			break
		}
		gone = append(gone, r.String())
	}
	h := r.Holding()
	if r.Err() != nil {
		return r.Err()
	}
	if h == nil || h.Entity != of {
		return presence.ErrAssume
	}
	s := e.shardOf(of)
	era := e.peers.Era()
	s.put(func() {
		// In another era it is not ours: it has heirs, and perhaps another owner, who would not hear of what is done here.
		if era != 0 && e.peers.Era() == era {
			s.assume(h, restored, gone)
		}
	}, false)
	return nil
}

func (s *shard) assume(h *presence.Holding, restored bool, gone []string) {
	r := s.residents[h.Entity]
	if r != nil && !r.absent {
		// The last owner knows best. What waits is taken again behind what he has sent.
		s.e.log.Error("a presentity has come that is here already", "entity", h.Entity.String())
		parked := s.takeParked(r)
		s.leave(r)
		r = s.bare(h.Entity)
		r.parked = parked
		s.parked += len(parked)
	} else if r == nil {
		r = s.bare(h.Entity)
	}
	r.absent, r.held, r.moving, r.least = false, true, nil, h.Revision
	r.untold = s.e.mirror.Settle(h, s.e.self)
	if _, err := r.p.Step(s.now, presence.Assume{Holding: h}); err != nil {
		s.e.log.Error("a presentity cannot be assumed", "entity", h.Entity.String(), "err", err)
	}
	s.measure(r)
	r.restored = restored
	r.gones = len(s.departures)
	s.setTerm(h.Entity, s.e.peers.Term(h.Entity))
	for _, node := range nodesOf(h) {
		at, lately := s.gone[node]
		lately = lately && s.now.Sub(at) < goneMemory && !slices.Contains(gone, node)
		alive := slices.Contains(s.e.peers.Nodes(), node)
		if node == s.e.self || !lately && (alive || s.strange(h.Entity, node)) {
			continue
		}
		s.depart(r, node)
		if alive { // it is back, and perhaps some of it was said since
			s.send(node, transfer.AppendEntity(message(saysLost), h.Entity))
		}
	}
	if restored {
		r.reload = s.now.Add(RestoreTime)
	}
	s.goesOn(r)
	if a := s.away[h.Entity]; a != nil {
		s.tidy(a)
	}
}

// nodesOf are the nodes at which a presentity has sessions or subscriptions.
func nodesOf(h *presence.Holding) (nodes []string) {
	add := func(node string) {
		if node != "" && !slices.Contains(nodes, node) {
			nodes = append(nodes, node)
		}
	}
	for i := range h.Columns {
		for _, src := range h.Columns[i].Sources {
			if src.Source.ID.Kind == presence.Session {
				add(src.Source.Node)
			}
		}
	}
	for i := range h.Subscriptions {
		add(h.Subscriptions[i].Via.Node)
	}
	for i := range h.Directed {
		add(h.Directed[i].Source.Node)
	}
	return nodes
}

// Found says that the owner of presentities is known now, or has changed: what
// waited for them goes there.
func (e *Engine) Found(of []presence.Entity) {
	e.eachShard(of, func(s *shard, of []presence.Entity) {
		for _, x := range of {
			if a := s.away[x]; a != nil && a.number == 0 {
				a.locating, a.astray, a.due = false, false, time.Time{}
				s.look(a, a.since.Add(WaitTime))
				s.tidy(a)
			}
		}
	})
}

// eachShard has something done for presentities on their shards.
func (e *Engine) eachShard(of []presence.Entity, do func(*shard, []presence.Entity)) {
	parts := make([][]presence.Entity, len(e.shards))
	for _, x := range of {
		i := hash(x) % uint32(len(e.shards))
		parts[i] = append(parts[i], x)
	}
	for i, part := range parts {
		if s := e.shards[i]; len(part) > 0 {
			s.put(func() { do(s, part) }, false)
		}
	}
}
