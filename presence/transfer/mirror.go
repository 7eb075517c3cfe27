package transfer

import (
	"slices"
	"strings"
	"sync"

	"pharos/presence"
)

// Mirror makes of the notices that come from other nodes what local ones would be:
// a source that has not changed is the same pointer as in the view before, a view that comes
// with several notices is the same View, and Target.Shown is what this subscription
// was told last. It holds one view per subscription of this node, most of them shared, until
// Forget or a notice that ends it. It is safe for concurrent use; notices of one
// presentity must come in order.
//
// When a presentity has begun another life elsewhere, since its owner was lost, sources that
// say the same as before are taken for the same.
type Mirror struct {
	parts [mirrorParts]struct {
		mu sync.Mutex
		of map[presence.Entity]*image
	}
}

// mirrorParts is how many presentities can be worked on at once.
const mirrorParts = 16

// image is what the watchers of this node have been told of one presentity.
type image struct {
	seats []seat
	at    map[string]int // places in seats, where there are more than fewSeats
	told  []*told        // each view once
}

// fewSeats is the length up to which no map is made.
const fewSeats = 8

// seat is one subscription.
type seat struct {
	sub  string
	told *told
}

// told is one view. A source in it may be one of a former life of the presentity, which
// said the same under another mark.
type told struct {
	view  *presence.View
	is    presence.Parts
	marks []uint64 // in this life, of the sources and then the persons
	seats int
}

// NewMirror makes an empty one.
func NewMirror() *Mirror {
	m := &Mirror{}
	for i := range m.parts {
		m.parts[i].of = map[presence.Entity]*image{}
	}
	return m
}

// part finds the part of an entity, by FNV-1a.
func (m *Mirror) part(e presence.Entity) int {
	h := uint32(2166136261)
	for i := range len(e.User) {
		h = (h ^ uint32(e.User[i])) * 16777619
	}
	for i := range len(e.Domain) {
		h = (h ^ uint32(e.Domain[i])) * 16777619
	}
	return int(h % mirrorParts)
}

// Len is the number of subscriptions that are remembered.
func (m *Mirror) Len() (n int) {
	for i := range m.parts {
		p := &m.parts[i]
		p.mu.Lock()
		for _, x := range p.of {
			n += len(x.seats)
		}
		p.mu.Unlock()
	}
	return n
}

// Notices reads a notice. Where its targets were told different things before, there
// is one for each of these. None after an error.
func (m *Mirror) Notices(r *Reader) []*presence.Notice {
	rest := r.enter()
	defer r.leave(rest)
	n := &presence.Notice{}
	n.Presentity = r.Entity()
	n.Node = r.String()
	n.Edge = r.String()
	n.Package = r.String()
	n.State = presence.State(r.byte())
	n.Reason = presence.Reason(r.byte())
	n.Answer = r.Bool()
	view := r.String()
	n.LastWords = list(r, (*Reader).lastWord)
	if r.Bool() {
		in := r.enter()
		n.Direct = r.direct()
		r.leave(in)
	}
	n.Targets = r.targets()
	if r.err != nil {
		return nil
	}
	if n.Direct != nil {
		return []*presence.Notice{n}
	}
	p := &m.parts[m.part(n.Presentity)]
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.of[n.Presentity]
	var t *told
	if view != "" {
		in := &Reader{s: view}
		t = x.view(in)
		if in.err != nil {
			r.fail(in.err)
			return nil
		}
		n.View = t.view
	}
	// Edges keep this with what they were told, and with it would keep the frame.
	if t != nil && t.view.Presentity == n.Presentity {
		n.Presentity = t.view.Presentity
	} else {
		n.Presentity = n.Presentity.Clone()
	}
	if x == nil && t != nil && n.State != presence.Terminated {
		x = &image{}
		p.of[t.view.Presentity] = x
	}
	if x == nil || n.Answer && n.State == presence.Terminated && n.Reason == presence.Timeout {
		return []*presence.Notice{n} // of a fetch nothing stays
	}
	if n.State == presence.Terminated {
		t = nil
	}
	ns := split(n, func(tg *presence.Target) { tg.Shown = x.tell(tg.Sub, n.Package, t) })
	if len(x.seats) == 0 {
		delete(p.of, n.Presentity)
	}
	return ns
}

