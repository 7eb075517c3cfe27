package simulate

import (
	"slices"
	"time"

	"pharos/balance"
)

// leader is what the leader does and remembers; another begins anew.
type leader struct {
	node  *node
	until time.Duration // the leader's lease
	asked time.Duration // when there was a round

	seen     []balance.Node // the table, as it read it last
	balancer *balance.Balancer
	drained  map[*node]bool // given up for want of work
	held     map[*node]bool // drained by the operator
	added    map[*node]bool
	inviting *node
	joined   bool // it has, and the table does not show it yet
	starved  bool
}

// Bounds of orders and moves; a test holds them to be package cluster's.
const (
	maxOrders = 64
	moveGroup = 100
	// handOver is how long a node that is stopped moves its users away.
	handOver = 5 * time.Second
)

// order is to move users.
type order struct {
	to    *node
	users int
}

// renew prolongs a node's lease, writes what it says of itself and reads the table.
func (w *world) renew(n *node) {
	n.inside = true
	n.lease = w.now + leaseTime
	n.row = balance.Node{
		Name: n.name, State: n.state, Users: n.users, Resources: n.users * w.s.Users.Resources,
		Level: float64(n.users) * w.perUser, Max: w.s.Nodes.Max, Report: uint64(w.now) + 1,
	}
	w.use.renewals++
	w.use.nodeRows += float64(w.inside)
	l := &w.lead
	switch {
	case l.node == n:
		l.until = w.now + leadTime
	case w.now >= l.until || l.node == nil || !l.node.inside:
		*l = leader{
			node: n, until: w.now + leadTime, asked: w.now - roundEvery,
			balancer: balance.NewBalancer(balance.Settings{Low: w.s.Load.Low, Band: w.s.Load.Band, Moves: w.s.Load.Moves}),
			drained:  map[*node]bool{}, held: map[*node]bool{}, added: map[*node]bool{},
		}
		w.counts.Leaders++
	}
	if l.node == n {
		l.seen = w.table()
	}
	if n.admission != nil && w.now-w.placedAt < quiet {
		n.admission.Update(w.table())
		n.updated = w.now
	}
}

// quiet is how long nobody must have come until tables are not read any more for choosing homes.
const quiet = 10 * time.Second

// table is what a node reads: those who hold leases.
func (w *world) table() []balance.Node {
	list := make([]balance.Node, 0, len(w.nodes))
	for _, n := range w.nodes {
		if n.inside && n.lease > w.now {
			list = append(list, n.row)
		}
	}
	return list
}

// setState has a node take a state, and say so at once.
func (w *world) setState(n *node, s balance.State) {
	n.state = s
	if n.up {
		w.renew(n)
	}
}

// pressing is what the table says of the service as a whole.
func (w *world) pressing() {
	level, limit := 0.0, 0.0
	for _, n := range w.nodes {
		if n.inside && n.row.State == balance.Active {
			level, limit = level+n.row.Level, limit+n.row.Max
		}
	}
	w.pressure = balance.Pressure(level, limit)
}

// rule is the leader's work: the dead first.
func (w *world) rule() {
	l := &w.lead
	if l.node == nil || !l.node.up || w.now >= l.until {
		return
	}
	for _, n := range w.nodes {
		if !n.up && n.inside && w.now >= n.lease+buryAfter {
			w.bury(n)
		}
	}
	if w.now-l.asked >= roundEvery {
		l.asked = w.now
		w.control()
	}
}

// control is a round of the load control, as the server's loadControl has it.
func (w *world) control() {
	l := &w.lead
	nodes := make([]balance.Node, 0, len(l.seen)+1)
	var list []balance.Candidate
	for _, r := range l.seen {
		n := w.byName[r.Name]
		if !n.inside {
			continue
		}
		switch r.State {
		case balance.Draining:
			if !l.drained[n] {
				l.held[n] = true
			}
		case balance.Active:
			delete(l.drained, n)
			delete(l.held, n)
			if n == l.inviting && l.joined {
				l.inviting, l.joined = nil, false
			}
		}
		r.Spare = l.added[n] || n.listed
		nodes = append(nodes, r)
	}
	for _, n := range w.nodes {
		if !n.listed {
			continue
		}
		c := balance.Candidate{URI: n.name}
		if n.inside {
			c.State = n.row.State
		}
		if l.held[n] {
			c.State = balance.Draining
		}
		list = append(list, c)
	}
	if l.inviting != nil {
		nodes = append(nodes, balance.Node{Name: "invited", State: balance.Joining})
	}
	var begun time.Time
	if w.o.Clock != nil {
		begun = w.o.Clock()
	}
	d := l.balancer.Round(epoch.Add(w.now), nodes, list)
	if w.o.Clock != nil {
		w.use.round(w.o.Clock().Sub(begun))
	}
	w.counts.Rounds++
	l.starved = d.Starved
	if d.Starved {
		w.counts.Starved++
	}
	for _, m := range d.Moves {
		w.obey(w.byName[m.From], order{w.byName[m.To], m.Users})
	}
	w.use.orders += float64(len(d.Moves))
	if n := w.byName[d.Drain]; n != nil {
		l.drained[n] = true
		w.counts.Drained++
		w.setState(n, balance.Draining)
	}
	for _, name := range d.Retire {
		if n := w.byName[name]; l.drained[n] {
			delete(l.drained, n)
			w.setState(n, balance.Standby)
		}
	}
	if n := w.byName[d.Invite]; n != nil {
		w.invite(n)
	}
}

