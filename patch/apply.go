package patch

import (
	"errors"
	"strings"

	"pharos/markup"
)

// Apply makes all of ops in order, and returns the new document; doc is not
// changed. What no operation names stays byte for byte. The error is an *Error, or a
// *markup.SyntaxError when doc is not XML.
func Apply(doc []byte, ops []Op) ([]byte, error) {
	if len(ops) > MaxOps {
		return nil, &Error{InvalidDiffFormat, "more operations than allowed"}
	}
	root, err := markup.Parse(doc, markup.File)
	if err != nil {
		return nil, err
	}
	for i := range ops {
		if doc, err = ops[i].apply(root); err != nil {
			return nil, err
		}
		if root, err = markup.Parse(doc, markup.File); err != nil {
			return nil, broken(err)
		}
	}
	return doc, nil
}

// broken is the condition of an operation whose result is no XML.
func broken(err error) error {
	var s *markup.SyntaxError
	if errors.As(err, &s) && s.Kind == markup.BadNamespace {
		return &Error{InvalidNamespacePrefix, s.Reason} // a declaration in use was taken away
	}
	return &Error{InvalidDiffFormat, err.Error()}
}

// application is one operation on one tree.
type application struct {
	*Op
	root    *markup.Element
	edit    *markup.Edit
	at      markup.Target
	content *markup.Element // a wrapper of Content
}

func (o *Op) apply(root *markup.Element) ([]byte, error) {
	ts, err := markup.Select(root, o.Sel, o.Scope)
	switch {
	case errors.Is(err, markup.ErrPrefix):
		return nil, &Error{InvalidNamespacePrefix, err.Error()}
	case err != nil:
		return nil, &Error{InvalidAttributeValue, err.Error()}
	case len(ts) != 1: // RFC 5261 §4.1: exactly one
		return nil, &Error{UnlocatedNode, o.Sel}
	}
	a := application{Op: o, root: root, edit: markup.NewEdit(root), at: ts[0]}
	if a.content, err = markup.ParseIn([]byte("<content>"+o.Content+"</content>"), o.Scope, markup.File); err != nil {
		return nil, &Error{InvalidDiffFormat, err.Error()}
	}
	switch o.Kind {
	case Add:
		err = a.add()
	case Replace:
		err = a.replace()
	case Remove:
		err = a.remove()
	default:
		err = &Error{InvalidPatchDirective, "unknown operation"}
	}
	if err != nil {
		return nil, err
	}
	doc, err := a.edit.Bytes()
	if err != nil {
		return nil, &Error{InvalidPatchDirective, err.Error()}
	}
	return doc, nil
}

// nodeTypes is the error for content or a target of the wrong kind.
func (a *application) nodeTypes(text string) error {
	return &Error{InvalidNodeTypes, text + ": " + a.Sel}
}

// add is RFC 5261 §4.3.
func (a *application) add() error {
	if a.Type != "" {
		if a.Pos != "" {
			return &Error{InvalidPatchDirective, "pos and type exclude one another"}
		}
		if a.at.Kind != markup.ElementTarget {
			return a.nodeTypes("only an element can get an attribute")
		}
		if name, ok := strings.CutPrefix(a.Type, "@"); ok {
			return a.addAttr(name)
		}
		if prefix, ok := strings.CutPrefix(a.Type, "namespace::"); ok {
			return a.addNamespace(prefix)
		}
		return &Error{InvalidAttributeValue, "type " + a.Type}
	}
	e := a.at.Element()
	switch a.Pos {
	case "", "prepend":
		if a.at.Kind != markup.ElementTarget {
			return a.nodeTypes("only an element can get a child")
		}
		text, err := a.fragment(markup.Scope(a.at.Path))
		if err != nil {
			return err
		}
		switch {
		case text == "":
		case e.Inner[1] == e.End:
			a.edit.SetContent(e, text)
		case a.Pos == "":
			a.edit.Replace(e.Inner[1], e.Inner[1], text)
		default:
			a.edit.Replace(e.Inner[0], e.Inner[0], text)
		}
		return nil
	case "before", "after":
		return a.addSibling()
	}
	return &Error{InvalidAttributeValue, "pos " + a.Pos}
}

