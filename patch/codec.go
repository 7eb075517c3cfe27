package patch

import (
	"strings"

	"pharos/markup"
)

// Parse reads the operations that are children of root (RFC 5261 §4); elements
// named add, replace and remove whatever their namespace. Others are passed over. Values
// of attributes that the standard does not know are an *Error.
func Parse(root *markup.Element) ([]Op, error) { return ParseIn(root, nil) }

// ParseIn is Parse for an element that stands inside others: scope holds the
// declarations in force around it.
func ParseIn(parent *markup.Element, scope []markup.Decl) ([]Op, error) {
	scope = append(scope[:len(scope):len(scope)], parent.Decls...)
	var ops []Op
	for c := range parent.Children() {
		var o Op
		switch c.Local {
		case "add":
			o = Op{Kind: Add, Pos: c.Attr("pos"), Type: c.Attr("type")}
		case "replace":
			o = Op{Kind: Replace}
		case "remove":
			o = Op{Kind: Remove, WS: c.Attr("ws")}
		default:
			continue
		}
		if len(ops) == MaxOps {
			return nil, &Error{InvalidDiffFormat, "more operations than allowed"}
		}
		sel, ok := c.LookupAttr("", "sel")
		if !ok {
			return nil, &Error{InvalidAttributeValue, "no sel"}
		}
		o.Sel = sel
		o.Scope = append(scope[:len(scope):len(scope)], c.Decls...)
		o.Content = c.Source()[c.Inner[0]-c.Start : c.Inner[1]-c.Start]
		if err := o.check(); err != nil {
			return nil, err
		}
		ops = append(ops, o)
	}
	return ops, nil
}

// check looks at the attributes that are words.
func (o *Op) check() error {
	switch o.Pos {
	case "", "before", "after", "prepend":
	default:
		return &Error{InvalidAttributeValue, "pos " + o.Pos}
	}
	switch o.WS {
	case "", "before", "after", "both":
	default:
		return &Error{InvalidAttributeValue, "ws " + o.WS}
	}
	if o.Type != "" && !strings.HasPrefix(o.Type, "@") && !strings.HasPrefix(o.Type, "namespace::") {
		return &Error{InvalidAttributeValue, "type " + o.Type}
	}
	return nil
}

// Append writes ops as elements in the default namespace in force, with the prefixes
// of their scopes that they use. An element name without prefix in a Sel means the
// default namespace at the place where this is put; Diff makes none.
func Append(b []byte, ops []Op) []byte {
	for i := range ops {
		o := &ops[i]
		name := [...]string{Add: "add", Replace: "replace", Remove: "remove"}[o.Kind]
		b = append(append(b, '<'), name...)
		b = markup.AppendAttr(b, "sel", o.Sel)
		for _, a := range [...]struct{ name, value string }{{"pos", o.Pos}, {"type", o.Type}, {"ws", o.WS}} {
			if a.value != "" {
				b = markup.AppendAttr(b, a.name, a.value)
			}
		}
		for j := len(o.Scope) - 1; j >= 0; j-- {
			d := o.Scope[j]
			if d.Prefix == "" || d.Prefix == "xml" || hides(o.Scope[j+1:], d.Prefix) {
				continue
			}
			if use := d.Prefix + ":"; strings.Contains(o.Sel, use) || strings.Contains(o.Type, use) || strings.Contains(o.Content, use) {
				b = markup.AppendAttr(b, "xmlns:"+d.Prefix, d.Space)
			}
		}
		if o.Content == "" {
			b = append(b, "/>"...)
			continue
		}
		b = append(append(b, '>'), o.Content...)
		b = append(append(append(b, "</"...), name...), '>')
	}
	return b
}
