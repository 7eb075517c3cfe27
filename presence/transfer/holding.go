package transfer

import "pharos/presence"

// AppendHolding appends a whole presentity. Sources, views and classes are written
// once, and referred to by their place: 0 is none, 1 the first.
func AppendHolding(b []byte, h *presence.Holding) []byte {
	t := tables{sources: map[*presence.Source]int{nil: 0}, views: map[*presence.View]int{nil: 0}, classes: map[presence.Class]int{}}
	t.collect(h)
	b, at := open(b)
	b, head := open(b)
	b = AppendEntity(b, h.Entity)
	b = AppendUint(b, h.Origin)
	b = AppendUint(b, h.Serial-h.Origin)
	b = AppendBool(b, h.Decided)
	b = AppendUint(b, h.Revision)
	b = AppendWatchers(b, h.Waiting)
	b = shut(b, head)
	b = t.append(b)
	b = appendList(b, h.Columns, t.appendColumn)
	b = appendList(b, h.Filters, t.appendFilter)
	b = appendList(b, h.Subscriptions, t.appendSubscription)
	b = appendPlaces(b, &h.Due)
	b = appendList(b, h.Directed, func(b []byte, d *presence.Direct) []byte {
		b, at := open(b)
		return shut(appendDirect(b, d), at)
	})
	b = AppendBool(b, h.Winfo != nil)
	if h.Winfo != nil {
		b = appendWinfo(b, h.Winfo)
	}
	return shut(b, at)
}

// tables are what is written once.
type tables struct {
	sources map[*presence.Source]int
	views   map[*presence.View]int
	classes map[presence.Class]int

	sourceList []*presence.Source
	viewList   []*presence.View
	classList  []presence.Class
}

func (t *tables) source(s *presence.Source) {
	if _, ok := t.sources[s]; !ok {
		t.sourceList = append(t.sourceList, s)
		t.sources[s] = len(t.sourceList)
	}
}

func (t *tables) view(v *presence.View) {
	if _, ok := t.views[v]; ok {
		return
	}
	t.viewList = append(t.viewList, v)
	t.views[v] = len(t.viewList)
	for _, s := range v.Sources {
		t.source(s)
	}
	for _, s := range v.Persons() {
		t.source(s)
	}
}

func (t *tables) collect(h *presence.Holding) {
	for i := range h.Columns {
		for _, l := range h.Columns[i].Sources {
			t.source(l.Shown)
			t.source(l.Source)
			t.source(l.Person)
		}
		for _, v := range h.Columns[i].Views {
			t.view(v)
		}
	}
	for i := range h.Filters {
		for _, o := range h.Filters[i].Of {
			t.source(o.From)
			t.source(o.To)
		}
	}
	for i := range h.Subscriptions {
		s := &h.Subscriptions[i]
		t.view(s.Shown)
		if _, ok := t.classes[s.Class]; !ok {
			t.classList = append(t.classList, s.Class)
			t.classes[s.Class] = len(t.classList)
		}
	}
}

func (t *tables) append(b []byte) []byte {
	b = appendList(b, t.classList, func(b []byte, c *presence.Class) []byte {
		b, at := open(b)
		return shut(appendClass(b, c), at)
	})
	b = AppendUint(b, uint64(len(t.sourceList)))
	for i, s := range t.sourceList {
		b = t.appendSource(b, s, i)
	}
	return appendList(b, t.viewList, func(b []byte, v **presence.View) []byte {
		x := (*v).Parts()
		b, at := open(b)
		b = appendViewHead(b, *v, &x)
		b = t.appendRefs(b, (*v).Sources)
		b = t.appendRefs(b, x.Persons)
		return shut(b, at)
	})
}

// appendSource leaves out what an earlier source says, too: a refreshed one is as it is and
// as it is shown.
func (t *tables) appendSource(b []byte, s *presence.Source, i int) []byte {
	b, at := open(b)
	as := 0
	for j, o := range t.sourceList[:i] {
		if s.Doc != nil && o.Doc == s.Doc && o.ID == s.ID && o.Package == s.Package && o.Native.Type == s.Native.Type && string(o.Native.Bytes) == string(s.Native.Bytes) {
			as = j + 1
			break
		}
	}
	b = AppendUint(b, uint64(as))
	if as == 0 {
		b = appendSaying(b, s)
	}
	b = AppendUint(b, s.Mark())
	b = appendAbout(b, s)
	return shut(b, at)
}

