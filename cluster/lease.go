package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"pharos/presence"
	"pharos/store"
)

// Times of leases.
const (
	// LeaseTime is how long a node may act after its last renewal was begun, and how
	// long others wait after it before they take over.
	LeaseTime = 2500 * time.Millisecond
	// waitsLong is how long a node waits for its bus before it says so: at each start it takes a moment.
	waitsLong = 2 * time.Second
	// RenewEvery leaves time for two more tries. It is in the same proportion to Config.Lease.
	RenewEvery = 700 * time.Millisecond
	renewAgain = 100 * time.Millisecond
	// leaseMargin is for clocks that do not go equally fast, and for what was begun just
	// before the end.
	leaseMargin = 100 * time.Millisecond
	// beatWithin bounds a renewal, askWithin what else is asked between two of them.
	beatWithin = time.Second
	askWithin  = 400 * time.Millisecond
	// cutAfter is how long the bus must not have reached a node that goes on renewing
	// its lease until the two count as separated.
	cutAfter = 1500 * time.Millisecond
	// pairAfter is the same for two nodes both of which reach most of the others.
	pairAfter = 5 * time.Second
	// twinAfter is how long a lease under this node's name must not have been renewed.
	twinAfter = RenewEvery + 300*time.Millisecond
	// enterAgain is until a node that may not enter looks again.
	enterAgain = 100 * time.Millisecond
	// sayAgain is between two words in the log about the same trouble.
	sayAgain = 10 * time.Second
)

// keep keeps the lease: the only goroutine that begins and ends an era, but for Leave.
func (n *Node) keep(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	var k keeper
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.wakeKeep:
			pause(ctx, 5*time.Millisecond) // bounds how often others can wake it
		case <-t.C:
		}
		leaving := n.isLeaving()
		switch {
		case ctx.Err() != nil || leaving && n.era.Load() == 0:
			return
		case leaving:
			t.Reset(renewAgain) // Leave does the rest
		case n.era.Load() == 0:
			t.Reset(n.enter(ctx, &k))
		default:
			t.Reset(n.renew(ctx, &k))
		}
	}
}

// keeper is what the keeping goroutine remembers.
type keeper struct {
	said      map[string]time.Time // by what was said
	waits     time.Time            // since when the bus reaches too few to enter
	cuts      map[string]time.Time // since when a node is not reached
	failed    bool
	twin      Member // a lease under this node's name, as of twinSince
	twinSince time.Time
}

// say logs trouble that lasts, now and then.
func (k *keeper) say(log func(string, ...any), msg string, args ...any) {
	if time.Since(k.said[msg]) >= sayAgain {
		if k.said == nil {
			k.said = map[string]time.Time{}
		}
		k.said[msg] = time.Now()
		log(msg, args...)
	}
}

// row is what this node says of itself.
func (n *Node) row(epoch uint64) Member {
	level, users := float64(n.owned.Load()), n.Homes()
	if n.c.Load != nil {
		level, users = n.c.Load()
	}
	n.mu.RLock()
	defer n.mu.RUnlock()
	return Member{Name: n.c.Name, Epoch: epoch, State: n.state, Address: n.c.Address, Level: level, Max: n.max, Users: users, Version: n.c.Version, Spare: n.spare}
}

