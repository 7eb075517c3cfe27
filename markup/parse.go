package markup

import (
	"strings"
	"sync"
)

// Options bound a parse. A zero field means its default.
type Options struct {
	MaxBytes int // of one document or stanza; 262144
	MaxDepth int // of nested elements; 64
	MaxAttrs int // of one element, namespace declarations included; 64
	MaxNodes int // of one document or stanza, elements and texts; 16384

	// Document allows comments, processing instructions and an XML
	// declaration, as files have them; XMPP streams must not (RFC 6120 §11.1).
	// A DTD is refused in any case.
	Document bool
}

func (o Options) withDefaults() Options {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&o.MaxBytes, 1<<18)
	def(&o.MaxDepth, 64)
	def(&o.MaxAttrs, 64)
	def(&o.MaxNodes, 1<<14)
	return o
}

// Parse reads one document or element. The error is a *SyntaxError with offset
// and a kind (not well-formed, bad namespace, restricted XML, too big, not UTF-8).
// White space around the element is allowed. src is copied once.
func Parse(src []byte, o Options) (*Element, error) {
	return ParseIn(src, nil, o)
}

// ParseIn is Parse for an element that stands inside others: scope holds the
// namespace declarations in force around it, the innermost last.
func ParseIn(src []byte, scope []Decl, o Options) (*Element, error) {
	o = o.withDefaults()
	if len(src) > o.MaxBytes {
		return nil, &SyntaxError{TooBig, o.MaxBytes, "more bytes than allowed"}
	}
	s := string(src)
	opened := strings.Count(s, "<") - strings.Count(s, "</")
	p := newParser(s, scope, o)
	defer p.free()
	p.reserve(min(opened, o.MaxNodes), 0, 0)
	e := p.document()
	if p.err != nil {
		return nil, p.err
	}
	return e, nil
}

// binding is a namespace declaration in force; depth is that of the element
// that made it, 0 for the surroundings.
type binding struct {
	prefix, space string
	depth         int
}

// frame is an element whose end tag has not come.
type frame struct {
	e     *Element
	qname string
	nodes int // where its children begin in parser.nodes
	binds int // bindings before it
	// low and lowDefault are the depths of the outermost declarations that
	// names in the subtree rely on, by prefix and by default.
	low, lowDefault int
	impure          bool
}

// none is deeper than any declaration.
const none = int(^uint(0) >> 1)

// rawAttr is an attribute as written, before its prefix is resolved.
type rawAttr struct {
	prefix, local, value string
	at                   int
}

// parser turns a whole text into a tree. Its scratch slices are pooled, the
// tree's own are cut from slabs, so that a stanza costs a handful of allocations.
type parser struct {
	s     string
	src   *string
	whole string // what src points to in a Tree
	pos   int
	o     Options
	err   *SyntaxError

	binds  []binding
	frames []frame
	nodes  []Node
	attrs  []rawAttr
	count  int // nodes made

	elementSlab []Element
	nodeSlab    []Node
	attrSlab    []Attr
	declSlab    []Decl
}

var parsers = sync.Pool{New: func() any { return new(parser) }}

func newParser(s string, scope []Decl, o Options) *parser {
	p := parsers.Get().(*parser)
	p.s, p.o = s, o
	src := s
	p.src = &src
	p.surround(scope)
	return p
}

// surround puts declarations around the element in force.
func (p *parser) surround(scope []Decl) {
	for _, d := range scope {
		p.binds = append(p.binds, binding{d.Prefix, d.Space, 0})
	}
}

// reserve sizes the slabs; the numbers are hints.
func (p *parser) reserve(elements, nodes, attrs int) {
	decls := 0
	if attrs > 0 {
		decls = min(strings.Count(p.s, "xmlns"), attrs)
		attrs -= decls
	}
	p.elementSlab = make([]Element, 0, max(elements, 1))
	if nodes > 0 {
		p.nodeSlab = make([]Node, 0, nodes)
	}
	if attrs > 0 {
		p.attrSlab = make([]Attr, 0, attrs)
	}
	if decls > 0 {
		p.declSlab = make([]Decl, 0, decls)
	}
}

// free gives the scratch back, without pointers into what was parsed.
func (p *parser) free() {
	const keep = 256 // entries worth keeping in the pool
	*p = parser{binds: kept(p.binds, keep), frames: kept(p.frames, keep), nodes: kept(p.nodes, keep), attrs: kept(p.attrs, keep)}
	parsers.Put(p)
}

// wiped clears what is left in s; what was popped has been cleared then.
func wiped[T any](s []T) []T {
	clear(s)
	return s[:0]
}

