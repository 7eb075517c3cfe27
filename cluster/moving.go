package cluster

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"pharos/engine"
	"pharos/fields"
	"pharos/presence"
)

// How a presentity moves from A to B, in groups:
//
//	1  A's engine exports it: what it waits for is saved, what comes now waits
//	2  A sends the states to B, which keeps them and says so
//	3  A changes the homes in the registry, those that are still its own
//	4  A tells B, which imports them and owns them from then on
//	5  A forgets them: what has waited goes to B. All others hear where they are
//
// What happens if something fails, after each of the steps:
//
//	          A dies                    B dies or refuses          the registry does not answer
//	1, 2      B drops what it has; the  A keeps them (KeepHere)    -
//	          homes are inherited
//	3         B finds its homes in the  the homes are inherited    it may have happened or not: A gives those
//	          table, loads what is      from B; A forgets them,    homes that it still has another epoch, after which the
//	          durable, and has the      and edges that hear of     first change cannot happen any more. What is at B
//	          rest said again           B's death or of the move   goes on as after 3, the rest is kept
//	          (sayLost)                 say the rest again
//	4, 5      homes are B's             as any death of an owner   -
//
// A is fenced at any time: it drops everything, and its homes are inherited, but for those
// that are at B already. B keeps what was sent to it in an era that has ended no longer than that.
//
// At each moment the row says who owns the home. A does not act between 1 and the end, and B only
// from 4 on, so that nobody acts by a state that is not the last.

// Bounds and times of moves.
const (
	// MaxStaged bounds the bytes of states that are on their way to one node.
	MaxStaged = 256 << 20
	// maxGroup bounds those of one group; a presentity that is larger stays.
	maxGroup = 32 << 20
	// MoveGroup is how many presentities move together.
	MoveGroup = 100
	// moveLanes is how many groups are under way at once.
	moveLanes = 4
	// defaultMoves is how many are moved a second, unless the configuration says otherwise.
	defaultMoves = 1000
	exportWithin = 3 * time.Second
	stageWithin  = 5 * time.Second
	stagePart    = 128 << 10
	queueAgain   = 10 * time.Millisecond // when the queue to a node is full
)

// mover is the side that gives.
type mover struct {
	mu    sync.Mutex
	rate  int
	free  time.Time // when the next may be moved
	group uint64
	asked map[uint64]chan bool
	term  uint64 // of the leader who was obeyed last; guarded by Node.mu
}

func (m *mover) init(rate int) {
	if m.rate = rate; rate <= 0 {
		m.rate = defaultMoves
	}
	m.asked = map[uint64]chan bool{}
}

// wait keeps to the rate.
func (m *mover) wait(ctx context.Context, count int) {
	m.mu.Lock()
	now := time.Now()
	if m.free.Before(now) {
		m.free = now
	}
	wait := m.free.Sub(now)
	m.free = m.free.Add(time.Duration(count) * time.Second / time.Duration(m.rate))
	m.mu.Unlock()
	if wait > 0 {
		pause(ctx, wait)
	}
}

func (m *mover) begin() (group uint64, answer chan bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.group++
	answer = make(chan bool, 1)
	m.asked[m.group] = answer
	return m.group, answer
}

func (m *mover) end(group uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.asked, group)
}

func (m *mover) answer(_ string, group uint64, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if c := m.asked[group]; c != nil {
		select {
		case c <- ok:
		default:
		}
	}
}

// Move hands presentities that live here over to another node and returns how many have moved,
// at no more than the configured rate. Those that do not live here are passed over. ErrMove: that node is
// not there, or a node is joining at present.
func (n *Node) Move(ctx context.Context, of []presence.Entity, to string) (int, error) {
	return n.move(ctx, of, to, true)
}

