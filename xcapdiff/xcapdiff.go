package xcapdiff

import (
	"errors"
	"fmt"
	"strings"

	"pharos/markup"
	"pharos/patch"
)

const (
	// Type is the media type (RFC 5874 §8.1).
	Type = "application/xcap-diff+xml"
	// Space is the namespace (RFC 5874 §3).
	Space = "urn:ietf:params:xml:ns:xcap-diff"
)

// Diff is one document of RFC 5874.
type Diff struct {
	Root       string // the XCAP root URI that every Sel is relative to
	Documents  []Document
	Elements   []Element
	Attributes []Attribute
}

// Document is what has become of one document. By RFC 5874's figure 1 only NewETag says
// that it was created or exists, only PreviousETag that it is gone, both that it has
// changed: by Ops, not in its body, or in a way that the client has to look for.
type Document struct {
	Sel            string // percent-encoded, relative to the root
	NewETag        string
	PreviousETag   string
	Ops            []patch.Op
	BodyNotChanged bool
}

// Element is an element as it is now.
type Element struct {
	Sel     string
	Gone    bool          // exists="false"
	Content string        // as it stands in its document; "" when it is gone, or too large to be told
	Scope   []markup.Decl // in force where it stands
}

// Attribute is an attribute as it is now.
type Attribute struct {
	Sel   string
	Gone  bool
	Value string
}

// MaxParts is how many documents, elements and attributes together are read.
const MaxParts = 1000

// ErrFormat: not an xcap-diff document.
var ErrFormat = errors.New("xcapdiff: not an xcap-diff document")

// Append writes the document.
func (d *Diff) Append(b []byte) []byte {
	b = append(b, "<?xml version='1.0' encoding='UTF-8'?>\n<xcap-diff"...)
	b = markup.AppendAttr(b, "xmlns", Space)
	b = markup.AppendAttr(b, "xcap-root", d.Root)
	b = append(b, '>')
	for i := range d.Documents {
		b = d.Documents[i].append(b)
	}
	for i := range d.Elements {
		b = d.Elements[i].append(b)
	}
	for i := range d.Attributes {
		a := &d.Attributes[i]
		b = append(b, "\n <attribute"...)
		b = markup.AppendAttr(b, "sel", a.Sel)
		if a.Gone {
			b = append(b, " exists='false'/>"...)
			continue
		}
		b = markup.AppendText(append(b, '>'), a.Value)
		b = append(b, "</attribute>"...)
	}
	return append(b, "\n</xcap-diff>\n"...)
}

func (d *Document) append(b []byte) []byte {
	b = append(b, "\n <document"...)
	b = markup.AppendAttr(b, "sel", d.Sel)
	if d.NewETag != "" {
		b = markup.AppendAttr(b, "new-etag", d.NewETag)
	}
	if d.PreviousETag != "" {
		b = markup.AppendAttr(b, "previous-etag", d.PreviousETag)
	}
	switch {
	case d.BodyNotChanged:
		return append(b, "><body-not-changed/></document>"...)
	case len(d.Ops) == 0:
		return append(b, "/>"...)
	}
	b = patch.Append(append(b, '>'), d.Ops)
	return append(b, "</document>"...)
}

// append writes the element around its content, whose namespaces it declares, as
// they are in the document (RFC 5874 §3).
func (e *Element) append(b []byte) []byte {
	prefix := "d"
	for bound(e.Scope, prefix) {
		prefix += "_" // the content may use it
	}
	b = append(b, "\n <"+prefix+":element"...)
	b = markup.AppendAttr(b, "xmlns:"+prefix, Space)
	b = markup.AppendAttr(b, "sel", e.Sel)
	if e.Gone {
		return append(b, " exists='false'/>"...)
	}
	if e.Content == "" {
		return append(b, "/>"...)
	}
	for i := len(e.Scope) - 1; i >= 0; i-- {
		if n := e.Scope[i]; !bound(e.Scope[i+1:], n.Prefix) && n.Prefix != "xml" {
			name := "xmlns"
			if n.Prefix != "" {
				name += ":" + n.Prefix
			}
			b = markup.AppendAttr(b, name, n.Space)
		}
	}
	if !bound(e.Scope, "") {
		b = markup.AppendAttr(b, "xmlns", "")
	}
	b = append(append(b, '>'), e.Content...)
	return append(b, "</"+prefix+":element>"...)
}

func bound(scope []markup.Decl, prefix string) bool {
	for _, d := range scope {
		if d.Prefix == prefix {
			return true
		}
	}
	return false
}

// Parse reads a document. What RFC 5874 does not know is passed over. The error
// wraps ErrFormat, or is a *markup.SyntaxError or a *patch.Error.
func Parse(b []byte) (*Diff, error) {
	root, err := markup.Parse(b, markup.File)
	if err != nil {
		return nil, err
	}
	xcapRoot, ok := root.LookupAttr("", "xcap-root")
	if !root.Is(Space, "xcap-diff") || !ok {
		return nil, ErrFormat
	}
	d := &Diff{Root: xcapRoot}
	parts := 0
	for c := range root.Children() {
		if c.Space != Space {
			continue
		}
		sel, ok := c.LookupAttr("", "sel")
		if parts++; !ok || parts > MaxParts {
			return nil, fmt.Errorf("%w: a part without sel, or too many parts", ErrFormat)
		}
		exists := strings.TrimSpace(c.Attr("exists"))
		gone := exists == "false" || exists == "0"
		scope := append(root.Decls[:len(root.Decls):len(root.Decls)], c.Decls...)
		switch c.Local {
		case "document":
			doc := Document{Sel: sel, NewETag: c.Attr("new-etag"), PreviousETag: c.Attr("previous-etag"), BodyNotChanged: c.Child(Space, "body-not-changed") != nil}
			if doc.Ops, err = patch.ParseIn(c, root.Decls); err != nil {
				return nil, err
			}
			d.Documents = append(d.Documents, doc)
		case "element":
			e := Element{Sel: sel, Gone: gone, Scope: scope}
			for inner := range c.Children() {
				e.Content = inner.Source()
				break
			}
			d.Elements = append(d.Elements, e)
		case "attribute":
			d.Attributes = append(d.Attributes, Attribute{Sel: sel, Gone: gone, Value: c.Text()})
		}
	}
	return d, nil
}
