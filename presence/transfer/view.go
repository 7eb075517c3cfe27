package transfer

import "pharos/presence"

// view reads what appendView has written, with as much of what was told before as is the
// same. x may be nil: nothing was.
func (x *image) view(r *Reader) *told {
	v, is := r.viewHead()
	if r.err != nil {
		return nil
	}
	if x != nil {
		for _, t := range x.told {
			if t.is.Origin == is.Origin && t.is.Serial == is.Serial {
				return t
			}
		}
	}
	t := &told{view: v, is: is}
	c := composing{image: x, told: t}
	v.Sources = c.sources(r)
	t.is.Persons = c.sources(r)
	if r.err != nil {
		return nil
	}
	if v.Package == "" {
		v.Doc = presence.Compose(c.all)
	}
	v.Assemble(t.is)
	return t
}

// composing is a view that is being read.
type composing struct {
	image *image
	told  *told
	all   []*presence.Source // with the times that the owner knows, of which the composition depends
}

func (c *composing) sources(r *Reader) []*presence.Source {
	n := r.count()
	if n == 0 {
		return nil
	}
	ss := make([]*presence.Source, n)
	for i := range ss {
		ss[i] = c.source(r)
	}
	return ss
}

func (c *composing) source(r *Reader) *presence.Source {
	rest := r.enter()
	defer r.leave(rest)
	said, mark := r.String(), r.Uint()
	c.told.marks = append(c.told.marks, mark)
	if s := c.image.marked(c.told.is.Origin, mark); s != nil {
		c.all = append(c.all, s)
		return s
	}
	var s presence.Source
	if same := c.image.saying(c.told, said); same != nil {
		r.about(&s)
		as := same
		if !s.Updated.Equal(same.Updated) {
			moved := *same
			moved.Updated = s.Updated
			as = &moved
		}
		c.all = append(c.all, as)
		return same
	}
	r.about(&s)
	r.saying(&s, said)
	own := s.Marked(mark)
	c.all = append(c.all, own)
	return own
}

// marked finds a source of the presentity's present life among what was told.
func (x *image) marked(origin, mark uint64) *presence.Source {
	if x == nil {
		return nil
	}
	for _, t := range x.told {
		if t.is.Origin != origin {
			continue
		}
		for i, m := range t.marks {
			if m == mark {
				return t.source(i)
			}
		}
	}
	return nil
}

// source is the one whose mark has this place.
func (t *told) source(i int) *presence.Source {
	if n := len(t.view.Sources); i >= n {
		return t.is.Persons[i-n]
	}
	return t.view.Sources[i]
}

// saying finds a source of another life that the same class was told and that said the same.
func (x *image) saying(now *told, said string) *presence.Source {
	if x == nil {
		return nil
	}
	var b []byte
	for _, t := range x.told {
		if t.is.Origin == now.is.Origin || t.view.Package != now.view.Package || t.is.Class != now.is.Class {
			continue
		}
		for i := range t.marks {
			if b = appendSaying(b[:0], t.source(i)); inside(b) == said {
				return t.source(i)
			}
		}
	}
	return nil
}

// inside is a record without its length.
func inside(b []byte) string {
	r := Reader{s: string(b)}
	return r.String()
}
