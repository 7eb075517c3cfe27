package patch

import (
	"strings"

	"pharos/markup"
)

// fragment is the content as it has to be written where the declarations of to
// are in force (RFC 5261 §4.2.3): prefixes become those that the document has for
// the same namespaces; where it has none, the declaration comes along.
func (a *application) fragment(to []markup.Decl) (string, error) {
	m := mangler{from: a.Scope, to: to, edit: markup.NewEdit(a.content)}
	for c := range a.content.Children() {
		m.look(c, false)
	}
	for c := range a.content.Children() {
		m.top = c
		m.element(c, nil)
		for _, d := range c.Decls {
			// What is said around it need not be said again.
			if s, ok := markup.Bound(to, d.Prefix); ok && s == d.Space {
				m.edit.RemoveAttr(c, declName(d.Prefix))
			}
		}
	}
	b, err := m.edit.Bytes()
	if err != nil {
		return "", &Error{InvalidDiffFormat, err.Error()}
	}
	return string(b[len("<content>") : len(b)-len("</content>")]), nil
}

type mangler struct {
	from, to   []markup.Decl
	declared   []markup.Decl // anywhere inside the content
	unprefixed bool          // the content has elements in the default namespace of from
	edit       *markup.Edit
	top        *markup.Element
}

// look notes what the content declares and relies on.
func (m *mangler) look(e *markup.Element, own bool) {
	own = own || hides(e.Decls, "")
	m.declared = append(m.declared, e.Decls...)
	m.unprefixed = m.unprefixed || e.Prefix == "" && !own
	for c := range e.Children() {
		m.look(c, own)
	}
}

// element renames what e and the elements in it are called; inner holds the
// declarations of the content itself.
func (m *mangler) element(e *markup.Element, inner []markup.Decl) {
	inner = append(inner[:len(inner):len(inner)], e.Decls...)
	if name, changed := m.name(e.Prefix, e.Local, e.Space, inner, true); changed {
		was := len(e.Local)
		if e.Prefix != "" {
			was += len(e.Prefix) + 1
		}
		m.edit.Replace(e.Start+1, e.Start+1+was, name)
		if e.Inner[1] != e.End {
			m.edit.Replace(e.Inner[1]+2, e.Inner[1]+2+was, name)
		}
	}
	for i := range e.Attrs {
		at := &e.Attrs[i]
		if at.Prefix == "" || at.Space == markup.XMLSpace {
			continue
		}
		if name, changed := m.name(at.Prefix, at.Local, at.Space, inner, false); changed {
			was := at.Prefix + ":" + at.Local
			for _, w := range e.Written() {
				if w.Name == was {
					src := e.Source()
					from := w.Start + strings.Index(src[w.Start-e.Start:], was)
					m.edit.Replace(from, from+len(was), name)
				}
			}
		}
	}
	for c := range e.Children() {
		m.element(c, inner)
	}
}

// name is what a name of the content is called in the document.
func (m *mangler) name(prefix, local, space string, inner []markup.Decl, element bool) (string, bool) {
	if hides(inner, prefix) {
		return "", false // the content says itself what it means
	}
	if s, ok := markup.Bound(m.to, prefix); ok && s == space {
		return "", false
	}
	if element && !hides(m.declared, "") {
		s, _ := markup.Bound(m.to, "")
		if d, _ := markup.Bound(m.from, ""); s == space && (d == s || !m.unprefixed) {
			return local, true
		}
	}
	p, ok := prefixFor(m.to, space, func(p string) bool {
		// It must mean the same in all of the fragment, where the patch's own
		// meaning of it may have to be declared.
		s, bound := markup.Bound(m.from, p)
		return hides(m.declared, p) || bound && s != space
	})
	if ok {
		return p + ":" + local, true
	}
	m.edit.SetAttr(m.top, declName(prefix), space)
	return "", false
}

func declName(prefix string) string {
	if prefix == "" {
		return "xmlns"
	}
	return "xmlns:" + prefix
}

func hides(decls []markup.Decl, prefix string) bool {
	for _, d := range decls {
		if d.Prefix == prefix {
			return true
		}
	}
	return false
}

// prefixFor finds a prefix that scope binds to a namespace and that is of use.
func prefixFor(scope []markup.Decl, space string, useless func(prefix string) bool) (string, bool) {
	if space == "" {
		return "", false
	}
	for i := len(scope) - 1; i >= 0; i-- {
		d := scope[i]
		if d.Prefix == "" || d.Space != space || useless(d.Prefix) {
			continue
		}
		if s, _ := markup.Bound(scope, d.Prefix); s == space {
			return d.Prefix, true
		}
	}
	return "", false
}