func (t *tables) appendRefs(b []byte, ss []*presence.Source) []byte {
	b = AppendUint(b, uint64(len(ss)))
	for _, s := range ss {
		b = AppendUint(b, uint64(t.sources[s]))
	}
	return b
}

func (t *tables) appendColumn(b []byte, c *presence.HeldColumn) []byte {
	b, at := open(b)
	b = AppendString(b, c.Package)
	b = AppendBool(b, c.Private)
	b = AppendUint(b, c.Version)
	b = AppendUint(b, c.Touched)
	b = appendList(b, c.Sources, func(b []byte, l *presence.HeldSource) []byte {
		b, at := open(b)
		b = AppendUint(b, uint64(t.sources[l.Source]))
		b = AppendUint(b, uint64(t.sources[l.Shown]))
		b = AppendUint(b, uint64(t.sources[l.Person]))
		b = AppendBool(b, l.Renamed)
		b = AppendUint(b, uint64(l.Said))
		b = AppendUint(b, uint64(l.Since))
		return shut(b, at)
	})
	b = appendList(b, c.Views, func(b []byte, v **presence.View) []byte { return AppendUint(b, uint64(t.views[*v])) })
	b = appendList(b, c.Groups, appendPlaces)
	return shut(b, at)
}

func (t *tables) appendFilter(b []byte, f *presence.HeldFilter) []byte {
	b, at := open(b)
	b = AppendString(b, f.Package)
	b = AppendString(b, f.Name)
	b = appendList(b, f.Of, func(b []byte, o *presence.HeldFiltered) []byte {
		b, at := open(b)
		b = AppendUint(b, uint64(t.sources[o.From]))
		b = AppendUint(b, uint64(t.sources[o.To]))
		return shut(b, at)
	})
	return shut(b, at)
}

func (t *tables) appendSubscription(b []byte, s *presence.HeldSubscription) []byte {
	b, at := open(b)
	b = appendSubscription(b, &s.Subscription)
	b = AppendUint(b, uint64(t.classes[s.Class]))
	b = AppendBool(b, s.Waits)
	b = AppendUint(b, uint64(t.views[s.Shown]))
	return shut(b, at)
}

func appendPlaces(b []byte, places *[]int) []byte {
	b = AppendUint(b, uint64(len(*places)))
	for _, at := range *places {
		b = AppendUint(b, uint64(at))
	}
	return b
}

func (r *Reader) places(places *[]int) {
	*places = list(r, func(r *Reader, at *int) { *at = int(min(r.Uint(), MaxItems)) })
}

func appendWinfo(b []byte, w *presence.HeldWinfo) []byte {
	b, at := open(b)
	b = AppendBool(b, w.Missed)
	b = AppendBool(b, w.Old)
	b = AppendWatchers(b, w.Ended)
	b = AppendWatchers(b, w.Waiting)
	return shut(b, at)
}

// Holding is a whole presentity, as the caller's own; nil after an error.
func (r *Reader) Holding() *presence.Holding {
	h := &presence.Holding{}
	var t held
	rest := r.enter()
	head := r.enterOwn()
	h.Entity = r.Entity()
	h.Origin = r.Uint()
	h.Serial = h.Origin + r.Uint()
	h.Decided = r.Bool()
	h.Revision = r.Uint()
	h.Waiting = r.Watchers()
	r.leave(head)
	t.read(r)
	h.Columns = list(r, t.column)
	h.Filters = list(r, t.filter)
	h.Subscriptions = list(r, t.subscription)
	r.places(&h.Due)
	h.Directed = list(r, func(r *Reader, d *presence.Direct) {
		rest := r.enterOwn()
		*d = *r.direct()
		r.leave(rest)
	})
	if r.Bool() {
		h.Winfo = r.winfo()
	}
	r.leave(rest)
	if r.err != nil {
		return nil
	}
	return h
}

