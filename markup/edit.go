package markup

import (
	"errors"
	"slices"
	"sort"
	"strings"
)

// Edit is a set of changes of one parsed source. They are collected against the
// source as it was parsed and made at once by Bytes; what none of them names
// stays byte for byte. Fragments are XML as it has to stand where it is put:
// Qualify and Moved help to write them. The zero value is not usable.
type Edit struct {
	root   *Element
	src    string
	cuts   []cut
	opened map[*Element]int // index in cuts: elements that get their first content
	attrs  map[written]int  // the same for attributes that were changed
}

// cut replaces src[from:to] by text and tail.
type cut struct {
	from, to   int
	text, tail string
}

type written struct {
	e     *Element
	qname string
}

// ErrOverlap: two changes of an Edit are about the same bytes.
var ErrOverlap = errors.New("markup: changes overlap")

// NewEdit begins changes of the tree that root is the root of. It must have
// been parsed, not made by hand.
func NewEdit(root *Element) *Edit {
	return &Edit{root: root, src: *root.src}
}

// Replace puts text in the place of the bytes from..to of the source.
func (x *Edit) Replace(from, to int, text string) {
	x.cuts = append(x.cuts, cut{from: from, to: to, text: text})
}

// ReplaceElement puts a fragment in the place of an element.
func (x *Edit) ReplaceElement(e *Element, fragment string) { x.Replace(e.Start, e.End, fragment) }

// Remove takes an element out, with the white space before it where that
// is all there is between it and its neighbour.
func (x *Edit) Remove(e *Element) { x.Replace(e.Start-len(x.gap(e)), e.End, "") }

// InsertBefore puts a fragment before an element, in a line of its own where that
// has one.
func (x *Edit) InsertBefore(e *Element, fragment string) {
	x.Replace(e.Start, e.Start, fragment+lastLine(x.gap(e)))
}

// InsertAfter puts a fragment behind an element, indented as that is.
func (x *Edit) InsertAfter(e *Element, fragment string) {
	x.Replace(e.End, e.End, lastLine(x.gap(e))+fragment)
}

// Append puts a fragment behind the last child element of parent, indented as that
// is. In a parent without any it is indented one step deeper than the parent.
// Several come in the order of the calls.
func (x *Edit) Append(parent *Element, fragment string) {
	for i := len(parent.Nodes) - 1; i >= 0; i-- {
		if e := parent.Nodes[i].Element; e != nil {
			x.InsertAfter(e, fragment)
			return
		}
	}
	outer, inner := x.Indent(parent)
	if i, ok := x.opened[parent]; ok {
		x.cuts[i].text += inner + fragment
		return
	}
	c := cut{from: parent.Inner[1], to: parent.Inner[1]}
	switch {
	case parent.closed():
		c = cut{parent.End - len("/>"), parent.End, ">" + inner + fragment, outer + "</" + parent.qname() + ">"}
	case len(parent.Nodes) == 0:
		c.text, c.tail = inner+fragment, outer
	default:
		// Before the white space that the end tag stands in, and without any of
		// ours behind a text.
		i := blankBefore(x.src, c.from)
		if i > parent.Inner[0] && x.src[i-1] != '>' || lastLine(x.src[i:c.from]) == "" {
			inner = ""
		}
		c.from, c.to, c.text = i, i, inner+fragment
	}
	if x.opened == nil {
		x.opened = map[*Element]int{}
	}
	x.opened[parent] = len(x.cuts)
	x.cuts = append(x.cuts, c)
}

// SetContent replaces all that is between an element's tags. It is not for an
// element that Append has got something for.
func (x *Edit) SetContent(e *Element, content string) {
	if e.closed() {
		x.Replace(e.End-len("/>"), e.End, ">"+content+"</"+e.qname()+">")
		return
	}
	x.Replace(e.Inner[0], e.Inner[1], content)
}

// closed tells whether the element is an empty-element tag.
func (e *Element) closed() bool { return e.End == e.Inner[1] }

// SetAttr gives an attribute, named as written ("a", "p:a", "xmlns:p"), a value,
// which is escaped here. A new one comes behind the others; one that is there
// keeps its place and quotes. The last call for an attribute counts.
func (x *Edit) SetAttr(e *Element, qname, value string) {
	ws := e.Written()
	for _, w := range ws {
		if w.Name == qname {
			x.putAttr(e, qname, cut{from: w.Value[0], to: w.Value[1], text: string(appendEscaped(nil, value, true))})
			return
		}
	}
	at := e.Start + len("<") + len(e.qname())
	if len(ws) > 0 {
		at = ws[len(ws)-1].End
	}
	x.putAttr(e, qname, cut{from: at, to: at, text: string(AppendAttr(nil, qname, value))})
}

