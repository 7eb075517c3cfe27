package xcap

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/schema"
	"pharos/xdm"
)

const servicesSpace = "urn:ietf:params:xml:ns:rls-services"

// rlsServices is RFC 4826 §4.4: the list services of users.
var rlsServices = &Usage{
	AUID: xdm.RLSServices, Space: servicesSpace, Type: "application/rls-services+xml",
	Spaces: []string{servicesSpace}, Grammar: servicesGrammar,
	Check: checkServices, Global: globalServices,
	// No two may have the same URI, whosever they are.
	Serial: new(sync.Mutex),
}

// servicesGrammar is RFC 4826 §4.2.
var servicesGrammar = &schema.Grammar{
	Root: &schema.Element{Space: servicesSpace, Local: "rls-services", Type: &schema.Type{
		Content: schema.Of(&schema.Element{Space: servicesSpace, Local: "service", Type: serviceType}).Times(0, schema.Unbounded),
	}},
	Closed: []string{servicesSpace, roster.ListsSpace},
}

var serviceType = &schema.Type{
	Attrs:   []schema.Attr{{Local: "uri", Type: schema.AnyURI, Required: true}},
	AnyAttr: schema.OtherAttrs(servicesSpace),
	Content: schema.Seq(
		schema.OneOf(
			schema.Of(&schema.Element{Space: servicesSpace, Local: "resource-list", Type: text(schema.AnyURI)}),
			schema.Of(&schema.Element{Space: servicesSpace, Local: "list", Type: listType}),
		),
		schema.Of(&schema.Element{Space: servicesSpace, Local: "packages", Type: &schema.Type{Content: schema.Seq(
			schema.Of(&schema.Element{Space: servicesSpace, Local: "package", Type: text(schema.String)}),
			schema.Other(servicesSpace),
		).Times(0, schema.Unbounded)}}).Times(0, 1),
		schema.Other(servicesSpace),
	),
}

// maxServices of one document. Each is looked up among users and services, with
// everybody else's changes of services waiting.
const maxServices = 500

