package policy

import (
	"errors"
	"net/url"
	"strings"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
)

// anchors finds the members of external lists: those lists of the user's own
// resource-lists documents that the URIs of the rules select (RFC 4825 §6). Others'
// lists are not the user's to read, and have no members here. One is for one load.
type anchors struct {
	user presence.Entity
	read func(path string) ([]byte, error) // of the user's documents; store.ErrNotFound
	docs map[string]*markup.Element        // by path; nil: there is none
	err  error                             // of read
}

// members are the entries of the list that a URI selects, with those of the lists
// in it and of what it refers to. References that lead nowhere bring nobody.
func (a *anchors) members(uri string) []presence.Entity {
	list, err := a.find(uri)
	if err != nil {
		return nil
	}
	resolved, _ := roster.Resolve(list, a.find)
	return collect(resolved, nil)
}

func collect(l *roster.ResolvedList, to []presence.Entity) []presence.Entity {
	for i := range l.Members {
		switch m := &l.Members[i]; {
		case m.List != nil:
			to = collect(m.List, to)
		case m.Known:
			to = append(to, m.Entity)
		}
	}
	return to
}

// errAnchor: a URI selects nothing that is the user's.
var errAnchor = errors.New("policy: no list of the user's")

// find returns the element that an XCAP URI, or one relative to the XCAP root,
// selects among the user's resource lists; of several the first.
func (a *anchors) find(uri string) (*markup.Element, error) {
	path, query := uri, ""
	if u, err := url.Parse(uri); err == nil && u.Scheme != "" {
		path, query = u.EscapedPath(), u.RawQuery
	} else if i := strings.IndexByte(uri, '?'); i >= 0 {
		path, query = uri[:i], uri[i+1:]
	}
	document, selector, _ := strings.Cut(path, "/~~/")
	_, document, ok := strings.Cut("/"+document, "/resource-lists/users/")
	if !ok {
		return nil, errAnchor
	}
	xui, name, _ := strings.Cut(document, "/")
	xui, err := url.PathUnescape(xui)
	if w, ok := entityOf(xui); err != nil || !ok || w != a.user {
		return nil, errAnchor
	}
	name, err = url.PathUnescape(strings.Trim(name, "/"))
	if err != nil {
		return nil, errAnchor
	}
	root := a.document(name)
	if root == nil {
		return nil, errAnchor
	}
	if selector == "" {
		return root, nil
	}
	selector, err = url.PathUnescape(selector)
	if err != nil {
		return nil, errAnchor
	}
	query, err = url.PathUnescape(query)
	if err != nil {
		return nil, errAnchor
	}
	found, err := markup.Select(root, selector, bindings(query))
	if err != nil || len(found) == 0 || found[0].Kind != markup.ElementTarget {
		return nil, errAnchor
	}
	return found[0].Element(), nil
}

// document reads one of the user's documents, once.
func (a *anchors) document(path string) *markup.Element {
	if e, known := a.docs[path]; known || a.err != nil {
		return e
	}
	var root *markup.Element
	switch body, err := a.read(path); {
	case err == nil:
		// One that cannot be read has no members.
		root, _ = markup.Parse(body, markup.File)
	case !errors.Is(err, store.ErrNotFound):
		a.err = err
	}
	if a.docs == nil {
		a.docs = map[string]*markup.Element{}
	}
	a.docs[path] = root
	return root
}

// bindings reads the namespaces of a query (RFC 4825 §6.4); without a prefix a name is
// of the usage's default namespace (RFC 4826 §3.4.3).
func bindings(query string) []markup.Decl {
	scope := []markup.Decl{{Space: roster.ListsSpace}}
	for {
		_, rest, ok := strings.Cut(query, "xmlns(")
		if !ok {
			return scope
		}
		binding, after, _ := strings.Cut(rest, ")")
		prefix, space, _ := strings.Cut(binding, "=")
		scope = append(scope, markup.Decl{Prefix: strings.TrimSpace(prefix), Space: strings.TrimSpace(space)})
		query = after
	}
}
