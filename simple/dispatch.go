package simple

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"pharos/account"
	"pharos/engine"
	"pharos/load"
	"pharos/presence"
	"pharos/sip"
	"pharos/store"
)

// Allow and Supported as we announce them.
const (
	allow     = "Allow: OPTIONS, REGISTER, PUBLISH, SUBSCRIBE, MESSAGE\r\n"
	supported = "Supported: path, outbound\r\n"
)

// request is one request on its way through the edge.
type request struct {
	edge    *Edge
	tx      *sip.ServerTx
	msg     *sip.Message
	flow    *sip.Flow
	uri     sip.URI         // the request-URI
	to      presence.Entity // whom the request is for
	who     presence.Entity // who sent it, once authenticated
	known   presence.Entity // has an account, as was looked up for this request
	trusted bool            // who was told by a trusted peer, not proven by digest

	sentHere bool   // by a redirect of another node
	tries    uint8  // to take over the dialog of a SUBSCRIBE, in vain
	former   string // node that has the dialog of a SUBSCRIBE that has come here; "": none

	// What a PUBLISH or SUBSCRIBE asks for, as far as it has been read. It is here and not in
	// closures, since whoever proves the sender calls back.
	pkg      *eventPackage
	event    sip.Event
	body     *bodyType     // of the NOTIFYs
	kept     string        // what the package keeps with the dialog of a SUBSCRIBE; its body may change it
	lifetime time.Duration // the wish
	dialog   *dialog       // of a SUBSCRIBE within one
}

// ServeSIP takes a request from the stack.
func (e *Edge) ServeSIP(tx *sip.ServerTx, msg *sip.Message) {
	e.count.requests.Add(1)
	if e.system != nil && e.system(tx, msg) {
		return
	}
	r := &request{edge: e, tx: tx, msg: msg, flow: tx.Flow()}
	switch msg.Method {
	case "OPTIONS", "REGISTER", "PUBLISH", "SUBSCRIBE", "MESSAGE":
	case "ACK":
		return // never answered (RFC 3261 §17)
	case "BYE", "NOTIFY", "INFO", "UPDATE", "PRACK", "CANCEL":
		// We take part in no dialog that these could belong to.
		if msg.To().Tag() != "" || msg.Method == "NOTIFY" || msg.Method == "CANCEL" {
			r.fail(481, "")
			return
		}
		r.refuseMethod(405)
		return
	case "INVITE", "REFER":
		r.refuseMethod(405)
		return
	default:
		r.refuseMethod(501) // RFC 3261 §21.5.2
		return
	}
	if !r.inspect() {
		return
	}
	switch msg.Method {
	case "OPTIONS":
		r.options()
	case "REGISTER":
		r.register()
	case "PUBLISH":
		r.publish()
	case "SUBSCRIBE":
		r.subscribe()
	case "MESSAGE":
		r.message()
	}
}

// refuseMethod answers with the Allow that 405 must and 501 may carry
// (RFC 3261 §8.2.1).
func (r *request) refuseMethod(status int) { r.reply(status, "", []byte(allow)) }

// supports names the extensions that a request may require.
func supports(method string) []string {
	if method == "SUBSCRIBE" {
		return []string{"path", "outbound", eventlistTag, containedTag}
	}
	return []string{"path", "outbound"}
}

// inspect does what RFC 3261 §8.2.2 asks of every request.
func (r *request) inspect() bool {
	u, err := sip.ParseURI(r.msg.URI)
	if err != nil {
		r.fail(400, "Malformed Request-URI")
		return false
	}
	r.uri = u
	switch u.Scheme {
	case "sip", "sips", "pres", "im": // RFC 3859, RFC 3860: the same user here
	default:
		r.fail(416, "")
		return false
	}
	// RFC 3261 §8.2.2.3; what we do not support is refused by name, so that the
	// client asks again without.
	if unknown := r.msg.Unsupported(sip.HRequire, supports(r.msg.Method)...); unknown != nil {
		r.reply(420, "", sip.AppendList(nil, sip.HUnsupported, unknown...))
		return false
	}
	switch r.msg.Method {
	case "OPTIONS":
		return true
	case "REGISTER":
		if r.msg.Body != "" && !r.bodiless() {
			return false
		}
	}
	switch r.msg.Method {
	case "SUBSCRIBE":
		if r.msg.To().Tag() != "" {
			return true // found by its dialog; the request-URI is our Contact, or what libpurple puts there
		}
	case "MESSAGE":
		if r.msg.To().Tag() != "" {
			r.fail(481, "") // of a session that we have no part in
			return false
		}
	}
	return r.served()
}

