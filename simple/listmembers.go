package simple

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"pharos/markup"
	"pharos/presence"
	"pharos/rlmi"
	"pharos/roster"
	"pharos/xdm"
)

// reader reads what a list refers to: documents of its owner and of the global
// tree. Those of other users are not the owner's to read (RFC 4826 §3.4.9). It is
// for one load.
type reader struct {
	edge  *Edge
	ctx   context.Context
	owner presence.Entity
	docs  map[xdm.Name]*markup.Element
	err   error // other than that there is none
}

// document reads and parses a document, once; nil when there is none.
func (r *reader) document(n xdm.Name) *markup.Element {
	if root, read := r.docs[n]; read || r.edge.documents == nil {
		return root
	}
	doc, err := r.edge.documents.Get(r.ctx, n)
	var root *markup.Element
	if err == nil {
		root, err = markup.Parse(doc.Body, markup.File)
	}
	if err != nil && !errors.Is(err, xdm.ErrNotFound) {
		r.err = err
	}
	if r.docs == nil {
		r.docs = make(map[xdm.Name]*markup.Element)
	}
	r.docs[n] = root
	return root
}

// index is the owner's index document of an application usage.
func (r *reader) index(auid string) *markup.Element {
	return r.document(xdm.Name{AUID: auid, User: r.owner, Path: xdm.Index})
}

// errReference: what a reference names is not there, or is not the owner's.
var errReference = errors.New("simple: the reference leads nowhere")

// lookup is a roster.Lookup: the element that an XCAP URI selects, or one
// relative to the XCAP root (RFC 4825 §6, RFC 4826 §3.1).
func (r *reader) lookup(uri string) (*markup.Element, error) {
	path, query := uri, ""
	if u, err := url.Parse(uri); err == nil && u.Scheme != "" {
		path, query = u.EscapedPath(), u.RawQuery
	} else {
		path, query, _ = strings.Cut(uri, "?")
	}
	path, selector, _ := strings.Cut(path, "/~~/")
	i := strings.LastIndex("/"+path, "/"+xdm.ResourceLists+"/")
	if i < 0 || selector == "" {
		return nil, errReference
	}
	n := xdm.Name{AUID: xdm.ResourceLists, User: presence.Entity{Domain: r.owner.Domain}}
	tree, rest, _ := strings.Cut(path[i+len(xdm.ResourceLists)+1:], "/")
	if tree == "users" {
		var xui string
		xui, rest, _ = strings.Cut(rest, "/")
		if n.User = userOfXUI(xui); n.User != r.owner {
			return nil, errReference
		}
	} else if tree != "global" {
		return nil, errReference
	}
	var err error
	if n.Path, err = url.PathUnescape(rest); err != nil {
		return nil, errReference
	}
	if selector, err = url.PathUnescape(selector); err != nil {
		return nil, errReference
	}
	if query, err = url.PathUnescape(query); err != nil {
		return nil, errReference
	}
	root := r.document(n)
	if root == nil {
		return nil, errReference
	}
	found, err := markup.Select(root, selector, bindings(query))
	if err != nil {
		return nil, err
	}
	if len(found) != 1 || found[0].Kind != markup.ElementTarget {
		return nil, errReference // RFC 4825 §6.3: a selector is for one
	}
	return found[0].Element(), nil
}

// userOfXUI reads an XUI, which is an address with or without its scheme.
func userOfXUI(xui string) presence.Entity {
	xui, err := url.PathUnescape(xui)
	if err != nil {
		return presence.Entity{}
	}
	if !strings.Contains(xui, ":") {
		xui = "sip:" + xui
	}
	who, _ := roster.EntityOf(xui)
	return who
}

// bindings reads the query of an XCAP URI (RFC 4825 §6.4); names without a prefix
// are those of resource lists (RFC 4826 §3.4.4).
func bindings(query string) []markup.Decl {
	scope := []markup.Decl{{Space: roster.ListsSpace}}
	for {
		_, rest, ok := strings.Cut(query, "xmlns(")
		if !ok || len(scope) > 16 {
			return scope
		}
		binding, after, _ := strings.Cut(rest, ")")
		prefix, space, _ := strings.Cut(binding, "=")
		scope = append(scope, markup.Decl{Prefix: strings.TrimSpace(prefix), Space: strings.TrimSpace(space)})
		query = after
	}
}

// service is a list under a URI of its own (RFC 4826 §4.1).
type service struct {
	element  *markup.Element
	packages []string // none: any
}