// enter begins an era, if this node is not cut off from others that hold leases, and
// returns the time until the next look.
func (n *Node) enter(ctx context.Context, k *keeper) time.Duration {
	call, cancel := context.WithTimeout(ctx, registryWithin)
	defer cancel()
	list, err := n.c.Registry.Members(call)
	if err != nil {
		n.noDatabase(ctx, k, "this node waits for the database: the table of nodes cannot be read", err)
		return renewAgain
	}
	n.note(list)
	if wait := n.twin(k, list); wait > 0 {
		return wait
	}
	for _, m := range list {
		if m.Name != n.c.Name && living(&m) && !n.reached(m.Name) {
			if k.waits.IsZero() {
				k.waits = time.Now()
			}
			n.because("its bus does not reach %s (%s), which is alive: see cluster.listen, cluster.peers, the secret and the firewall", m.Name, m.Address.Bus)
			if time.Since(k.waits) >= waitsLong {
				k.say(n.log.Warn, "this node waits until its bus reaches a node that is alive: see cluster.listen, cluster.peers and the firewall", "waits_for", m.Name, "bus", m.Address.Bus)
			}
			return enterAgain
		}
	}
	k.waits = time.Time{}
	begun, wall := n.now(), time.Now()
	epoch, err := n.c.Registry.Enter(call, n.row(0), n.c.lease())
	if err != nil {
		n.noDatabase(ctx, k, "this node waits for the database: the lease cannot be taken", err)
		return renewAgain
	}
	if n.c.Fence != nil {
		n.c.Fence(n.c.Name, epoch)
	}
	n.table.Lock()
	n.mu.Lock()
	first, leaving := !n.entered, n.leaving
	n.entered = true
	n.mu.Unlock()
	if leaving {
		n.table.Unlock()
		if err := n.c.Registry.Leave(call, n.c.Name, epoch); err != nil {
			n.log.Warn("the lease could not be given back, and will run out", "err", err)
		}
		return 0
	}
	n.era.Store(epoch)
	n.links.Begin(epoch)
	n.renewed(begun, wall)
	n.mu.Lock()
	n.partSince("")
	n.mu.Unlock()
	n.table.Unlock()
	k.cuts = map[string]time.Time{}
	n.log.Info("this node takes part", "node", n.c.Name, "epoch", epoch)
	wait := n.renew(ctx, k)
	if first {
		close(n.in)
	} else {
		n.engine.Lost(func(presence.Entity) bool { return true })
	}
	poke(n.wakeHeir)
	n.locator.again()
	return wait
}

// twin makes sure that no other process goes by this node's name: a lease that there is may be of the last
// process, and then nobody renews it. It returns the time until that has to be asked again.
func (n *Node) twin(k *keeper, list []Member) time.Duration {
	for i := range list {
		m := &list[i]
		if m.Name != n.c.Name || !living(m) {
			continue
		}
		renewed := m.Epoch != k.twin.Epoch || m.Expires.Sub(k.twin.Expires) > RenewEvery/2
		switch {
		case renewed && k.twin.Epoch != 0:
			n.because("its name %q is held by another server, at %s, which renews its lease: "+
				"stop that one, or give each server a cluster.node of its own", m.Name, holder(m))
			k.say(n.log.Error, "this server waits: another one has its name and renews its lease. Stop that one, or give each a cluster.node of its own",
				"node", m.Name, "held_by", holder(m), "version", m.Version)
		case renewed:
			n.because("the lease of the last process of its name has not run out yet: it looks whether anybody renews it")
		}
		if renewed {
			k.twin, k.twinSince = *m, time.Now()
		}
		if time.Since(k.twinSince) < twinAfter {
			return enterAgain
		}
	}
	k.twin = Member{}
	return 0
}

// holder is where a node is, for who looks for it.
func holder(m *Member) string {
	at := m.Address.Bus
	for _, a := range []string{m.Address.SIP, m.Address.XMPP} {
		if a == "" {
			continue
		}
		if at == "" {
			return a
		}
		return at + " (" + a + ")"
	}
	return at
}

// noDatabase notes that the database does not do what the lease needs.
func (n *Node) noDatabase(ctx context.Context, k *keeper, msg string, err error, args ...any) {
	if ctx.Err() != nil {
		return // it is this node that ends
	}
	err = store.Trouble(err)
	n.because("%s", err)
	k.say(n.log.Error, msg, append(args, "err", err)...)
}

// living tells whether a node holds a lease that has not run out.
func living(m *Member) bool {
	return m.State != Dead && m.State != Left && time.Until(m.Expires) > 0
}

