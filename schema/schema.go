// Package schema is a small declarative grammar of XML documents: what XML
// Schema says of the documents that XCAP keeps, as Go tables. It knows elements,
// attributes, simple types, sequence, choice and all with occurrence, wildcards,
// and uniqueness among siblings; that is all that the published schemas use.
//
// Content models are read with one element of look-ahead and without going back,
// which is enough for what XML Schema allows (Unique Particle Attribution, XML Schema
// Part 1 §3.8.6).
package schema

import (
	"strconv"

	"pharos/markup"
)

// Grammar is a document format. Immutable after it was made.
type Grammar struct {
	Root  *Element
	Extra []*Element // global elements that wildcards accept
	// Closed are namespaces of which Root and Extra are all there is: a lax
	// wildcard does not take another element of them (RFC 4825 §8.2.5).
	Closed []string
}

// Element declares an element.
type Element struct {
	Space, Local string
	Type         *Type
}

// Type is the content and attributes of an element. With Text it has character
// data and no elements; else elements, white space, and with Mixed any text.
type Type struct {
	Attrs   []Attr
	AnyAttr *Any // attributes that no Attr names; nil: none
	Text    *Simple
	Content *Particle // nil: no elements
	Mixed   bool
	Unique  []Unique // among the child elements
}

// Attr declares an attribute. Space is "" for the usual, unprefixed one.
type Attr struct {
	Space, Local string
	Type         *Simple
	Required     bool
}

// Unique says that child elements of a name have different values of an attribute.
// Those without it do not count.
type Unique struct{ Space, Local, Attr string }

// Error says what is wrong, and where.
type Error struct {
	Offset int // in the source
	Line   int
	Path   string // of the element, "resource-lists/list[2]/entry"
	Text   string
}

func (e *Error) Error() string {
	return "schema: line " + strconv.Itoa(e.Line) + ": " + e.Path + ": " + e.Text
}

// Check validates a parsed document. source is what it was parsed from, for lines. The error
// is an *Error, the first in document order of each element's attributes, content and children.
func (g *Grammar) Check(doc *markup.Element, source []byte) error {
	c := checker{g: g, source: source}
	if !doc.Is(g.Root.Space, g.Root.Local) {
		return c.fail(doc, "the root element must be <"+g.Root.Local+"> of namespace "+g.Root.Space)
	}
	c.path = append(c.path, doc)
	if err := c.element(doc, g.Root.Type); err != nil {
		return err
	}
	return nil
}
