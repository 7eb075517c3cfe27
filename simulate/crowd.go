package simulate

import (
	"time"

	"pharos/balance"
	"pharos/load"
)

// What chat clients wait in before they are let in; a test holds it to be package jabber's.
const (
	lineMost     = 1 << 12
	lineWithin   = 8 * time.Second
	lineEvery    = 5 * time.Millisecond
	lineTogether = 32
)

// coming are those who knock in a step: fresh ones have no home yet, the others had only lost their
// connection.
type coming struct{ fresh, back int }

// flow is what comes to one node in a step.
type flow struct{ sip, xmpp, back int }

func (f flow) all() int { return f.sip + f.xmpp + f.back }

// line is where chat clients wait at a node, those in front first.
type line struct {
	of    []waiting
	users int
}

type waiting struct {
	since       time.Duration
	fresh, back int
}

func (l *line) join(x waiting) {
	l.of = append(l.of, x)
	l.users += x.fresh + x.back
}

// take lets at most so many of those in front out.
func (l *line) take(most int) (fresh, back int) {
	for len(l.of) > 0 && most > 0 {
		b := &l.of[0]
		k := min(b.fresh+b.back, most)
		some := min(b.fresh, k)
		fresh, back, most = fresh+some, back+k-some, most-k
		b.fresh, b.back = b.fresh-some, b.back-(k-some)
		l.users -= k
		if b.fresh+b.back == 0 {
			l.of = l.of[1:]
		}
	}
	return fresh, back
}

// slot is where those are who come after a time.
func (w *world) slot(after time.Duration) *coming {
	k := min(max(1, int(after/step)), len(w.coming)-1)
	return &w.coming[(w.steps+k)%len(w.coming)]
}

// spread has users come, evenly over a time.
func (w *world) spread(from, over time.Duration, c coming) {
	n := max(1, int(over/step))
	for i := range n {
		at := w.slot(from + time.Duration(i)*step)
		at.fresh += part(c.fresh, i, n)
		at.back += part(c.back, i, n)
	}
}

// again has those come again who were refused, as long after as they were told.
func (w *world) again(full float64, c coming) {
	if c == (coming{}) {
		return
	}
	w.counts.Refused += float64(c.fresh + c.back)
	const quarters = 4
	for i := range quarters {
		at := w.slot(load.Newcomer.Wait(full, (float64(i)+0.5)/quarters))
		at.fresh += part(c.fresh, i, quarters)
		at.back += part(c.back, i, quarters)
	}
}

// arrive spreads those who come now over the nodes, as a name service or a balancer in front does.
func (w *world) arrive() {
	c := &w.coming[w.steps%len(w.coming)]
	now := *c
	*c = coming{}
	n := len(w.serve)
	w.flow = append(w.flow[:0], make([]flow, n)...)
	switch {
	case now == (coming{}):
		return
	case n == 0:
		at := w.slot(time.Second) // nobody answers
		at.fresh += now.fresh
		at.back += now.back
		return
	}
	sip := w.round(float64(now.fresh) * w.s.Users.SIP)
	first := w.rnd.IntN(n)
	for i := range n {
		f := &w.flow[(first+i)%n]
		f.sip, f.xmpp, f.back = part(sip, i, n), part(now.fresh-sip, i, n), part(now.back, i, n)
	}
}

// enter lets in those who have come, as the gates say.
func (w *world) enter() {
	var fresh, back []int // chat clients let in at each node
	any := false
	in := make([]int, len(w.serve)) // newcomers
	for i, n := range w.serve {
		f := &w.flow[i]
		if f.all() == 0 && n.line.users == 0 {
			continue
		}
		if !any {
			any = true
			fresh, back = make([]int, len(w.serve)), make([]int, len(w.serve))
		}
		full := max(n.full, w.storeFull, w.pressure)
		shut := load.Newcomer.Refused(full)
		sip := w.round(float64(f.sip) * (1 - shut))
		w.again(full, coming{fresh: f.sip - sip})
		n.sip += sip
		fresh[i], back[i] = w.queue(n, f, full, shut)
		n.xmpp += fresh[i] + back[i]
		in[i] = sip + fresh[i]
		w.counts.Logins += float64(sip + fresh[i] + back[i])
	}
	if !any {
		return
	}
	placed := w.place(in)
	w.redirect(fresh, back, placed)
}

// queue lets chat clients in at a node: those of the line first.
func (w *world) queue(n *node, f *flow, full, shut float64) (fresh, back int) {
	each := float64(lineTogether) // in each look at the line
	if shut > 0 {
		each = min(each, (1-shut)/shut)
	}
	room := w.round(each * float64(step/lineEvery))
	fresh, back = n.line.take(room)
	x, y := f.xmpp, f.back
	if n.line.users == 0 {
		a, b := w.round(float64(x)*(1-shut)), w.round(float64(y)*(1-shut))
		fresh, back, x, y = fresh+a, back+b, x-a, y-b
	}
	// The rest waits, as many as may.
	free := max(0, lineMost-n.line.users)
	a := min(x, free)
	b := min(y, free-a)
	if a+b > 0 {
		n.line.join(waiting{w.now, a, b})
	}
	w.again(full, coming{x - a, y - b})
	for len(n.line.of) > 0 && w.now-n.line.of[0].since >= lineWithin {
		a, b := n.line.take(n.line.of[0].fresh + n.line.of[0].back)
		w.again(full, coming{a, b})
	}
	return fresh, back
}