func (n *Node) move(ctx context.Context, of []presence.Entity, to string, slowly bool) (int, error) {
	era, p := n.era.Load(), n.peer(to)
	if era == 0 || !n.Valid() {
		return 0, ErrOut
	}
	if p == nil {
		return 0, fmt.Errorf("%w: no node %s takes part", ErrMove, to)
	}
	for _, m := range n.Members() {
		if m.State == Joining && living(&m) {
			return 0, fmt.Errorf("%w while %s is joining", ErrMove, m.Name)
		}
	}
	var g errgroup.Group
	g.SetLimit(moveLanes)
	var mu sync.Mutex
	total := 0
	for group := range slices.Chunk(of, MoveGroup) {
		if ctx.Err() != nil || n.era.Load() != era || n.peer(to) != p {
			break
		}
		if slowly {
			n.moves.wait(ctx, len(group))
		}
		g.Go(func() error {
			k, err := n.moveGroup(ctx, group, p, era)
			mu.Lock()
			defer mu.Unlock()
			total += k
			return err
		})
	}
	err := g.Wait()
	n.count.moved.Add(uint64(total))
	if err == nil {
		err = ctx.Err()
	}
	return total, err
}

// exported is a presentity that waits to be moved or given up.
type exported struct {
	home  *home
	state []byte
}

// export takes those of a group out that live here, and that nobody else is moving.
func (n *Node) export(ctx context.Context, group []presence.Entity) map[presence.Entity]*exported {
	type answer struct {
		e     presence.Entity
		state []byte
		err   error
	}
	var mu sync.Mutex
	late := false
	answers := make(chan answer, len(group))
	asked := map[presence.Entity]*home{}
	for _, e := range group {
		h := n.home(e)
		if h == nil || !h.leaving.CompareAndSwap(false, true) {
			continue
		}
		asked[e] = h
		if err := n.engine.Export(e, func(state []byte, err error) {
			mu.Lock()
			defer mu.Unlock()
			switch {
			case !late:
				answers <- answer{e, state, err}
			case err == nil:
				n.keepHere(e, h)
			default:
				h.leaving.Store(false)
			}
		}); err != nil {
			h.leaving.Store(false)
			delete(asked, e)
		}
	}
	out := make(map[presence.Entity]*exported, len(asked))
	t := time.NewTimer(exportWithin)
	defer t.Stop()
	take := func(a answer) {
		if a.err != nil {
			asked[a.e].leaving.Store(false)
		} else {
			out[a.e] = &exported{asked[a.e], a.state}
		}
		delete(asked, a.e)
	}
	for len(asked) > 0 {
		select {
		case a := <-answers:
			take(a)
			continue
		case <-t.C:
		case <-ctx.Done():
		}
		mu.Lock()
		late = true
		mu.Unlock()
		for len(answers) > 0 {
			take(<-answers)
		}
		break
	}
	return out
}

// keepHere ends an export that led nowhere.
func (n *Node) keepHere(e presence.Entity, h *home) {
	h.leaving.Store(false)
	n.engine.KeepHere(e)
}

// moveGroup moves one group, see above.
func (n *Node) moveGroup(ctx context.Context, group []presence.Entity, to *peer, era uint64) (int, error) {
	out := n.export(ctx, group)
	if len(out) == 0 {
		return 0, nil
	}
	id, answer := n.moves.begin()
	defer n.moves.end(id)
	if err := n.stage(ctx, id, answer, to, out); err != nil {
		n.insist(to, era, message{kind: sayTake, number: id})
		for e, x := range out {
			n.keepHere(e, x.home)
		}
		return 0, err
	}
	epochs := make(map[presence.Entity]uint64, len(out))
	for e, x := range out {
		epochs[e] = x.home.epoch.Load()
	}
	// From here on nobody may stop in between.
	ctx = context.WithoutCancel(ctx)
	call, cancel := context.WithTimeout(ctx, registryWithin)
	moved, err := n.c.Registry.Move(call, n.c.Name, to.name, epochs)
	cancel()
	if err != nil {
		n.log.Warn("it is not known yet whether homes have moved", "of", len(out), "to", to.name, "err", err)
		moved = map[presence.Entity]Home{}
	}
	maps.DeleteFunc(epochs, func(e presence.Entity, _ uint64) bool { _, ok := moved[e]; return ok })
	var elsewhere []presence.Entity
	for e, h := range n.resolve(ctx, era, epochs, out) {
		delete(epochs, e)
		if h.Node == to.name {
			moved[e] = h
		} else {
			elsewhere = append(elsewhere, e)
		}
	}
	for e := range epochs {
		n.keepHere(e, out[e].home)
	}
	for _, e := range elsewhere {
		n.part(e, era)
		n.engine.Forget(e)
	}
	if n.era.Load() == era {
		n.sayLost(elsewhere) // the other has died meanwhile, and its heirs know only what is durable
	}
	n.handOver(id, to, era, moved)
	return len(moved), err
}

