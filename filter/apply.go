package filter

import (
	"slices"

	"pharos/markup"
)

// Apply returns what of a document the watcher wants (RFC 4660 §5.3.1): with
// <include> only what is named, with what is in it and around it; without it all;
// and then nothing of what <exclude> names. What a valid document cannot be
// without stays: the root, ids and entities, the status of a tuple. A document of
// which all is wanted comes back as it is. The error is a *markup.SyntaxError.
func (f *Filter) Apply(doc []byte) ([]byte, error) {
	if f == nil || len(f.include) == 0 && len(f.exclude) == 0 {
		return doc, nil
	}
	root, err := markup.Parse(doc, markup.Options{Document: true})
	if err != nil {
		return nil, err
	}
	m := marks{keep: make(map[*markup.Element]mark), drop: make(map[*markup.Element]bool),
		attrs: make(map[*markup.Element][]*name)}
	m.all = len(f.include) == 0
	t := treeOf(root)
	for i := range f.include {
		m.include(&f.include[i], t)
	}
	for i := range f.exclude {
		m.exclude(&f.exclude[i], t)
	}
	delete(m.drop, root)
	w := writer{marks: &m, source: doc}
	w.b = append(w.b, doc[:root.Start]...)
	w.element(root, m.all)
	return append(w.b, doc[root.End:]...), nil
}

type mark uint8

const (
	around mark = iota + 1 // the element, and what of its content is marked
	own                    // the element with its text, and what of its elements is marked
	whole                  // the element and all in it
)

type marks struct {
	all   bool
	keep  map[*markup.Element]mark
	drop  map[*markup.Element]bool
	attrs map[*markup.Element][]*name // attributes that are dropped
}

func (m *marks) set(i *instance, to mark) {
	m.keep[i.e] = max(m.keep[i.e], to)
	for p := i.parent; p != nil; p = p.parent {
		m.keep[p.e] = max(m.keep[p.e], around)
	}
}

func (m *marks) include(s *selector, t *tree) {
	if s.path == nil {
		each(t.root, func(i *instance) {
			if i.e.Space == s.space {
				m.set(i, own) // what is in it may be of another namespace
			}
		})
		return
	}
	for _, i := range s.path.elements(t) {
		if s.path.attr == nil {
			m.set(i, whole)
		} else if hasAttr(i.e, s.path.attr) {
			m.set(i, around)
		}
	}
}

func (m *marks) exclude(s *selector, t *tree) {
	if s.path == nil {
		each(t.root, func(i *instance) {
			if i.e.Space == s.space {
				m.drop[i.e] = true
			}
		})
		return
	}
	for _, i := range s.path.elements(t) {
		if s.path.attr == nil {
			m.drop[i.e] = true
		} else {
			m.attrs[i.e] = append(m.attrs[i.e], s.path.attr)
		}
	}
}

func each(i *instance, f func(*instance)) {
	f(i)
	for _, c := range i.children() {
		each(c, f)
	}
}

func hasAttr(e *markup.Element, n *name) bool {
	for i := range e.Attrs {
		if n.matches(e.Attrs[i].Space, e.Attrs[i].Local) {
			return true
		}
	}
	return false
}

// writer copies the spans that are wanted.
type writer struct {
	*marks
	source []byte
	b      []byte
}

// element writes one that is kept; all tells that its content is, too.
func (w *writer) element(e *markup.Element, all bool) {
	all = all || w.keep[e] == whole
	w.startTag(e)
	if e.Inner[0] == e.End {
		return // <a/>
	}
	for i := range e.Nodes {
		n := &e.Nodes[i]
		switch {
		case n.Kind == markup.ElementNode:
			if w.wants(e, n.Element, all) {
				w.element(n.Element, all)
			}
		case all || w.keep[e] == own:
			w.b = append(w.b, w.source[n.Start:n.End]...)
		}
	}
	w.b = append(w.b, w.source[e.Inner[1]:e.End]...)
}

func (w *writer) wants(parent, e *markup.Element, all bool) bool {
	if necessary(parent, e) {
		return true
	}
	return !w.drop[e] && (all || w.keep[e] != 0)
}

// necessary names what a tuple cannot be without (RFC 3863 §4.1.2); what is in it
// may go.
func necessary(parent, e *markup.Element) bool {
	const pidf = "urn:ietf:params:xml:ns:pidf"
	return e.Is(pidf, "status") && parent.Is(pidf, "tuple")
}

// startTag writes a start tag without the attributes that are excluded.
func (w *writer) startTag(e *markup.Element) {
	drop := w.attrs[e]
	if !slices.ContainsFunc(e.Attrs, func(a markup.Attr) bool { return dropped(&a, drop) }) {
		w.b = append(w.b, w.source[e.Start:e.Inner[0]]...)
		return
	}
	w.b = append(w.b, '<')
	w.b = appendName(w.b, e.Prefix, e.Local)
	for _, d := range e.Decls {
		decl := "xmlns"
		if d.Prefix != "" {
			decl += ":" + d.Prefix
		}
		w.b = markup.AppendAttr(w.b, decl, d.Space)
	}
	for i := range e.Attrs {
		if a := &e.Attrs[i]; !dropped(a, drop) {
			w.b = markup.AppendAttr(w.b, string(appendName(nil, a.Prefix, a.Local)), a.Value)
		}
	}
	if e.Inner[0] == e.End {
		w.b = append(w.b, '/')
	}
	w.b = append(w.b, '>')
}

// dropped tells whether an attribute goes. Those by which things are told apart stay.
func dropped(a *markup.Attr, drop []*name) bool {
	if a.Space == "" && (a.Local == "id" || a.Local == "entity" || a.Local == "uri") {
		return false
	}
	return slices.ContainsFunc(drop, func(n *name) bool { return n.matches(a.Space, a.Local) })
}

func appendName(b []byte, prefix, local string) []byte {
	if prefix != "" {
		b = append(append(b, prefix...), ':')
	}
	return append(b, local...)
}
