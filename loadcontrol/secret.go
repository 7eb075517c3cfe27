package loadcontrol

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"pharos/sip"
)

// Servers prove by digest (RFC 7616) that they have the secret of the service, under a
// realm of its own. Since they have it, they make nonces that are as good as those of a
// challenge, so that nothing has to be asked twice: a nonce is a time with a MAC. The
// digest is over the body as well (auth-int), and its cnonce is a MAC over the header
// fields that say where a dialog leads to. So on an open network, too, nobody can
// ask a server anything, lead its answers elsewhere, or say something again later.
const (
	realm = "servers.pharos"
	// nonceAge is how old or young a nonce may be by the clock of who reads it, and not from before
	// his start, since he does not know what was used then; else he is challenged with one of that clock.
	nonceAge = 60 * time.Second
	// maxNonces is how many are remembered, so that none counts twice: those of two times
	// nonceAge, of 32 servers, each a second. Beyond it nothing is believed.
	maxNonces = 1 << 16
)

func mac(key []byte, parts ...string) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		var n [8]byte
		binary.BigEndian.PutUint64(n[:], uint64(len(p)))
		h.Write(n[:])
		h.Write([]byte(p))
	}
	return h.Sum(nil)
}

// newNonce is a time, something random, and a MAC over both.
func (e *Edge) newNonce(now time.Time) string {
	b := binary.BigEndian.AppendUint64(nil, uint64(now.UnixMilli()))
	b = append(b, make([]byte, 12)...)
	rand.Read(b[8:])
	b = append(b, mac(e.c.Key, "nonce", string(b))[:16]...)
	return base64.RawURLEncoding.EncodeToString(b)
}

// nonce tells whether a nonce is one of ours, and whether it is of this time.
func (e *Edge) nonce(s string, now time.Time) (good, fresh bool) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) != 36 || !hmac.Equal(b[20:], mac(e.c.Key, "nonce", string(b[:20]))[:16]) {
		return false, false
	}
	made := time.UnixMilli(int64(binary.BigEndian.Uint64(b)))
	return true, now.Sub(made).Abs() <= nonceAge && !made.Before(e.seen.from(now))
}

// cnonce binds the header fields of a request; what has no digest over it could be
// changed on the way.
func (e *Edge) cnonce(m *sip.Message) string {
	parts := []string{"request"}
	for _, h := range [...]sip.Header{sip.HFrom, sip.HTo, sip.HCallID, sip.HCSeq, sip.HContact, sip.HEvent, sip.HExpires,
		sip.HSubscriptionState, sip.HTargetDialog, sip.HContentType} {
		v, has := m.Get(h)
		if !has {
			v = "\x00"
		}
		parts = append(parts, v)
	}
	return base64.RawURLEncoding.EncodeToString(mac(e.c.Key, parts...)[:18])
}

func (e *Edge) digest(user, method, uri, nonce, nc, cnonce, body string) string {
	hash := func(parts ...string) string {
		sum := sha256.Sum256([]byte(strings.Join(parts, ":")))
		return hex.EncodeToString(sum[:])
	}
	// RFC 7616 §3.4.1 to §3.4.3, with SHA-256 and auth-int.
	a1 := hash(user, realm, hex.EncodeToString(e.c.Key))
	a2 := hash(method, uri, hash(body))
	return hash(a1, nonce, nc, cnonce, "auth-int", a2)
}

// sign adds our credentials to a request. nonce is that of a challenge, or "".
func (e *Edge) sign(out sip.OutRequest, nonce string) (sip.OutRequest, error) {
	b := append([]byte(nil), out.Method+" "+out.URI+" SIP/2.0\r\nVia: SIP/2.0/UDP 0.invalid;branch=z9hG4bK0\r\n"...)
	b = append(b, out.Header...)
	m, err := sip.Parse(append(b, "Content-Length: 0\r\n\r\n"...))
	if err != nil {
		return out, err
	}
	if nonce == "" {
		nonce = e.newNonce(time.Now().Add(e.skew))
	}
	c := sip.Credentials{Scheme: "Digest", Username: e.c.Name, Realm: realm, Nonce: nonce, URI: out.URI, Algorithm: sip.SHA256,
		CNonce: e.cnonce(m), QOP: "auth-int", NC: 1}
	c.Response = e.digest(c.Username, out.Method, c.URI, nonce, "00000001", c.CNonce, string(out.Body))
	out.Header = sip.AppendCredentials(out.Header, sip.HAuthorization, c)
	return out, nil
}

// proof is what the credentials of a request are worth.
type proof uint8

const (
	unproven proof = iota // there are none of a server
	stale                 // right, but of another time: to be challenged
	wrong
	proven
)

// verify looks who sent a request.
func (e *Edge) verify(m *sip.Message, now time.Time) (server string, p proof) {
	for _, c := range m.Credentials(sip.HAuthorization) {
		if !c.IsDigest() || c.Realm != realm {
			continue
		}
		good, fresh := e.nonce(c.Nonce, now)
		want := e.digest(c.Username, m.Method, c.URI, c.Nonce, c.NCValue, c.CNonce, m.Body)
		switch {
		case c.QOP != "auth-int" || !strings.EqualFold(c.Algorithm, sip.SHA256) || c.URI != m.URI || c.Username == "",
			subtle.ConstantTimeCompare([]byte(want), []byte(c.Response)) != 1,
			subtle.ConstantTimeCompare([]byte(e.cnonce(m)), []byte(c.CNonce)) != 1:
			return "", wrong
		case !good || !fresh || !e.seen.first(c.Nonce, now):
			return c.Username, stale
		}
		return c.Username, proven
	}
	return "", unproven
}

// challenge answers 401 with a nonce of our time.
func (e *Edge) challenge(tx *sip.ServerTx, again bool) {
	tx.Respond(sip.Response{Status: 401, Header: sip.AppendChallenge(nil, sip.HWWWAuthenticate,
		sip.Challenge{Realm: realm, Nonce: e.newNonce(time.Now().Add(e.skew)), QOP: "auth-int", Algorithm: sip.SHA256, Stale: again})})
}

// challenged is the nonce of a 401 that says only that our clocks differ.
func challenged(m *sip.Message) (nonce string, ok bool) {
	if m == nil || m.Status != 401 {
		return "", false
	}
	for _, c := range m.Challenges(sip.HWWWAuthenticate) {
		if c.Realm == realm && c.Stale {
			return c.Nonce, true
		}
	}
	return "", false
}

// nonces remembers which have been used, in two generations.
type nonces struct {
	mu       sync.Mutex
	now, was map[string]struct{}
	since    time.Time
	begun    time.Time // to the millisecond, as nonces have it
}

// from is since when all that were used are known.
func (n *nonces) from(now time.Time) time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Before(n.begun) { // the clock was set back: it would be a while until anything counted
		n.begun = time.UnixMilli(now.UnixMilli())
	}
	return n.begun
}

// first tells whether a nonce is used for the first time.
func (n *nonces) first(nonce string, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Sub(n.since) >= 2*nonceAge { // none of before can be fresh any more
		n.was, n.now, n.since = n.now, make(map[string]struct{}), now
	}
	_, a := n.now[nonce]
	_, b := n.was[nonce]
	if a || b || len(n.now) >= maxNonces {
		return false
	}
	n.now[nonce] = struct{}{}
	return true
}
