package transfer

import (
	"bytes"
	"reflect"
	"slices"

	"pharos/presence"
)

// Learn is for a presentity that was exported here and lives elsewhere from now on:
// what its subscriptions at this node (by Via.Node) have been told locally.
func (m *Mirror) Learn(h *presence.Holding, self string) {
	p := &m.parts[m.part(h.Entity)]
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.of[h.Entity]
	if x == nil {
		x = &image{}
	}
	known := map[*presence.View]*told{}
	for i := range h.Subscriptions {
		s := &h.Subscriptions[i]
		if s.Via.Node != self || s.Shown == nil {
			continue
		}
		t := known[s.Shown]
		if t == nil {
			t = toldOf(s.Shown)
			known[s.Shown] = t
		}
		x.tell(s.ID, s.Package, t)
	}
	if len(x.seats) > 0 {
		p.of[h.Entity] = x
	}
}

// toldOf is a view that was made here.
func toldOf(v *presence.View) *told {
	t := &told{view: v, is: v.Parts()}
	for _, ss := range [...][]*presence.Source{v.Sources, t.is.Persons} {
		for _, s := range ss {
			t.marks = append(t.marks, s.Mark())
		}
	}
	return t
}

// Settle is for a presentity that is to be assumed at a node, self: in what comes from the
// other node, the views and sources that subscriptions of this node have been told become
// the ones which this mirror has given out, and are then forgotten. It changes h, which
// has to be the caller's own, as Reader.Holding makes it. It returns the subscriptions of this node that have not been told
// what they were shown in the eyes of the other: its notice is still under way.
func (m *Mirror) Settle(h *presence.Holding, self string) (untold map[string]bool) {
	p := &m.parts[m.part(h.Entity)]
	p.mu.Lock()
	x := p.of[h.Entity]
	delete(p.of, h.Entity)
	p.mu.Unlock()
	for i := range h.Subscriptions {
		if s := &h.Subscriptions[i]; s.Via.Node == self && s.Shown != nil && !x.has(s.ID, s.Shown) {
			if untold == nil {
				untold = map[string]bool{}
			}
			untold[s.ID] = true
		}
	}
	if x == nil {
		return untold
	}
	s := settling{origin: h.Origin, sources: map[uint64]*presence.Source{}, views: map[uint64]*presence.View{}, made: map[*presence.View]*presence.View{}}
	for _, t := range x.told {
		if t.is.Origin != h.Origin {
			continue
		}
		whole := true
		for i, mark := range t.marks {
			// One of a former life has another mark, by which other nodes do not know it.
			if o := t.source(i); o.Mark() == mark {
				s.sources[mark] = o
			} else {
				whole = false
			}
		}
		if whole {
			s.views[t.is.Serial] = t.view
		}
	}
	s.settle(h)
	return untold
}

// has tells whether what a subscription was told last is what a view says that has come by another way. What made
// no difference was not told.
func (x *image) has(sub string, v *presence.View) bool {
	if x == nil {
		return false
	}
	i := x.find(sub)
	if i < 0 {
		return false
	}
	was, is := x.seats[i].told, v.Parts()
	switch {
	case was.is.Origin != is.Origin:
		return false
	case was.is.Serial == is.Serial: // nearly always
		return true
	case was.is.Touched != is.Touched || len(was.view.Sources) != len(v.Sources):
		return false
	}
	t := toldOf(v)
	// Of other packages' persons only what makes a difference is told.
	n := len(v.Sources)
	return slices.Equal(was.marks[:n], t.marks[:n]) && (slices.Equal(was.marks[n:], t.marks[n:]) || reflect.DeepEqual(was.view.Doc, v.Doc))
}

// settling puts what was given out here in the place of what has come.
type settling struct {
	origin  uint64
	sources map[uint64]*presence.Source
	views   map[uint64]*presence.View
	made    map[*presence.View]*presence.View
}

func (s *settling) settle(h *presence.Holding) {
	for i := range h.Columns {
		c := &h.Columns[i]
		for j := range c.Sources {
			l := &c.Sources[j]
			// A source as it is may be newer than as it is shown, under a mark of its own.
			l.Source, l.Shown, l.Person = s.source(l.Source), s.source(l.Shown), s.source(l.Person)
		}
		for j, v := range c.Views {
			c.Views[j] = s.view(v)
		}
	}
	for i := range h.Filters {
		of := h.Filters[i].Of
		for j := range of {
			of[j].From, of[j].To = s.source(of[j].From), s.source(of[j].To)
		}
	}
	for i := range h.Subscriptions {
		h.Subscriptions[i].Shown = s.view(h.Subscriptions[i].Shown)
	}
}

func (s *settling) source(o *presence.Source) *presence.Source {
	if o == nil {
		return nil
	}
	if here := s.sources[o.Mark()]; here != nil {
		return here
	}
	return o
}

// view is the one that was given out, or v, with the sources that were.
func (s *settling) view(v *presence.View) *presence.View {
	if v == nil {
		return nil
	}
	if here := s.made[v]; here != nil {
		return here
	}
	x := v.Parts()
	here := v
	if given := s.views[x.Serial]; given != nil && x.Origin == s.origin {
		here = given
	} else {
		// Nobody else has it yet.
		for _, ss := range [...][]*presence.Source{v.Sources, x.Persons} {
			for i, o := range ss {
				ss[i] = s.source(o)
			}
		}
	}
	s.made[v] = here
	return here
}

// Recall is for notices of presentities that live here, and perhaps have begun a new life here,
// since their owner elsewhere was lost: what a target was told by that one is what it was
// shown, with the sources that say the same as in the new view. Where this makes
// differences between targets there is a notice for each of these.
func (m *Mirror) Recall(n *presence.Notice) []*presence.Notice {
	if n.Direct != nil {
		return []*presence.Notice{n}
	}
	p := &m.parts[m.part(n.Presentity)]
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.of[n.Presentity]
	if x == nil {
		return []*presence.Notice{n}
	}
	known := map[*presence.View]*presence.View{nil: nil}
	local := *n // what the presentity has is not changed
	local.Targets = append([]presence.Target(nil), n.Targets...)
	ns := split(&local, func(t *presence.Target) {
		was := x.tell(t.Sub, n.Package, nil)
		if t.Shown != nil || was == nil {
			return
		}
		if known[was] == nil {
			known[was] = recalled(was, n.View)
		}
		t.Shown = known[was]
	})
	if len(x.seats) == 0 {
		delete(p.of, n.Presentity)
	}
	return ns
}

// recalled is a view of a former life, made of the sources of v as far as they say the same.
func recalled(was, v *presence.View) *presence.View {
	if v == nil || was.Package != v.Package {
		return was
	}
	x, now := was.Parts(), v.Parts()
	if x.Class != now.Class {
		return was
	}
	here := &presence.View{Presentity: was.Presentity, Version: was.Version, Doc: was.Doc, Package: was.Package, Watchers: was.Watchers, Ended: was.Ended}
	here.Sources = sameSayings(was.Sources, v.Sources)
	x.Persons = sameSayings(x.Persons, now.Persons)
	here.Assemble(x)
	return here
}

// sameSayings is was, with those of now that say the same.
func sameSayings(was, now []*presence.Source) []*presence.Source {
	list := slices.Clone(was)
	var a, b []byte
	for i, o := range list {
		for _, s := range now {
			if s.ID != o.ID || s.Package != o.Package {
				continue
			}
			if a, b = appendSaying(a[:0], o), appendSaying(b[:0], s); bytes.Equal(a, b) {
				list[i] = s
			}
		}
	}
	return list
}
