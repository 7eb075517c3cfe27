// Package xcap is the edge for XCAP clients (RFC 4825): documents of users, and
// the elements and attributes in them, as HTTP resources. What a document of an
// application may hold, and who may read it, is a Usage; documents are kept by xdm.
package xcap

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"pharos/account"
	"pharos/engine"
	"pharos/load"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
)

// Documents is what is needed of xdm.Documents.
type Documents interface {
	Get(ctx context.Context, n xdm.Name) (xdm.Document, error)
	List(ctx context.Context, u presence.Entity, auid string) ([]xdm.Document, error)
	Update(ctx context.Context, n xdm.Name, fn func(old *xdm.Document) (body []byte, err error)) (before, after *xdm.Document, err error)
	All(ctx context.Context, auid string, fn func(xdm.Document) error) error
}

// Limits of requests. A zero field means its default.
type Limits struct {
	URI      int           // octets of a request URI; 8192
	Body     int           // octets of a request body and of a document; 524288
	Changes  int           // changes under way at once, with their bodies in memory; 64
	User     int           // of these those of one user, whose others wait; 8
	Transfer time.Duration // for the rest of a request, and for its answer; 30s
}

func (l Limits) withDefaults() Limits {
	def := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	def(&l.URI, 8192)
	def(&l.Body, 512<<10)
	def(&l.Changes, 64)
	def(&l.User, 8)
	if l.Transfer <= 0 {
		l.Transfer = 30 * time.Second
	}
	return l
}

// Config of an Edge.
type Config struct {
	Documents Documents
	Accounts  *account.Accounts
	Engine    *engine.Engine // nil: nobody watches
	Gate      *load.Gate     // nil: everything is admitted
	Domains   []string       // the first one is that of users without a domain
	Root      string         // path of the XCAP root, "/xcap"; "" for the whole of the server
	Trusted   []netip.Prefix
	// BuiltIn tells whether a URI, in small letters, is that of a list which is there
	// without an rls-services document; nil: none is.
	BuiltIn func(uri string) bool
	Limits  Limits
	Log     *slog.Logger // nil: discards
}

// Edge serves XCAP. Safe for concurrent use.
type Edge struct {
	Config
	usages  map[string]*Usage
	names   []string // of the usages, sorted
	changes chan struct{}
	turns   turns
	desks   chan struct{}
	domains map[string]bool

	services serviceIndex
}

// New makes an Edge with all usages.
func New(c Config) *Edge {
	c.Root = strings.TrimSuffix(c.Root, "/")
	c.Limits = c.Limits.withDefaults()
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	e := &Edge{Config: c, usages: map[string]*Usage{}, changes: make(chan struct{}, c.Limits.Changes), desks: newDesks(), domains: map[string]bool{}}
	for _, d := range c.Domains {
		e.domains[strings.ToLower(d)] = true
	}
	for _, u := range usages {
		e.add(u)
	}
	return e
}

// request is one request with what was found out about it.
type request struct {
	*http.Request
	edge  *Edge
	w     http.ResponseWriter
	sel   selector
	usage *Usage
	who   principal
}

// Owns tells whether a request path is of the XCAP root, or is that of a client that
// leaves the root out, who is to be told. Whoever routes requests has to ask it
// before a http.ServeMux, which would redirect selectors that hold "//".
func (e *Edge) Owns(path string) bool {
	if rest, ok := strings.CutPrefix(path, e.Root); ok && (rest == "" || rest[0] == '/') {
		return true
	}
	first, _, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	return e.usages[first] != nil
}

// Space is the default document namespace of an application usage (RFC 4825
// §5.2); ok is false when users have no documents of it.
func (e *Edge) Space(auid string) (space string, ok bool) {
	u := e.usages[auid]
	if u == nil || u.Generate != nil {
		return "", false
	}
	return u.Space, true
}

// ServeHTTP answers one request.
func (e *Edge) ServeHTTP(w http.ResponseWriter, hr *http.Request) {
	r := &request{Request: hr, edge: e, w: w}
	// Documents of others are XML, which a browser would show, scripts in it included,
	// with the passwords that it has for us.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; sandbox")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	// Bounds of the listener are for heads; a body may take longer.
	rc := http.NewResponseController(w)
	_ = rc.SetReadDeadline(time.Now().Add(e.Limits.Transfer)) // in-memory connections of tests have none
	_ = rc.SetWriteDeadline(time.Now().Add(2 * e.Limits.Transfer))
	if err := r.serve(); err != nil {
		r.fail(err)
	}
}

