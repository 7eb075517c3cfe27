package schema

import (
	"bytes"
	"strconv"
	"strings"

	"pharos/markup"
)

// instanceSpace holds the attributes that any element may have (XML Schema Part 1 §2.6).
const instanceSpace = "http://www.w3.org/2001/XMLSchema-instance"

type checker struct {
	g      *Grammar
	source []byte
	path   []*markup.Element // of the element at work
	ids    map[string]bool
}

func (c *checker) fail(e *markup.Element, text string) *Error {
	return &Error{
		Offset: e.Start, Line: bytes.Count(c.source[:min(e.Start, len(c.source))], []byte("\n")) + 1,
		Path: pathOf(append(c.path[:len(c.path):len(c.path)], e)), Text: text,
	}
}

// here is fail for the element at work.
func (c *checker) here(text string) *Error {
	e := c.path[len(c.path)-1]
	d := *c
	d.path = c.path[:len(c.path)-1]
	return d.fail(e, text)
}

// pathOf writes names with positions where they are needed.
func pathOf(path []*markup.Element) string {
	var b strings.Builder
	for i, e := range path {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(e.Local)
		if i == 0 {
			continue
		}
		if at, n := path[i-1].Position(e); n > 1 {
			b.WriteString("[" + strconv.Itoa(at) + "]")
		}
	}
	return b.String()
}

// element checks the element at the end of the path, attributes first.
func (c *checker) element(e *markup.Element, t *Type) error {
	if t == nil {
		t = &Type{}
	}
	if err := c.attrs(e, t); err != nil {
		return err
	}
	if t.Text != nil {
		for child := range e.Children() {
			return c.fail(child, "<"+e.Local+"> holds text and no elements")
		}
		return c.simple(t.Text, e.Text(), "the content")
	}
	if !t.Mixed {
		for i := range e.Nodes {
			if n := &e.Nodes[i]; n.Kind == markup.TextNode && strings.Trim(n.Text, " \t\r\n") != "" {
				return c.here("<" + e.Local + "> holds no text")
			}
		}
	}
	return c.content(e, t)
}

// content matches the children, then goes into each.
func (c *checker) content(e *markup.Element, t *Type) error {
	var m matcher
	for child := range e.Children() {
		m.children = append(m.children, child)
	}
	m.types, m.anys = make([]*Type, len(m.children)), make([]*Any, len(m.children))
	at, ok := 0, true
	if t.Content != nil {
		at, ok = m.match(t.Content, 0)
	}
	switch {
	case at < len(m.children):
		x := m.children[at]
		return c.fail(x, "<"+x.Local+"> is not allowed here; expected "+m.expected())
	case !ok:
		return c.here("<" + e.Local + "> is not complete; expected " + m.expected())
	}
	for i, child := range m.children {
		c.path = append(c.path, child)
		var err error
		if m.anys[i] != nil {
			err = c.any(child, m.anys[i])
		} else {
			err = c.element(child, m.types[i])
		}
		if err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	return nil
}

// any checks what a wildcard has taken.
func (c *checker) any(e *markup.Element, a *Any) error {
	if a.Process == Skip {
		return nil
	}
	if d := c.g.global(e.Space, e.Local); d != nil {
		return c.element(e, d.Type)
	}
	if a.Process == Strict || c.g.closed(e.Space) {
		return c.here("<" + e.Local + "> is not an element of namespace " + e.Space)
	}
	// Nobody knows it, but what is inside of it may be known.
	for child := range e.Children() {
		c.path = append(c.path, child)
		if err := c.any(child, &Any{Whatever: true}); err != nil {
			return err
		}
		c.path = c.path[:len(c.path)-1]
	}
	return nil
}

func (g *Grammar) global(space, local string) *Element {
	if g.Root.Space == space && g.Root.Local == local {
		return g.Root
	}
	for _, e := range g.Extra {
		if e.Space == space && e.Local == local {
			return e
		}
	}
	return nil
}

func (g *Grammar) closed(space string) bool {
	for _, s := range g.Closed {
		if s == space {
			return true
		}
	}
	return false
}

func (c *checker) attrs(e *markup.Element, t *Type) error {
	for i := range e.Attrs {
		a := &e.Attrs[i]
		if d := t.attr(a.Space, a.Local); d != nil {
			if err := c.simple(d.Type, a.Value, `the attribute "`+a.Local+`"`); err != nil {
				return err
			}
			continue
		}
		if a.Space == instanceSpace || t.AnyAttr != nil && t.AnyAttr.takes(a.Space) {
			continue
		}
		return c.here("<" + e.Local + `> has no attribute "` + a.Local + `"`)
	}
	for i := range t.Attrs {
		d := &t.Attrs[i]
		if !d.Required {
			continue
		}
		if _, ok := e.LookupAttr(d.Space, d.Local); !ok {
			return c.here("<" + e.Local + `> needs the attribute "` + d.Local + `"`)
		}
	}
	return nil
}

func (t *Type) attr(space, local string) *Attr {
	for i := range t.Attrs {
		if a := &t.Attrs[i]; a.Local == local && a.Space == space {
			return a
		}
	}
	return nil
}

func (c *checker) simple(s *Simple, value, what string) error {
	if s == nil {
		return nil
	}
	if why := s.check(value); why != "" {
		return c.here(what + " " + why)
	}
	if s.id {
		v := collapse(value)
		if c.ids[v] {
			return c.here(what + ": the id " + strconv.Quote(v) + " comes twice")
		}
		if c.ids == nil {
			c.ids = map[string]bool{}
		}
		c.ids[v] = true
	}
	return nil
}

// Duplicate is a value that is not unique among siblings.
type Duplicate struct {
	Path  []*markup.Element // from the root to the element
	Attr  string
	Value string
}

// Duplicates finds what Unique forbids: each element whose value a sibling before
// it has. The document has passed Check.
func (g *Grammar) Duplicates(doc *markup.Element) []Duplicate {
	d := duplicates{g: g}
	d.element([]*markup.Element{doc}, g.Root.Type)
	return d.found
}

type duplicates struct {
	g     *Grammar
	found []Duplicate
}

func (d *duplicates) element(path []*markup.Element, t *Type) {
	e := path[len(path)-1]
	if t == nil {
		return
	}
	path = path[:len(path):len(path)]
	for _, u := range t.Unique {
		seen := map[string]bool{}
		for child := range e.Children() {
			v, ok := child.LookupAttr("", u.Attr)
			if !ok || !child.Is(u.Space, u.Local) {
				continue
			}
			if seen[v] {
				d.found = append(d.found, Duplicate{append(path, child), u.Attr, v})
			}
			seen[v] = true
		}
	}
	if t.Content == nil {
		return
	}
	for child := range e.Children() {
		if ct := t.Content.typeOf(child); ct != nil {
			d.element(append(path, child), ct)
		} else if x := d.g.global(child.Space, child.Local); x != nil {
			d.element(append(path, child), x.Type)
		}
	}
}

// typeOf is the type that a content model gives to elements of a name (one and the
// same everywhere in it, XML Schema Part 1 §3.8.6).
func (p *Particle) typeOf(e *markup.Element) *Type {
	if p.Element != nil && e.Is(p.Element.Space, p.Element.Local) {
		return p.Element.Type
	}
	for _, i := range p.Items {
		if t := i.typeOf(e); t != nil {
			return t
		}
	}
	return nil
}