// Ends tells of notices that are not taken whether one of them ends subscriptions.
func (r *Reader) Ends() bool {
	for r.More() && r.err == nil {
		rest := r.enter()
		r.Entity()
		for range 3 {
			_ = r.String()
		}
		state := presence.State(r.byte())
		r.leave(rest)
		if state == presence.Terminated && r.err == nil {
			return true
		}
	}
	return false
}

// split has shown say of each target what it was shown, and puts those who were
// shown the same together. n is the caller's own.
func split(n *presence.Notice, shown func(*presence.Target)) []*presence.Notice {
	ns := []*presence.Notice{n}
	targets := n.Targets
	for i := range targets {
		tg := &targets[i]
		shown(tg)
		if i == 0 || len(ns) == 1 && tg.Shown == targets[0].Shown {
			continue
		}
		if len(ns) == 1 {
			n.Targets = targets[:i:i]
		}
		to := slices.IndexFunc(ns, func(o *presence.Notice) bool { return o.Targets[0].Shown == tg.Shown })
		if to < 0 {
			c := *n
			c.Targets = nil
			to, ns = len(ns), append(ns, &c)
		}
		ns[to].Targets = append(ns[to].Targets, *tg)
	}
	return ns
}

// tell notes what a subscription is told, nil for nothing any more, and returns what it
// was told before.
func (x *image) tell(sub, pkg string, t *told) (before *presence.View) {
	i := x.find(sub)
	if i >= 0 {
		s := &x.seats[i]
		if before = s.told.view; before.Package != pkg {
			before = nil // the id went to something else
		}
		if s.told == t {
			return before
		}
		x.release(s.told)
		if t == nil {
			x.remove(i)
			return before
		}
		s.told = t
	} else if t != nil {
		x.add(seat{strings.Clone(sub), t})
	}
	if t != nil {
		if t.seats == 0 {
			x.told = append(x.told, t)
		}
		t.seats++
	}
	return before
}

func (x *image) find(sub string) int {
	if x.at != nil {
		if i, ok := x.at[sub]; ok {
			return i
		}
		return -1
	}
	for i := range x.seats {
		if x.seats[i].sub == sub {
			return i
		}
	}
	return -1
}

func (x *image) add(s seat) {
	x.seats = append(x.seats, s)
	if x.at != nil {
		x.at[s.sub] = len(x.seats) - 1
	} else if len(x.seats) > fewSeats {
		x.at = make(map[string]int, 2*len(x.seats))
		for i := range x.seats {
			x.at[x.seats[i].sub] = i
		}
	}
}

func (x *image) remove(i int) {
	last := len(x.seats) - 1
	if x.at != nil {
		delete(x.at, x.seats[i].sub)
		if i < last {
			x.at[x.seats[last].sub] = i
		}
	}
	x.seats[i] = x.seats[last]
	x.seats[last] = seat{}
	x.seats = x.seats[:last]
}

func (x *image) release(t *told) {
	if t.seats--; t.seats > 0 {
		return
	}
	for i, o := range x.told {
		if o == t {
			last := len(x.told) - 1
			x.told[i] = x.told[last]
			x.told[last] = nil
			x.told = x.told[:last]
			return
		}
	}
}

// Forget lets go what a subscription was told: it has ended without a notice (Unwatch
// with Silent, when its outcome has come).
func (m *Mirror) Forget(of presence.Entity, sub string) {
	p := &m.parts[m.part(of)]
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.of[of]
	if x == nil {
		return
	}
	x.tell(sub, "", nil)
	if len(x.seats) == 0 {
		delete(p.of, of)
	}
}