// renewed prolongs the lease from when the renewal was begun.
func (n *Node) renewed(begun time.Duration, wall time.Time) {
	if begun > time.Duration(n.until.Load()) {
		n.steady.Store(int64(begun))
	}
	n.untilWall.Store(wall.Add(n.c.lease() - leaseMargin).UnixNano())
	n.until.Store(int64(begun + n.c.lease() - leaseMargin))
}

// renew prolongs the lease, takes or keeps the leader's, and reads the table. It returns
// the time until the next.
func (n *Node) renew(ctx context.Context, k *keeper) time.Duration {
	era := n.era.Load()
	begun, wall := n.now(), time.Now()
	call, cancel := context.WithTimeout(ctx, beatWithin)
	err := n.c.Registry.Renew(call, n.row(era), n.c.lease())
	cancel()
	switch {
	case n.era.Load() != era:
		return 0 // Leave came first
	case errors.Is(err, store.ErrFenced):
		n.stepDown("others have declared it dead")
		return 0
	case err != nil:
		k.failed = k.failed || ctx.Err() == nil
		n.noDatabase(ctx, k, "the lease cannot be renewed", err, "left", n.LeaseLeft().String())
		return renewAgain
	}
	if k.failed {
		k.failed, k.said = false, nil
		n.log.Info("the lease is renewed again")
	}
	n.renewed(begun, wall)
	n.takeLead(ctx, era)

	asked := n.tick()
	call, cancel = context.WithTimeout(ctx, askWithin)
	list, err := n.c.Registry.Members(call)
	cancel()
	if err != nil {
		return renewAgain
	}
	n.note(list)
	n.saw(list, era, asked)
	if n.knows.Swap(era) != era {
		poke(n.wakeHeir)
		n.locator.again()
	}
	if why := n.cutOff(k, list); why != "" {
		n.stepDown(why)
		call, cancel := context.WithTimeout(ctx, registryWithin)
		defer cancel()
		if err := n.c.Registry.Leave(call, n.c.Name, era); err != nil {
			n.log.Warn("the lease could not be given back, and will run out", "err", err)
		}
		return enterAgain
	}
	poke(n.wakeLead)
	return max(0, n.c.scaled(RenewEvery)-(n.now()-begun))
}

// LeaseLeft is the time for which this node may still act without another renewal.
func (n *Node) LeaseLeft() time.Duration {
	if n.era.Load() == 0 {
		return 0
	}
	return max(0, time.Duration(n.until.Load())-n.now())
}

// note keeps the table for those who ask. A lease does not end before it was said to end: when
// the database's clock jumps forward, all leases seem to have run out until they are renewed.
func (n *Node) note(list []Member) {
	longest := time.Now().Add(n.c.lease())
	n.mu.Lock()
	for i := range list {
		m := &list[i]
		for k := range n.members {
			if old := &n.members[k]; old.Name == m.Name && old.Epoch == m.Epoch && old.Expires.After(m.Expires) {
				m.Expires = old.Expires
			}
		}
		if m.Expires.After(longest) { // it has jumped back
			m.Expires = longest
		}
	}
	n.members, n.read = list, time.Now()
	n.mu.Unlock()
	if n.c.Seen != nil {
		n.c.Seen(list)
	}
}

// reached tells whether the bus gets to a node, as far as it knows, and the link's question
// and answer do.
func (n *Node) reached(name string) bool {
	n.mu.RLock()
	down := n.down[name]
	n.mu.RUnlock()
	return !down && n.c.Bus.Reached(name)
}

// reach takes the link's word.
func (n *Node) reach(name string, yes bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if yes || n.era.Load() == 0 {
		delete(n.down, name)
	} else {
		n.down[name] = true
	}
}