func (p *parser) fail(kind ErrorKind, at int, reason string) {
	if p.err == nil {
		p.err = &SyntaxError{kind, at, reason}
	}
}

// take cuts n entries from a slab, with no room to grow into the neighbour's.
func take[T any](slab *[]T, n int) []T {
	s := *slab
	if cap(s)-len(s) < n {
		s = make([]T, 0, max(n, 2*cap(s), 4))
	}
	*slab = s[: len(s)+n : cap(s)]
	return s[len(s) : len(s)+n : len(s)+n]
}

// document is prolog, one element, and what may follow it.
func (p *parser) document() *Element {
	if p.o.Document {
		p.pos += len(p.s) - len(strings.TrimPrefix(p.s, "\uFEFF"))
		if strings.HasPrefix(p.s[p.pos:], "<?xml") && p.pos+5 < len(p.s) && classes[p.s[p.pos+5]]&nameChar == 0 {
			p.pos = p.declaration(p.pos)
		}
	}
	if !p.misc() {
		return nil
	}
	if p.pos == len(p.s) {
		p.fail(NotWellFormed, p.pos, "no element")
		return nil
	}
	e := p.element()
	if p.err != nil || !p.misc() {
		return nil
	}
	if p.pos < len(p.s) {
		p.fail(NotWellFormed, p.pos, "something follows the element")
	}
	return e
}

// misc skips white space, comments and instructions outside the root.
func (p *parser) misc() bool {
	for p.err == nil {
		p.pos = skipBlanks(p.s, p.pos)
		rest := p.s[p.pos:]
		if !strings.HasPrefix(rest, "<!") && !strings.HasPrefix(rest, "<?") {
			return true
		}
		if strings.HasPrefix(rest, "<![") {
			p.fail(NotWellFormed, p.pos, "CDATA section outside the element")
			return false
		}
		p.special()
	}
	return false
}

// element reads the element at pos, with all that is in it.
func (p *parser) element() *Element {
	if p.s[p.pos] != '<' {
		p.fail(NotWellFormed, p.pos, "text outside an element")
		return nil
	}
	root := p.startTag()
	for p.err == nil && len(p.frames) > 0 {
		if p.pos == len(p.s) {
			p.fail(NotWellFormed, p.pos, "end of input inside <"+p.frames[len(p.frames)-1].qname+">")
			break
		}
		if p.s[p.pos] != '<' {
			p.text()
			continue
		}
		if p.pos+1 == len(p.s) {
			p.fail(NotWellFormed, p.pos, "end of input after <")
			break
		}
		switch p.s[p.pos+1] {
		case '/':
			p.endTag()
		case '!', '?':
			p.special()
		default:
			p.startTag()
		}
	}
	return root
}

// add appends a child to the innermost open element.
func (p *parser) add(n Node) {
	if p.count++; p.count > p.o.MaxNodes {
		p.fail(TooBig, n.Start, "more nodes than allowed")
		return
	}
	if len(p.frames) == 0 {
		return // comments and instructions around the root have no place in the tree
	}
	p.nodes = append(p.nodes, n)
}

// push opens e.
func (p *parser) push(e *Element, qname string, binds int) {
	if len(p.frames) >= p.o.MaxDepth {
		p.fail(TooBig, e.Start, "elements nested deeper than allowed")
		return
	}
	p.frames = append(p.frames, frame{e: e, qname: qname, nodes: len(p.nodes), binds: binds, low: none, lowDefault: none})
}

// pop closes the innermost element, whose end tag began at inner and ended at end.
func (p *parser) pop(inner, end int) {
	depth := len(p.frames)
	f := &p.frames[depth-1]
	e := f.e
	e.Inner[1], e.End = inner, end
	if children := p.nodes[f.nodes:]; len(children) > 0 {
		e.Nodes = take(&p.nodeSlab, len(children))
		copy(e.Nodes, children)
		clear(children)
		p.nodes = p.nodes[:f.nodes]
	}
	if f.low < depth {
		e.flags |= outerPrefix
	}
	if f.lowDefault < depth {
		e.flags |= outerDefault
	}
	if f.impure {
		e.flags |= impure
	}
	clear(p.binds[f.binds:])
	p.binds = p.binds[:f.binds]
	if depth > 1 {
		up := &p.frames[depth-2]
		up.low, up.lowDefault = min(up.low, f.low), min(up.lowDefault, f.lowDefault)
		up.impure = up.impure || f.impure
	}
	*f = frame{}
	p.frames = p.frames[:depth-1]
}