func (s *service) takes(name string) bool {
	for _, p := range s.packages {
		if strings.EqualFold(p, name) {
			return true
		}
	}
	return len(s.packages) == 0
}

// service finds a service of the owner, in the document that RFC 4826 §4.4.7
// names for it. The error is errNoList, or that of the reading.
func (r *reader) service(uri presence.Entity) (*service, error) {
	root := r.index(xdm.RLSServices)
	if r.err != nil {
		return nil, r.err
	}
	if root == nil {
		return nil, errNoList
	}
	for c := range root.Children() {
		if who, ok := roster.EntityOf(strings.TrimSpace(c.Attr("uri"))); !ok || who != uri || !c.Is(servicesSpace, "service") {
			continue
		}
		s := &service{element: c}
		if ps := c.Child(servicesSpace, "packages"); ps != nil {
			for p := range ps.Children() {
				if p.Is(servicesSpace, "package") {
					s.packages = append(s.packages, strings.TrimSpace(p.Text()))
				}
			}
		}
		return s, nil
	}
	return nil, errNoList
}

// list is the element with the service's members (RFC 4826 §4.1).
func (r *reader) list(s *service) *markup.Element {
	if l := s.element.Child(servicesSpace, "list"); l != nil {
		return l
	}
	ref := s.element.Child(servicesSpace, "resource-list")
	if ref == nil {
		return nil
	}
	l, err := r.lookup(strings.TrimSpace(ref.Text()))
	if err != nil || !l.Is(roster.ListsSpace, "list") {
		return nil
	}
	return l
}

// resolve finds the members of a list, as they are now. The error is errNoList
// when the list is gone. References that lead nowhere are left out (RFC 4826 §4.5).
func (e *Edge) resolve(owner presence.Entity, source listSource) (names []rlmi.Name, entries []listEntry, err error) {
	if source.xml != "" {
		plain, err := inflate(source.xml, maxListXML)
		if err != nil {
			return nil, nil, err
		}
		entries, err = e.contained(string(plain))
		return nil, entries, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), listRead)
	defer cancel()
	r := &reader{edge: e, ctx: ctx, owner: owner}
	who, ok := entityOf(source.uri)
	if !ok {
		return nil, nil, errNoList
	}
	var list *markup.Element
	if strings.HasSuffix(who.User, buddies) {
		list = r.index(xdm.ResourceLists) // nil: nobody in it yet
	} else {
		s, err := r.service(who)
		if err != nil {
			return nil, nil, err
		}
		list = r.list(s) // nil: a reference that leads nowhere, as of now
	}
	if list == nil {
		return nil, nil, r.err
	}
	resolved, bad := roster.Resolve(list, r.lookup)
	if r.err != nil {
		return nil, nil, r.err
	}
	if bad != nil {
		e.log.Debug("simple: references of a list lead nowhere", "list", source.uri, "owner", owner.String(), "err", bad)
	}
	return namesOf(resolved.Names), e.flatten(resolved, e.limits.Members, nil), nil
}

// flatten takes the members of a list and of those within it, at most max.
func (e *Edge) flatten(l *roster.ResolvedList, max int, entries []listEntry) []listEntry {
	for i := range l.Members {
		m := &l.Members[i]
		if m.List != nil {
			entries = e.flatten(m.List, max, entries)
			continue
		}
		if len(entries) >= max {
			return entries
		}
		entry := listEntry{uri: m.URI, names: namesOf(m.Names)}
		if m.Known && e.ours(m.Entity.Domain) && m.Entity.User != "" {
			entry.entity = m.Entity
		}
		entries = append(entries, entry)
	}
	return entries
}

func namesOf(names []roster.Name) (ns []rlmi.Name) {
	for _, n := range names {
		ns = append(ns, rlmi.Name(n))
	}
	return ns
}

// contained reads a list of RFC 5367. Lists within it are taken as well; what it
// refers to is left out, which RFC 5367 §4 allows.
func (e *Edge) contained(xml string) ([]listEntry, error) {
	root, err := markup.Parse([]byte(xml), markup.Options{MaxBytes: maxListXML, MaxNodes: maxListNodes, Document: true})
	if err != nil {
		return nil, err
	}
	if !root.Is(roster.ListsSpace, "resource-lists") {
		return nil, errors.New("not a resource-lists document")
	}
	resolved, _ := roster.Resolve(root, nil)
	return e.flatten(resolved, roster.MaxMembers, nil), nil
}
