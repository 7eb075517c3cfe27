package cluster

import (
	"context"
	"slices"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// A node that dies, and what happens then:
//
//	its lease runs out                2.5 s after its last renewal at the latest
//	the leader buries it              its epoch rises: what it still saves fails
//	all hear of it (sayEnded)         hints of it go; engine.Gone; edges say again what it was told (engine.Lost)
//	the leader gives its homes away   Registry.Inherit
//	the heirs hear of it              they load what is durable (engine.Arrive)
//
// A leader that dies in between has a successor, who does all of it again that is not done: the
// dead are in the table, and homes of the dead are found by Inherit. Whoever does not hear a message
// sees the table within the next renewal. When the dead node was the leader, its
// leader's lease ends before its node's lease, so that there is another by then.

const heirAgain = 100 * time.Millisecond

// saw compares the table, which was asked for at a tick of an era, with what this node knows.
func (n *Node) saw(list []Member, era uint64, asked uint32) {
	for i := range list {
		m := &list[i]
		if m.Name == n.c.Name {
			continue
		}
		n.mu.Lock()
		old := m.Epoch < n.floor[m.Name] // read before we heard of its end
		news := m.Epoch > n.floor[m.Name]
		n.floor[m.Name] = max(m.Epoch, n.floor[m.Name])
		p := n.peers[m.Name]
		n.mu.Unlock()
		switch {
		case old:
			continue
		case p != nil && p.epoch == m.Epoch:
			p.alive.Store(asked)
			continue
		case news:
			n.links.Fence(m.Name, m.Epoch) // ends what was before, and calls ended
		}
		if m.State != Dead && m.State != Left {
			n.meet(m.Name, m.Epoch, era)
		}
	}
}

// meet makes a peer of a node that has been seen in the table, or has spoken.
func (n *Node) meet(name string, epoch, era uint64) {
	n.table.Lock()
	defer n.table.Unlock()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.era.Load() != era || era == 0 || n.peers[name] != nil || epoch < n.floor[name] {
		return
	}
	if len(n.peers) >= MaxPeers {
		n.log.Error("there are more nodes than a service can have; this one is not spoken to", "node", name, "most", MaxPeers+1)
		return
	}
	n.floor[name] = epoch
	p := &peer{name: name, epoch: epoch, gone: make(chan struct{})}
	p.alive.Store(n.tick())
	p.index = n.index()
	n.byIndex[p.index].Store(p)
	n.peers[name] = p
	n.setOthers()
}

// index finds a free number for hints, of which there is one. Numbers of the lost are not used again before
// all hints are forgotten. It is called with mu held.
func (n *Node) index() int {
	for {
		if n.lastIndex == MaxPeers {
			n.lastIndex = 0
			n.hints.clear()
		}
		n.lastIndex++
		if n.byIndex[n.lastIndex].Load() == nil {
			return n.lastIndex
		}
	}
}

// setOthers is called with mu held.
func (n *Node) setOthers() {
	names := make([]string, 0, len(n.peers))
	for name := range n.peers {
		names = append(names, name)
	}
	slices.Sort(names)
	n.others.Store(&names)
}

// ended says that a node's incarnations before an epoch are over. Links call it after
// everything that has come from them, and before anything of the next.
func (n *Node) ended(name string, before uint64) {
	n.table.Lock()
	defer n.table.Unlock()
	n.mu.Lock()
	n.floor[name] = max(before, n.floor[name])
	p := n.peers[name]
	if n.era.Load() == 0 || p == nil || p.epoch >= before {
		n.mu.Unlock()
		return
	}
	delete(n.peers, name)
	n.byIndex[p.index].Store(nil)
	close(p.gone)
	n.setOthers()
	n.mu.Unlock()
	n.log.Info("a node has gone", "node", name, "epoch", p.epoch)
	n.arrived.orphan(name)
	n.count.takeovers.Add(1)
	// What it had for all when it died may not have been sent, and it may never come back to say so.
	// Whatever it has committed is in the database by now: its epoch is over.
	for _, t := range n.topics {
		if t.missed != nil {
			t.missed(name)
		}
	}
	n.engine.Gone(name)
	n.engine.Lost(n.lostWith(p))
	poke(n.wakeHeir)
	poke(n.wakeKeep)
	n.locator.again()
}

// lostWith tells of which presentities the owner may have died with a node: those whose
// home was there as far as this node remembers, those of which it remembers nothing, and those whose home it
// has learned of after the registry last had the dead node alive, since it may have been there before.
func (n *Node) lostWith(p *peer) func(presence.Entity) bool {
	alive := p.alive.Load()
	return func(e presence.Entity) bool {
		x := n.hints.hash(e)
		s := n.shard(x)
		s.mu.RLock()
		h := s.of[e]
		s.mu.RUnlock()
		if h != nil {
			return !before(h.since, alive)
		}
		index, since := n.hints.get(x)
		return index == 0 || index == p.index || !before(since, alive)
	}
}

// before compares ticks of hints, which begin anew after 19 days.
func before(a, b uint32) bool {
	const half = 1 << (sinceBits - 1)
	d := (b - a) & (1<<sinceBits - 1)
	return d != 0 && d < half
}

// inherit takes what has come here by others' hands: after the beginning of an era, and after a
// death.
func (n *Node) inherit(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wakeHeir:
		}
		for n.era.Load() != 0 && ctx.Err() == nil {
			if err := n.heritage(ctx); err == nil {
				break
			} else if ctx.Err() == nil {
				n.log.Warn("what has come to this node cannot be read yet", "err", err)
				pause(ctx, heirAgain)
			}
		}
	}
}