// stage brings the states to the other side.
func (n *Node) stage(ctx context.Context, id uint64, answer chan bool, to *peer, out map[presence.Entity]*exported) error {
	var blob []byte
	for e, x := range out {
		if len(x.state) > maxGroup/2 || len(blob)+len(x.state) > maxGroup {
			n.keepHere(e, x.home)
			delete(out, e)
			continue
		}
		blob = fields.AppendEntity(blob, e)
		blob = fields.AppendBytes(blob, x.state)
	}
	t := time.NewTimer(stageWithin)
	defer t.Stop()
	for at := 0; ; {
		part := blob[at:min(len(blob), at+stagePart)]
		last := at+len(part) == len(blob)
		err := n.say(to.name, message{kind: sayStage, number: id, term: uint64(at), flag: last, bytes: part})
		if err == nil {
			if at += len(part); last {
				break
			}
			continue
		}
		if err != engine.ErrOverload {
			return err
		}
		select {
		case <-t.C:
			return err
		case <-to.gone:
			return engine.ErrGone
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(queueAgain):
		}
	}
	select {
	case ok := <-answer:
		if !ok {
			return fmt.Errorf("%w: %s does not take them", ErrMove, to.name)
		}
		return nil
	case <-t.C:
		return fmt.Errorf("%w: %s does not answer", ErrMove, to.name)
	case <-to.gone:
		return engine.ErrGone
	case <-ctx.Done():
		return ctx.Err()
	}
}

// resolve finds out about homes here of which a change may be under way, whose end
// nobody has heard: they get another epoch, so that it cannot happen any more, or have it behind them.
// The answer is those that are not here any more. It does not give up before the era ends.
func (n *Node) resolve(ctx context.Context, era uint64, epochs map[presence.Entity]uint64, out map[presence.Entity]*exported) map[presence.Entity]Home {
	gone := map[presence.Entity]Home{}
	open := maps.Clone(epochs)
	ctx = context.WithoutCancel(ctx)
	for first := true; len(open) > 0 && n.era.Load() == era; first = false {
		if !first {
			pause(ctx, renewAgain)
		}
		call, cancel := context.WithTimeout(ctx, registryWithin)
		kept, err := n.c.Registry.Move(call, n.c.Name, n.c.Name, open)
		cancel()
		for e, h := range kept {
			out[e].home.epoch.Store(h.Epoch)
			delete(open, e)
		}
		if err != nil || len(open) == 0 {
			continue
		}
		call, cancel = context.WithTimeout(ctx, registryWithin)
		homes, err := n.c.Registry.Homes(call, slices.Collect(maps.Keys(open)))
		cancel()
		if err != nil {
			continue
		}
		for e, epoch := range open {
			switch h := homes[e]; {
			case h.Node != n.c.Name:
				gone[e] = h
			case h.Epoch != epoch: // an earlier try here
				out[e].home.epoch.Store(h.Epoch)
			default:
				continue
			}
			delete(open, e)
		}
	}
	return gone
}

