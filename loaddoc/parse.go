package loaddoc

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"pharos/markup"
)

// Parse reads a document. What it does not know is ignored, as PIDF's readers do
// (RFC 3863 §4.1.5 wants no more). The error is ErrMalformed or ErrForeign.
func Parse(b []byte) (*Document, error) {
	root, err := markup.Parse(b, markup.Options{MaxBytes: MaxBytes, MaxNodes: 1 << 17, MaxDepth: 32, Document: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	if !root.Is(pidfSpace, "presence") {
		return nil, fmt.Errorf("%w: the root element is <%s> of %q", ErrForeign, root.Local, root.Space)
	}
	r := &reader{doc: &Document{Entity: root.Attr("entity")}, servers: make(map[string]int)}
	if r.doc.Entity == "" { // RFC 3863 §4.1.1
		return nil, fmt.Errorf("%w: no entity", ErrMalformed)
	}
	// load-info first: what follows is about its servers.
	info := root.Child(Space, "load-info")
	if info == nil {
		return nil, fmt.Errorf("%w: no load-info", ErrForeign)
	}
	r.info(info)
	lists := map[string]int{"load-info": 0, "server-list": 0, "server-count": 0, "total-user-count": 0}
	for e := range root.Children() {
		switch {
		case e.Is(pidfSpace, "tuple"):
			if r.doc.Basic == "" {
				r.doc.Basic = strings.TrimSpace(e.Child(pidfSpace, "status").Child(pidfSpace, "basic").Text())
			}
		case e.Is(pidfSpace, "note"):
			if r.doc.Note == "" {
				r.doc.Note = e.Text()
			}
		case e.Space == Space:
			if n, once := lists[e.Local]; once {
				if n > 0 {
					r.fail("more than one <%s>", e.Local)
				}
				lists[e.Local]++
			}
			r.child(e)
		}
	}
	if lists["server-count"] == 0 || lists["total-user-count"] == 0 {
		r.fail("server-count or total-user-count is missing")
	}
	if r.err != nil {
		return nil, r.err
	}
	r.doc.Sort()
	return r.doc, nil
}

// reader collects a document; the first error stays.
type reader struct {
	doc     *Document
	servers map[string]int // where they are in doc.Servers
	listed  map[string]bool
	users   int
	err     error
}

func (r *reader) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("%w: "+format, append([]any{ErrMalformed}, args...)...)
	}
}

func (r *reader) child(e *markup.Element) {
	switch e.Local {
	case "server-list":
		r.doc.Listed = r.doc.Partial
		for s := range e.Children() {
			if !s.Is(Space, "server") {
				continue
			}
			if len(r.doc.Addable) == MaxServers {
				r.fail("more than %d servers that can be added", MaxServers)
				return
			}
			r.doc.Addable = append(r.doc.Addable, r.name(strings.TrimSpace(s.Text()), "server"))
		}
	case "server-count":
		r.doc.Count = r.count(e)
	case "total-user-count":
		r.doc.Users = r.count(e)
	case "user-list":
		r.userList(e)
	}
}

func (r *reader) info(info *markup.Element) {
	version, err := strconv.ParseUint(info.Attr("version"), 10, 64)
	if err != nil {
		r.fail("version: %v", err)
	}
	r.doc.Version = version
	switch state := info.Attr("state"); state {
	case "full":
	case "partial":
		r.doc.Partial = true
	default:
		r.fail("state %q is neither full nor partial", state)
	}
	for e := range info.Children() {
		if !e.Is(Space, "load") {
			continue
		}
		s := Server{ID: r.name(e.Attr("svr-id"), "svr-id"), URI: e.Attr("uri"), State: e.Attr("state")}
		if s.State == "gone" && r.doc.Partial {
			s.Gone, s.State, s.URI = true, "", ""
		} else {
			s.Level = r.level(e, "load-level")
			s.Max = r.level(e, "max-load-level")
		}
		if len(s.URI) > MaxName || len(s.State) > MaxName {
			r.fail("an attribute of server %q is too long", s.ID)
		}
		if _, twice := r.servers[s.ID]; twice {
			r.fail("server %q is there twice", s.ID)
		}
		if len(r.doc.Servers) == MaxServers {
			r.fail("more than %d servers", MaxServers)
			return
		}
		r.servers[s.ID] = len(r.doc.Servers)
		r.doc.Servers = append(r.doc.Servers, s)
	}
}

func (r *reader) userList(e *markup.Element) {
	id := e.Attr("server-id")
	at, ok := r.servers[id]
	if !ok || r.doc.Servers[at].Gone {
		r.fail("users of server %q, which has no load", id)
		return
	}
	if r.listed[id] {
		r.fail("two lists of users of server %q", id)
		return
	}
	if r.listed == nil {
		r.listed = make(map[string]bool)
	}
	r.listed[id] = true
	s := &r.doc.Servers[at]
	count := e.Child(Space, "user-count")
	if count == nil {
		r.fail("server %q has no user-count", id)
		return
	}
	s.Count = r.count(count)
	seen := make(map[string]bool)
	for c := range e.Children() {
		if !c.Is(Space, "user") {
			continue
		}
		if r.users++; r.users > MaxUsers {
			r.fail("more than %d users", MaxUsers)
			return
		}
		u := r.user(c)
		if seen[u.ID] {
			r.fail("user %q is there twice", u.ID)
			return
		}
		seen[u.ID] = true
		s.Users = append(s.Users, u)
	}
}

func (r *reader) user(e *markup.Element) User {
	u := User{ID: r.name(e.Attr("user-id"), "user-id")}
	if e.Attr("state") == "gone" && r.doc.Partial {
		u.Gone = true
		return u
	}
	for c := range e.Children() {
		if c.Space != Space {
			continue
		}
		switch c.Local {
		case "protocol":
			switch p := strings.TrimSpace(c.Text()); p {
			case "xmpp":
				u.XMPP = true
			case "sip":
				u.SIP = true
			default:
				r.fail("protocol %q of user %q", p, u.ID)
			}
		case "resource-count":
			u.Resources = r.count(c)
		case "presence-info":
			if len(c.Source()) > MaxPresence {
				r.fail("presence-info of user %q is longer than %d octets", u.ID, MaxPresence)
				continue
			}
			u.Presence = string(c.AppendInner(nil, pidfSpace))
		}
	}
	return u
}

// name checks an identifier.
func (r *reader) name(s, what string) string {
	if s == "" || len(s) > MaxName {
		r.fail("%s is missing or longer than %d octets", what, MaxName)
	}
	return s
}

func (r *reader) count(e *markup.Element) int {
	n, err := strconv.ParseUint(strings.TrimSpace(e.Text()), 10, 31)
	if err != nil {
		r.fail("%s: %v", e.Local, err)
	}
	return int(n)
}

// level reads a decimal number (xs:decimal, not negative).
func (r *reader) level(load *markup.Element, name string) float64 {
	text := strings.TrimSpace(load.Child(Space, name).Text())
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || strings.Trim(text, "0123456789.") != "" || len(text) > 32 || math.IsInf(f, 0) {
		r.fail("%s of server %q is %q, which is no level", name, load.Attr("svr-id"), text)
		return 0
	}
	return f
}
