package markup

import "strings"

// Element is one parsed element. Trees are immutable after parsing and may be
// shared. Strings are substrings of one copy of the input, except where a
// reference had to be resolved; keeping any part of a tree keeps that copy.
type Element struct {
	Space  string // namespace name, "" for none
	Local  string
	Prefix string // as written
	Attrs  []Attr // in document order; without namespace declarations
	Decls  []Decl // namespace declarations made here
	Nodes  []Node // children in order
	Start  int    // span in the source: source[Start:End] is the whole element
	End    int
	Inner  [2]int // span of the content; Inner[0]==Inner[1] for an empty element

	src   *string // what was parsed; nil for an element made by hand
	flags flags
}

// flags tell the writer whether the bytes of the source may be copied.
type flags uint8

const (
	outerPrefix  flags = 1 << iota // a name in the subtree uses a prefix declared outside of it
	outerDefault                   // an unprefixed element takes its namespace from outside
	impure                         // a comment or instruction is inside; they never leave on a stream
	ownDefault                     // the element itself declares the default namespace
)

// Attr is an attribute; Space is "" unless it was prefixed.
type Attr struct{ Space, Local, Prefix, Value string }

// Decl is a namespace declaration; Prefix "" declares the default namespace.
type Decl struct{ Prefix, Space string }

// Node is a child: an element, or text (references resolved), or - where the
// options allow them - a comment or processing instruction, kept for its span.
// A CDATA section is a text node of its own.
type Node struct {
	Element    *Element
	Text       string
	Start, End int
	Kind       NodeKind
}

// NodeKind tells what a Node is.
type NodeKind uint8

// The kinds of nodes.
const (
	ElementNode NodeKind = iota
	TextNode
	CommentNode
	InstructionNode
)

// XMLSpace and XMLNSSpace are the names that the prefixes xml and xmlns are
// bound to for ever (Namespaces in XML §3).
const (
	XMLSpace   = "http://www.w3.org/XML/1998/namespace"
	XMLNSSpace = "http://www.w3.org/2000/xmlns/"
)

// Attr returns the value of the unprefixed attribute, "" when absent. Nil-safe.
func (e *Element) Attr(local string) string {
	v, _ := e.LookupAttr("", local)
	return v
}

// LookupAttr returns the value of an attribute by its expanded name, and
// whether it is there. Nil-safe.
func (e *Element) LookupAttr(space, local string) (string, bool) {
	if e == nil {
		return "", false
	}
	for i := range e.Attrs {
		if a := &e.Attrs[i]; a.Local == local && a.Space == space {
			return a.Value, true
		}
	}
	return "", false
}

// Is tells whether the element has this expanded name. Nil-safe.
func (e *Element) Is(space, local string) bool {
	return e != nil && e.Local == local && e.Space == space
}

// Child returns the first child element of that name, or nil. Nil-safe.
func (e *Element) Child(space, local string) *Element {
	if e == nil {
		return nil
	}
	for i := range e.Nodes {
		if c := e.Nodes[i].Element; c.Is(space, local) {
			return c
		}
	}
	return nil
}

// Children iterates over the child elements. Nil-safe.
func (e *Element) Children() func(yield func(*Element) bool) {
	return func(yield func(*Element) bool) {
		if e == nil {
			return
		}
		for i := range e.Nodes {
			if c := e.Nodes[i].Element; c != nil && !yield(c) {
				return
			}
		}
	}
}

// Text is the concatenated character data of the direct children. Nil-safe.
func (e *Element) Text() string {
	if e == nil {
		return ""
	}
	first, n := "", 0
	for i := range e.Nodes {
		if e.Nodes[i].Kind == TextNode {
			if n++; n == 1 {
				first = e.Nodes[i].Text
			}
		}
	}
	if n <= 1 {
		return first
	}
	var b strings.Builder
	for i := range e.Nodes {
		if e.Nodes[i].Kind == TextNode {
			b.WriteString(e.Nodes[i].Text)
		}
	}
	return b.String()
}

// Source is the element exactly as it was read, "" for one made by hand.
func (e *Element) Source() string {
	if e == nil || e.src == nil {
		return ""
	}
	return (*e.src)[e.Start:e.End]
}

// Position tells at which place, from 1, a child stands among those of the same
// expanded name, and how many of these there are; 0 when it is no child.
func (e *Element) Position(child *Element) (at, of int) {
	for c := range e.Children() {
		if c.Is(child.Space, child.Local) {
			if of++; c == child {
				at = of
			}
		}
	}
	return at, of
}
