package patch

import (
	"slices"
	"strconv"
	"strings"

	"pharos/markup"
)

// maxCells bounds the work of comparing the children of two elements: how many
// differ before times how many after.
const maxCells = 1 << 22

// identities are the attributes by which the children of the documents that we keep
// are known; the first that an element has counts.
var identities = [...]string{"id", "uri", "name", "ref", "anchor", "sel", "watcher", "resource"}

// Diff returns operations that make now of was: equal after Apply but for the order of
// attributes, what stands inside tags, and the way in which characters are written, so equal
// in the canonical form with comments that RFC 5874 §1 compares. They are to be
// applied in order, and stand alone wherever they are put. ErrTooFar when they would
// be larger than now, or when something outside the root differs; else the error is a
// *markup.SyntaxError.
func Diff(was, now []byte) ([]Op, error) {
	a, err := markup.Parse(was, markup.File)
	if err != nil {
		return nil, err
	}
	b, err := markup.Parse(now, markup.File)
	if err != nil {
		return nil, err
	}
	if outside(was, a) != outside(now, b) || !alike(a, b) {
		return nil, ErrTooFar
	}
	d := differ{room: len(now)}
	if !d.element("*", []*markup.Element{a}, []*markup.Element{b}) {
		return nil, ErrTooFar
	}
	return d.ops, nil
}

// outside is what stands before and behind the root but for the XML declaration
// and white space.
func outside(doc []byte, root *markup.Element) string {
	before := strings.TrimPrefix(string(doc[:root.Start]), "\uFEFF")
	if strings.HasPrefix(before, "<?xml ") {
		before = before[strings.Index(before, "?>")+2:]
	}
	return strings.TrimSpace(before) + "\n" + strings.TrimSpace(string(doc[root.End:]))
}

// alike tells whether one element can be made of the other by operations on
// attributes and content: name, prefix and declarations are the same.
func alike(a, b *markup.Element) bool {
	return a.Local == b.Local && a.Space == b.Space && a.Prefix == b.Prefix && slices.Equal(a.Decls, b.Decls)
}

type differ struct {
	ops  []Op
	room int // bytes that are left before a patch is no help
}

// put adds an operation; false when there is no room for it.
func (d *differ) put(o Op) bool {
	d.ops = append(d.ops, o)
	d.room -= len("<replace sel=''></replace>") + len(o.Sel) + len(o.Content) + len(o.Pos) + len(o.Type) + len(o.WS)
	return d.room >= 0 && len(d.ops) <= MaxOps
}

// element makes the last element of path b of that of path a, which are alike. sel
// selects it. It is false when there is no room.
func (d *differ) element(sel string, pa, pb []*markup.Element) bool {
	a, b := pa[len(pa)-1], pb[len(pb)-1]
	if !d.attributes(sel, a, b) {
		return false
	}
	ca, cb := childrenOf(a), childrenOf(b)
	switch {
	case len(ca.items) == 0 && len(cb.items) == 0:
		return d.text(sel, ca.tail, cb.tail)
	case len(ca.items) == 0 && ca.tail == "":
		return d.put(Op{Kind: Add, Sel: sel, Content: cb.content(pb, 0, len(cb.items)) + escaped(cb.tail)})
	case ca.mixed || cb.mixed || ca.tail != cb.tail:
		return d.whole(sel, pa, pb)
	}
	pairs, ok := match(ca.items, cb.items)
	if !ok {
		return false
	}
	for _, p := range pairs {
		if ca.items[p.a].gap != cb.items[p.b].gap {
			return d.whole(sel, pa, pb)
		}
	}
	// From the end to the start, so that what stands before has its old position.
	// Elements of the same bytes are the same: their surroundings are alike.
	nextA, nextB := len(ca.items), len(cb.items)
	for k := len(pairs) - 1; k >= -1; k-- {
		from := pair{-1, -1}
		if k >= 0 {
			from = pairs[k]
		}
		for i := nextA - 1; i > from.a; i-- {
			o := Op{Kind: Remove, Sel: ca.selector(sel, i)}
			if ca.items[i].gap != "" {
				o.WS = "before"
			}
			if !d.put(o) {
				return false
			}
		}
		if from.b+1 < nextB {
			o := Op{Kind: Add, Sel: sel, Pos: "prepend", Content: cb.content(pb, from.b+1, nextB)}
			if k >= 0 {
				o.Sel, o.Pos = ca.selector(sel, from.a), "after"
			}
			if !d.put(o) {
				return false
			}
		}
		if k >= 0 {
			if e := ca.items[from.a].Element; e != nil && e.Source() != cb.items[from.b].Element.Source() && !d.element(ca.selector(sel, from.a), append(pa[:len(pa):len(pa)], e), append(pb[:len(pb):len(pb)], cb.items[from.b].Element)) {
				return false
			}
		}
		nextA, nextB = from.a, from.b
	}
	return true
}

