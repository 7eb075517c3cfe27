package xcap

import (
	"net/http"
	"strconv"

	"pharos/markup"
	"pharos/xdm"
)

// MIME types of what is not a document (RFC 4825 §15.2).
const (
	elementType   = "application/xcap-el+xml"
	attributeType = "application/xcap-att+xml"
	bindingsType  = "application/xcap-ns+xml"
)

// get answers GET and HEAD (RFC 4825 §8.3).
func (r *request) get() error {
	d, err := r.fetch()
	if err != nil {
		return err
	}
	body, mime := d.Body, r.usage.Type
	if r.sel.node != nil {
		if body, mime, err = r.node(d.Body); err != nil {
			return err
		}
	}
	h := r.w.Header()
	r.describe(&d)
	if err := r.conditions(&d); err != nil {
		if f := r.failure(err); f.status != http.StatusNotModified {
			return f
		}
		r.w.WriteHeader(http.StatusNotModified)
		return nil
	}
	h.Set("Content-Type", mime)
	// What one user has written must not act in another's browser.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	r.w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		_, _ = r.w.Write(body)
	}
	return nil
}

// fetch gets or makes the document.
func (r *request) fetch() (xdm.Document, error) {
	switch {
	case r.sel.global && r.usage.Global != nil:
		return r.usage.Global(r)
	case r.sel.global:
		return xdm.Document{}, say(http.StatusNotFound, "%s has no global documents", r.usage.AUID)
	case r.usage.Generate != nil:
		return r.usage.Generate(r)
	}
	return r.edge.Documents.Get(r.Context(), r.name())
}

// describe sets the header fields that speak of the document.
func (r *request) describe(d *xdm.Document) {
	h := r.w.Header()
	h.Set("ETag", `"`+d.ETag+`"`) // RFC 4825 §8.5
	if !d.Modified.IsZero() {
		h.Set("Last-Modified", d.Modified.UTC().Format(http.TimeFormat))
	}
	h.Set("Cache-Control", noCache)
}

// node reads the selected node of a document.
func (r *request) node(source []byte) (body []byte, mime string, err error) {
	leave, err := r.desk()
	if err != nil {
		return nil, "", err
	}
	defer leave()
	root, err := markup.Parse(source, r.edge.options())
	if err != nil {
		return nil, "", err
	}
	return r.sel.node.read(root, source)
}

// read takes the selected node out of a document, byte for byte.
func (n *nodeSelector) read(root *markup.Element, source []byte) (body []byte, mime string, err error) {
	path := n.selected(root)
	if path == nil {
		return nil, "", say(http.StatusNotFound, "the node selector chooses nothing, or more than one element")
	}
	e := path[len(path)-1]
	switch n.terminal {
	case attribute:
		w, ok := written(e, n.attr)
		if !ok {
			return nil, "", say(http.StatusNotFound, "the element has no such attribute")
		}
		// As an AttValue of XML, so with its quotes (RFC 4825 §7.9).
		return source[w.Value[0]-1 : w.Value[1]+1], attributeType, nil
	case namespaces:
		return bindings(path), bindingsType, nil
	}
	return source[e.Start:e.End], elementType, nil
}

// bindings writes the namespaces in scope of the last element of a path as an
// empty element of its name (RFC 4825 §10).
func bindings(path []*markup.Element) []byte {
	e := path[len(path)-1]
	qname := e.Local
	if e.Prefix != "" {
		qname = e.Prefix + ":" + e.Local
	}
	b := append([]byte{'<'}, qname...)
	scope := markup.Scope(path)
	for i, d := range scope {
		hidden := false
		for _, inner := range scope[i+1:] {
			hidden = hidden || inner.Prefix == d.Prefix
		}
		if hidden || d.Prefix == "" && d.Space == "" {
			continue
		}
		attr := "xmlns"
		if d.Prefix != "" {
			attr += ":" + d.Prefix
		}
		b = markup.AppendAttr(b, attr, d.Space)
	}
	return append(b, "/>"...)
}
