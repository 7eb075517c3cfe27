package xcap

import (
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"pharos/presence"
	"pharos/xdm"
)

// selector is a request URI taken apart (RFC 4825 §6).
type selector struct {
	auid   string
	global bool
	user   presence.Entity // whose tree; of the global tree the domain's
	path   string          // of the document within the tree
	doc    string          // the document's part of the request path, as it came
	node   *nodeSelector   // nil: the whole document
	err    error           // what is wrong with the node selector
}

// parse reads the request URI as far as it must be known before the client is:
// which usage, and whose tree.
func (r *request) parse() error {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	if !strings.HasPrefix(path, "/") { // absolute form (RFC 9112 §3.2.2)
		u, err := url.Parse(path)
		if err != nil {
			return say(http.StatusBadRequest, "the request URI cannot be read")
		}
		path = u.EscapedPath()
	}
	rest, ok := strings.CutPrefix(path, r.edge.Root)
	if !ok {
		return say(http.StatusNotFound, "the XCAP root of this server is %s/, and the client has left it out", r.edge.Root)
	}
	if rest == "" || rest == "/" {
		return say(http.StatusNotFound, "this is an XCAP root (RFC 4825); a document is at ROOT/AUID/users/sip:user@domain/index, "+
			"what the server knows at ROOT/xcap-caps/global/index")
	}
	doc, node, hasNode := cutSeparator(rest)
	r.sel.doc = r.edge.Root + doc
	if err := r.document(doc); err != nil {
		return err
	}
	if !hasNode {
		return nil
	}
	r.sel.node, r.sel.err = parseNode(node, query, r.usage.Space)
	return nil
}

// cutSeparator splits at the first node selector separator (RFC 4825 §8), which
// may come percent-encoded.
func cutSeparator(path string) (doc, node string, found bool) {
	for at := 0; at < len(path); {
		end := strings.IndexByte(path[at+1:], '/')
		if end < 0 {
			end = len(path)
		} else {
			end += at + 1
		}
		if s := path[at+1 : end]; s == "~~" || len(s) > 2 && strings.ReplaceAll(strings.ToUpper(s), "%7E", "~") == "~~" {
			return path[:at], path[end:], true
		}
		at = end
	}
	return path, "", false
}

// document reads a document selector (RFC 4825 §6.2).
func (r *request) document(doc string) error {
	segments := strings.Split(strings.TrimPrefix(doc, "/"), "/")
	for i, s := range segments {
		d, err := url.PathUnescape(s)
		if err != nil || !utf8.ValidString(d) || strings.ContainsFunc(d, func(c rune) bool { return c < 0x20 || c == 0x7f }) {
			return say(http.StatusBadRequest, "the path segment %q is not percent-encoded UTF-8", s)
		}
		segments[i] = d
	}
	r.sel.auid = segments[0]
	r.usage = r.edge.usages[segments[0]]
	if r.usage == nil {
		return say(http.StatusNotFound, "the application usage %q is unknown; ROOT/xcap-caps/global/index lists those that this server knows%s",
			segments[0], r.edge.misplaced(segments))
	}
	if len(segments) < 2 || segments[1] != "users" && segments[1] != "global" {
		return say(http.StatusNotFound, "%q is followed by \"users\" or \"global\" (RFC 4825 §6.2)%s", segments[0], r.edge.misplaced(segments[1:]))
	}
	rest := segments[2:]
	if segments[1] == "global" {
		r.sel.global = true
		r.sel.user = presence.Entity{Domain: r.edge.realm(r.Host)}
	} else {
		if len(rest) == 0 || rest[0] == "" {
			return say(http.StatusNotFound, "the user is missing: ROOT/%s/users/sip:user@domain/index", segments[0])
		}
		user, err := r.edge.xui(rest[0])
		if err != nil {
			return err
		}
		r.sel.user = user
		rest = rest[1:]
	}
	if len(rest) > 1 && rest[len(rest)-1] == "" {
		rest = rest[:len(rest)-1] // index/ before the separator
	}
	if len(rest) == 0 || rest[0] == "" {
		return say(http.StatusNotFound, "the name of the document is missing; a usage's only one is called index, as in ROOT%s/index", strings.TrimSuffix(doc, "/"))
	}
	for _, s := range rest {
		if s == "" || s == "." || s == ".." || strings.Contains(s, "/") {
			return say(http.StatusBadRequest, "the document selector has a segment %q", s)
		}
		if strings.Contains(s, "~~") {
			return say(http.StatusBadRequest, "the node selector separator ~~ is a path segment of its own, /~~/ (RFC 4825 §6)")
		}
	}
	r.sel.path = strings.Join(rest, "/")
	return nil
}