func (r *request) serve() error {
	e := r.edge
	if len(r.RequestURI) > e.Limits.URI {
		return say(http.StatusRequestURITooLong, "the request URI has more than %d octets", e.Limits.URI)
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete:
	default: // RFC 4825 §8.1
		return notAllowed("GET, HEAD, PUT, DELETE", "XCAP knows GET, HEAD, PUT and DELETE")
	}
	if err := r.parse(); err != nil {
		return err
	}
	if err := r.authenticate(); err != nil {
		return err
	}
	if err := r.authorize(); err != nil {
		return err
	}
	if err := r.sel.err; err != nil { // RFC 4825 §8: after authorization
		return err
	}
	change := r.Method == http.MethodPut || r.Method == http.MethodDelete
	if change && (r.usage.Generate != nil || r.sel.global) { // no user writes into the global tree
		return notAllowed("GET, HEAD", "this document is made by the server")
	}
	if change && r.sel.node != nil && r.sel.node.terminal == namespaces {
		return notAllowed("GET, HEAD", "namespace bindings cannot be changed") // RFC 4825 §8.2, §8.4
	}
	if err := r.admit(change); err != nil {
		return err
	}
	if !change {
		return r.get()
	}
	leave, err := r.turn()
	if err != nil {
		return err
	}
	defer leave()
	select {
	case e.changes <- struct{}{}:
	default:
		return &failure{status: http.StatusServiceUnavailable, text: "too many changes are under way", retry: time.Second}
	}
	defer func() { <-e.changes }()
	if r.Method == http.MethodPut {
		return r.put()
	}
	return r.delete()
}

// turn waits until the user has few enough changes under way, for as long as the
// request may take.
func (r *request) turn() (leave func(), err error) {
	ctx, cancel := context.WithTimeout(r.Context(), r.edge.Limits.Transfer)
	defer cancel()
	if leave, err = r.edge.turns.enter(ctx, r.who.user, r.edge.Limits.User); err != nil {
		return nil, &failure{status: http.StatusServiceUnavailable, text: "too many changes of yours are under way", retry: time.Second}
	}
	return leave, nil
}

// admit asks the gate. A change is work like a publication; reading is what a
// client does that has just come back, and is shed last.
func (r *request) admit(change bool) error {
	if r.edge.Gate == nil {
		return nil
	}
	class := load.Refresh
	if change {
		class = load.Publish
	}
	if ok, retry := r.edge.Gate.Enter(class); !ok {
		return &failure{status: http.StatusServiceUnavailable, text: "the server is overloaded", retry: retry}
	}
	return nil
}

// fail answers with an error.
func (r *request) fail(err error) {
	f := r.failure(err)
	h := r.w.Header()
	h.Set("Cache-Control", noCache)
	if f.allow != "" {
		h.Set("Allow", f.allow)
	}
	if f.accept != "" {
		h.Set("Accept", f.accept)
	}
	if f.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(f.retry.Seconds()+0.5)))
	}
	body := []byte(f.text + "\n")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if f.conflict != nil {
		h.Set("Content-Type", "application/xcap-error+xml")
		body = f.conflict.append(nil)
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	r.w.WriteHeader(f.status)
	if r.Method != http.MethodHead {
		_, _ = r.w.Write(body)
	}
}

// failure finds the answer to an error.
func (r *request) failure(err error) *failure {
	var f *failure
	var big *http.MaxBytesError
	switch {
	case errors.As(err, &f):
		return f
	case errors.Is(err, xdm.ErrNotFound):
		return say(http.StatusNotFound, "there is no such document")
	case errors.Is(err, xdm.ErrTooMany):
		return say(http.StatusInsufficientStorage, "you have as many documents, contacts or blocked addresses as the server keeps for a user")
	case errors.Is(err, xdm.ErrTooLarge):
		return say(http.StatusInsufficientStorage, "your documents would be larger together than the server keeps for a user")
	case errors.As(err, &big):
		return say(http.StatusRequestEntityTooLarge, "the body has more than %d octets", big.Limit)
	case errors.Is(err, account.ErrBusy), store.Transient(err), errors.Is(err, engine.ErrOverload), errors.Is(err, engine.ErrStopped),
		errors.Is(err, engine.ErrGone), errors.Is(err, engine.ErrTransient):
		return &failure{status: http.StatusServiceUnavailable, text: "the server cannot do it now; try again", retry: 2 * time.Second}
	}
	r.edge.Log.Error("xcap: request failed", "method", r.Method, "uri", r.RequestURI, "user", r.who.user.String(), "err", err)
	return say(http.StatusInternalServerError, "the server has failed; its log says why")
}

// noCache: other resources change with this one, which no cache can know (RFC 4825 §9).
const noCache = "private, no-cache"
