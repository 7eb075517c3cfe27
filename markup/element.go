package markup

// Element is one parsed element. Trees are immutable after parsing and may be
// shared. Strings are substrings of one copy of the input, except where a
// reference had to be resolved.
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
}

// Attr is an attribute; Space is "" unless it was prefixed.
type Attr struct{ Space, Local, Prefix, Value string }

// Decl is a namespace declaration; Prefix "" declares the default namespace.
type Decl struct{ Prefix, Space string }

// Node is a child: an element, or text (references resolved), or - where the
// options allow them - a comment or processing instruction, kept for its span.
type Node struct {
	Element    *Element
	Text       string
	Start, End int
	Kind       NodeKind
}

// NodeKind tells what a Node is.
type NodeKind uint8

const (
	ElementNode NodeKind = iota
	TextNode
	CommentNode
	InstructionNode
)

// Attr returns the value of the unprefixed attribute, "" when absent.
func (e *Element) Attr(local string) string { panic("contract") }

// Child returns the first child element of that name, or nil. Nil-safe.
func (e *Element) Child(space, local string) *Element { panic("contract") }

// Children iterates over the child elements. Nil-safe.
func (e *Element) Children() func(yield func(*Element) bool) { panic("contract") }

// Text is the concatenated character data of the direct children. Nil-safe.
func (e *Element) Text() string { panic("contract") }

// Append serialises the element so that it stands alone where the default
// namespace is scope: names keep their meaning, every prefix used is declared.
func (e *Element) Append(dst []byte, scope string) []byte { panic("contract") }

// AppendInner does the same for the content only.
func (e *Element) AppendInner(dst []byte, scope string) []byte { panic("contract") }

// AppendText appends s escaped as character data; AppendAttr appends
// ` name='escaped'`.
func AppendText(dst []byte, s string) []byte       { panic("contract") }
func AppendAttr(dst []byte, name, s string) []byte { panic("contract") }

// Options bound a parse.
type Options struct {
	MaxBytes, MaxDepth, MaxAttrs, MaxNodes int  // 0: documented defaults
	Document                               bool // comments, PIs and an XML declaration are allowed (not on XMPP streams)
}

// Parse reads one document or element. The error is a *SyntaxError with offset
// and a kind (not well-formed, unbound prefix, restricted XML, too big, not UTF-8).
func Parse(src []byte, o Options) (*Element, error) { panic("contract") }