// held are tables that are read.
type held struct {
	classes []presence.Class
	sources []*presence.Source
	views   []*presence.View
}

func (t *held) read(r *Reader) {
	t.classes = list(r, func(r *Reader, c *presence.Class) {
		rest := r.enter()
		*c = r.class()
		r.leave(rest)
	})
	n := r.count()
	for range n {
		t.sources = append(t.sources, t.source(r))
	}
	n = r.count()
	for range n {
		t.views = append(t.views, t.view(r))
	}
}

func (t *held) source(r *Reader) *presence.Source {
	rest := r.enter()
	defer r.leave(rest)
	var s presence.Source
	if as := ref(r, t.sources); as != nil {
		s = *as
	} else {
		r.saying(&s, r.String())
	}
	mark := r.Uint()
	r.about(&s)
	return s.Marked(mark)
}

func (t *held) view(r *Reader) *presence.View {
	rest := r.enter()
	defer r.leave(rest)
	v, x := r.viewHead()
	v.Sources = t.refs(r)
	x.Persons = t.refs(r)
	if r.err != nil {
		return v
	}
	if v.Package == "" {
		v.Doc = presence.Compose(append(v.Sources[:len(v.Sources):len(v.Sources)], x.Persons...))
	}
	v.Assemble(x)
	return v
}

// ref is what a reference refers to; the zero value for none.
func ref[T any](r *Reader, table []T) (x T) {
	switch n := r.Uint(); {
	case n == 0:
	case n <= uint64(len(table)):
		x = table[n-1]
	default:
		r.fail(ErrMalformed)
	}
	return x
}

// must is ref where there has to be something.
func must[T any](r *Reader, table []*T) *T {
	x := ref(r, table)
	if x == nil {
		r.fail(ErrMalformed)
	}
	return x
}

func (t *held) refs(r *Reader) []*presence.Source {
	return list(r, func(r *Reader, s **presence.Source) { *s = must(r, t.sources) })
}

func (t *held) column(r *Reader, c *presence.HeldColumn) {
	rest := r.enterOwn()
	c.Package = r.String()
	c.Private = r.Bool()
	c.Version = r.Uint()
	c.Touched = r.Uint()
	c.Sources = list(r, func(r *Reader, l *presence.HeldSource) {
		rest := r.enter()
		l.Source = must(r, t.sources)
		l.Shown = must(r, t.sources)
		l.Person = ref(r, t.sources)
		l.Renamed = r.Bool()
		l.Said = int64(r.Uint())
		l.Since = int64(r.Uint())
		r.leave(rest)
	})
	c.Views = list(r, func(r *Reader, v **presence.View) { *v = must(r, t.views) })
	c.Groups = list(r, (*Reader).places)
	r.leave(rest)
}

func (t *held) filter(r *Reader, f *presence.HeldFilter) {
	rest := r.enterOwn()
	f.Package = r.String()
	f.Name = r.String()
	f.Of = list(r, func(r *Reader, o *presence.HeldFiltered) {
		rest := r.enter()
		o.From = must(r, t.sources)
		o.To = ref(r, t.sources)
		r.leave(rest)
	})
	r.leave(rest)
}

func (t *held) subscription(r *Reader, s *presence.HeldSubscription) {
	rest := r.enter()
	r.subscription(&s.Subscription)
	if n := r.Uint(); n > 0 && n <= uint64(len(t.classes)) {
		s.Class = t.classes[n-1]
	} else {
		r.fail(ErrMalformed)
	}
	s.Waits = r.Bool()
	s.Shown = ref(r, t.views)
	r.leave(rest)
}

func (r *Reader) winfo() *presence.HeldWinfo {
	w := &presence.HeldWinfo{}
	rest := r.enterOwn()
	w.Missed = r.Bool()
	w.Old = r.Bool()
	w.Ended = r.Watchers()
	w.Waiting = r.Watchers()
	r.leave(rest)
	return w
}
