package balance

import (
	"cmp"
	"slices"
	"time"
)

// Candidate is an entry of the list of servers that can be added, in the order of
// that list.
type Candidate struct {
	URI string
	// State of its node where that is known; "" when it does not run, as far as anybody
	// knows. Only a standby, or one that does not run, is asked.
	State State
}

// Move is an order to a node: so many of its users are to go to another.
type Move struct {
	From, To string
	Level    float64 // units of level
	Users    int     // about as many users, by the average of From
}

// Decision of a round.
type Decision struct {
	Moves  []Move   // most loaded first
	Invite string   // URI of the candidate that is to be added
	Drain  string   // the node that is to be emptied
	Retire []string // nodes that have been
	// Starved: all are at their maximum, and there is nobody left to be added. Newcomers
	// are refused as Pressure says, and those who are here are served.
	Starved bool
}

// Balancer makes the leader's decisions, round by round. A new leader begins with a new
// one: all it would know more is what was moved in the last seconds. It is for one
// goroutine.
type Balancer struct {
	set     Settings
	last    time.Time
	evening bool // users are being moved until levels are even
	low     time.Time
	drained time.Time
	invited time.Time
	orders  []order
	failed  map[string]time.Time
}

// order is a move that may not show in the levels yet.
type order struct {
	Move
	at   time.Time
	base float64 // level of To from which on it shows
}

// NewBalancer makes one.
func NewBalancer(s Settings) *Balancer {
	return &Balancer{set: s.withDefaults(), failed: make(map[string]time.Time)}
}

// Failed says that a candidate did not join: the next ones are asked before it.
func (b *Balancer) Failed(uri string, now time.Time) { b.failed[uri] = now }

// view is what a round is about.
type view struct {
	Node
	out, in float64 // level ordered away and here, and not shown by the report for certain
	given   int     // users of out
	base    float64 // level before the first order of in
	shows   float64 // what of in the report is likely to show: the level has risen by so much since
}

// Round decides. It is to be called about once a second, with all nodes that are
// alive; nothing is decided about nodes that are not among them.
func (b *Balancer) Round(now time.Time, nodes []Node, list []Candidate) Decision {
	elapsed := time.Duration(0)
	if !b.last.IsZero() {
		elapsed = min(max(0, now.Sub(b.last)), time.Second)
	}
	b.last = now
	views := b.views(now, nodes)
	var d Decision
	joining := false
	var active, draining []*view
	for i := range views {
		switch v := &views[i]; v.State {
		case Joining:
			joining = true
		case Active:
			active = append(active, v)
		case Draining:
			if v.Users == 0 {
				d.Retire = append(d.Retire, v.Name)
			} else {
				draining = append(draining, v)
			}
		case Standby:
			if v.Users > 0 { // who came in the last moment
				draining = append(draining, v)
			}
		}
	}
	b.scaleOut(now, active, joining, list, &d)
	if joining || d.Invite != "" {
		b.evening = false
		b.low = time.Time{}
		return d // never while a node is joining
	}
	if len(draining) == 0 {
		b.scaleIn(now, active, &d)
	} else {
		b.low = time.Time{}
	}
	budget := int(float64(b.set.Moves) * elapsed.Seconds())
	d.Moves = b.plan(now, active, draining, budget)
	return d
}

// views joins the nodes with what was ordered in the last seconds.
func (b *Balancer) views(now time.Time, nodes []Node) []view {
	views := make([]view, len(nodes))
	byName := make(map[string]*view, len(nodes))
	for i, n := range nodes {
		views[i].Node = n
		byName[n.Name] = &views[i]
	}
	b.orders = slices.DeleteFunc(b.orders, func(o order) bool {
		if now.Sub(o.at) >= b.set.Lag {
			return true
		}
		if from := byName[o.From]; from != nil {
			from.out += o.Level
			from.given += o.Users
		}
		if to := byName[o.To]; to != nil {
			if to.in == 0 {
				to.base = o.base
			}
			to.in += o.Level
			to.shows = min(max(0, to.Level-to.base), to.in)
		}
		return false
	})
	// By name, so that equal levels are taken in one order whoever decides.
	slices.SortFunc(views, func(x, y view) int { return cmp.Compare(x.Name, y.Name) })
	return views
}

// scaleOut asks for the next candidate when nobody is below the maximum.
func (b *Balancer) scaleOut(now time.Time, active []*view, joining bool, list []Candidate, d *Decision) {
	for uri, at := range b.failed {
		if now.Sub(at) >= b.set.Retry {
			delete(b.failed, uri)
		}
	}
	for _, v := range active {
		// Of users on their way one node may already have said that they came, and the other
		// not yet that they went: they are no reason for one more server.
		if v.Level-v.out < v.Max {
			return
		}
	}
	if joining || len(active) == 0 {
		return
	}
	for _, c := range list {
		if _, failed := b.failed[c.URI]; failed || c.State != "" && c.State != Standby {
			continue
		}
		d.Invite = c.URI
		b.invited = now
		return
	}
	d.Starved = true
}

// scaleIn gives up the emptiest of the nodes that the load control has added, when
// there was little to do for some time, and the others stay clearly below their maximum
// without it: a node that comes back at once was not worth two moves of all its users.
func (b *Balancer) scaleIn(now time.Time, active []*view, d *Decision) {
	level, limit := 0.0, 0.0
	var emptiest *view
	for _, v := range active {
		level += v.Level
		limit += v.Max
		if v.Spare && (emptiest == nil || v.Level < emptiest.Level) {
			emptiest = v
		}
	}
	if emptiest == nil || len(active) < 2 || level >= b.set.Low*limit || level > b.set.High*(limit-emptiest.Max) {
		b.low = time.Time{}
		return
	}
	if b.low.IsZero() {
		b.low = now
	}
	if now.Sub(b.low) >= b.set.Patience && now.Sub(b.drained) >= b.set.Patience && now.Sub(b.invited) >= b.set.Patience {
		d.Drain = emptiest.Name
		b.drained = now
		b.low = time.Time{}
	}
}