// cutOff tells why this node must stop acting, though it has a lease: the bus does
// not reach those with whom most of the service is. A node that has died does not count: only
// who goes on renewing its lease is alive on the other side of a cut.
func (n *Node) cutOff(k *keeper, list []Member) string {
	now := time.Now()
	var v vote
	v.leading = slices.ContainsFunc(list, func(m Member) bool { return m.Leader && m.Name == n.c.Name })
	for i := range list {
		m := &list[i]
		if m.Name == n.c.Name {
			continue
		}
		if !living(m) || n.reached(m.Name) {
			delete(k.cuts, m.Name)
			if living(m) {
				v.with++
				v.leader = v.leader || m.Leader
			}
			continue
		}
		since, ok := k.cuts[m.Name]
		if !ok {
			since = now
			k.cuts[m.Name] = now
		}
		switch cut := now.Sub(since); {
		case cut < cutAfter || !m.Expires.Add(-n.c.lease()).After(since):
			v.with++ // for the time being
			v.leader = v.leader || m.Leader
		default:
			v.without++
			if cut >= pairAfter && (m.Leader || !v.leading && m.Name < n.c.Name) {
				v.yield = m.Name
			}
		}
	}
	return v.lost()
}

// vote is how the living nodes lie on both sides of a cut, as one of them sees it.
type vote struct {
	with, without int    // others that are reached, and that are not
	leading       bool   // this node is the leader
	leader        bool   // the leader is on this side
	yield         string // a node that is not reached for long, and stays
}

// lost says why this side is the one that has to stop, "" if it is not. Sides of the same
// size: the leader's goes on.
func (v vote) lost() string {
	here, all := v.with+1, v.with+1+v.without
	switch {
	case v.without == 0:
		return ""
	case 2*here < all, 2*here == all && !v.leading && !v.leader:
		return fmt.Sprintf("its bus reaches %d of %d other nodes that are alive", v.with, all-1)
	case v.yield != "":
		return fmt.Sprintf("its bus does not reach %s, which others do", v.yield)
	}
	return ""
}

// stepDown ends an era: what lives here is dropped, without a word to anybody, since others may
// act already. Connections stay, and wait for the next era.
func (n *Node) stepDown(why string) {
	n.table.Lock()
	defer n.table.Unlock()
	if n.era.Load() == 0 {
		return
	}
	log := n.log.Warn
	if n.isLeaving() {
		log = n.log.Info
	}
	log("this node stops taking part", "node", n.c.Name, "epoch", n.era.Load(), "why", why)
	n.until.Store(0)
	n.era.Store(0)
	n.links.Begin(0)
	n.partAll()
	n.arrived.clear()
	n.mu.Lock()
	n.partSince(why)
	n.lead = leading{}
	var lost []*peer
	for _, p := range n.peers {
		lost = append(lost, p)
		n.byIndex[p.index].Store(nil)
		close(p.gone)
	}
	clear(n.peers)
	clear(n.down)
	n.setOthers()
	n.mu.Unlock()
	n.hints.clear()
	n.count.eras.Add(1)
	n.engine.Disown()
	for _, p := range lost {
		// What they were asked is asked again: to them this node has died.
		n.engine.Gone(p.name)
	}
}

// Leave waits, as long as ctx lets it, until the others have what was sent to them, and gives the lease back;
// after it the node owns nothing, and Run ends.
func (n *Node) Leave(ctx context.Context) error {
	n.mu.Lock()
	n.leaving = true
	n.mu.Unlock()
	defer poke(n.wakeKeep)
	defer n.stepDown("it leaves")
	era := n.era.Load()
	if era == 0 {
		return nil
	}
	if err := n.links.Flush(ctx); err != nil {
		n.log.Warn("not all that others were to be told has come to them", "err", err)
	}
	n.until.Store(0)
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), beatWithin)
	defer cancel()
	if err := n.c.Registry.Leave(call, n.c.Name, era); err != nil {
		return err
	}
	n.sayAll(message{kind: sayEnded, name: n.c.Name, number: era + 1})
	last, stop := context.WithTimeout(call, renewAgain)
	defer stop()
	_ = n.links.Flush(last) // who does not hear it sees it in the table
	return nil
}

func (n *Node) isLeaving() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.leaving
}
