package simulate

import (
	"fmt"
	"strings"
	"time"

	"pharos/balance"
)

// String is an event in a few words.
func (e *Event) String() string {
	var b strings.Builder
	some := func(n int, what string) {
		fmt.Fprintf(&b, "%s %s", grouped(float64(n)), what)
	}
	switch e.Do {
	case doArrive:
		some(e.Users, "users come")
	case doLeave:
		some(e.Users, "users go")
	case doKill:
		if b.WriteString("a node dies"); e.Nodes > 1 {
			b.Reset()
			some(e.Nodes, "nodes die")
		}
	case doLeader:
		b.WriteString("the leader dies")
	case doRestart:
		if b.WriteString("all nodes are restarted one by one"); e.Nodes > 0 {
			b.Reset()
			some(e.Nodes, "nodes are restarted one by one")
		}
	case doDrain, doUndrain:
		some(max(1, e.Nodes), "drained")
		if e.Do == doUndrain {
			b.WriteString(" no more")
		}
	case doAdd:
		some(max(1, e.Nodes), "nodes more")
	case doCut:
		fmt.Fprintf(&b, "%.0f %% of connections are lost", e.By*100)
	case doBusy:
		fmt.Fprintf(&b, "%g times as many changes", e.By)
	}
	if e.Over > 0 {
		fmt.Fprintf(&b, " within %s", time.Duration(e.Over))
	}
	return b.String()
}

// happen has an event happen.
func (w *world) happen(e *Event) {
	over := time.Duration(e.Over)
	switch e.Do {
	case doArrive:
		w.counts.Arrived += float64(e.Users)
		w.gradually(e.Users, over, func(k int) { w.spread(0, step, coming{fresh: k}) })
	case doLeave:
		w.gradually(e.Users, over, w.leave)
	case doKill:
		k := max(1, e.Nodes)
		for _, n := range w.pick(k) {
			w.kill(n, time.Duration(e.Back))
		}
	case doLeader:
		if n := w.lead.node; n != nil && n.up {
			w.kill(n, time.Duration(e.Back))
		}
	case doRestart:
		var all []*node
		for _, n := range w.nodes {
			if n.up && (e.Nodes == 0 || len(all) < e.Nodes) {
				all = append(all, n)
			}
		}
		w.restart(all, time.Duration(e.Back))
	case doDrain, doUndrain:
		from, to := balance.Active, balance.Draining
		k := max(1, e.Nodes)
		for _, n := range w.nodes {
			drained := n.state == balance.Draining || n.state == balance.Standby && !n.listed
			if n.up && k > 0 && (e.Do == doDrain && n.state == from || e.Do == doUndrain && drained) {
				if e.Do == doUndrain {
					to = balance.Active
				}
				w.setState(n, to)
				k--
			}
		}
	case doAdd:
		for range max(1, e.Nodes) {
			if len(w.nodes) >= MaxNodes {
				return
			}
			n := w.newNode()
			n.up = true
			w.setState(n, balance.Active)
		}
	case doCut:
		for _, n := range w.nodes {
			k := w.round(float64(n.xmpp) * e.By)
			n.xmpp -= k
			w.spread(0, time.Duration(w.s.Users.Reconnect), coming{back: k})
		}
	case doBusy:
		w.busy *= e.By
		w.after(over, func() { w.busy /= e.By })
	}
}

// gradually does something for so many, spread over a time.
func (w *world) gradually(all int, over time.Duration, do func(some int)) {
	n := max(1, int(over/step))
	for i := range n {
		if k := part(all, i, n); k > 0 {
			w.after(time.Duration(i)*step, func() { do(k) })
		}
	}
}

// note adds to what happened something of which there may be several at once.
func (w *world) note(one, many string) {
	at := w.now.Seconds()
	if k := len(w.happened) - 1; k >= 0 && w.happened[k].At == at && w.happened[k].times > 0 {
		h := &w.happened[k]
		h.times++
		h.What = grouped(float64(h.times)) + " " + many
		return
	}
	w.happened = append(w.happened, Happened{At: at, What: one, times: 1})
}

// pick takes nodes that run, any, but not the leader as long as there are others.
func (w *world) pick(k int) (list []*node) {
	for _, i := range w.rnd.Perm(len(w.nodes)) {
		if n := w.nodes[i]; n.up && n.state == balance.Active && n != w.lead.node && len(list) < k {
			list = append(list, n)
		}
	}
	if l := w.lead.node; len(list) < k && l != nil && l.up {
		list = append(list, l)
	}
	return list
}

// kill ends a node as kill -9 does, or as a machine does that loses its power.
func (w *world) kill(n *node, back time.Duration) {
	n.up = false
	n.orders, n.ending, n.backlog, n.must = nil, 0, 0, 0
	w.lose(n, time.Duration(w.s.Users.KeepAlive))
	w.death = append(w.death, Takeover{Node: n.name, At: w.now.Seconds(), Users: n.users})
	if back > 0 {
		w.after(back, func() { w.begin(n) })
	}
}

