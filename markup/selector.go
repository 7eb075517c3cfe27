package markup

import (
	"errors"
	"strconv"
	"strings"
)

// Bounds of a selector.
const (
	// MaxSelector bytes of one.
	MaxSelector = 4096
	// MaxSteps in its path.
	MaxSteps = 64
	// MaxTests of one step: each looks at all that the step finds.
	MaxTests = 4
)

// Errors of Select.
var (
	ErrSelector = errors.New("markup: not a selector")
	ErrPrefix   = errors.New("markup: a prefix that is not bound")
)

// Target is a node that a selector selects.
type Target struct {
	Kind TargetKind
	Path []*Element // from the root to the element; of other kinds to the element that they are in
	From int        // of texts, comments, instructions: the nodes Path[last].Nodes[From:To]
	To   int
	Attr int    // index in Attrs
	Name string // of a namespace: its prefix
}

// Element is the element that is selected, or the one that the node is in.
func (t *Target) Element() *Element { return t.Path[len(t.Path)-1] }

// TargetKind tells what kind of node a Target is.
type TargetKind uint8

// The kinds of targets. A text is all character data between two other nodes.
const (
	ElementTarget TargetKind = iota
	TextTarget
	CommentTarget
	InstructionTarget
	AttrTarget
	NamespaceTarget
)

// Select returns the nodes that a selector locates in a document, in its order:
// XPath 1.0 as far as RFC 5261 §4.1 and RFC 4825 §6.3 go, with steps by name or *,
// positions, comparisons of attributes, of children and of the element itself; @a,
// namespace::p, text(), comment(), processing-instruction() as the last step, and id()
// as the first. Names take their prefixes from scope; an element name without one
// takes the default namespace in it (RFC 5261 §4.2.2). Errors wrap ErrSelector and ErrPrefix.
func Select(root *Element, sel string, scope []Decl) ([]Target, error) {
	p := selParser{s: sel, scope: scope}
	if len(sel) > MaxSelector {
		return nil, p.fail("longer than allowed")
	}
	steps, err := p.parse()
	if err != nil {
		return nil, err
	}
	return evaluate(root, steps), nil
}

// step is one step of a path.
type step struct {
	kind         TargetKind
	space, local string // of elements and attributes; local "*" is any element
	id           string // the step is id(...)
	byID         bool
	literal      string // of processing-instruction(): its name, "" for any
	tests        []test
}

// test is a predicate: a position, or a comparison.
type test struct {
	position     int // from 1; 0: a comparison
	what         byte
	space, local string
	value        string
}

// selParser reads a selector.
type selParser struct {
	s     string
	pos   int
	scope []Decl
}

func (p *selParser) fail(why string) error {
	return &selError{ErrSelector, why + " at " + strconv.Itoa(p.pos) + " of " + strconv.Quote(p.s[:min(len(p.s), 200)])}
}

type selError struct {
	is   error
	text string
}

func (e *selError) Error() string { return e.is.Error() + ": " + e.text }
func (e *selError) Unwrap() error { return e.is }

func (p *selParser) has(tok string) bool {
	if strings.HasPrefix(p.s[p.pos:], tok) {
		p.pos += len(tok)
		return true
	}
	return false
}

func (p *selParser) blanks() { p.pos = skipBlanks(p.s, p.pos) }

func (p *selParser) parse() ([]step, error) {
	p.has("/")
	var steps []step
	for {
		if len(steps) == MaxSteps {
			return nil, p.fail("more steps than allowed")
		}
		st, err := p.step(len(steps) == 0)
		if err != nil {
			return nil, err
		}
		steps = append(steps, st)
		switch {
		case p.pos == len(p.s):
			return steps, nil
		case st.kind != ElementTarget || !p.has("/"):
			return nil, p.fail("something follows a step")
		}
	}
}