// insist sends a message that must come, as long as the node is there and this era lasts.
func (n *Node) insist(to *peer, era uint64, m message) {
	for n.era.Load() == era && n.peer(to.name) == to {
		if err := n.say(to.name, m); err != engine.ErrOverload {
			return
		}
		t := time.NewTimer(queueAgain)
		select {
		case <-t.C:
		case <-to.gone:
		}
		t.Stop()
	}
}

// handOver ends the move of those whose homes have changed.
func (n *Node) handOver(id uint64, to *peer, era uint64, moved map[presence.Entity]Home) {
	take := message{kind: sayTake, number: id}
	for e, h := range moved {
		take.of = append(take.of, e)
		take.epochs = append(take.epochs, h.Epoch)
	}
	n.insist(to, era, take)
	if len(moved) == 0 || n.era.Load() != era {
		return
	}
	var lost []presence.Entity
	for i, e := range take.of {
		n.part(e, era)
		switch x := n.hints.hash(e); {
		case !n.recent.newer(x, take.epochs[i]):
			n.hints.forget(x) // it is on its way already
		case !n.hint(e, to):
			lost = append(lost, e) // that node has taken it with it
		}
		n.engine.Forget(e)
	}
	n.engine.Found(take.of)
	n.lost(lost)
	n.sayMoved(take.of, to.name)
	found := message{kind: sayFound, name: to.name, number: to.epoch, of: take.of, epochs: take.epochs}
	for _, p := range n.living() {
		if p != to {
			n.insist(p, era, found)
		}
	}
}

// found takes the word of an owner that homes have moved.
func (n *Node) found(m message) {
	p := n.peer(m.name)
	n.mu.RLock()
	over := n.floor[m.name] > m.number
	n.mu.RUnlock()
	var lost []presence.Entity
	for i, e := range m.of {
		if !n.recent.newer(n.hints.hash(e), m.epochs[i]) {
			continue
		}
		n.reads.change(e)
		switch {
		case p != nil && p.epoch == m.number && n.hint(e, p):
		case over:
			lost = append(lost, e)
			fallthrough
		default:
			n.hints.forget(n.hints.hash(e))
		}
	}
	n.engine.Found(m.of)
	n.lost(lost)
	n.sayMoved(m.of, m.name)
}

// sayMoved has this node's clients told where their users live.
func (n *Node) sayMoved(of []presence.Entity, to string) {
	if n.c.Moved != nil {
		n.c.Moved(of, to)
	}
}

// obey moves users as the leader says.
func (n *Node) obey(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case o := <-n.wanted:
			if _, err := n.Move(ctx, n.choose(ctx, o.Users), o.To); err != nil && ctx.Err() == nil {
				n.log.Warn("users could not be moved", "to", o.To, "err", err)
			}
		}
	}
}

// chooseWithin bounds the question who has something registered.
const chooseWithin = time.Second

// choose picks users to be moved for the sake of the level: those on whom it depends, and if there are
// not enough of them, others.
func (n *Node) choose(ctx context.Context, most int) []presence.Entity {
	free := func(h *home) bool { return h != nil && !h.leaving.Load() }
	var list []presence.Entity
	chosen := map[presence.Entity]bool{}
	if n.c.Residents != nil {
		ctx, cancel := context.WithTimeout(ctx, chooseWithin)
		defer cancel()
		asked := make(chan []presence.Entity, 1)
		n.c.Residents(most, func(all []presence.Entity) { asked <- all })
		select {
		case all := <-asked:
			for _, e := range all {
				if len(list) < most && free(n.home(e)) {
					list = append(list, e)
					chosen[e] = true
				}
			}
		case <-ctx.Done():
		}
	}
	return append(list, n.pick(most-len(list), func(e presence.Entity, h *home) bool { return !chosen[e] && free(h) })...)
}
