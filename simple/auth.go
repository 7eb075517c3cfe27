package simple

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"pharos/account"
	"pharos/presence"
	"pharos/sip"
)

// throttleWait is the Retry-After for addresses that guess passwords.
const throttleWait = 30 * time.Second

// authenticate proves that the sender is claimed, by digest (RFC 3261 §22,
// RFC 8760) or by the word of a trusted peer (RFC 3325), and calls next with
// r.who set; else the request is answered. Every request is verified: nothing is
// concluded from an earlier one on the same connection.
//
// Whoever proves to be somebody else than claimed gets 403: nobody registers,
// publishes, subscribes or writes as another.
func (r *request) authenticate(claimed presence.Entity, next func(*request)) {
	if r.edge.believed(r.flow) {
		r.assert(claimed, next)
		return
	}
	if !r.edge.ours(claimed.Domain) {
		r.fail(403, "From Is Not An Address Of This Server")
		return
	}
	c, ok := r.credentials(claimed.Domain)
	if !ok {
		r.challenge(claimed.Domain, false)
		return
	}
	if !r.digestURI(c.URI) {
		r.fail(400, "Digest URI Is Not The Request-URI") // RFC 7616 §3.4.6
		return
	}
	d := account.Digest{
		Method: r.msg.Method, Username: c.Username, Realm: claimed.Domain, Nonce: c.Nonce, URI: c.URI,
		Response: c.Response, Algorithm: c.Algorithm, QOP: c.QOP, CNonce: c.CNonce, NC: c.NCValue,
		Remote: r.flow.Remote().Addr().Unmap(),
	}
	r.edge.accounts.Verify(d, func(v account.Verdict) { r.verified(claimed, v, next) })
}

// verified goes on with the verdict on a digest.
func (r *request) verified(claimed presence.Entity, v account.Verdict, next func(*request)) {
	switch {
	case v.Stale:
		r.challenge(claimed.Domain, true)
	case v.Err == nil && v.User != claimed:
		r.edge.count.forbidden.Add(1)
		r.fail(403, "From Is Not Who You Are")
	case v.Err == nil:
		r.who = claimed
		r.atHome(next)
	case errors.Is(v.Err, account.ErrThrottled):
		r.retryLater(throttleWait)
	case errors.Is(v.Err, account.ErrNotAuthorized), errors.Is(v.Err, account.ErrUnknown):
		r.edge.count.forbidden.Add(1)
		r.challenge(claimed.Domain, false)
	default:
		r.failed(v.Err)
	}
}

// assert takes the identity from a trusted peer: P-Asserted-Identity where it
// is there (RFC 3325 §9.1: a SIP URI, a tel URI, or one of each), else From.
func (r *request) assert(claimed presence.Entity, next func(*request)) {
	who := claimed
	if _, has := r.msg.Get(sip.HPAssertedIdentity); has {
		as, err := r.msg.Addresses(sip.HPAssertedIdentity)
		if err != nil {
			r.fail(400, "Malformed P-Asserted-Identity")
			return
		}
		for _, a := range as {
			if w, ok := entityIn(a.URI); ok {
				who = w
				break
			}
		}
	}
	if who.User == "" {
		r.fail(403, "No Identity")
		return
	}
	// The proxy vouches for its user, not for what that user wrote in From.
	if who != claimed {
		r.edge.count.forbidden.Add(1)
		r.fail(403, "From Is Not The Asserted Identity")
		return
	}
	r.who, r.trusted = claimed, true
	next(r)
}

// credentials finds the Digest credentials for a realm, in Authorization or, as
// some clients answer every challenge, Proxy-Authorization.
func (r *request) credentials(realm string) (sip.Credentials, bool) {
	for _, h := range [...]sip.Header{sip.HAuthorization, sip.HProxyAuthorization} {
		for line := range r.msg.Lines(h) {
			c, ok := sip.ParseCredentials(line)
			if ok && c.IsDigest() && strings.EqualFold(c.Realm, realm) {
				return c, true
			}
		}
	}
	return sip.Credentials{}, false
}

// digestURI reports whether a digest was made for this request: its uri names
// the same user and domain as the request-URI. Behind a further proxy, which may
// rewrite the request-URI, there is nothing to compare. sipp makes its digests
// for the address and port that it was pointed at: an address without a user is
// taken as the server's.
func (r *request) digestURI(uri string) bool {
	if uri == r.msg.URI {
		return true
	}
	if r.vias() > 1 {
		return true
	}
	// sipp also writes IPv6 addresses without brackets.
	if a := strings.TrimPrefix(uri, "sip:"); strings.Count(a, ":") > 1 && strings.Trim(a, ":.[]0123456789abcdefABCDEF") == "" {
		return true
	}
	u, err := sip.ParseURI(uri)
	if err != nil {
		return false
	}
	if _, err := netip.ParseAddr(strings.Trim(u.Host, "[]")); err == nil && u.User == "" {
		return true
	}
	return strings.EqualFold(u.User, r.uri.User) && u.Host == r.uri.Host
}

// challenge answers 401 (RFC 6665 §4.2.1.3: a notifier is a user agent, never
// 407) with one challenge for each algorithm, all with the same nonce.
//
// MD5 comes first, against the order that RFC 8760 §2.4 recommends: many phones
// look at the first challenge only and know only MD5, and libpurple answers the
// first with MD5 whatever it says. Over WebSocket it comes last: JsSIP and SIP.js
// look at the last one only, and know only MD5. Clients that can choose take the
// strongest.
func (r *request) challenge(realm string, stale bool) {
	r.edge.count.challenges.Add(1)
	algorithms := []string{sip.MD5, sip.SHA256, sip.SHA512_256}
	if ua, _ := r.msg.Get(sip.HUserAgent); oneChallenge(ua) {
		algorithms = algorithms[:1]
	}
	if t := r.flow.Transport(); t == "WS" || t == "WSS" {
		slices.Reverse(algorithms)
	}
	c := sip.Challenge{Realm: realm, Nonce: r.edge.accounts.Nonce(), QOP: "auth", Stale: stale}
	b := make([]byte, 0, 512)
	for _, c.Algorithm = range algorithms {
		b = sip.AppendChallenge(b, sip.HWWWAuthenticate, c)
	}
	r.reply(401, "", b)
}

// oneChallenge knows clients that give up when there are several challenges:
// baresip 1.0.0 does at the second line, whatever the order, and its later
// versions at SHA-512-256.
func oneChallenge(userAgent string) bool { return isBaresip(userAgent) }

func isBaresip(userAgent string) bool {
	return len(userAgent) >= 7 && strings.EqualFold(userAgent[:7], "baresip")
}

// sender is whom From names; ok is false when the request has been answered.
func (r *request) sender() (presence.Entity, bool) {
	who, ok := entityIn(r.msg.From().URI)
	if !ok || who.User == "" {
		r.fail(403, "From Is Not An Address Of This Server")
		return who, false
	}
	who, _ = r.edge.own(who)
	return who, true
}

// existing calls next when the user whom the request is for has an account,
// and answers 404 else.
func (r *request) existing(who presence.Entity, next func(*request)) {
	if who == r.known {
		next(r)
		return
	}
	r.edge.accounts.Exists(who, func(exists bool, err error) {
		switch {
		case err != nil:
			r.failed(err)
		case !exists:
			r.fail(404, "") // RFC 3261 §10.3 step 5, RFC 6665 §4.2.1.1
		default:
			next(r)
		}
	})
}
