package cluster

import (
	"context"
	"errors"
	"time"

	"pharos/balance"
	"pharos/store"
)

// LeadTime is how long the leader's lease lasts after it was taken or kept. It is in the same
// proportion to Config.Lease.
const LeadTime = 2 * time.Second

const (
	// ControlEvery is between two rounds of the load control, at least.
	ControlEvery = time.Second
	buryAfter    = 10 * time.Millisecond // after a lease's end, by this node's view of it
	ruleAgain    = 100 * time.Millisecond
	// MaxOrders bounds the orders to move users that wait at a node.
	MaxOrders = 64
)

// leading is this node's leadership. The leader decides when a node is dead and who has
// its homes; whatever it does is also checked by the registry, so that two who
// both believe to lead could do no harm, and whatever it leaves half done its successor does again.
type leading struct {
	term  uint64
	until time.Duration // since born
}

// Leading tells whether this node is the leader now, and in which term.
func (n *Node) Leading() (term uint64, ok bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.lead.term, n.lead.term != 0 && n.now() < n.lead.until && n.Valid()
}

// takeLead takes or keeps the leader's lease.
func (n *Node) takeLead(ctx context.Context, era uint64) {
	begun := n.now()
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	leader, term, err := n.c.Registry.Lead(ctx, n.c.Name, era, n.c.scaled(LeadTime))
	if err != nil {
		return // what there is of it runs out
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.era.Load() != era:
	case leader != n.c.Name:
		n.lead = leading{}
	default:
		if n.lead.term != term {
			n.log.Info("this node leads", "node", n.c.Name, "term", term)
			n.count.terms.Add(1)
		}
		n.lead = leading{term, begun + n.c.scaled(LeadTime) - leaseMargin}
	}
}

// ruler is what a leader remembers of its term.
type ruler struct {
	term      uint64
	inherited map[string]uint64 // epochs of the dead whose homes are given away
	asked     time.Duration     // when Control was
}

// rule does the leader's work while this node leads.
func (n *Node) rule(ctx context.Context) {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	r := new(ruler)
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wakeLead:
		case <-t.C:
		}
		term, ok := n.Leading()
		if !ok {
			continue
		}
		if r.term != term {
			r = &ruler{term: term, inherited: map[string]uint64{}, asked: -ControlEvery}
		}
		t.Reset(n.round(ctx, r))
	}
}

// round buries who is dead, gives away what the dead have, and asks Control. It returns the time
// until the next.
func (n *Node) round(ctx context.Context, r *ruler) time.Duration {
	list := n.Members()
	wait := ControlEvery
	var alive []Member
	heritage := false
	for _, m := range list {
		switch left := time.Until(m.Expires) + buryAfter; {
		case m.Name == n.c.Name:
			alive = append(alive, m)
			continue
		case m.State == Dead || m.State == Left:
		case left > 0:
			alive = append(alive, m)
			wait = min(wait, left)
			continue
		case n.now()-time.Duration(n.steady.Load()) < n.c.lease():
			// The database was away, for that one, too: it gets the time to renew.
			alive = append(alive, m)
			wait = min(wait, ruleAgain)
			continue
		default:
			if !n.bury(ctx, &m) {
				wait = min(wait, ruleAgain)
				continue
			}
			m.Epoch++
		}
		if m.Epoch > r.inherited[m.Name] {
			whole, err := n.bequeath(ctx, m.Name, list)
			if err != nil {
				wait = min(wait, ruleAgain)
				continue
			}
			heritage = true
			if !whole {
				wait = 0
				continue
			}
			r.inherited[m.Name] = m.Epoch
			if n.c.Heir != nil {
				n.tasks.Go(func() { n.c.Heir(ctx, m.Name) })
			}
		}
	}
	if heritage {
		n.sayAll(message{kind: sayInherited})
		poke(n.wakeHeir)
		n.locator.again()
	}
	if n.now()-r.asked >= ControlEvery {
		r.asked = n.now()
		n.control(r.term, alive)
	}
	// Renewals wake this, too: the next round is not put off by one that comes in between.
	return max(0, min(wait, ControlEvery-(n.now()-r.asked)))
}