func (a *application) addSibling() error {
	from, to := a.span()
	path := a.at.Path
	switch a.at.Kind {
	case markup.ElementTarget:
		if path = path[:len(path)-1]; len(path) == 0 {
			// Beside the root there can be comments and instructions only.
			for _, n := range a.content.Nodes {
				if n.Kind == markup.ElementNode || n.Kind == markup.TextNode && !blank(n.Text) {
					return &Error{InvalidRootElement, "no sibling of the root element"}
				}
			}
		}
	case markup.CommentTarget, markup.InstructionTarget:
	default:
		return a.nodeTypes("nothing can be put beside it")
	}
	text, err := a.fragment(markup.Scope(path))
	if err != nil {
		return err
	}
	if a.Pos == "before" {
		to = from
	}
	a.edit.Replace(to, to, text)
	return nil
}

// span is where the target stands in the source.
func (a *application) span() (from, to int) {
	e := a.at.Element()
	if a.at.Kind == markup.ElementTarget {
		return e.Start, e.End
	}
	return e.Nodes[a.at.From].Start, e.Nodes[a.at.To-1].End
}

// text is the content as a value; ok is false when there is more than text in it.
func (a *application) text() (string, error) {
	for i := range a.content.Nodes {
		if a.content.Nodes[i].Kind != markup.TextNode {
			return "", a.nodeTypes("only text can be put there")
		}
	}
	return a.content.Text(), nil
}

// addAttr is RFC 5261 §4.3.2.
func (a *application) addAttr(name string) error {
	value, err := a.text()
	if err != nil {
		return err
	}
	e, space := a.at.Element(), ""
	prefix, local, prefixed := strings.Cut(name, ":")
	if !prefixed {
		prefix, local = "", name
	}
	if prefixed {
		ok := false
		if space, ok = markup.Bound(a.Scope, prefix); !ok {
			return &Error{InvalidNamespacePrefix, prefix}
		}
	}
	if _, there := e.LookupAttr(space, local); there {
		return &Error{InvalidPatchDirective, "the attribute is there: " + name}
	}
	if !validName(local) || prefixed && !validName(prefix) || name == "xmlns" {
		return &Error{InvalidAttributeValue, "type " + a.Type}
	}
	if prefixed && prefix != "xml" {
		scope := markup.Scope(a.at.Path)
		p, found := prefixFor(scope, space, func(string) bool { return false })
		if !found {
			if _, taken := markup.Bound(scope, prefix); taken {
				return &Error{InvalidNamespacePrefix, prefix + " is another namespace there"}
			}
			p = prefix
			a.edit.SetAttr(e, "xmlns:"+p, space)
		}
		name = p + ":" + local
	}
	a.edit.SetAttr(e, name, value)
	return nil
}

// addNamespace is RFC 5261 §4.3.3.
func (a *application) addNamespace(prefix string) error {
	uri, err := a.text()
	switch {
	case err != nil:
		return err
	case uri == "":
		return &Error{InvalidNamespaceURI, "no namespace"}
	case !validName(prefix):
		return &Error{InvalidAttributeValue, "type " + a.Type}
	}
	for _, d := range a.at.Element().Decls {
		if d.Prefix == prefix {
			return &Error{InvalidPatchDirective, "the prefix is declared: " + prefix}
		}
	}
	a.edit.SetAttr(a.at.Element(), "xmlns:"+prefix, uri)
	return nil
}

// validName tells whether s can stand as a name without prefix.
func validName(s string) bool {
	e, err := markup.Parse([]byte("<"+s+"/>"), markup.Options{})
	return err == nil && e.Local == s && e.Prefix == "" && len(e.Attrs)+len(e.Decls)+len(e.Nodes) == 0
}