// whole replaces an element by the other where finer operations do not reach.
func (d *differ) whole(sel string, pa, pb []*markup.Element) bool {
	if same(pa[len(pa)-1], pb[len(pb)-1]) {
		return true
	}
	return d.put(Op{Kind: Replace, Sel: sel, Content: alone(pb)})
}

// text makes the one text of an element another.
func (d *differ) text(sel, a, b string) bool {
	switch {
	case a == b:
		return true
	case a == "":
		return d.put(Op{Kind: Add, Sel: sel, Content: escaped(b)})
	case b == "":
		return d.put(Op{Kind: Remove, Sel: sel + "/text()"})
	}
	return d.put(Op{Kind: Replace, Sel: sel + "/text()", Content: escaped(b)})
}

// attributes are those that are in a no more, then those that are other or new in b.
func (d *differ) attributes(sel string, a, b *markup.Element) bool {
	for _, x := range a.Attrs {
		if _, ok := b.LookupAttr(x.Space, x.Local); !ok {
			name, scope := attrStep(x)
			if !d.put(Op{Kind: Remove, Sel: sel + "/@" + name, Scope: scope}) {
				return false
			}
		}
	}
	for _, x := range b.Attrs {
		name, scope := attrStep(x)
		was, ok := a.LookupAttr(x.Space, x.Local)
		switch {
		case ok && was == x.Value:
			continue
		case ok:
			ok = d.put(Op{Kind: Replace, Sel: sel + "/@" + name, Content: escaped(x.Value), Scope: scope})
		default:
			ok = d.put(Op{Kind: Add, Sel: sel, Type: "@" + name, Content: escaped(x.Value), Scope: scope})
		}
		if !ok {
			return false
		}
	}
	return true
}

// attrStep is how a selector names an attribute.
func attrStep(a markup.Attr) (string, []markup.Decl) {
	switch a.Space {
	case "":
		return a.Local, nil
	case markup.XMLSpace:
		return "xml:" + a.Local, nil
	}
	return a.Prefix + ":" + a.Local, []markup.Decl{{Prefix: a.Prefix, Space: a.Space}}
}

// escaped is text as character data, which no reader of lines changes.
func escaped(s string) string { return string(markup.AppendText(nil, s)) }

// alone is an element's source as it means the same anywhere.
func alone(path []*markup.Element) string {
	// No default namespace is called so: the element's own is always declared.
	return markup.Moved(path, []markup.Decl{{Space: "\x00"}})
}

// item is a child that is no text, with the text before it.
type item struct {
	markup.Node
	gap string
}

// children are the nodes in an element.
type children struct {
	items []item
	tail  string // the text behind the last, or all text when there are none
	mixed bool   // there is more than white space between the items
	src   string
	start int // of src in the document
}

func childrenOf(e *markup.Element) children {
	c := children{src: e.Source(), start: e.Start}
	for i := range e.Nodes {
		if n := &e.Nodes[i]; n.Kind == markup.TextNode {
			c.tail += n.Text
		} else {
			c.items = append(c.items, item{*n, c.tail})
			c.mixed = c.mixed || !blank(c.tail)
			c.tail = ""
		}
	}
	c.mixed = c.mixed || len(c.items) > 0 && !blank(c.tail)
	return c
}