// lose has those come again who were connected to a node, after they have seen that it is gone.
func (w *world) lose(n *node, after time.Duration) {
	c := coming{back: n.xmpp}
	fresh, back := n.line.take(n.line.users)
	c.fresh, c.back = fresh, c.back+back
	n.xmpp = 0
	w.spread(after, time.Duration(w.s.Users.Reconnect), c)
}

// begin starts a node that is known already.
func (w *world) begin(n *node) {
	if n.up {
		return
	}
	if n.inside && n.users > 0 { // nobody has buried it: it is back under a new epoch, with its homes
		u := &w.s.Users
		w.inBulk(bulk{float64(n.users) * u.SIP * float64(u.Resources), w.s.Costs.Loaded, &w.use.loaded, func() {}})
		w.said += float64(n.users) * (1 - u.SIP) * float64(u.Resources)
	}
	w.note("a node is back", "nodes are back")
	n.up = true
	state := balance.Active
	if n.listed {
		state = balance.Standby
	}
	w.setState(n, state)
}

// bury declares a node dead, and gives away what it has.
func (w *world) bury(n *node) {
	n.inside = false
	w.bequeath(n)
}

// bequeath gives the homes of a node that is over to the others, and its phones.
func (w *world) bequeath(n *node) {
	n.row = balance.Node{}
	alive := w.table()
	if len(alive) == 0 {
		return // whoever comes next does it
	}
	users := n.users
	shares := balance.Shares(alive)
	phones := n.sip
	n.sip = 0
	w.phonesTo(phones)
	death := -1
	for i := range w.death {
		if d := &w.death[i]; d.Node == n.name && d.Buried == 0 {
			d.Buried = w.now.Seconds() - d.At
			death = i
		}
	}
	w.give(n, shares, users, death)
}

// give gives so many homes away, in portions: what the leader does before it tells the heirs, who begin to load.
func (w *world) give(n *node, shares map[string]int, users, death int) {
	since := func() float64 { return w.now.Seconds() - w.death[death].At }
	portion := min(users, max(1, int(w.s.Costs.Inherited*bequeathFor.Seconds())))
	w.inBulk(bulk{float64(portion), w.s.Costs.Inherited, &w.use.inherited, func() {
		some := min(portion, n.users)
		w.deal(shares, some, func(to *node, k int) {
			n.users -= k
			to.users += k
			w.counts.Inherited += float64(k)
			to.must += float64(k) * float64(w.s.Users.Resources) * w.s.Costs.Hop
		})
		// What is durable is read, the rest is said again by all edges.
		u := &w.s.Users
		w.said += float64(some) * (1 - u.SIP) * float64(u.Resources)
		if death >= 0 {
			w.death[death].Inherited = since()
		}
		w.inBulk(bulk{float64(some) * u.SIP * float64(u.Resources), w.s.Costs.Loaded, &w.use.loaded, func() {
			if death >= 0 {
				w.death[death].Right = since()
			}
		}})
		switch {
		case n.up || n.users == 0: // it keeps what it has
		case portion < users:
			w.give(n, shares, users-portion, death)
		default: // who came at the last moment
			w.bequeath(n)
		}
	}})
}

// phonesTo gives phones, which know of no connection, to nodes that tell them so.
func (w *world) phonesTo(phones int) {
	var alive []*node
	for _, m := range w.nodes {
		if m.serves() && m.ending == 0 {
			alive = append(alive, m)
		}
	}
	if len(alive) == 0 {
		alive = w.nodes[:1]
	}
	for i, m := range alive {
		k := part(phones, i, len(alive))
		m.sip += k
		m.must += float64(k) * w.watch * w.s.Costs.Notify
	}
}

// settleDown is how long an operator waits after a node has come back until he takes the next.
const settleDown = 5 * time.Second

// restart takes nodes down one after the other: each hands its users over, is away for a
// while, and takes part again.
func (w *world) restart(all []*node, away time.Duration) {
	if len(all) == 0 {
		return
	}
	n, rest := all[0], all[1:]
	next := func() { w.restart(rest, away) }
	if !n.up {
		next()
		return
	}
	state := n.state
	w.setState(n, balance.Draining)
	n.orders = nil
	n.ending = w.now + handOver
	n.ended = func() {
		n.up, n.inside = false, false
		w.counts.Restarts++
		w.lose(n, 0)
		w.bequeath(n)
		w.after(max(away, step), func() {
			n.up = true
			w.setState(n, state)
			if len(rest) == 0 {
				w.note("the last one is back", "")
			}
			w.after(settleDown, next)
		})
	}
}
