package xcap

import "pharos/markup"

// children are the element children that a step chooses from: of the document's
// root node, which is nil here, the root element.
func children(root, parent *markup.Element) []*markup.Element {
	if parent == nil {
		return []*markup.Element{root}
	}
	var all []*markup.Element
	for c := range parent.Children() {
		all = append(all, c)
	}
	return all
}

// named are those that NameorAny matches.
func (s *step) named(all []*markup.Element) []*markup.Element {
	if s.any {
		return all
	}
	var out []*markup.Element
	for _, e := range all {
		if e.Is(s.name.space, s.name.local) {
			out = append(out, e)
		}
	}
	return out
}

// choose applies the step (RFC 4825 §6.3): name, then position, then attribute.
func (s *step) choose(all []*markup.Element) []*markup.Element {
	list := s.named(all)
	if s.pos != 0 {
		if s.pos < 1 || s.pos > len(list) {
			return nil
		}
		list = list[s.pos-1 : s.pos]
	}
	if s.attr == nil {
		return list
	}
	var out []*markup.Element
	for _, e := range list {
		if v, ok := e.LookupAttr(s.attr.name.space, s.attr.name.local); ok && v == s.attr.value {
			out = append(out, e)
		}
	}
	return out
}

// locate follows steps from the root node. Each must choose a single element; path
// holds those that did, so all of them when it is as long as steps.
func locate(root *markup.Element, steps []step) (path []*markup.Element) {
	var at *markup.Element
	for i := range steps {
		found := steps[i].choose(children(root, at))
		if len(found) != 1 {
			return path
		}
		at = found[0]
		path = append(path, at)
	}
	return path
}

// selected is the path to the element that a node selector is about, nil when it is a
// no-match or invalid.
func (n *nodeSelector) selected(root *markup.Element) []*markup.Element {
	path := locate(root, n.steps)
	if len(path) < len(n.steps) {
		return nil
	}
	return path
}

// written finds an attribute of an element in its start tag.
func written(e *markup.Element, n name) (markup.Written, bool) {
	for _, a := range e.Attrs {
		if a.Local != n.local || a.Space != n.space {
			continue
		}
		qname := a.Local
		if a.Prefix != "" {
			qname = a.Prefix + ":" + a.Local
		}
		for _, w := range e.Written() {
			if w.Name == qname {
				return w, true
			}
		}
	}
	return markup.Written{}, false
}
