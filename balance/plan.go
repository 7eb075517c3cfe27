package balance

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// planner orders the moves of one round.
//
// Levels come late. So a node is taken to give no more than it has if all orders of
// the last seconds are done and not yet shown, and to take no more than it can if none
// of them shows; and who takes at present does not give, who gives does not take.
type planner struct {
	*Balancer
	now    time.Time
	active []*view
	even   line
	budget int // users
	moves  []Move
}

// plan orders moves: off nodes that drain, off nodes above their maximum, and, when
// levels lie further apart than the band, until they are even.
func (b *Balancer) plan(now time.Time, active, draining []*view, budget int) []Move {
	if len(active) == 0 {
		return nil
	}
	total := 0.0
	for _, v := range active {
		total += v.Level
	}
	for _, v := range draining {
		total += v.Level
	}
	p := &planner{Balancer: b, now: now, active: active, even: waterline(active, total), budget: budget}
	if len(draining) == 0 {
		p.hysteresis()
	}
	// Most loaded first (the paper, section 3.1).
	slices.SortStableFunc(draining, func(x, y *view) int { return cmp.Compare(y.Level, x.Level) })
	for _, from := range draining {
		p.empty(from)
	}
	p.level()
	p.relieve()
	return p.moves
}

// empty moves the users of a draining node to where they belong when all is even.
func (p *planner) empty(from *view) {
	cost := from.cost()
	if cost == 0 { // nobody of them does anything: to each as many
		share := (from.Users - from.given + len(p.active) - 1) / len(p.active)
		for _, to := range p.active {
			if users := min(share, from.Users-from.given); users > 0 && p.budget > 0 {
				p.order(from, to, users)
			}
		}
		return
	}
	for from.Users > from.given && p.budget > 0 {
		to := p.most(p.room)
		fits := int(p.room(to) / cost)
		if fits <= 0 {
			// By rounding, or because orders are counted that show already. To wait for these would
			// hold up who waits for the node to be empty: they are taken to show as far as levels have
			// risen. Where even so there is no room each takes its share, and what is uneven then is
			// levelled afterwards.
			to = p.most(p.likely)
			fits = int(p.likely(to) / cost)
		}
		if fits <= 0 {
			fits = (from.Users - from.given + len(p.active) - 1) / len(p.active)
			to = p.most(p.spare)
		}
		p.order(from, to, min(from.Users-from.given, fits))
	}
}

// level moves users from nodes above the line to nodes below it.
func (p *planner) level() {
	if !p.evening && p.even.share > 0 {
		return // all are full alike: to move anybody would help nobody
	}
	sources, sinks := slices.Clone(p.active), slices.Clone(p.active)
	slices.SortStableFunc(sources, func(x, y *view) int { return cmp.Compare(y.Level, x.Level) })
	slices.SortStableFunc(sinks, func(x, y *view) int { return cmp.Compare(x.Level+x.in, y.Level+y.in) })
	next := 0
	for _, from := range sources {
		cost := from.cost()
		if cost == 0 || from.in > 0 || !p.evening && from.Level <= from.Max {
			continue
		}
		for next < len(sinks) && p.budget > 0 {
			excess := from.Level - from.out - p.even.of(from)
			users := int(min(excess, p.room(sinks[next])) / cost)
			if excess < cost {
				break
			}
			if users <= 0 || sinks[next].out > 0 {
				next++
				continue
			}
			p.order(from, sinks[next], users)
		}
	}
}

// relieve brings nodes to their maximum where the line lies there: rounded to whole
// users, nobody below it has room any more, but those with a higher maximum have.
func (p *planner) relieve() {
	if p.even.share > 0 || len(p.orders) > 0 {
		return
	}
	for _, from := range p.active {
		cost := from.cost()
		over := from.Level - from.out - from.Max
		if cost == 0 || from.in > 0 || over <= 0 {
			continue
		}
		to := p.most(p.spare)
		if users := min(int(math.Ceil(over/cost)), int(p.spare(to)/cost)); users > 0 && p.budget > 0 {
			p.order(from, to, users)
		}
	}
}

// most is the active node that can take most, by one of the following.
func (p *planner) most(by func(*view) float64) *view {
	return slices.MaxFunc(p.active, func(x, y *view) int { return cmp.Compare(by(x), by(y)) })
}

// spare is what a node may take until it is at its maximum, if what shows of the orders is what it looks like.
func (p *planner) spare(v *view) float64 {
	if v.out > 0 {
		return 0
	}
	return v.Max - v.Level - v.in + v.shows
}

// room is what a node may take until it is at the line.
func (p *planner) room(v *view) float64 { return p.even.of(v) - v.Level - v.in }

// likely is room, if what shows of the orders is what it looks like; newcomers look so, too.
func (p *planner) likely(v *view) float64 { return p.room(v) + v.shows }

func (p *planner) order(from, to *view, users int) {
	users = min(users, p.budget)
	level := float64(users) * from.cost()
	p.budget -= users
	from.out += level
	from.given += users
	// What is ordered already shows before it.
	base := to.Level + to.in - to.shows
	to.in += level
	m := Move{From: from.Name, To: to.Name, Level: level, Users: users}
	p.moves = append(p.moves, m)
	p.orders = append(p.orders, order{m, p.now, base})
}

// hysteresis decides whether levels are to be made even: from when they lie further
// apart than the band until they are within a quarter of it.
func (p *planner) hysteresis() {
	above, below := 0.0, 0.0
	for _, v := range p.active {
		if v.Max <= 0 {
			continue
		}
		d := (v.Level - p.even.of(v)) / v.Max
		above, below = max(above, d), max(below, -d)
	}
	apart := above + below
	switch {
	case apart > p.set.Band:
		p.evening = true
	case apart <= p.set.Band/4:
		p.evening = false
	}
}

// line is the level that all would have if everything were even: the same for all,
// but no more than a node's maximum, unless there is more than all can have.
type line struct {
	level float64
	share float64 // not 0: there is more than all may have, and each has this much of its maximum
}

func (l line) of(v *view) float64 {
	if l.share > 0 {
		return v.Max * l.share
	}
	return min(l.level, max(0, v.Max))
}

// waterline finds it: the smallest maxima are filled first.
func waterline(active []*view, total float64) line {
	maxima := make([]float64, len(active))
	limit := 0.0
	for i, v := range active {
		maxima[i] = max(0, v.Max)
		limit += maxima[i]
	}
	if total >= limit {
		if limit == 0 {
			return line{level: total / float64(len(active))}
		}
		return line{level: math.Inf(1), share: total / limit}
	}
	slices.Sort(maxima)
	rest := total
	for i, m := range maxima {
		if each := rest / float64(len(maxima)-i); each <= m {
			return line{level: each}
		}
		rest -= m
	}
	return line{level: maxima[len(maxima)-1]}
}
