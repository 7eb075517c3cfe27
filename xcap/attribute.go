package xcap

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"pharos/markup"
)

// putAttribute sets one attribute (RFC 4825 §8.2.3, §8.2.4).
func (r *request) putAttribute(root *markup.Element, body []byte) (change, error) {
	n := r.sel.node
	path := locate(root, n.steps)
	if len(path) < len(n.steps) {
		return change{}, r.noElement(path, n.steps)
	}
	value, err := r.attValue(body)
	if err != nil {
		return change{}, err
	}
	if n.attr.space == "" && n.attr.local == "xmlns" {
		// A namespace declaration is no attribute (RFC 4825 §6.3).
		return change{}, conflictf(cannotInsert, "a namespace declaration is not an attribute")
	}
	e := path[len(path)-1]
	x := markup.NewEdit(root)
	w, there := written(e, n.attr)
	if there {
		x.Replace(w.Value[0]-1, w.Value[1]+1, value)
	} else {
		at := e.Start + len("<") + len(e.Local)
		if e.Prefix != "" {
			at += len(e.Prefix) + len(":")
		}
		if ws := e.Written(); len(ws) > 0 {
			at = ws[len(ws)-1].End
		}
		qname, decl := attributeName(markup.Scope(path), n.attr)
		x.Replace(at, at, decl+" "+qname+"="+value)
	}
	c, err := r.spliced(x, !there)
	if err != nil {
		return c, err
	}
	now := n.selected(c.root)
	if now == nil || now[len(now)-1].Start != e.Start {
		return c, conflictf(cannotInsert, "the node selector would not choose this attribute any more")
	}
	if w, ok := written(now[len(now)-1], n.attr); !ok || string(c.body[w.Value[0]-1:w.Value[1]+1]) != value {
		return c, conflictf(cannotInsert, "the node selector would not choose this attribute any more")
	}
	return c, nil
}

// attributeName is what an attribute is called in a scope, with the declaration
// that it needs when its namespace has no prefix there.
func attributeName(scope []markup.Decl, n name) (qname, decl string) {
	switch n.space {
	case "":
		return n.local, ""
	case markup.XMLSpace:
		return "xml:" + n.local, ""
	}
	for i := len(scope) - 1; i >= 0; i-- {
		if d := scope[i]; d.Prefix != "" && d.Space == n.space {
			if s, _ := markup.Bound(scope, d.Prefix); s == n.space {
				return d.Prefix + ":" + n.local, ""
			}
		}
	}
	for i := 1; ; i++ {
		prefix := "ns" + strconv.Itoa(i)
		if _, taken := markup.Bound(scope, prefix); !taken {
			return prefix + ":" + n.local, string(markup.AppendAttr(nil, "xmlns:"+prefix, n.space))
		}
	}
}

// attValue reads the body as an AttValue of XML 1.0, quotes included. Clients send
// the bare value too: then quotes are put around it.
func (r *request) attValue(body []byte) (string, error) {
	if !utf8.Valid(body) {
		return "", conflictf(notUTF8, "the attribute value is not UTF-8")
	}
	v := strings.Trim(string(body), " \t\r\n")
	quoted := len(v) >= 2 && (v[0] == '"' || v[0] == '\'') && v[len(v)-1] == v[0]
	if !quoted {
		if strings.ContainsRune(v, '"') {
			v = "'" + v + "'"
		} else {
			v = `"` + v + `"`
		}
	}
	if strings.Count(v, v[:1]) != 2 {
		return "", conflictf(notAttValue, "a quote inside of the value has to be written as a reference")
	}
	if _, err := markup.Parse([]byte("<a a="+v+"/>"), r.edge.options()); err != nil {
		return "", r.malformed(err, notAttValue, body)
	}
	return v, nil
}