// replace is RFC 5261 §4.4.
func (a *application) replace() error {
	e := a.at.Element()
	switch a.at.Kind {
	case markup.AttrTarget:
		value, err := a.text()
		if err != nil {
			return err
		}
		a.edit.SetAttr(e, attrName(e, a.at.Attr), value)
		return nil
	case markup.NamespaceTarget:
		uri, err := a.text()
		if err != nil {
			return err
		}
		if uri == "" {
			return &Error{InvalidNamespaceURI, "no namespace"}
		}
		a.edit.SetAttr(e, "xmlns:"+a.at.Name, uri)
		return nil
	case markup.TextTarget:
		if _, err := a.text(); err != nil {
			return err
		}
		from, to := a.span()
		a.edit.Replace(from, to, a.Content)
		return nil
	}
	// One node of the same kind; white space around it is the patch's looks.
	kind := map[markup.TargetKind]markup.NodeKind{markup.ElementTarget: markup.ElementNode, markup.CommentTarget: markup.CommentNode, markup.InstructionTarget: markup.InstructionNode}[a.at.Kind]
	count := 0
	for _, n := range a.content.Nodes {
		switch {
		case n.Kind == kind:
			count++
		case n.Kind != markup.TextNode || !blank(n.Text):
			count = 2
		}
	}
	if count != 1 {
		return a.nodeTypes("it can be replaced by one of its kind only")
	}
	path := a.at.Path
	if kind == markup.ElementNode {
		path = path[:len(path)-1]
	}
	text, err := a.fragment(markup.Scope(path))
	if err != nil {
		return err
	}
	from, to := a.span()
	a.edit.Replace(from, to, strings.Trim(text, " \t\r\n"))
	return nil
}

func attrName(e *markup.Element, i int) string {
	if at := &e.Attrs[i]; at.Prefix != "" {
		return at.Prefix + ":" + at.Local
	}
	return e.Attrs[i].Local
}

// remove is RFC 5261 §4.5.
func (a *application) remove() error {
	e := a.at.Element()
	if len(a.content.Nodes) > 0 && !blank(a.Content) {
		return &Error{InvalidPatchDirective, "remove has no content"}
	}
	switch a.at.Kind {
	case markup.AttrTarget, markup.NamespaceTarget, markup.TextTarget:
		if a.WS != "" {
			return &Error{InvalidWhitespace, "only around elements, comments and instructions"}
		}
	case markup.ElementTarget:
		if len(a.at.Path) == 1 {
			return &Error{InvalidRootElement, "the root element cannot be removed"}
		}
	}
	switch a.at.Kind {
	case markup.AttrTarget:
		a.edit.RemoveAttr(e, attrName(e, a.at.Attr))
		return nil
	case markup.NamespaceTarget:
		a.edit.RemoveAttr(e, "xmlns:"+a.at.Name)
		return nil
	}
	from, to := a.span()
	nodes := e.Nodes
	if a.at.Kind == markup.ElementTarget {
		nodes = a.at.Path[len(a.at.Path)-2].Nodes
	}
	first := 0
	for nodes[first].Start != from {
		first++
	}
	var ok bool
	if a.WS == "before" || a.WS == "both" {
		if from, ok = space(nodes, first, -1); !ok {
			return &Error{InvalidWhitespace, "no white space before " + a.Sel}
		}
	}
	if a.WS == "after" || a.WS == "both" {
		if to, ok = space(nodes, first, 1); !ok {
			return &Error{InvalidWhitespace, "no white space after " + a.Sel}
		}
	}
	if a.WS != "" && a.WS != "before" && a.WS != "after" && a.WS != "both" {
		return &Error{InvalidAttributeValue, "ws " + a.WS}
	}
	a.edit.Replace(from, to, "")
	return nil
}

// space finds the far end of the text beside node i, which must be white space
// only (RFC 5261 §4.5). Character data that only CDATA marks part are one text.
func space(nodes []markup.Node, i, step int) (end int, ok bool) {
	for i += step; i >= 0 && i < len(nodes) && nodes[i].Kind == markup.TextNode; i += step {
		if !blank(nodes[i].Text) {
			return 0, false
		}
		if ok = true; step < 0 {
			end = nodes[i].Start
		} else {
			end = nodes[i].End
		}
	}
	return end, ok
}

func blank(s string) bool { return strings.Trim(s, " \t\r\n") == "" }