// RemoveAttr takes an attribute, named as written, out with the white space before it.
func (x *Edit) RemoveAttr(e *Element, qname string) {
	for _, w := range e.Written() {
		if w.Name == qname {
			x.putAttr(e, qname, cut{from: w.Start, to: w.End})
			return
		}
	}
	if _, ok := x.attrs[written{e, qname}]; ok {
		x.putAttr(e, qname, cut{})
	}
}

func (x *Edit) putAttr(e *Element, qname string, c cut) {
	k := written{e, qname}
	if i, ok := x.attrs[k]; ok {
		x.cuts[i] = c
		return
	}
	if x.attrs == nil {
		x.attrs = map[written]int{}
	}
	x.attrs[k] = len(x.cuts)
	x.cuts = append(x.cuts, c)
}

// Changed tells whether anything was asked for.
func (x *Edit) Changed() bool { return len(x.cuts) > 0 }

// Bytes makes the changes. What is put in at one place comes in the order in which
// it was asked for. The error is ErrOverlap.
func (x *Edit) Bytes() ([]byte, error) {
	cuts := slices.Clone(x.cuts)
	slices.SortStableFunc(cuts, func(a, b cut) int {
		if a.from != b.from {
			return a.from - b.from
		}
		// What is put in before a span that goes is put in first.
		return min(a.to-a.from, 1) - min(b.to-b.from, 1)
	})
	size := len(x.src)
	for i := range cuts {
		c := &cuts[i]
		size += len(c.text) + len(c.tail) - (c.to - c.from)
	}
	out := make([]byte, 0, max(size, 0))
	at := 0
	for i := range cuts {
		c := &cuts[i]
		if c.from < at || c.to < c.from || c.to > len(x.src) {
			return nil, ErrOverlap
		}
		out = append(append(append(out, x.src[at:c.from]...), c.text...), c.tail...)
		at = c.to
	}
	return append(out, x.src[at:]...), nil
}

// gap is the white space before e where nothing else stands between e and the
// markup before it.
func (x *Edit) gap(e *Element) string {
	path := Path(x.root, e)
	if len(path) < 2 {
		return x.src[blankBefore(x.src, e.Start):e.Start]
	}
	nodes := path[len(path)-2].Nodes
	i := sort.Search(len(nodes), func(i int) bool { return nodes[i].Start >= e.Start })
	if i == 0 || nodes[i-1].Kind != TextNode {
		return ""
	}
	text := x.src[nodes[i-1].Start:e.Start]
	if blankBefore(text, len(text)) > 0 {
		return ""
	}
	return text
}

// Indent returns what stands before the end tag and before the children of an
// element: line break and white space where the document is written in lines, else
// nothing. An element without children gets them one step deeper than itself.
func (x *Edit) Indent(e *Element) (outer, inner string) {
	outer = lastLine(x.gap(e))
	path := Path(x.root, e)
	if outer == "" && len(path) == 1 {
		outer = "\n" // the root stands at the margin
	}
	for c := range e.Children() {
		if inner = lastLine(x.gap(c)); inner == "" {
			return "", ""
		}
		return outer, inner
	}
	if lastLine(x.gap(e)) == "" {
		return "", ""
	}
	step := "  "
	if len(path) > 1 {
		up := lastLine(x.gap(path[len(path)-2]))
		if up == "" {
			up = "\n"
		}
		if strings.HasPrefix(outer, up) && len(outer) > len(up) {
			step = outer[len(up):]
		}
	}
	return outer, outer + step
}

// lastLine is white space from its last line break, "" where it has none.
func lastLine(gap string) string {
	i := strings.LastIndexByte(gap, '\n')
	if i < 0 {
		return ""
	}
	if i > 0 && gap[i-1] == '\r' {
		i--
	}
	return gap[i:]
}

// blankBefore returns where the white space that ends at i begins.
func blankBefore(s string, i int) int {
	for i > 0 && classes[s[i-1]]&blank != 0 {
		i--
	}
	return i
}
