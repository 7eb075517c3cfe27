package presence

import (
	"reflect"
	"slices"
	"time"
)

// filter keeps what one Transform leaves of each source of a package, so that a
// filtered source is the same as long as it says the same.
type filter struct {
	pkg  string
	name string
	of   []filtered
}

// filtered is one source: to is nil where nothing is left of it.
type filtered struct{ from, to *Source }

// shown are the sources, or what the class may see of them. The outcome is kept
// for the next view if keep is set.
func (p *Presentity) shown(c *column, class Class, sources []*Source, keep bool) []*Source {
	if class.Shown == "" || len(sources) == 0 {
		return sources
	}
	f := p.filter(c.pkg, class.Shown)
	t := p.policy.Transform(class.Shown)
	next := make([]filtered, 0, len(sources))
	out := make([]*Source, 0, len(sources))
	for _, s := range sources {
		to := f.apply(t, s)
		if to != nil && to.mark == 0 {
			to.mark = p.number()
		}
		next = append(next, filtered{s, to})
		if to != nil {
			out = append(out, to)
		}
	}
	if keep {
		f.of = next
	}
	return out
}

func (p *Presentity) filter(pkg, name string) *filter {
	for _, f := range p.filters {
		if f.pkg == pkg && f.name == name {
			return f
		}
	}
	f := &filter{pkg: pkg, name: name}
	p.filters = append(p.filters, f)
	return f
}

// dropFilters lets those go that no watcher needs any more. A view that was made may
// still be shown to the next who comes.
func (p *Presentity) dropFilters() {
	if len(p.filters) == 0 {
		return
	}
	keep := p.filters[:0]
	for _, f := range p.filters {
		c := p.column(f.pkg)
		if c != nil && (slices.ContainsFunc(c.groups, func(g *group) bool { return g.class.Shown == f.name }) ||
			slices.ContainsFunc(c.views, func(v *View) bool { return v.class.Shown == f.name })) {
			keep = append(keep, f)
		}
	}
	clear(p.filters[len(keep):])
	p.filters = keep
}

// apply makes the filtered source, without the native payload, which holds
// more than the watchers may see, and without what only the user's own devices
// and the operator know.
func (f *filter) apply(t *Transform, s *Source) *Source {
	var before *Source
	for i := range f.of {
		if f.of[i].from == s {
			return f.of[i].to
		}
		if to := f.of[i].to; to != nil && to.ID == s.ID && to.Package == s.Package {
			before = to
		}
	}
	if (s.Package != "" || s.ID.Kind == Extended) && (s.Doc == nil || s.Doc.saysNothing()) {
		return nil // it says nothing but by its native payload
	}
	to := &Source{ID: s.ID, Expires: s.Expires, Updated: s.Updated, Package: s.Package}
	if s.Doc != nil {
		if to.Doc = t.Document(s.Doc); to.Doc.saysNothing() && !s.Doc.saysNothing() {
			return nil
		}
	}
	if before != nil && reflect.DeepEqual(before.Doc.timeless(), to.Doc.timeless()) {
		// Whoever cannot see what changed must not see that something did: nor by the
		// timestamps, which are always shown (RFC 5025 §3.3.2) and then are of what is.
		return before
	}
	return to
}

// timeless is d without the times at which it was said.
func (d *Document) timeless() *Document {
	if d == nil {
		return nil
	}
	c := *d
	c.Tuples, c.Persons, c.Devices = slices.Clone(d.Tuples), slices.Clone(d.Persons), slices.Clone(d.Devices)
	for i := range c.Tuples {
		c.Tuples[i].Timestamp = time.Time{}
	}
	for i := range c.Persons {
		c.Persons[i].Timestamp = time.Time{}
	}
	for i := range c.Devices {
		c.Devices[i].Timestamp = time.Time{}
	}
	return &c
}

// saysNothing tells that nothing in d makes a difference to anybody.
func (d *Document) saysNothing() bool {
	for i := range d.Persons {
		p := &d.Persons[i]
		if len(p.Notes)+len(p.Extra) > 0 || !reflect.ValueOf(p.Rich).IsZero() {
			return false
		}
	}
	return len(d.Tuples)+len(d.Devices)+len(d.Notes)+len(d.Extra) == 0
}