// checkServices is RFC 4826 §4.4.5.
func checkServices(r *request, root *markup.Element, _ []byte) error {
	n := 0
	for range root.Children() {
		n++
	}
	if n > maxServices {
		return say(http.StatusRequestEntityTooLarge, "there are more than %d services", maxServices)
	}
	for service := range root.Children() {
		if err := r.ownService(service.Attr("uri")); err != nil {
			return err
		}
	}
	if err := r.uniqueServices(root); err != nil {
		return err
	}
	for service := range root.Children() {
		for c := range service.Children() {
			switch {
			case c.Is(servicesSpace, "resource-list"):
				if err := r.ownList(strings.TrimSpace(c.Text())); err != nil {
					return err
				}
			case c.Is(servicesSpace, "list"):
				if err := checkLists(c); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// ownService wants an address that a SUBSCRIBE can be for and that is ours to give:
// the URI of a service is a SIP URI (RFC 4826 §4.1), and may not be that of a
// resource that is there already (§4.4.5). That it is nobody's is for
// uniqueServices.
func (r *request) ownService(uri string) error {
	key := serviceKey(uri)
	scheme, _, _ := strings.Cut(strings.TrimSpace(uri), ":")
	u, ok := roster.EntityOf(key)
	switch {
	case !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips"):
		return conflictf(constraintFailure, "the service URI %q must be a sip or sips URI", uri)
	case r.edge.BuiltIn != nil && r.edge.BuiltIn(strings.ToLower(key)):
		return conflictf(constraintFailure, "the service URI %q is that of a user's buddy list, which every user has already", uri)
	case !ok:
		return conflictf(constraintFailure, "the service URI %q must be like sip:NAME@DOMAIN, with a name that a user could have, and no port, password or parameters", uri)
	case u.User == "":
		return conflictf(constraintFailure, "the service URI %q has no user part", uri)
	case !r.edge.domains[u.Domain]:
		return conflictf(constraintFailure, "the service URI %q is of the domain %s, which is not served here", uri, u.Domain)
	}
	return nil
}

// ownList wants a reference to a list of the same user in this XCAP root; that it
// is there is not the server's matter (RFC 4826 §4.4.5).
func (r *request) ownList(uri string) error {
	if !absoluteHTTP(uri) {
		return conflictf(constraintFailure, "the resource-list %q must be a whole http or https URI", uri)
	}
	s, err := r.reference(uri)
	switch {
	case err != nil:
		return conflictf(constraintFailure, "the resource-list %q is not in this XCAP root: %s", uri, r.failure(err).text)
	case s.auid != xdm.ResourceLists:
		return conflictf(constraintFailure, "the resource-list %q is not of the usage resource-lists", uri)
	case s.global || s.user != r.sel.user:
		return conflictf(constraintFailure, "the resource-list %q is not in your own tree", uri)
	case s.node == nil || s.node.terminal != element:
		return conflictf(constraintFailure, "the resource-list %q is not of a list in a document", uri)
	}
	return nil
}

// uniqueServices refuses URIs that another service of the server has, or that are
// somebody's address (RFC 4826 §4.4.5).
func (r *request) uniqueServices(root *markup.Element) error {
	x, err := r.edge.services.ready(r)
	if err != nil {
		return err
	}
	here := r.name()
	c := &conflict{condition: uniquenessFailure}
	seen := map[string]bool{}
	for service := range root.Children() {
		uri := strings.TrimSpace(service.Attr("uri"))
		key := serviceKey(uri)
		taken, err := r.taken(x, key, here)
		if err != nil {
			return err
		}
		if (taken || seen[key]) && len(c.exists) < maxExists {
			alt, err := r.freeServices(x, uri, seen, here)
			if err != nil {
				return err
			}
			c.phrase = `"` + uri + `" is another service's, or somebody's address`
			c.exists = append(c.exists, exists{field: r.field([]*markup.Element{root, service}, "uri"), alt: alt})
		}
		seen[key] = true
	}
	if len(c.exists) > 0 {
		return reported(c)
	}
	return nil
}

// taken tells whether a URI is out of the question for a document.
func (r *request) taken(x *serviceIndex, key string, here xdm.Name) (bool, error) {
	if owner, ok := x.owner(key); ok && owner != here {
		return r.known(owner.User) // the documents of an account that was removed are gone with it
	}
	u, ok := roster.EntityOf(key)
	if !ok || !r.edge.domains[u.Domain] || u.User == "" {
		return false, nil
	}
	return r.known(u)
}

// freeServices proposes URIs that are free now.
func (r *request) freeServices(x *serviceIndex, uri string, seen map[string]bool, here xdm.Name) ([]string, error) {
	at := strings.LastIndexByte(uri, '@')
	if at < 0 {
		at = len(uri)
	}
	var alt []string
	for i := 2; len(alt) < 2 && i < 100; i++ {
		v := uri[:at] + "-" + strconv.Itoa(i) + uri[at:]
		taken, err := r.taken(x, serviceKey(v), here)
		if err != nil {
			return nil, err
		}
		if !taken && !seen[serviceKey(v)] {
			alt = append(alt, v)
		}
	}
	return alt, nil
}

// serviceKey is a service URI for comparison: an address where it is one (RFC 4826
// §5), else as it is. Blanks around it are no part of it (xs:anyURI).
func serviceKey(uri string) string {
	uri = strings.TrimSpace(uri)
	if u, ok := roster.EntityOf(uri); ok {
		return roster.URIOf(u)
	}
	if d, err := url.PathUnescape(uri); err == nil {
		return d
	}
	return uri
}

// globalServices is the union of all users' documents called index (RFC 4826
// §4.4.7). It holds everybody's lists: only list servers may read it, which are trusted
// peers.
func globalServices(r *request) (xdm.Document, error) {
	if r.sel.path != xdm.Index {
		return xdm.Document{}, xdm.ErrNotFound
	}
	if !r.who.peer {
		return xdm.Document{}, say(http.StatusForbidden, "the services of all users are for list servers, whose addresses xcap.trusted names")
	}
	var all []xdm.Document
	err := r.edge.Documents.All(r.Context(), xdm.RLSServices, func(d xdm.Document) error {
		if d.Path == xdm.Index && d.User.Domain == r.sel.user.Domain {
			all = append(all, d)
		}
		return nil
	})
	if err != nil {
		return xdm.Document{}, err
	}
	slices.SortFunc(all, func(a, b xdm.Document) int { return strings.Compare(a.User.String(), b.User.String()) })
	b := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<rls-services xmlns=\"" + servicesSpace + "\">\n")
	for _, d := range all {
		root, err := markup.Parse(d.Body, r.edge.options())
		if err != nil {
			return xdm.Document{}, err
		}
		for service := range root.Children() {
			b = append(service.Append(append(b, "  "...), servicesSpace), '\n')
		}
	}
	return generated(append(b, "</rls-services>\n"...)), nil
}

// serviceIndex knows whose each service URI is. It is read from the store when it is
// first asked for, and follows the changes from then on.
type serviceIndex struct {
	mu     sync.Mutex
	loaded bool
	owners map[string]xdm.Name
	of     map[xdm.Name][]string
}

// ready loads the index.
func (x *serviceIndex) ready(r *request) (*serviceIndex, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.loaded {
		return x, nil
	}
	x.owners, x.of = map[string]xdm.Name{}, map[xdm.Name][]string{}
	err := r.edge.Documents.All(r.Context(), xdm.RLSServices, func(d xdm.Document) error {
		x.put(d.Name, d.Body)
		return nil
	})
	x.loaded = err == nil
	return x, err
}

func (x *serviceIndex) owner(key string) (xdm.Name, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	n, ok := x.owners[key]
	return n, ok
}

// put notes what a document holds now; a nil body is none.
func (x *serviceIndex) put(n xdm.Name, body []byte) {
	for _, key := range x.of[n] {
		if x.owners[key] == n {
			delete(x.owners, key)
		}
	}
	delete(x.of, n)
	root, err := markup.Parse(body, markup.File)
	if err != nil {
		return // gone, or not of ours
	}
	for service := range root.Children() {
		if uri := service.Attr("uri"); uri != "" {
			key := serviceKey(uri)
			x.owners[key] = n
			x.of[n] = append(x.of[n], key)
		}
	}
}

// Changed follows changes of documents; xdm calls it.
func (e *Edge) Changed(c *xdm.Change) {
	x := &e.services
	if c.Remote && c.User.Domain == "" {
		x.mu.Lock()
		x.loaded = false // read again when it is asked for
		x.mu.Unlock()
		return
	}
	for _, d := range c.Documents {
		now := d.After
		if now == nil {
			now = d.Before
		}
		if now == nil || now.AUID != xdm.RLSServices {
			continue
		}
		var body []byte
		if d.After != nil {
			body = d.After.Body
		}
		n := xdm.Name{AUID: now.AUID, User: now.User, Path: now.Path}
		if c.Remote && d.After != nil { // it has come without its body
			switch doc, err := e.Documents.Get(context.Background(), n); {
			case err == nil:
				body = doc.Body
			case !errors.Is(err, xdm.ErrNotFound):
				e.Log.Error("a list service of another node is not known", "user", n.User.String(), "err", err)
			}
		}
		x.mu.Lock()
		if x.loaded {
			x.put(n, body)
		}
		x.mu.Unlock()
	}
}

// known tells whether a user has an account.
func (r *request) known(u presence.Entity) (bool, error) {
	err := r.exists(u)
	if err == nil {
		return true, nil
	}
	if f := r.failure(err); f.status == http.StatusNotFound {
		return false, nil
	}
	return false, err
}
