package xcap

import (
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"pharos/account"
	"pharos/presence"
)

// principal is who a client has proved to be.
type principal struct {
	user presence.Entity
	peer bool // a trusted address that speaks for itself, not for a user
}

// throttleWait is the Retry-After for addresses that guess passwords.
const throttleWait = 30 * time.Second

// assertedIdentity are the fields in which an authentication proxy names the user
// that it has authenticated (3GPP TS 24.109 §5.3, OMA XDM §6.3.1).
var assertedIdentity = []string{"X-3GPP-Asserted-Identity", "X-XCAP-Asserted-Identity"}

// authenticate finds out who the client is: by the word of a trusted proxy, by
// Digest (RFC 7616), or by Basic under TLS (RFC 4825 §8, §14).
//
// It comes before anything is said of the user that the URI names: strangers are not
// told who exists, though RFC 4825 §8 would have a 404 first.
func (r *request) authenticate() error {
	remote := r.remote()
	if r.trusted(remote) {
		for _, field := range assertedIdentity {
			if v := r.Header.Get(field); v != "" {
				return r.assert(v)
			}
		}
		remote = netip.Addr{} // many share it
	}
	realm := r.sel.user.Domain
	scheme, rest, _ := strings.Cut(strings.TrimLeft(r.Header.Get("Authorization"), " \t"), " ")
	switch strings.ToLower(scheme) {
	case "digest":
		return r.digest(parseDigest(rest), realm, remote)
	case "basic":
		return r.basic(rest, realm, remote)
	case "":
		if r.sel.global && r.trusted(r.remote()) {
			r.who.peer = true
			return nil
		}
	}
	return r.challenge(realm, false, "log in with the name and password of the SIP or XMPP account")
}

func (r *request) remote() netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

func (r *request) trusted(a netip.Addr) bool {
	for _, p := range r.edge.Trusted {
		if a.IsValid() && p.Contains(a) {
			return true
		}
	}
	return false
}

// assert takes the first identity in the list that is a user's of this server.
func (r *request) assert(list string) error {
	for id := range strings.SplitSeq(list, ",") {
		id = strings.Trim(strings.TrimSpace(id), `"<>`)
		if u, err := r.edge.xui(id); err == nil {
			r.who.user = u
			return r.exists(u)
		}
	}
	return say(http.StatusForbidden, "the asserted identity is no user of this server")
}