// admitters is of how many nodes the choices are simulated: each chooses for those after it,
// too, up to the next.
const admitters = 64

// chooser is how a node chooses homes.
func (w *world) chooser(n *node) *balance.Admission {
	if n.admission == nil {
		n.admission = balance.NewAdmission(n.name, w.perUser)
		n.updated = -time.Hour
		if w.admit = append(w.admit, n); len(w.admit) > 2*admitters { // others are asked instead
			w.admit[0].admission = nil
			w.admit = w.admit[1:]
		}
	}
	if w.now-n.updated > 2*renewEvery {
		n.admission.Update(w.table())
		n.updated = w.now
	}
	return n.admission
}

// placed are newcomers at a home.
type placed struct {
	at    *node
	users int
}

// place finds homes for newcomers, of whom so many were let in at each node.
func (w *world) place(in []int) (all []placed) {
	n := len(w.serve)
	k := min(n, admitters)
	w.placedAt = w.now
	// One choice may stand for several, of nodes that would have chosen much alike.
	chunk := max(1, min(n/k, int(0.002*w.s.Nodes.Max/w.perUser)))
	for i := range k {
		users := 0
		first, end := i*n/k, (i+1)*n/k
		for _, x := range in[first:end] {
			users += x
		}
		if users == 0 {
			continue
		}
		a := w.chooser(w.serve[first])
		for users > 0 {
			some := min(users, chunk)
			users -= some
			name, v := a.Admit()
			to := w.byName[name]
			if v == balance.Nobody || to == nil {
				to = w.serve[first]
			}
			if v == balance.Full {
				w.counts.Full += float64(some)
			}
			to.users += some
			w.counts.Users += some
			w.counts.Admitted += float64(some)
			w.use.homes += float64(some)
			w.use.soft += float64(some) * w.s.Users.SIP * float64(w.s.Users.Resources)
			all = append(all, placed{to, some})
		}
	}
	return all
}

// redirect sends chat clients to the homes of their users, those that follow.
func (w *world) redirect(fresh, back []int, homes []placed) {
	n := len(w.serve)
	if n < 2 {
		return
	}
	sum := func(list []int) (all int) {
		for _, x := range list {
			all += x
		}
		return all
	}
	away := 1 - 1/float64(n)
	send := func(from []int, to func(users int)) {
		all := sum(from)
		strange := w.round(float64(all) * away)
		follow := w.round(float64(strange) * w.s.Users.Follow)
		sent := w.guide.send(w.now, follow, true)
		w.counts.Served += float64(strange - sent - w.guide.send(w.now, strange-follow, false))
		w.counts.Redirected += float64(sent)
		w.use.tells += 2 * float64(sent)
		seen := 0
		for i, x := range from {
			w.serve[i].xmpp -= sent*(seen+x)/max(1, all) - sent*seen/max(1, all)
			seen += x
		}
		to(sent)
	}
	settle := func(users int, weight func(i int) (*node, int), count int) {
		all, seen := 0, 0
		for i := range count {
			_, k := weight(i)
			all += k
		}
		for i := range count {
			to, k := weight(i)
			some := 0
			if all > 0 {
				some = users*(seen+k)/all - users*seen/all
			} else if i == 0 {
				some = users
			}
			to.xmpp += some
			to.must += float64(some) * w.s.Costs.Login
			seen += k
		}
	}
	send(fresh, func(users int) {
		if len(homes) == 0 {
			settle(users, func(i int) (*node, int) { return w.serve[i], w.serve[i].users }, n)
			return
		}
		settle(users, func(i int) (*node, int) { return homes[i].at, homes[i].users }, len(homes))
	})
	send(back, func(users int) {
		settle(users, func(i int) (*node, int) { return w.serve[i], w.serve[i].users }, n)
	})
}

// leave has users go, from all nodes alike.
func (w *world) leave(users int) {
	all := 0
	for _, n := range w.nodes {
		all += n.users
	}
	users = min(users, all)
	if users == 0 {
		return
	}
	take := func(count func(*node) *int, k int) {
		sum, seen := 0, 0
		for _, n := range w.nodes {
			sum += *count(n)
		}
		k = min(k, sum)
		for _, n := range w.nodes {
			x := *count(n)
			*count(n) = x - (k*(seen+x)/max(1, sum) - k*seen/max(1, sum))
			seen += x
		}
	}
	sip := w.round(float64(users) * w.s.Users.SIP)
	take(func(n *node) *int { return &n.users }, users)
	take(func(n *node) *int { return &n.sip }, sip)
	take(func(n *node) *int { return &n.xmpp }, users-sip)
	w.counts.Users -= users
	w.counts.Left += float64(users)
}
