package xcap

import (
	"net/http"
	"strings"
	"unicode/utf8"

	"pharos/markup"
	"pharos/xdm"
)

// putNode makes the document that a PUT of an element or attribute asks for. Whatever
// way it was put in, the selector must choose just what was put: GET(PUT(x)) = x
// (RFC 4825 §7.4, §8.2.3).
func (r *request) putNode(old *xdm.Document, body []byte) (change, error) {
	root, err := markup.Parse(old.Body, r.edge.options())
	if err != nil {
		return change{}, err
	}
	if r.sel.node.terminal == attribute {
		return r.putAttribute(root, body)
	}
	return r.putElement(root, body)
}

// putElement inserts or replaces one element.
func (r *request) putElement(root *markup.Element, body []byte) (change, error) {
	steps := r.sel.node.steps
	last := len(steps) - 1
	path := locate(root, steps[:last])
	if len(path) < last {
		return change{}, r.noElement(path, steps)
	}
	fragment, el, err := r.fragment(body, path)
	if err != nil {
		return change{}, err
	}
	var parent *markup.Element
	if last > 0 {
		parent = path[last-1]
	}
	x := markup.NewEdit(root)
	var at int
	there := steps[last].choose(children(root, parent))
	created := len(there) == 0
	switch {
	case len(there) == 1:
		x.ReplaceElement(there[0], fragment)
		at = there[0].Start
	case parent == nil || len(there) > 1:
		return change{}, conflictf(cannotInsert, "the node selector would not choose the new element alone")
	default:
		var ok bool
		if at, ok = place(&steps[last], parent, name{el.Space, el.Local}); !ok {
			return change{}, conflictf(cannotInsert, "there are not enough elements for that position")
		}
		if at < 0 { // into an empty-element tag
			x.SetContent(parent, fragment)
			at = parent.End - len("/>") + len(">")
		} else {
			x.Replace(at, at, fragment)
		}
	}
	c, err := r.spliced(x, created)
	if err != nil {
		return c, err
	}
	now := r.sel.node.selected(c.root)
	if now == nil || now[last].Start != at || now[last].End != at+len(fragment) {
		return c, conflictf(cannotInsert, "the node selector would not choose the new element: its name and attributes have to be those in the last step")
	}
	return c, nil
}

// spliced makes the changes and parses the outcome.
func (r *request) spliced(x *markup.Edit, created bool) (change, error) {
	body, err := x.Bytes()
	if err != nil {
		return change{}, err
	}
	root, err := r.again(body)
	return change{body, root, created}, err
}

// place finds where a new element goes among the children of parent (RFC 4825
// §8.2.3): a position in the source, or -1 for the inside of an empty-element tag.
func place(s *step, parent *markup.Element, el name) (at int, ok bool) {
	all := children(nil, parent)
	same := (&step{name: el}).named(all)
	end := parent.Inner[1]
	if end == parent.End {
		end = -1
	}
	switch {
	case s.pos == 0 && len(same) == 0:
		return end, true // behind all that is there, texts included
	case s.pos == 0:
		return same[len(same)-1].End, true // "earliest last"
	}
	list := s.named(all)
	switch {
	case s.pos == 1 && len(list) == 0:
		return end, true
	case s.pos == 1:
		return list[0].Start, true
	case s.pos < 1 || len(list) < s.pos-1:
		return 0, false
	}
	return list[s.pos-2].End, true // "earliest nth"
}

// fragment reads the body as one element that stands in the last of path.
func (r *request) fragment(body []byte, path []*markup.Element) (string, *markup.Element, error) {
	if !utf8.Valid(body) {
		return "", nil, conflictf(notUTF8, "the element is not UTF-8")
	}
	el, err := markup.ParseIn(body, markup.Scope(path), r.edge.options())
	if err != nil {
		return "", nil, r.malformed(err, notXMLFrag, body)
	}
	// A single element and nothing beside it (RFC 4825 §8.2.2); white space is forgiven.
	before, after := string(body[:el.Start]), string(body[el.End:])
	if strings.Trim(before+after, " \t\r\n") != "" {
		return "", nil, conflictf(notXMLFrag, "there is something beside the element")
	}
	return el.Source(), el, nil
}

// deleteNode makes the document without the selected node.
func (r *request) deleteNode(old *xdm.Document) (change, error) {
	root, err := markup.Parse(old.Body, r.edge.options())
	if err != nil {
		return change{}, err
	}
	n := r.sel.node
	path := n.selected(root)
	nothing := say(http.StatusNotFound, "the node selector chooses nothing, or more than one element")
	if path == nil {
		return change{}, nothing
	}
	e := path[len(path)-1]
	x := markup.NewEdit(root)
	if n.terminal == attribute {
		w, ok := written(e, n.attr)
		if !ok {
			return change{}, nothing
		}
		x.RemoveAttr(e, w.Name)
	} else {
		if len(path) == 1 {
			return change{}, conflictf(schemaError, "a document has a root element; DELETE the document")
		}
		x.Replace(e.Start, e.End, "") // surrounding white space stays
	}
	c, err := r.spliced(x, false)
	if err != nil {
		return c, err
	}
	// Another one in its place would be deleted by the next, equal request.
	if now := n.selected(c.root); now != nil && n.terminal == element {
		return c, conflictf(cannotDelete, "the node selector would choose another element then; name it by an attribute")
	}
	return c, nil
}

// noElement is the answer when the parent is not there; path is how far the steps led.
func (r *request) noElement(path []*markup.Element, steps []step) error {
	ancestor := r.uri()
	if len(path) > 0 {
		ancestor += "/~~"
		for _, s := range steps[:len(path)] {
			ancestor += "/" + escape(s.text)
		}
		if r.URL.RawQuery != "" {
			ancestor += "?" + r.URL.RawQuery
		}
	}
	return reported(&conflict{condition: noParent, phrase: "there is no element " + steps[len(path)].text + ", or there are several", ancestor: ancestor})
}
