package cluster

import (
	"context"
	"math"
	"time"

	"pharos/presence"
)

// drainEvery is between two rounds of a node that drains by itself.
const drainEvery = time.Second

// Drain moves everything that lives here to the others, as fast as they take it, until ctx
// ends. It is for the end: nothing new comes here afterwards. Without others who take
// users it does nothing.
func (n *Node) Drain(ctx context.Context) error {
	n.mu.Lock()
	n.ending = true
	n.mu.Unlock()
	n.setState(Draining)
	for {
		more, err := n.drainSome(ctx, math.MaxInt, false)
		if err != nil || !more {
			return err
		}
		pause(ctx, locateAgain)
	}
}

// drainSome moves at most so many away, to those who have room; more says that there are others,
// and somebody to take them.
func (n *Node) drainSome(ctx context.Context, most int, slowly bool) (more bool, err error) {
	heirs := shares(n.Members(), n.c.Name)
	sum := 0
	for name, share := range heirs {
		if p := n.peer(name); p == nil || !n.takes(name) {
			delete(heirs, name)
		} else {
			sum += share
		}
	}
	all := n.pick(most, func(_ presence.Entity, h *home) bool { return !h.leaving.Load() })
	if sum == 0 || len(all) == 0 {
		return false, ctx.Err()
	}
	for name, share := range heirs {
		k := len(all) * share / sum // the last gets the rest
		sum -= share
		if _, err := n.move(ctx, all[:k], name, slowly); err != nil && ctx.Err() == nil {
			n.log.Warn("users could not be moved", "to", name, "err", err)
		}
		all = all[k:]
	}
	return n.Homes() > 0, ctx.Err()
}

// takes tells whether a node takes users, by the table.
func (n *Node) takes(name string) bool {
	for _, m := range n.Members() {
		if m.Name == name {
			return m.State == Active && living(&m)
		}
	}
	return false
}

// drain moves homes away while this node is told to drain, and nobody else sees to it.
func (n *Node) drain(ctx context.Context) {
	t := time.NewTicker(drainEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n.mu.RLock()
		due := n.state == Draining && !n.leaving && !n.ending
		n.mu.RUnlock()
		if !due || n.era.Load() == 0 {
			continue
		}
		more, err := n.drainSome(ctx, n.moves.rate, true)
		if err == nil && !more && n.Homes() == 0 {
			n.emptied(ctx)
		}
	}
}

// emptied ends the draining of a node that has nothing left that it knows of: homes that
// it has not been asked for since it was started are found now, or there are none.
func (n *Node) emptied(ctx context.Context) {
	era := n.era.Load()
	k := n.reads.begin()
	defer n.reads.end(k)
	call, cancel := context.WithTimeout(ctx, 5*registryWithin)
	defer cancel()
	list, err := n.c.Registry.HomesOf(call, n.c.Name, false)
	if err != nil {
		return
	}
	if len(list) == 0 {
		n.mu.Lock()
		done := n.state == Draining && !n.ending
		n.mu.Unlock()
		if done {
			n.setState(Standby)
		}
		return
	}
	list = list[:min(len(list), n.moves.rate)]
	homes, err := n.c.Registry.Homes(call, list)
	if err != nil {
		return
	}
	for _, e := range list {
		if h := homes[e]; h.Node == n.c.Name {
			n.arrive(e, h.Epoch, era, k)
		}
	}
}