// exists tells a trusted proxy, and nobody else, that a user is not there (RFC 4825 §8).
func (r *request) exists(u presence.Entity) error {
	type answer struct {
		ok  bool
		err error
	}
	c := make(chan answer, 1)
	r.edge.Accounts.Exists(u, func(ok bool, err error) { c <- answer{ok, err} })
	select {
	case a := <-c:
		if a.err != nil {
			return a.err
		}
		if !a.ok {
			return say(http.StatusNotFound, "there is no user %s here", u)
		}
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

// digest verifies Digest credentials.
func (r *request) digest(c map[string]string, realm string, remote netip.Addr) error {
	if !r.sameTarget(c["uri"]) {
		return say(http.StatusBadRequest, "the uri in the Digest credentials is not the request's") // RFC 7616 §3.4.6
	}
	if given := strings.ToLower(c["realm"]); r.edge.domains[given] {
		realm = given
	} else {
		return r.challenge(realm, false, "the credentials are for another realm")
	}
	verdict := make(chan account.Verdict, 1)
	r.edge.Accounts.Verify(account.Digest{
		Method: r.Method, Username: c["username"], Realm: realm, Nonce: c["nonce"], URI: c["uri"], Response: c["response"],
		Algorithm: c["algorithm"], QOP: c["qop"], CNonce: c["cnonce"], NC: c["nc"], Remote: remote,
	}, func(v account.Verdict) { verdict <- v })
	select {
	case v := <-verdict:
		if v.Stale {
			return r.challenge(realm, true, "the nonce is too old")
		}
		return r.verified(v.User, v.Err)
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

// sameTarget compares the uri of a digest with the request's: clients escape in
// one place what they leave raw in the other (xcaplib sends quotes), and some give the
// whole URI.
func (r *request) sameTarget(uri string) bool {
	if uri == r.RequestURI {
		return true
	}
	plain := func(s string) string {
		if _, rest, ok := strings.Cut(s, "://"); ok && !strings.HasPrefix(s, "/") {
			s = rest[max(strings.IndexByte(rest, '/'), 0):]
		}
		if d, err := url.PathUnescape(s); err == nil {
			return d
		}
		return s
	}
	return uri != "" && plain(uri) == plain(r.RequestURI)
}

// basic verifies a password (RFC 7617), under TLS only (RFC 4825 §14).
func (r *request) basic(credentials, realm string, remote netip.Addr) error {
	if r.TLS == nil {
		return r.challenge(realm, false, "Basic needs TLS: use https, or Digest")
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(credentials))
	name, password, ok := strings.Cut(string(raw), ":")
	if err != nil || !ok {
		return say(http.StatusBadRequest, "the Basic credentials cannot be read")
	}
	u := presence.Entity{User: strings.ToLower(name), Domain: realm}
	if at := strings.LastIndexByte(name, '@'); at >= 0 {
		u = presence.Entity{User: strings.ToLower(name[:at]), Domain: strings.ToLower(name[at+1:])}
	}
	err = r.edge.Accounts.Plain(r.Context(), remote, u, password)
	switch {
	case err == nil:
		r.edge.Accounts.Succeeded(remote, u)
	case errors.Is(err, account.ErrNotAuthorized):
		r.edge.Accounts.Failed(remote, u)
	}
	return r.verified(u, err)
}

// verified goes on with the outcome of a verification.
func (r *request) verified(u presence.Entity, err error) error {
	switch {
	case err == nil:
		r.who.user = u
		return nil
	case errors.Is(err, account.ErrThrottled):
		return &failure{status: http.StatusTooManyRequests, text: "too many wrong passwords; wait", retry: throttleWait}
	case errors.Is(err, account.ErrNotAuthorized), errors.Is(err, account.ErrUnknown):
		return r.challenge(r.sel.user.Domain, false, "wrong name or password")
	}
	return err
}

// challenge answers 401, one line for each way to log in, all with the same nonce.
//
// MD5 comes first: xcaplib looks at the first line only and knows nothing else, and
// curl, which takes the first Digest line, knows both. Jitsi takes the last Digest line
// and knows both, too. RFC 7616 §3.7 would have the strongest first.
func (r *request) challenge(realm string, stale bool, why string) error {
	nonce := r.edge.Accounts.Nonce()
	h := r.w.Header()
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		line := `Digest realm="` + realm + `", nonce="` + nonce + `", algorithm=` + algorithm + `, qop="auth"`
		if stale {
			line += ", stale=true"
		}
		h.Add("WWW-Authenticate", line)
	}
	if r.TLS != nil {
		h.Add("WWW-Authenticate", `Basic realm="`+realm+`", charset="UTF-8"`)
	}
	return say(http.StatusUnauthorized, "%s", why)
}

// realm is that of the global tree: the domain that the client has come to, or
// else the first one.
func (e *Edge) realm(host string) string {
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		host = host[:i]
	}
	for host = strings.ToLower(host); host != ""; _, host, _ = strings.Cut(host, ".") {
		if e.domains[host] {
			return host
		}
	}
	return e.Domains[0]
}

// authorize applies the default policy of RFC 4825 §5.7 - the own tree for the
// user, the global tree for everybody to read - and what a usage adds.
func (r *request) authorize() error {
	read := r.Method == http.MethodGet || r.Method == http.MethodHead
	if r.sel.global {
		return nil // only reading is possible there
	}
	if r.who.user == r.sel.user {
		return nil
	}
	if read && r.usage.Reads != nil {
		ok, err := r.usage.Reads(r)
		if err != nil || ok {
			return err
		}
	}
	return say(http.StatusForbidden, "these are documents of %s, and you are %s", r.sel.user, r.who.user)
}

// parseDigest reads the parameters of Digest credentials by their names in lower case.
// It is lenient where clients need it: a quoted value may hold raw quotes as long as
// no comma or end follows them (xcaplib puts the raw selector there).
func parseDigest(s string) map[string]string {
	params := map[string]string{}
	for {
		s = strings.TrimLeft(s, " \t,")
		key, rest, ok := strings.Cut(s, "=")
		if !ok {
			return params
		}
		key = strings.ToLower(strings.TrimSpace(key))
		rest = strings.TrimLeft(rest, " \t")
		var value string
		if strings.HasPrefix(rest, `"`) {
			value, s = cutQuoted(rest[1:])
		} else {
			value, s, _ = strings.Cut(rest, ",")
			value = strings.TrimSpace(value)
		}
		if _, twice := params[key]; !twice { // the first of several counts
			params[key] = value
		}
	}
}

// cutQuoted reads a quoted-string whose opening quote is gone.
func cutQuoted(s string) (value, rest string) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
			continue
		case c == '"':
			if after := strings.TrimLeft(s[i+1:], " \t"); after == "" || after[0] == ',' {
				return b.String(), after
			}
		}
		b.WriteByte(s[i])
	}
	return b.String(), ""
}
