package markup

import (
	"sort"
	"strings"
)

// File bounds the documents that are kept for users: larger than what comes in
// a message, comments and instructions allowed.
var File = Options{MaxBytes: 1 << 20, MaxNodes: 1 << 17, MaxDepth: 64, MaxAttrs: 64, Document: true}

// Path returns the elements from root to e, both included, nil when e is not of
// this tree. It costs a search in each level, not a walk.
func Path(root, e *Element) []*Element {
	var path []*Element
	for at := root; at != nil; {
		path = append(path, at)
		if at == e {
			return path
		}
		at = at.childAt(e.Start)
	}
	return nil
}

// childAt returns the child element whose span holds the byte, or nil.
func (e *Element) childAt(at int) *Element {
	i := sort.Search(len(e.Nodes), func(i int) bool { return e.Nodes[i].End > at })
	if i == len(e.Nodes) || e.Nodes[i].Start > at {
		return nil
	}
	return e.Nodes[i].Element
}

// Scope returns the namespace declarations in force inside the last element of
// a path, the innermost last, as ParseIn takes them.
func Scope(path []*Element) []Decl {
	var scope []Decl
	for _, e := range path {
		scope = append(scope, e.Decls...)
	}
	return scope
}

// Bound returns the namespace that a scope gives to a prefix. The default
// namespace (prefix "") is always bound, to "" where nothing is said.
func Bound(scope []Decl, prefix string) (space string, ok bool) {
	if prefix == "xml" {
		return XMLSpace, true
	}
	for i := len(scope) - 1; i >= 0; i-- {
		if scope[i].Prefix == prefix {
			return scope[i].Space, true
		}
	}
	return "", prefix == ""
}

// Qualify returns what an element of a namespace is called in a scope: with no
// prefix where that is the default namespace, else with a prefix that is bound to
// it. decl is the declaration that its start tag needs when nothing is.
func Qualify(scope []Decl, space, local string) (qname, decl string) {
	if s, _ := Bound(scope, ""); s == space {
		return local, ""
	}
	if space == XMLSpace {
		return "xml:" + local, ""
	}
	for i := len(scope) - 1; i >= 0; i-- {
		d := scope[i]
		if d.Prefix == "" || d.Space != space {
			continue
		}
		if s, _ := Bound(scope, d.Prefix); s == space { // not hidden by an inner one
			return d.Prefix + ":" + local, ""
		}
	}
	return local, string(AppendAttr(nil, "xmlns", space))
}

// Moved returns the bytes of the last element of a path as they have to be
// where other declarations are in force: prefixes and the default namespace are
// declared in its start tag where they would mean something else, or nothing.
// Prefixes that its text and attribute values seem to use count as used
// (qualified names and XPath are found there).
func Moved(from []*Element, to []Decl) string {
	e := from[len(from)-1]
	return e.declaring(Scope(from[:len(from)-1]), to)
}

// declaring is the element's source with the declarations of from that to has not.
func (e *Element) declaring(from, to []Decl) string {
	src := e.Source()
	var add []byte
	for i := len(from) - 1; i >= 0; i-- {
		d := from[i]
		if hidden(from[i+1:], d.Prefix) || hidden(e.Decls, d.Prefix) {
			continue
		}
		if s, ok := Bound(to, d.Prefix); ok && s == d.Space {
			continue
		}
		switch {
		case d.Prefix == "" && e.flags&outerDefault != 0:
			add = AppendAttr(add, "xmlns", d.Space)
		case d.Prefix != "" && d.Prefix != "xml" && strings.Contains(src, d.Prefix+":"):
			add = AppendAttr(add, "xmlns:"+d.Prefix, d.Space)
		}
	}
	if s, _ := Bound(to, ""); s != "" && e.flags&outerDefault != 0 && !hidden(from, "") {
		add = AppendAttr(add, "xmlns", "")
	}
	if add == nil {
		return src
	}
	name := len("<") + len(e.qname())
	return src[:name] + string(add) + src[name:]
}

func hidden(by []Decl, prefix string) bool {
	for i := range by {
		if by[i].Prefix == prefix {
			return true
		}
	}
	return false
}

// qname is the element's name as written.
func (e *Element) qname() string {
	if e.Prefix == "" {
		return e.Local
	}
	return e.Prefix + ":" + e.Local
}
