package simple

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/xdm"
)

// maxSelections is how many resources one subscription to changes of documents names.
const maxSelections = 200

// XCAP is what subscribers to changes of documents have to be told of the XCAP
// server (RFC 4825). The zero value knows no document.
type XCAP struct {
	// Root is the URI of the XCAP root of a domain's users, with a slash at its end;
	// for subscribers who do not name it themselves.
	Root func(domain string) string
	// Space is the default document namespace of an application usage; ok is
	// false for what XCAP clients do not see.
	Space func(auid string) (space string, ok bool)
}

func (x *XCAP) space(auid string) (string, bool) {
	if x.Space == nil {
		return "", false
	}
	return x.Space(auid)
}

// selection is what of a user's documents a subscription is about (RFC 5875 §4.4).
type selection struct {
	root string // the XCAP root as the subscriber has it; "" when he did not say
	uris []selected
}

// selected is one URI of a subscription: a document, a collection, or a node of a
// document. One that is not the user's own selects nothing.
type selected struct {
	sel   string // as it was written, without the root
	auid  string // "" for all
	path  string // of the document in the user's tree; of a collection: what its documents' begin with
	many  bool   // a collection: the URI ends with a slash
	node  string // node selector
	scope []markup.Decl
}

// everything is the selection of a SUBSCRIBE without a body: all documents of
// the user, as Blink wants them.
var everything = selection{uris: []selected{{many: true}}}

// errSelection: the body is no list of XCAP URIs.
var errSelection = errors.New("simple: not a list of XCAP URIs")

// urisOf reads the URIs out of the body of a SUBSCRIBE: the entries of
// whatever lists it has (RFC 5875 §4.4).
func urisOf(xml string) ([]string, error) {
	root, err := markup.Parse([]byte(xml), markup.Options{MaxBytes: maxListXML, Document: true})
	if err != nil {
		return nil, err
	}
	if !root.Is(roster.ListsSpace, "resource-lists") {
		return nil, errSelection
	}
	var uris []string
	var walk func(e *markup.Element)
	walk = func(e *markup.Element) {
		for c := range e.Children() {
			if uri := c.Attr("uri"); c.Is(roster.ListsSpace, "entry") && !slices.Contains(uris, uri) {
				uris = append(uris, uri)
			}
			walk(c)
		}
	}
	walk(root)
	if slices.ContainsFunc(uris, func(u string) bool { return strings.ContainsAny(u, "\r\n") }) {
		return nil, errSelection
	}
	return uris, nil
}

// selectionOf makes the selection of a user; uris are those of a SUBSCRIBE. Those that
// lead nowhere, or where the user may not read, are passed over (RFC 5875 §4.7).
func (x *XCAP) selectionOf(user presence.Entity, uris []string) selection {
	var s selection
	for _, uri := range uris {
		one, root, ok := x.selected(user, uri)
		if !ok {
			continue
		}
		if s.root == "" {
			s.root = root
		}
		s.uris = append(s.uris, one)
	}
	return s
}

// selected reads one URI, absolute or relative to the XCAP root (RFC 4825 §6).
func (x *XCAP) selected(user presence.Entity, uri string) (one selected, root string, ok bool) {
	from := 0
	if i := strings.Index(uri, "://"); i > 0 {
		if from = strings.IndexByte(uri[i+3:], '/'); from < 0 {
			return one, "", false
		}
		from += i + 3
	}
	path, query, _ := strings.Cut(uri[from:], "?")
	doc, node, hasNode := strings.Cut(path, "/~~/")
	segments := strings.Split(doc, "/")
	at, start := x.usageIn(segments)
	if at < 0 {
		if from > 0 && strings.HasSuffix(path, "/") && !hasNode {
			return selected{many: true}, uri, true // the root itself
		}
		return one, "", false
	}
	if from > 0 {
		root = uri[:from+start]
	}
	one.sel = uri[from+start:]
	one.auid = segments[at]
	one.many = !hasNode && strings.HasSuffix(doc, "/")
	rest := segments[at+1:]
	if one.many {
		rest = rest[:len(rest)-1]
	}
	if len(rest) > 0 && rest[0] != "users" || len(rest) > 1 && userOfXUI(rest[1]) != user || !one.many && len(rest) < 3 {
		return one, "", false
	}
	if len(rest) > 2 {
		p, err := url.PathUnescape(strings.Join(rest[2:], "/"))
		if err != nil {
			return one, "", false
		}
		if one.path = p; one.many {
			one.path += "/"
		}
	}
	if !hasNode {
		return one, root, true
	}
	var err error
	if one.node, err = url.PathUnescape(node); err != nil || one.node == "" {
		return one, "", false
	}
	if query, err = url.PathUnescape(query); err != nil {
		return one, "", false
	}
	space, _ := x.space(one.auid)
	one.scope = append(bindings(query), markup.Decl{Space: space}) // RFC 4825 §6.3: names without a prefix
	return one, root, true
}

// usageIn finds the application usage in a path: the first known one that a tree, or
// nothing, follows. start is where it begins.
func (x *XCAP) usageIn(segments []string) (at, start int) {
	for i, s := range segments {
		if _, known := x.space(s); known && (i+1 == len(segments) || slices.Contains([]string{"", "users", "global"}, segments[i+1])) {
			return i, start
		}
		start += len(s) + 1
	}
	return -1, 0
}

// covers tells whether a document is in a collection.
func (s *selected) covers(n xdm.Name) bool {
	return s.many && (s.auid == "" || s.auid == n.AUID) && strings.HasPrefix(n.Path, s.path)
}

// member is how a document of a collection is named to the subscriber: below what he
// wrote.
func (s *selected) member(n xdm.Name) string {
	switch depth := strings.Count(s.sel, "/"); {
	case s.path != "" || depth > 2:
		return s.sel + escapePath(strings.TrimPrefix(n.Path, s.path))
	case depth == 2: // AUID/users/
		return s.sel + xui(n.User) + "/" + escapePath(n.Path)
	}
	return n.AUID + "/users/" + xui(n.User) + "/" + escapePath(n.Path)
}

// xui is a user as a segment of a path (RFC 4825 §6.2).
func xui(u presence.Entity) string { return url.PathEscape(aor(u)) }

func escapePath(p string) string {
	segments := strings.Split(p, "/")
	for i := range segments {
		segments[i] = url.PathEscape(segments[i])
	}
	return strings.Join(segments, "/")
}
