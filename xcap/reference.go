package xcap

import (
	"net/http"
	"net/url"
	"strings"
)

// reference reads a URI in a document that leads to a resource of this XCAP root: a
// whole URI, or one relative to the root. Where it leads to is not looked at.
func (r *request) reference(uri string) (selector, error) {
	u, err := url.Parse(strings.TrimSpace(uri))
	if err != nil {
		return selector{}, say(http.StatusBadRequest, "%q is no URI", uri)
	}
	path := u.EscapedPath()
	if u.Scheme != "" || u.Host != "" {
		if u.Scheme != "http" && u.Scheme != "https" || !r.ours(u.Host) {
			return selector{}, say(http.StatusBadRequest, "%q is not on this server", uri)
		}
		var ok bool
		if path, ok = strings.CutPrefix(path, r.edge.Root); !ok {
			return selector{}, say(http.StatusBadRequest, "%q is not below the XCAP root", uri)
		}
	} else if strings.HasPrefix(path, "/") {
		return selector{}, say(http.StatusBadRequest, "%q is not relative to the XCAP root", uri)
	} else {
		path = "/" + path
	}
	doc, node, hasNode := cutSeparator(path)
	q := request{Request: r.Request, edge: r.edge}
	if err := q.document(doc); err != nil {
		return selector{}, err
	}
	if hasNode {
		if q.sel.node, err = parseNode(node, u.RawQuery, q.usage.Space); err != nil {
			return selector{}, err
		}
	}
	return q.sel, nil
}

// ours tells whether a host is this server: as this client calls it, or one of the
// domains or below one of them.
func (r *request) ours(host string) bool {
	if strings.EqualFold(host, r.Host) {
		return true
	}
	if h, _, ok := strings.Cut(host, ":"); ok {
		host = h
	}
	for host = strings.ToLower(host); host != ""; _, host, _ = strings.Cut(host, ".") {
		if r.edge.domains[host] {
			return true
		}
	}
	return false
}