// served finds whom the request is for, and refuses what is for a domain that is not ours: we are no relay
// (RFC 3261 §21.4.5).
func (r *request) served() bool {
	who, ok := entity(r.uri)
	if !ok {
		r.fail(404, "")
		return false
	}
	if !r.edge.ours(who.Domain) && r.msg.Method != "REGISTER" {
		if to, ok := r.forwarded(); ok {
			who = to
		}
	}
	if !r.edge.ours(who.Domain) && (r.msg.Method != "REGISTER" || !r.edge.here(who.Domain, r.flow)) {
		r.fail(404, "Domain not served here")
		return false
	}
	known := false
	if r.to, known = r.edge.own(who); known {
		r.known = r.to
	}
	return true
}

// enter asks for admission; when there is none the request is answered.
func (r *request) enter(c load.Class) bool {
	if r.edge.gate == nil {
		return true
	}
	ok, retry := r.edge.gate.Enter(c)
	if !ok {
		r.retryLater(retry)
	}
	return ok
}

// retryLater answers 503 with a Retry-After (RFC 3261 §21.5.4).
func (r *request) retryLater(after time.Duration) {
	sec := max(1, int64(math.Ceil(after.Seconds())))
	r.reply(503, "", sip.AppendNumber(nil, sip.HRetryAfter, uint32(sec)))
}

// reply answers with whole header lines.
func (r *request) reply(status int, reason string, header []byte) {
	r.edge.count.answered(status)
	r.tx.Respond(sip.Response{Status: status, Reason: reason, Header: header})
}

// fail answers without further headers. reason, when not empty, tells people
// more than the standard's phrase.
func (r *request) fail(status int, reason string) { r.reply(status, reason, nil) }

// failed answers an error of the engine or the store.
func (r *request) failed(err error) {
	switch {
	case errors.Is(err, presence.ErrNoMatch):
		r.fail(412, "") // RFC 3903 §6 step 4
	case errors.Is(err, presence.ErrNoSubscription):
		r.fail(481, "") // RFC 6665 §4.1.2.2
	case errors.Is(err, presence.ErrTooMany):
		r.fail(403, "Too Many Publications Or Subscriptions")
	case passes(err):
		r.retryLater(overloadWait)
	default:
		r.edge.log.Error("simple: request failed", "method", r.msg.Method, "entity", r.to.String(), "err", err)
		r.fail(500, "")
	}
}

// passes tells whether an error goes by itself, so that the client is to ask again: a queue is full, or the
// database or another node is away.
func passes(err error) bool {
	for _, e := range []error{engine.ErrOverload, engine.ErrStopped, engine.ErrGone, engine.ErrTransient, account.ErrBusy, errNotOwner, presence.ErrOvertaken} {
		if errors.Is(err, e) {
			return true
		}
	}
	return store.Transient(err)
}

// overloadWait is the Retry-After when a queue is full and the gate did not
// say how long that takes.
const overloadWait = 5 * time.Second

// warning appends a Warning with text for people (RFC 3261 §20.43).
func (e *Edge) warning(b []byte, f *sip.Flow, text string) []byte {
	b = append(b, "Warning: 399 "...)
	b = append(b, e.contact(f)...)
	b = append(b, ' ')
	b = sip.AppendQuoted(b, text)
	return append(b, "\r\n"...)
}

