// Package schema is a small declarative grammar of XML documents: what XML
// Schema says of the documents that XCAP keeps, as Go tables.
package schema

import "pharos/markup"

// Grammar is a document format. Immutable after it was made.
type Grammar struct {
	Root  *Element
	Extra []*Element // global elements that wildcards accept strictly
}

// Error says what is wrong, and where.
type Error struct {
	Offset int // in the source
	Line   int
	Path   string // of the element, "resource-lists/list[2]/entry"
	Text   string
}

func (e *Error) Error() string { return "schema: " + e.Path + ": " + e.Text }

// Check validates a parsed document. source is what it was parsed from, for lines.
func (g *Grammar) Check(doc *markup.Element, source []byte) error { panic("contract") }

// Element is declared in schema's owner's files.
type Element struct{}
