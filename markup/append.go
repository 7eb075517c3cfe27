package markup

import "unicode/utf8"

// Append serialises the element so that it stands alone where the default
// namespace is scope: names keep their meaning, every prefix used is declared.
// Where the bytes that were read mean the same there, they are copied as they
// are; otherwise elements are written without prefixes, each with the default
// namespace it needs. Comments and instructions are left out.
func (e *Element) Append(dst []byte, scope string) []byte {
	if e.src != nil && e.flags&(outerPrefix|impure) == 0 {
		src := (*e.src)[e.Start:e.End]
		if e.copies(scope) {
			return append(dst, src...)
		}
		if e.Prefix == "" && e.flags&ownDefault == 0 {
			// The whole subtree takes its default namespace from where e
			// takes it; saying so once makes the rest right.
			name := len("<") + len(e.Local)
			dst = append(dst, src[:name]...)
			dst = AppendAttr(dst, "xmlns", e.Space)
			return append(dst, src[name:]...)
		}
	}
	return e.rewrite(dst, scope)
}

// AppendInner does the same for the content only.
func (e *Element) AppendInner(dst []byte, scope string) []byte {
	if e.innerCopies(scope) {
		return append(dst, (*e.src)[e.Inner[0]:e.Inner[1]]...)
	}
	for i := range e.Nodes {
		switch n := &e.Nodes[i]; n.Kind {
		case ElementNode:
			dst = n.Element.Append(dst, scope)
		case TextNode:
			dst = AppendText(dst, n.Text)
		}
	}
	return dst
}

// copies tells whether the element's bytes mean the same under scope.
func (e *Element) copies(scope string) bool {
	switch {
	case e.src == nil || e.flags&(outerPrefix|impure) != 0:
		return false
	case e.flags&outerDefault == 0:
		return true
	}
	return e.Prefix == "" && e.flags&ownDefault == 0 && e.Space == scope
}

func (e *Element) innerCopies(scope string) bool {
	if e.src == nil {
		return false
	}
	for i := range e.Nodes {
		switch n := &e.Nodes[i]; n.Kind {
		case ElementNode:
			if n.Element.src != e.src || !n.Element.copies(scope) {
				return false
			}
		case CommentNode, InstructionNode:
			return false
		}
	}
	return true
}

// rewrite writes the element from its names.
func (e *Element) rewrite(dst []byte, scope string) []byte {
	dst = append(dst, '<')
	dst = append(dst, e.Local...)
	if e.Space != scope {
		dst = AppendAttr(dst, "xmlns", e.Space)
	}
	for i := range e.Attrs {
		dst = e.appendAttr(dst, i)
	}
	body := len(dst)
	dst = append(dst, '>')
	dst = e.AppendInner(dst, e.Space)
	if len(dst) == body+1 {
		return append(dst[:body], '/', '>')
	}
	dst = append(dst, '<', '/')
	dst = append(dst, e.Local...)
	return append(dst, '>')
}

// appendAttr writes attribute i, and before the first of its namespace the
// declaration that it needs.
func (e *Element) appendAttr(dst []byte, i int) []byte {
	a := &e.Attrs[i]
	switch a.Space {
	case "":
		return AppendAttr(dst, a.Local, a.Value)
	case XMLSpace:
		return AppendAttr(dst, "xml:"+a.Local, a.Value)
	}
	prefix, declared := e.attrPrefix(i)
	if !declared {
		dst = AppendAttr(dst, "xmlns:"+prefix, a.Space)
	}
	return AppendAttr(dst, prefix+":"+a.Local, a.Value)
}

// attrPrefix chooses the prefix of attribute i: its own where it has one that
// no other namespace took before. declared tells that an attribute before it
// has the same.
func (e *Element) attrPrefix(i int) (prefix string, declared bool) {
	a := &e.Attrs[i]
	prefix = a.Prefix
	if prefix == "" || prefix == "xml" || prefix == "xmlns" {
		prefix = "ns" // made by hand
	}
	for {
		taken := false
		for j := range e.Attrs[:i] {
			b := &e.Attrs[j]
			if b.Space == "" || b.Space == XMLSpace {
				continue
			}
			if p, _ := e.attrPrefix(j); p == prefix {
				if b.Space == a.Space {
					return prefix, true
				}
				taken = true
			}
		}
		if !taken {
			return prefix, false
		}
		prefix += "_"
	}
}

// AppendText appends s escaped as character data. What XML cannot carry, and
// bytes that are not UTF-8, become U+FFFD.
func AppendText(dst []byte, s string) []byte { return appendEscaped(dst, s, false) }

// AppendAttr appends ` name='escaped'`.
func AppendAttr(dst []byte, name, s string) []byte {
	dst = append(dst, ' ')
	dst = append(dst, name...)
	dst = append(dst, '=', '\'')
	dst = appendEscaped(dst, s, true)
	return append(dst, '\'')
}

// escapes holds what a byte is written as; safe bytes have none.
var escapes = [128]string{
	'&': "&amp;", '<': "&lt;", '>': "&gt;", '\'': "&apos;", '"': "&quot;",
	'\t': "&#9;", '\n': "&#10;", '\r': "&#13;",
}

func appendEscaped(dst []byte, s string, attr bool) []byte {
	done := 0
	for i := 0; i < len(s); {
		c := s[i]
		var as string
		n := 1
		switch {
		case c >= utf8.RuneSelf:
			var r rune
			r, n = utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n <= 1 || !isChar(r) {
				as = "\uFFFD"
			}
		case !attr && (c == '\t' || c == '\n' || c == '\'' || c == '"'):
		case escapes[c] != "":
			as = escapes[c]
		case c < 0x20:
			as = "\uFFFD"
		}
		if as != "" {
			dst = append(append(dst, s[done:i]...), as...)
			done = i + n
		}
		i += n
	}
	return append(dst, s[done:]...)
}
