package account

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/hex"
	"net/netip"
	"strings"
	"sync"
	"time"

	"pharos/presence"
)

// Digest is what a client sent (RFC 7616 §3.4), unquoted.
type Digest struct {
	Method, Username, Realm, Nonce, URI, Response string
	Algorithm, QOP, CNonce, NC                    string

	// Remote is where the request came from. The zero Addr (behind a trusted
	// front proxy, whose address many share) is throttled by user only.
	Remote netip.Addr
}

// Verdict of a digest verification.
type Verdict struct {
	User  presence.Entity
	Stale bool  // right password, old nonce: challenge again with stale=true
	Err   error // nil: verified
}

// algorithm of RFC 7616 §3.3 and RFC 8760 §2.
type algorithm uint8

const (
	algMD5 algorithm = iota
	algSHA256
	algSHA512256
	algUnknown
)

// parseAlgorithm; an absent one is MD5 (RFC 7616 §3.4).
func parseAlgorithm(s string) (alg algorithm, sess bool) {
	const suffix = "-sess"
	if n := len(s) - len(suffix); n > 0 && strings.EqualFold(s[n:], suffix) {
		s, sess = s[:n], true
	}
	switch {
	case s == "" || strings.EqualFold(s, "MD5"):
		return algMD5, sess
	case strings.EqualFold(s, "SHA-256"):
		return algSHA256, sess
	case strings.EqualFold(s, "SHA-512-256"):
		return algSHA512256, sess
	}
	return algUnknown, sess
}

// Verify checks a digest. Nonces may be used by several methods with counts out
// of order (real clients do), but a response is bound to its nonce's lifetime.
// done is called at once when the account is cached, else later on another
// goroutine. Failures and successes count for throttling.
//
// Without qop it is RFC 2069's digest, whatever nc and cnonce say (libpurple
// sends an nc). qop=auth-int is refused: we never offer it.
func (a *Accounts) Verify(d Digest, done func(Verdict)) {
	u, ok := a.digestUser(&d)
	if !ok {
		a.failed(d.Remote, presence.Entity{})
		done(Verdict{Err: ErrNotAuthorized})
		return
	}
	if a.refuse(d.Remote, u) {
		done(Verdict{User: u, Err: ErrThrottled})
		return
	}
	if e := a.cache.peek(u); e != nil {
		done(a.verify(&d, u, e))
		return
	}
	a.verifyLater(d, u, done)
}

// verifyLater is apart so that a cached account costs no allocation.
func (a *Accounts) verifyLater(d Digest, u presence.Entity, done func(Verdict)) {
	a.cache.get(u, func(e *entry, err error) {
		if err != nil {
			done(Verdict{User: u, Err: err})
			return
		}
		done(a.verify(&d, u, e))
	})
}

// digestUser is whose credentials these claim to be. The user name comes with or
// without @domain, in any case.
func (a *Accounts) digestUser(d *Digest) (presence.Entity, bool) {
	if !a.domains[d.Realm] || d.Username == "" {
		return presence.Entity{}, false
	}
	name := d.Username
	if n := len(name) - len(d.Realm) - 1; n > 0 && name[n] == '@' && strings.EqualFold(name[n+1:], d.Realm) {
		name = name[:n]
	}
	return presence.Entity{User: strings.ToLower(name), Domain: d.Realm}, true
}

func (a *Accounts) verify(d *Digest, u presence.Entity, e *entry) Verdict {
	if !a.matches(d, e) {
		a.failed(d.Remote, u)
		return Verdict{User: u, Err: ErrNotAuthorized}
	}
	if !a.nonces.fresh(d.Nonce, time.Now()) {
		// RFC 7616 §3.3: stale only when the response is right, so that the
		// client need not ask its user again.
		return Verdict{User: u, Stale: true, Err: ErrNotAuthorized}
	}
	a.throttle.succeeded(d.Remote, u)
	return Verdict{User: u}
}

var scratch = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

// matches computes the response (RFC 7616 §3.4.1) and compares. For an unknown
// user it computes as well, against a key that nobody has.
func (a *Accounts) matches(d *Digest, e *entry) bool {
	alg, sess := parseAlgorithm(d.Algorithm)
	if alg == algUnknown || sess && d.CNonce == "" {
		return false
	}
	qop := d.QOP != ""
	if qop && !strings.EqualFold(d.QOP, "auth") {
		return false
	}
	p := scratch.Get().(*[]byte)
	defer scratch.Put(p)
	b := (*p)[:0]
	var ha1, ha2 [64]byte
	n := e.ha1(ha1[:0], alg, d.Username)
	if sess {
		b = join(append(b[:0], ha1[:n]...), d.Nonce, d.CNonce)
		n = hexSum(ha1[:0], alg, b)
	}
	b = join(append(b[:0], d.Method...), d.URI)
	hexSum(ha2[:0], alg, b)
	b = join(append(b[:0], ha1[:n]...), d.Nonce)
	if qop {
		b = join(b, d.NC, d.CNonce, d.QOP)
	}
	b = append(append(b, ':'), ha2[:n]...)
	hexSum(ha1[:0], alg, b)
	*p = b[:0]
	return len(d.Response) == n && sameHex(ha1[:n], d.Response) && e.known
}

func join(b []byte, parts ...string) []byte {
	for _, s := range parts {
		b = append(append(b, ':'), s...)
	}
	return b
}

// hexSum writes the hash of b in hex to to, and returns its length.
func hexSum(to []byte, alg algorithm, b []byte) int {
	switch alg {
	case algMD5:
		s := md5.Sum(b)
		to = hex.AppendEncode(to, s[:])
	case algSHA256:
		s := sha256.Sum256(b)
		to = hex.AppendEncode(to, s[:])
	default:
		s := sha512.Sum512_256(b)
		to = hex.AppendEncode(to, s[:])
	}
	return len(to)
}

// sameHex compares in constant time; capitals from clients are taken.
func sameHex(want []byte, got string) bool {
	var low [64]byte
	for i := range got {
		c := got[i]
		if 'A' <= c && c <= 'F' {
			c |= 0x20
		}
		low[i] = c
	}
	return subtle.ConstantTimeCompare(want, low[:len(got)]) == 1
}
