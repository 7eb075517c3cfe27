package markup

import "sync"

// Tree is a parsed element whose memory is used again for the next one. It is
// for those who read a document into something of their own, to whom the tree
// is worth nothing afterwards: its elements and nodes are several times the size
// of the text.
type Tree struct {
	root *Element
	p    *parser
}

// Borrow is Parse of a string, which is not copied. Nothing of the tree may be
// used after Release but its strings, which are parts of s or stand alone.
func Borrow(s string, o Options) (Tree, error) { return BorrowIn(s, nil, o) }

// BorrowIn is to Borrow what ParseIn is to Parse.
func BorrowIn(s string, scope []Decl, o Options) (Tree, error) {
	o = o.withDefaults()
	if len(s) > o.MaxBytes {
		return Tree{}, &SyntaxError{TooBig, o.MaxBytes, "more bytes than allowed"}
	}
	p := borrow(s, o)
	p.surround(scope)
	t := Tree{p.document(), p}
	if p.err != nil {
		err := p.err
		t.Release()
		return Tree{}, err
	}
	return t, nil
}

func borrow(s string, o Options) *parser {
	p := borrowers.Get().(*parser)
	p.s, p.o, p.whole = s, o, s
	p.src = &p.whole
	return p
}

// Root is the document's element.
func (t Tree) Root() *Element { return t.root }

// Release ends the use of the tree.
func (t Tree) Release() {
	p := t.p
	if p == nil {
		return
	}
	const keep = 256 // entries worth keeping in the pool
	*p = parser{binds: kept(p.binds, keep), frames: kept(p.frames, keep), nodes: kept(p.nodes, keep), attrs: kept(p.attrs, keep),
		elementSlab: kept(p.elementSlab, keep), nodeSlab: kept(p.nodeSlab, keep), attrSlab: kept(p.attrSlab, keep), declSlab: kept(p.declSlab, keep)}
	borrowers.Put(p)
}

// kept is s emptied, or nil when it is too large to keep. What a slab has behind
// its length was never used.
func kept[T any](s []T, most int) []T {
	if cap(s) > most {
		return nil
	}
	return wiped(s)
}

// borrowers are parsers with slabs, which those of Parse must not have: they
// give theirs away.
var borrowers = sync.Pool{New: func() any { return new(parser) }}