// heritage has the engine load all that holds something durable, is at this node, and is not known to
// be: and what was on its way here from a node that has died.
func (n *Node) heritage(ctx context.Context) error {
	era := n.era.Load()
	if n.knows.Load() != era {
		return nil // who has died is not known yet: renew says when it is
	}
	k := n.reads.begin()
	defer n.reads.end(k)
	orphans := n.arrived.orphans()
	call, cancel := context.WithTimeout(ctx, 5*registryWithin)
	defer cancel()
	list, err := n.c.Registry.HomesOf(call, n.c.Name, true)
	if err != nil {
		return err
	}
	list = slices.DeleteFunc(append(list, orphans...), func(e presence.Entity) bool { return n.home(e) != nil })
	total := 0
	var lost []presence.Entity
	for group := range slices.Chunk(list, 4*MaxSettled) {
		homes, err := n.c.Registry.Homes(call, group)
		if err != nil {
			return err
		}
		var come []presence.Entity
		for _, e := range group {
			if h := homes[e]; h.Node == n.c.Name && n.arrive(e, h.Epoch, era, k) {
				come = append(come, e)
			}
		}
		if len(come) > 0 {
			total += len(come)
			n.engine.Arrive(come)
			n.engine.Found(come)
		}
	}
	for _, e := range orphans {
		if n.home(e) != nil {
			lost = append(lost, e)
		}
	}
	n.sayLost(lost)
	n.arrived.adopted(orphans)
	if total > 0 {
		n.count.inherited.Add(uint64(total))
		n.log.Info("presentities have come here", "count", total)
	}
	return nil
}

// sayLost has all edges everywhere say again what they had said to the owner of presentities that
// have come here without it.
func (n *Node) sayLost(of []presence.Entity) {
	era := n.era.Load()
	if era == 0 {
		return // everything is said again in the next
	}
	for group := range slices.Chunk(of, maxListed) {
		n.lost(group)
		for _, p := range n.living() {
			n.tasks.Go(func() { n.insist(p, era, message{kind: sayLost, of: group}) })
		}
	}
}

func (n *Node) lost(of []presence.Entity) {
	if len(of) == 0 {
		return
	}
	set := make(map[presence.Entity]struct{}, len(of))
	for _, e := range of {
		set[e] = struct{}{}
	}
	n.engine.Lost(func(e presence.Entity) bool { _, ok := set[e]; return ok })
}

// Send is engine.Peers'. ErrGone: there is no such node, or not any more.
func (n *Node) Send(node string, frame []byte) error {
	if n.peer(node) == nil {
		return engine.ErrGone
	}
	return n.links.Send(node, append(frame, letterEngine))
}