// selector of one item.
func (c *children) selector(parent string, i int) string {
	n := 0
	for _, x := range c.items[:i+1] {
		if x.Kind == c.items[i].Kind {
			n++
		}
	}
	step := [...]string{markup.ElementNode: "*", markup.CommentNode: "comment()", markup.InstructionNode: "processing-instruction()"}[c.items[i].Kind]
	return parent + "/" + step + "[" + strconv.Itoa(n) + "]"
}

// content writes items with the texts before them.
func (c *children) content(path []*markup.Element, from, to int) string {
	var b strings.Builder
	for _, x := range c.items[from:to] {
		b.WriteString(escaped(x.gap))
		if x.Element != nil {
			b.WriteString(alone(append(path[:len(path):len(path)], x.Element)))
		} else {
			b.WriteString(c.src[x.Start-c.start : x.End-c.start])
		}
	}
	return b.String()
}

// key is equal for two items when one can be made of the other.
func (x *item) key() string {
	if x.Element == nil {
		return string('0'+rune(x.Kind)) + x.Text
	}
	e := x.Element
	var b strings.Builder
	b.WriteString(e.Prefix + ":" + e.Local + " " + e.Space)
	for _, d := range e.Decls {
		b.WriteString("\x00" + d.Prefix + "=" + d.Space)
	}
	for _, name := range identities {
		if v, ok := e.LookupAttr("", name); ok {
			b.WriteString("\x01" + name + "=" + v)
			break
		}
	}
	return b.String()
}

type pair struct{ a, b int }

// match pairs items of the same key in the longest way; ok is false when that
// would be too much work.
func match(a, b []item) (pairs []pair, ok bool) {
	ka, kb := make([]string, len(a)), make([]string, len(b))
	for i := range a {
		ka[i] = a[i].key()
	}
	for i := range b {
		kb[i] = b[i].key()
	}
	lo := 0
	for lo < len(a) && lo < len(b) && ka[lo] == kb[lo] {
		pairs = append(pairs, pair{lo, lo})
		lo++
	}
	ha, hb := len(a), len(b)
	for ha > lo && hb > lo && ka[ha-1] == kb[hb-1] {
		ha, hb = ha-1, hb-1
	}
	n, m := ha-lo, hb-lo
	if n > 0 && m > 0 && n > maxCells/m {
		return nil, false
	}
	// long[i][j] is how many pairs a[lo+i:ha] and b[lo+j:hb] have.
	long := make([]int32, (n+1)*(m+1))
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			if ka[lo+i] == kb[lo+j] {
				long[i*(m+1)+j] = long[(i+1)*(m+1)+j+1] + 1
			} else {
				long[i*(m+1)+j] = max(long[(i+1)*(m+1)+j], long[i*(m+1)+j+1])
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case ka[lo+i] == kb[lo+j]:
			pairs = append(pairs, pair{lo + i, lo + j})
			i, j = i+1, j+1
		case long[(i+1)*(m+1)+j] >= long[i*(m+1)+j+1]:
			i++
		default:
			j++
		}
	}
	for i := range len(a) - ha {
		pairs = append(pairs, pair{ha + i, hb + i})
	}
	return pairs, true
}

// same compares two elements whose surroundings declare the same.
func same(a, b *markup.Element) bool {
	if a.Source() == b.Source() {
		return true
	}
	if !alike(a, b) || len(a.Attrs) != len(b.Attrs) {
		return false
	}
	for _, x := range a.Attrs {
		if v, ok := b.LookupAttr(x.Space, x.Local); !ok || v != x.Value {
			return false
		}
	}
	ca, cb := childrenOf(a), childrenOf(b)
	return ca.tail == cb.tail && slices.EqualFunc(ca.items, cb.items, func(x, y item) bool {
		if x.gap != y.gap || x.Kind != y.Kind || x.Text != y.Text {
			return false
		}
		return x.Element == nil || same(x.Element, y.Element)
	})
}