// expires works out how long a REGISTER, PUBLISH or SUBSCRIBE is for. ok is
// false when it has been answered: 400 for nonsense, 423 for a time that is too
// short (RFC 3261 §10.3 step 7, RFC 3903 §6 step 5, RFC 6665 §4.2.1.1).
func (r *request) expires(def time.Duration) (d time.Duration, ok bool) {
	sec, has, err := r.msg.Seconds(sip.HExpires)
	if err != nil {
		r.fail(400, "Malformed Expires")
		return 0, false
	}
	if has {
		def = time.Duration(sec) * time.Second
	}
	return r.bounded(def)
}

func (r *request) bounded(d time.Duration) (time.Duration, bool) {
	l := &r.edge.limits
	if d > 0 && d < l.MinExpires && d < time.Hour {
		sec := uint32(math.Ceil(l.MinExpires.Seconds()))
		r.reply(423, "", sip.AppendNumber(nil, sip.HMinExpires, sec))
		return 0, false
	}
	return min(d, l.MaxExpires), true
}

// seconds rounds a duration up to whole seconds.
func seconds(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return uint32((d + time.Second - 1) / time.Second)
}

// source names where a request came from, for people.
func (r *request) source() string {
	b := make([]byte, 0, 80)
	b = append(b, r.flow.Transport()...)
	b = append(b, ' ')
	if a := r.flow.Remote(); a.IsValid() {
		b = a.AppendTo(b)
	} else {
		b = append(b, r.flow.RemoteAddr().String()...)
	}
	if ua, ok := r.msg.Get(sip.HUserAgent); ok {
		b = append(b, ' ')
		b = append(b, clip(ua, 64)...)
	}
	return string(b)
}

// clip cuts text for people to n octets.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// ourContact is the URI that a peer behind this flow reaches us at: in the
// 200 and the NOTIFYs of a subscription (RFC 6665 §4.2.2, RFC 3261 §12.1.1).
func (r *request) ourContact() string {
	b := make([]byte, 0, 64)
	scheme := "sip:"
	if r.secure() {
		scheme = "sips:"
	}
	b = append(b, scheme...)
	b = append(b, r.edge.contact(r.flow)...)
	switch t := r.flow.Transport(); t {
	case "TCP":
		b = append(b, ";transport=tcp"...)
	case "TLS":
		if scheme == "sip:" {
			b = append(b, ";transport=tls"...)
		}
	case "WS", "WSS":
		b = append(b, ";transport=ws"...) // RFC 7118 §5.2: for both
	}
	return string(b)
}

// secure reports whether the peer asks that all of a dialog be sips: by the
// request-URI, or over TLS by what it gives as its own address, which is the
// topmost Record-Route, else the Contact (RFC 3261 §12.1.1).
func (r *request) secure() bool {
	if r.uri.Scheme == "sips" {
		return true
	}
	if t := r.flow.Transport(); t != "TLS" && t != "WSS" {
		return false // nobody could reach us by TLS at this flow's port
	}
	for v := range r.msg.All(sip.HRecordRoute) {
		a, ok := sip.ParseAddress(v)
		return ok && isSIPS(a.URI)
	}
	c, has, err := r.msg.Contact()
	return err == nil && has && isSIPS(c.URI)
}

// isSIP and isSIPS look at the scheme of a URI that has been read.
func isSIP(uri string) bool { return len(uri) > 4 && strings.EqualFold(uri[:4], "sip:") }

func isSIPS(uri string) bool { return len(uri) > 5 && strings.EqualFold(uri[:5], "sips:") }

// requestURI is a Contact's URI as a request-URI, which has no header fields
// (RFC 3261 §19.1.1, table 1).
func requestURI(contact string) string {
	if strings.IndexByte(contact, '?') < 0 {
		return contact
	}
	u, err := sip.ParseURI(contact)
	if err != nil || u.Headers == "" {
		return contact // the '?' is the user's
	}
	return strings.TrimSuffix(contact, "?"+u.Headers)
}

// tooLong refuses a request with a field that is too large to be kept.
func (r *request) tooLong(name string, fields ...string) bool {
	for _, f := range fields {
		if len(f) > r.edge.limits.Field {
			r.fail(513, name+" longer than "+strconv.Itoa(r.edge.limits.Field)+" octets")
			return true
		}
	}
	return false
}