func (p *selParser) step(first bool) (st step, err error) {
	positions := true
	switch {
	case p.has("@"):
		st.kind, positions = AttrTarget, false
		st.space, st.local, err = p.name(false)
	case p.has("namespace::"):
		st.kind, positions = NamespaceTarget, false
		end := ncName(p.s, p.pos)
		if end <= p.pos {
			return st, p.fail("a prefix is expected")
		}
		st.local, p.pos = p.s[p.pos:end], end
	case p.has("text()"):
		st.kind = TextTarget
	case p.has("comment()"):
		st.kind = CommentTarget
	case p.has("processing-instruction("):
		st.kind = InstructionTarget
		if !p.has(")") {
			if st.literal, err = p.quoted(); err == nil && !p.has(")") {
				err = p.fail(") is expected")
			}
		}
	case first && p.has("id("):
		st.byID, st.local = true, "*"
		if st.id, err = p.quoted(); err == nil && !p.has(")") {
			err = p.fail(") is expected")
		}
	case p.has("*"):
		st.local = "*"
	default:
		st.space, st.local, err = p.name(true)
	}
	for err == nil && positions && p.has("[") {
		if len(st.tests) == MaxTests {
			return st, p.fail("more tests of a step than allowed")
		}
		var t test
		if t, err = p.test(st.kind == ElementTarget); err == nil {
			st.tests = append(st.tests, t)
		}
	}
	return st, err
}

// name reads a qualified name; that of an element without prefix is in the
// default namespace.
func (p *selParser) name(element bool) (space, local string, err error) {
	end := ncName(p.s, p.pos)
	if end <= p.pos {
		return "", "", p.fail("a name is expected")
	}
	local, p.pos = p.s[p.pos:end], end
	if !p.has(":") {
		if element {
			space, _ = Bound(p.scope, "")
		}
		return space, local, nil
	}
	space, ok := Bound(p.scope, local)
	if !ok {
		return "", "", &selError{ErrPrefix, local}
	}
	if p.has("*") && element {
		return "", "", p.fail("p:* is not in the subset")
	}
	if end = ncName(p.s, p.pos); end <= p.pos {
		return "", "", p.fail("a name is expected")
	}
	local, p.pos = p.s[p.pos:end], end
	return space, local, nil
}

func (p *selParser) quoted() (string, error) {
	if p.pos < len(p.s) && (p.s[p.pos] == '"' || p.s[p.pos] == '\'') {
		if n := strings.IndexByte(p.s[p.pos+1:], p.s[p.pos]); n >= 0 {
			v := p.s[p.pos+1 : p.pos+1+n]
			p.pos += n + 2
			return v, nil
		}
	}
	return "", p.fail("a quoted value is expected")
}

// test reads a predicate behind its bracket.
func (p *selParser) test(comparisons bool) (t test, err error) {
	p.blanks()
	digits := p.pos
	for digits < len(p.s) && p.s[digits] >= '0' && p.s[digits] <= '9' {
		digits++
	}
	switch {
	case digits > p.pos:
		t.position, err = strconv.Atoi(p.s[p.pos:digits])
		if err != nil || t.position == 0 {
			return t, p.fail("a position from 1 is expected")
		}
		p.pos = digits
	case !comparisons:
		return t, p.fail("a position is expected")
	default:
		t.what = 'e'
		if p.has("@") {
			t.what = 'a'
			t.space, t.local, err = p.name(false)
		} else if p.has(".") {
			t.what = '.'
		} else {
			t.space, t.local, err = p.name(true)
		}
		if err != nil {
			return t, err
		}
		p.blanks()
		if !p.has("=") {
			return t, p.fail("= is expected")
		}
		p.blanks()
		if t.value, err = p.quoted(); err != nil {
			return t, err
		}
	}
	p.blanks()
	if !p.has("]") {
		return t, p.fail("] is expected")
	}
	return t, nil
}

// evaluate walks the steps from the document.
func evaluate(root *Element, steps []step) []Target {
	at := []Target{{}} // the document itself has no path
	for i := range steps {
		st := &steps[i]
		var next []Target
		for j := range at {
			next = st.from(root, &at[j], next)
		}
		if at = next; len(at) == 0 {
			return nil
		}
	}
	return at
}