// bury declares a node dead whose lease has run out. All others are told at once, so that nobody
// waits for his next look at the table.
func (n *Node) bury(ctx context.Context, m *Member) bool {
	ctx, cancel := context.WithTimeout(ctx, registryWithin)
	defer cancel()
	ok, err := n.c.Registry.Bury(ctx, m.Name, m.Epoch)
	if err != nil || !ok {
		poke(n.wakeKeep) // to see what there is instead
		return false
	}
	n.log.Warn("a node is declared dead", "node", m.Name, "epoch", m.Epoch)
	n.count.buried.Add(1)
	n.sayAll(message{kind: sayEnded, name: m.Name, number: m.Epoch + 1})
	n.links.Fence(m.Name, m.Epoch+1)
	return true
}

// bequeathFor is how long a round gives homes of one node away: what is left is for the next, so that others who
// die meanwhile do not wait, and the heirs hear of what they have.
const bequeathFor = time.Second

// bequeath gives the homes of a dead node to the living, in portions; whole: there are no more.
func (n *Node) bequeath(ctx context.Context, dead string, list []Member) (whole bool, err error) {
	begun := n.now()
	all := map[string]int{}
	for {
		got, err := n.portion(ctx, dead, list)
		if err != nil {
			if !errors.Is(err, store.ErrNoHeir) && ctx.Err() == nil {
				n.log.Error("the homes of a dead node cannot be given away yet", "node", dead, "given", all, "err", err)
			}
			return false, err
		}
		for heir, homes := range got {
			all[heir] += homes
		}
		whole = len(got) == 0
		if _, leads := n.Leading(); whole || !leads || n.now()-begun >= bequeathFor {
			break
		}
	}
	if len(all) > 0 {
		n.log.Info("homes of a dead node are given away", "node", dead, "to", all, "all", whole)
	}
	return whole, nil
}

func (n *Node) portion(ctx context.Context, dead string, list []Member) (map[string]int, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*registryWithin)
	defer cancel()
	return n.c.Registry.Inherit(ctx, dead, shares(list, dead))
}

// shares of what somebody leaves behind, among those who are alive.
func shares(list []Member, without string) map[string]int {
	alive := make([]balance.Node, 0, len(list))
	for i := range list {
		if m := &list[i]; m.Name != without && living(m) {
			alive = append(alive, balance.Node{Name: m.Name, State: balance.State(m.State), Level: m.Level, Max: m.Max})
		}
	}
	return balance.Shares(alive)
}

// control has the load control decide, and passes its orders on.
func (n *Node) control(term uint64, alive []Member) {
	if n.c.Control == nil {
		return
	}
	orders := n.c.Control.Round(time.Now(), term, alive)
	for node, state := range orders.States {
		if err := n.SetState(node, state); err != nil {
			n.log.Warn("a node cannot be told its state", "node", node, "state", state, "err", err)
		}
	}
	for i := range alive {
		if alive[i].State == Joining {
			return // no moves meanwhile
		}
	}
	for _, o := range orders.Moves {
		n.order(o, term)
	}
}

// order passes one on to the node that has the users.
func (n *Node) order(o Order, term uint64) {
	if o.From == n.c.Name {
		n.take(o, term)
		return
	}
	if err := n.say(o.From, message{kind: sayOrder, name: o.To, number: uint64(max(0, o.Users)), term: term}); err != nil {
		n.log.Warn("a node cannot be told to move users", "node", o.From, "err", err)
	}
}

// take takes an order of the leader of a term; those of earlier terms are void.
func (n *Node) take(o Order, term uint64) {
	n.mu.Lock()
	old := term < n.moves.term
	n.moves.term = max(n.moves.term, term)
	n.mu.Unlock()
	if old {
		return
	}
	select {
	case n.wanted <- o:
	default: // it has enough to do; the leader will ask again
	}
}