// misplaced helps those whose client builds the URI from the wrong root: the AUID
// comes twice, or the root does.
func (e *Edge) misplaced(segments []string) string {
	if root := strings.Trim(e.Root, "/"); root != "" && segments[0] == root {
		return "; the XCAP root comes twice in this URI"
	}
	for i, s := range segments[min(1, len(segments)):] {
		if e.usages[s] != nil && len(segments) > i+2 && (segments[i+2] == "users" || segments[i+2] == "global") {
			return "; the client's XCAP root seems to be set too long: it ends before the usage's name"
		}
	}
	return ""
}

// xui reads an XCAP user identifier: the address of record with its scheme or
// without (RFC 4825 §6.2), already decoded once.
func (e *Edge) xui(s string) (presence.Entity, error) {
	unknown := say(http.StatusNotFound, "there is no user %q here; a user is written as sip:user@domain or user@domain", s)
	if scheme, rest, ok := strings.Cut(s, ":"); ok {
		switch strings.ToLower(scheme) {
		case "sip", "sips", "pres", "im", "xmpp":
			s = rest
		case "tel":
			return presence.Entity{}, say(http.StatusNotFound, "telephone numbers are no users here; use sip:user@domain")
		default:
			return presence.Entity{}, unknown
		}
	}
	if i := strings.IndexAny(s, ";?"); i >= 0 && strings.Contains(s[:i], "@") {
		s = s[:i] // parameters
	}
	at := strings.LastIndexByte(s, '@')
	u := presence.Entity{Domain: e.Domains[0]}
	name := s
	if at >= 0 {
		name, u.Domain = s[:at], strings.ToLower(s[at+1:])
	}
	// The user part of a SIP URI has escapes of its own (RFC 3261 §19.1.1).
	if d, err := url.PathUnescape(name); err == nil && utf8.ValidString(d) {
		name = d
	}
	u.User = strings.ToLower(name)
	if u.User == "" || !e.domains[u.Domain] || strings.ContainsFunc(u.User, unicode.IsControl) {
		return presence.Entity{}, unknown
	}
	return u, nil
}

// name is the document's for xdm.
func (r *request) name() xdm.Name {
	n := xdm.Name{AUID: r.sel.auid, User: r.sel.user, Path: r.sel.path}
	if r.usage.Name != nil {
		n = r.usage.Name(n)
	}
	return n
}

// root is the XCAP root as this client has reached it, without a slash at its end.
func (r *request) root() string {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	return scheme + "://" + r.Host + r.edge.Root
}

// uri is a document's URI as this client has written it.
func (r *request) uri() string { return strings.TrimSuffix(r.root(), r.edge.Root) + r.sel.doc }

// escape writes a selector in the characters of a path segment (RFC 3986 §3.3),
// leaving slashes.
func escape(s string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := range len(s) {
		c := s[i]
		if 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~!$&'()*+,;=:@/", c) >= 0 {
			b.WriteByte(c)
			continue
		}
		b.WriteByte('%')
		b.WriteByte(hex[c>>4])
		b.WriteByte(hex[c&15])
	}
	return b.String()
}