// invite has a standby join, and starts it first where it does not run.
func (w *world) invite(n *node) {
	l := &w.lead
	l.inviting, l.joined = n, false
	term, by := l.balancer, l.node
	join := func() {
		if !n.up {
			if l.balancer == term {
				l.inviting = nil
				term.Failed(n.name, epoch.Add(w.now))
			}
			return
		}
		w.setState(n, balance.Active)
		w.counts.Joined++
		if l.balancer == term && l.node == by {
			l.joined = true
			l.added[n] = true
		}
	}
	wait := time.Duration(w.s.Nodes.Join)
	if n.up {
		w.setState(n, balance.Joining)
	} else {
		wait += time.Duration(w.s.Nodes.Start)
		w.after(time.Duration(w.s.Nodes.Start), func() {
			n.up = true
			w.setState(n, balance.Joining)
		})
	}
	w.after(wait, join)
}

// obey takes an order at the node that has the users.
func (w *world) obey(n *node, o order) {
	if n != nil && n.up && o.to != nil && len(n.orders) < maxOrders {
		n.orders = append(n.orders, o)
	}
}

// move has all that have orders move the groups that are due.
func (w *world) move() {
	joining := slices.ContainsFunc(w.nodes, func(n *node) bool { return n.up && n.inside && n.row.State == balance.Joining })
	for _, n := range w.nodes {
		if !n.up {
			n.orders = nil
			continue
		}
		n.free = max(n.free, w.now-step)
		for len(n.orders) > 0 && n.free < w.now {
			o := &n.orders[0]
			if joining || !o.to.up || o.to.state != balance.Active {
				n.orders = n.orders[1:] // the leader will ask again
				continue
			}
			k := min(moveGroup, o.users, n.users)
			w.transfer(n, o.to, k)
			w.use.groups++
			n.free += time.Duration(k) * time.Second / time.Duration(w.s.Load.Moves)
			if o.users -= k; o.users <= 0 || n.users == 0 {
				n.orders = n.orders[1:]
			}
		}
		if n.ending > 0 {
			w.handing(n)
		}
	}
}

// transfer moves homes, and has the clients follow that do.
func (w *world) transfer(from, to *node, users int) {
	if users <= 0 {
		return
	}
	follow := min(from.xmpp, w.round(float64(users)*(1-w.s.Users.SIP)*w.s.Users.Follow))
	from.users -= users
	to.users += users
	w.counts.Moved += float64(users)
	w.use.moved += float64(users)
	work := float64(users) * 2 * w.s.Costs.Hop // written out and read in again
	from.must += work
	to.must += work
	sent := w.guide.send(w.now, follow, true)
	from.xmpp -= sent
	to.xmpp += sent
	to.must += float64(sent) * w.s.Costs.Login
	w.counts.Redirected += float64(sent)
	w.use.tells += 2 * float64(sent)
}

// handing has a node that stops give its users to those with room, as fast as the database has it.
func (w *world) handing(n *node) {
	if n.users > 0 && w.now < n.ending {
		var alive []balance.Node
		for _, m := range w.serve {
			if m != n {
				alive = append(alive, m.row)
			}
		}
		most := int(w.s.Costs.Moved * w.s.Nodes.Database * step.Seconds())
		w.deal(balance.Shares(alive), min(most, n.users), func(to *node, users int) { w.transfer(n, to, users) })
		if n.users > 0 && len(alive) > 0 {
			return
		}
	}
	n.ending = 0
	n.ended()
}

// deal divides users by shares.
func (w *world) deal(shares map[string]int, users int, each func(to *node, users int)) {
	sum, seen := 0, 0
	for _, s := range shares {
		sum += s
	}
	for _, n := range w.nodes { // in the order of names
		if s := shares[n.name]; s > 0 {
			if k := users*(seen+s)/sum - users*seen/sum; k > 0 {
				each(n, k)
			}
			seen += s
		}
	}
}
