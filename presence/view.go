package presence

import (
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// View is what one class of watchers may see of one presentity at one version.
// It is immutable and shared by all watchers of the class. It must not be copied.
type View struct {
	Presentity Entity
	Version    uint64    // rises by one with each change of the composition
	Sources    []*Source // visible sources, in a stable order; pointer-equal when unchanged
	Doc        *Document // composed; always with at least one tuple and exactly one person; nil but for presence
	Package    string    // event package; "": presence
	Watchers   []Watcher // of WatcherInfo: who watches the presence, in the order in which they came
	Ended      []Watcher // of WatcherInfo: subscriptions that ended with this version, State Terminated

	class    Class
	beside   *beside    // nil: all that is shown is in Sources
	origin   uint64     // of the presentity's serials
	serial   uint64     // tells the views of one presentity apart
	rendered renderings // caches bytes per format, see Render
	diff     atomic.Pointer[difference]
}

// Parts is what a view has beside its exported fields, for package transfer.
type Parts struct {
	Class          Class
	Origin, Serial uint64 // tell it apart from all others of the presentity, whatever nodes made them
	Touched        uint64 // changes that no source shows
	Persons        []*Source
}

// Parts takes a view apart.
func (v *View) Parts() Parts {
	x := Parts{Class: v.class, Origin: v.origin, Serial: v.serial, Persons: v.Persons()}
	if v.beside != nil {
		x.Touched = v.beside.touched
	}
	return x
}

// Assemble gives a view that has just been made its parts.
func (v *View) Assemble(x Parts) {
	v.class, v.origin, v.serial = x.Class, x.Origin, x.Serial
	if x.Touched > 0 || len(x.Persons) > 0 {
		v.beside = &beside{touched: x.Touched, persons: x.Persons}
	}
}

// Render returns the bytes of this view in a format, made by make at the first
// call and shared afterwards. Safe for concurrent use; the bytes must not be
// changed. make is called once per format and must not call Render of this view.
func (v *View) Render(format string, make func(*View) []byte) []byte {
	if b, ok := v.rendered.find(format); ok {
		return b
	}
	v.rendered.mu.Lock()
	defer v.rendered.mu.Unlock()
	if b, ok := v.rendered.find(format); ok {
		return b
	}
	r := &rendering{format: format, bytes: make(v), next: v.rendered.first.Load()}
	v.rendered.first.Store(r)
	return r.bytes
}

// renderings is a list that only grows: readers need no lock.
type renderings struct {
	first atomic.Pointer[rendering]
	mu    sync.Mutex // held while one is made
}

type rendering struct {
	format string
	bytes  []byte
	next   *rendering
}

func (rs *renderings) find(format string) ([]byte, bool) {
	for r := rs.first.Load(); r != nil; r = r.next {
		if r.format == format {
			return r.bytes, true
		}
	}
	return nil, false
}

// Changes compares what a watcher was shown (prev, may be nil) with v by source:
// gone sources, and new or changed ones. Both slices are shared: do not change them.
func (v *View) Changes(prev *View) (gone, changed []*Source) {
	if prev == nil {
		return nil, v.Sources
	}
	if prev == v {
		return nil, nil
	}
	// The watchers of a class were all shown the same before, so the last
	// answer is nearly always the one wanted. It is kept under prev's number
	// and not under its address, lest views hold one another for ever.
	if d := v.diff.Load(); d != nil && d.serial == prev.serial && d.version == prev.Version {
		return d.gone, d.changed
	}
	d := &difference{serial: prev.serial, version: prev.Version}
	for _, s := range v.Sources {
		if was := prev.source(s.ID); was != s {
			d.changed = append(d.changed, s)
		}
	}
	for _, s := range prev.Sources {
		if v.source(s.ID) == nil {
			d.gone = append(d.gone, s)
		}
	}
	v.diff.Store(d)
	return d.gone, d.changed
}

type difference struct {
	serial, version uint64
	gone, changed   []*Source
}

// Like tells whether v is of the same class as o, which may be nil like v: what one
// class was to be told is not told to another.
func (v *View) Like(o *View) bool {
	if v == nil || o == nil {
		return v == o
	}
	return v.class == o.class
}

func (v *View) source(id SourceID) *Source {
	for _, s := range v.Sources {
		if s.ID == id {
			return s
		}
	}
	return nil
}

// shows tells whether a watcher that was shown v knows the source.
func (v *View) shows(id SourceID) bool { return v != nil && v.source(id) != nil }

// same tells whether a watcher that was shown prev sees the same in v.
func (v *View) same(prev *View) bool {
	if v == prev {
		return true
	}
	if v == nil || prev == nil || len(v.Sources) != len(prev.Sources) {
		return false
	}
	for i := range v.Sources {
		if v.Sources[i] != prev.Sources[i] {
			return false
		}
	}
	b, was := v.beside, prev.beside
	if b == was {
		return true
	}
	if b == nil {
		b = &beside{}
	}
	if was == nil {
		was = &beside{}
	}
	// Other packages' persons are seen only as far as they make a difference.
	return b.touched == was.touched && (slices.Equal(b.persons, was.persons) || reflect.DeepEqual(v.Doc, prev.Doc))
}

// Polite tells whether the view is for watchers who are blocked politely (RFC 5025
// §3.2.1). It is for edges only, lest the way to it looks other than that to the view
// of a user who has gone; no watcher is told.
func (v *View) Polite() bool { return v.class.Handling == PoliteBlock }

// beside is what a view shows beside its sources.
type beside struct {
	touched uint64    // as in column
	persons []*Source // of other packages, without their native payload
}

// Persons are sources of other packages (a call that goes on) which say something
// of the person. They take part in Doc, and are not among Sources. Shared: not to be
// changed.
func (v *View) Persons() []*Source {
	if v.beside == nil {
		return nil
	}
	return v.beside.persons
}

// view is the one View of a class at the present version.
func (p *Presentity) view(c *column, class Class) *View {
	if c.pkg == WatcherInfo {
		p.winfo.ready(p)
	}
	for _, v := range c.views {
		if v.class == class {
			return v
		}
	}
	v := &View{Presentity: p.entity, Version: c.version, Package: c.pkg, class: class, origin: p.origin, serial: p.number()}
	sources := make([]*Source, len(c.sources))
	for i, l := range c.sources {
		sources[i] = l.shown
	}
	var persons []*Source
	if c == &p.presence {
		persons = p.persons()
	}
	p.fill(v, c, sources, persons, true)
	c.views = append(c.views, v)
	return v
}

// persons are what the sources of other packages add to presence.
func (p *Presentity) persons() (list []*Source) {
	for _, c := range p.others {
		for _, l := range c.sources {
			if l.person != nil {
				list = append(list, l.person)
			}
		}
	}
	return list
}

// fill makes what v shows of the sources; keep is as in shown.
//
// Polite blocking (RFC 5025 §3.2.1) shows what everybody sees of a user who is
// away: of presence the composition of no sources, of all else nothing. A class
// that sees a part of presence sees of other packages what they say of the person:
// their native payload may hold what the rules hide (with whom a call is).
func (p *Presentity) fill(v *View, c *column, sources, persons []*Source, keep bool) {
	allow := v.class.Handling == Allow
	if allow && c.touched > 0 {
		v.beside = &beside{touched: c.touched}
	}
	switch {
	case c.pkg == WatcherInfo:
		if allow {
			v.Watchers, v.Ended = p.Watchers(time.Time{}), p.winfo.ended
		}
		return
	case c.pkg != "":
		if allow {
			v.Sources = p.shown(c, v.class, sources, keep)
		}
		return
	case !allow:
		v.Doc = Compose(nil)
		return
	}
	all := sources
	if len(persons) > 0 {
		all = append(sources[:len(sources):len(sources)], persons...)
	}
	all = p.shown(c, v.class, all, keep)
	v.Doc = Compose(all)
	n := len(all)
	for n > 0 && all[n-1].Package != "" {
		n--
	}
	v.Sources = all[:n:n]
	if n < len(all) {
		if v.beside == nil {
			v.beside = &beside{}
		}
		v.beside.persons = all[n:]
	}
}