// from appends what the step selects from one node.
func (st *step) from(root *Element, at *Target, to []Target) []Target {
	var found []Target
	below := func(e *Element) Target {
		return Target{Kind: ElementTarget, Path: append(at.Path[:len(at.Path):len(at.Path)], e)}
	}
	switch {
	case st.byID:
		found = withID(root, nil, st.id, found)
	case len(at.Path) == 0:
		if st.kind == ElementTarget && st.named(root) {
			found = append(found, below(root))
		}
	case st.kind == ElementTarget:
		for c := range at.Element().Children() {
			if st.named(c) {
				found = append(found, below(c))
			}
		}
	case st.kind == AttrTarget:
		for i, a := range at.Element().Attrs {
			if a.Local == st.local && a.Space == st.space {
				found = append(found, Target{Kind: AttrTarget, Path: at.Path, Attr: i})
			}
		}
	case st.kind == NamespaceTarget:
		for _, d := range at.Element().Decls {
			if d.Prefix == st.local {
				found = append(found, Target{Kind: NamespaceTarget, Path: at.Path, Name: d.Prefix})
			}
		}
	default:
		found = st.nodes(at, found)
	}
	for _, t := range st.tests {
		found = t.filter(found)
	}
	return append(to, found...)
}

func (st *step) named(e *Element) bool {
	return st.local == "*" || e.Local == st.local && e.Space == st.space
}

// nodes finds texts, comments and instructions. Character data that only CDATA marks
// part are one text.
func (st *step) nodes(at *Target, found []Target) []Target {
	kind := map[TargetKind]NodeKind{TextTarget: TextNode, CommentTarget: CommentNode, InstructionTarget: InstructionNode}[st.kind]
	nodes := at.Element().Nodes
	for i := 0; i < len(nodes); i++ {
		if nodes[i].Kind != kind {
			continue
		}
		t := Target{Kind: st.kind, Path: at.Path, From: i, To: i + 1}
		for kind == TextNode && t.To < len(nodes) && nodes[t.To].Kind == TextNode {
			t.To++
		}
		i = t.To - 1
		if st.literal != "" && nodes[t.From].Text[:ncName(nodes[t.From].Text, 0)] != st.literal {
			continue
		}
		found = append(found, t)
	}
	return found
}

// withID finds elements by xml:id, or by an attribute id, which is of type ID in
// the schemas that we know (PIDF, common policy).
func withID(e *Element, path []*Element, id string, found []Target) []Target {
	path = append(path[:len(path):len(path)], e)
	v, ok := e.LookupAttr(XMLSpace, "id")
	if !ok {
		v, ok = e.LookupAttr("", "id")
	}
	if ok && v == id {
		found = append(found, Target{Kind: ElementTarget, Path: path})
	}
	for c := range e.Children() {
		found = withID(c, path, id, found)
	}
	return found
}

func (t *test) filter(in []Target) []Target {
	if t.position > 0 {
		if t.position > len(in) {
			return nil
		}
		return in[t.position-1 : t.position]
	}
	var out []Target
	for _, x := range in {
		if t.holds(x.Element()) {
			out = append(out, x)
		}
	}
	return out
}

func (t *test) holds(e *Element) bool {
	switch t.what {
	case 'a':
		v, ok := e.LookupAttr(t.space, t.local)
		return ok && v == t.value
	case '.':
		return e.allText() == t.value
	}
	for c := range e.Children() {
		if c.Is(t.space, t.local) && c.allText() == t.value {
			return true
		}
	}
	return false
}

// allText is the string-value of an element (XPath 1.0 §5.2): the text of all
// that is in it.
func (e *Element) allText() string {
	elements := false
	for range e.Children() {
		elements = true
		break
	}
	if !elements {
		return e.Text()
	}
	var b strings.Builder
	e.writeText(&b)
	return b.String()
}

func (e *Element) writeText(b *strings.Builder) {
	for i := range e.Nodes {
		switch n := &e.Nodes[i]; n.Kind {
		case TextNode:
			b.WriteString(n.Text)
		case ElementNode:
			n.Element.writeText(b)
		}
	}
}
