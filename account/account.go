// Package account verifies who somebody is: one password, several derived
// keys (SIP digest MD5, SHA-256, SHA-512/256; SCRAM-SHA-1, -SHA-256), and the
// throttling of those who guess.
package account

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"log/slog"
	"net/netip"
	"strings"

	"pharos/presence"
	"pharos/store"
)

// Errors of a verification; edges map them once.
var (
	// ErrNotAuthorized: wrong password, or no such user: a client is not told which.
	ErrNotAuthorized = errors.New("account: wrong credentials")
	// ErrThrottled: not even looked at.
	ErrThrottled = errors.New("account: too many failures from this address")
	// ErrUnknown: no such user; for those who may know.
	ErrUnknown = errors.New("account: no such user")
	// ErrBusy: too many accounts are being read from the store.
	ErrBusy = errors.New("account: overloaded")
	// ErrPassword: a password that OpaqueString (RFC 8265 §4.2) does not allow.
	ErrPassword = errors.New("account: password is empty or has characters that are not allowed")
)

// Accounts is safe for concurrent use. It keeps a bounded cache over the store.
type Accounts struct {
	domains  map[string]bool
	key      []byte // of nonces and of fake SCRAM keys; kept in the store
	nonces   nonces
	cache    cache
	throttle throttle
	report   report
	store    *store.Store
}

// New; domains are the realms we answer for. The key of the nonces is kept in
// the store, so that nonces outlive a restart; when it cannot be read a new one
// is made, and clients are challenged again with stale=true.
func New(st *store.Store, domains []string) *Accounts {
	key, err := st.Secret(context.Background(), "nonce", 32)
	if err != nil || len(key) < 32 {
		slog.Error("account: no key for nonces in the store, using a new one", "error", err)
		key = make([]byte, 32)
		rand.Read(key)
	}
	a := &Accounts{domains: make(map[string]bool), key: key, store: st}
	for _, d := range domains {
		a.domains[strings.ToLower(d)] = true
	}
	a.nonces.init(a.derived("nonce"))
	a.cache.init(func(u presence.Entity) (store.Account, error) {
		return st.Account(context.Background(), u)
	})
	a.throttle.init()
	return a
}

// derived makes a key for one purpose.
func (a *Accounts) derived(purpose string) []byte {
	h := hmac.New(sha256.New, a.key)
	h.Write([]byte(purpose))
	return h.Sum(nil)
}

// Changed drops a user from the cache; to be called after the account was
// written or removed.
func (a *Accounts) Changed(u presence.Entity) { a.cache.drop(u) }

// Cached is how many accounts are in memory, those among them that are known not to be.
func (a *Accounts) Cached() int { return a.cache.count() }

// Missed drops everything from the cache: accounts may have been changed on another node
// without our hearing of it.
func (a *Accounts) Missed() { a.cache.clear() }

// Find returns a cached user in the cache's own memory, so that all that is kept of one user has one text, which is
// compared without looking at it; ok is false when the user is not cached. known tells whether there is an account: false
// says so of a cached user only, of others Exists does.
func (a *Accounts) Find(u presence.Entity) (own presence.Entity, known, ok bool) {
	return a.cache.find(u)
}

// Exists tells whether the user has an account. Cached answers call done at once
// on the caller's goroutine, others later on another.
func (a *Accounts) Exists(u presence.Entity, done func(bool, error)) {
	if !a.domains[u.Domain] {
		done(false, nil)
		return
	}
	a.cache.get(u, func(e *entry, err error) { done(e != nil && e.known, err) })
}

// load waits for the account; nil when there is none.
func (a *Accounts) load(ctx context.Context, u presence.Entity) (*entry, error) {
	if !a.domains[u.Domain] {
		return nil, nil
	}
	type answer struct {
		e   *entry
		err error
	}
	c := make(chan answer, 1)
	a.cache.get(u, func(e *entry, err error) { c <- answer{e, err} })
	select {
	case r := <-c:
		if r.err != nil || !r.e.known {
			return nil, r.err
		}
		return r.e, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Plain checks a password (RFC 4616); blocks. The caller then calls Failed or
// Succeeded, as with Scram. ErrThrottled.
func (a *Accounts) Plain(ctx context.Context, remote netip.Addr, u presence.Entity, password string) error {
	if a.refuse(remote, u) {
		return ErrThrottled
	}
	e, err := a.load(ctx, u)
	if err != nil {
		return err
	}
	ok := false
	if prepared, err := preparePassword(password); err == nil {
		// One hash against the digest key says the same as 4096 rounds against
		// SCRAM's, since both are kept.
		var key [32]byte
		if e != nil {
			key = e.sha256
		}
		sum := sha256.Sum256([]byte(u.User + ":" + u.Domain + ":" + prepared))
		ok = hmac.Equal(sum[:], key[:]) && e != nil
		if !ok && e != nil && len(e.logins) == 0 { // Derive always makes some
			ok = a.complete(ctx, u, e, prepared)
		}
	}
	if !ok {
		return ErrNotAuthorized
	}
	return nil
}

// Scram returns stored keys, or stable fake ones for an unknown user, so that the
// exchange does not tell whom we know (RFC 5802 §9); hash is "SHA-1" or "SHA-256".
// The caller runs the exchange and then calls Failed or Succeeded. ErrThrottled.
func (a *Accounts) Scram(ctx context.Context, remote netip.Addr, u presence.Entity, hash string) (store.Scram, error) {
	if a.refuse(remote, u) {
		return store.Scram{}, ErrThrottled
	}
	if hash != "SHA-1" && hash != "SHA-256" {
		return store.Scram{}, errors.New("account: no SCRAM keys for hash " + hash)
	}
	e, err := a.load(ctx, u)
	if err != nil {
		return store.Scram{}, err
	}
	switch {
	case e == nil:
		return a.fakeScram(u, hash), nil
	case hash == "SHA-1":
		return e.sha1Scram, nil
	}
	return e.sha256Scram, nil
}

func (a *Accounts) fakeScram(u presence.Entity, hash string) store.Scram {
	part := func(what string, n int) []byte { return a.derived(what + "\x00" + hash + "\x00" + u.String())[:n] }
	n := sha256.Size
	if hash == "SHA-1" {
		n = 20
	}
	return store.Scram{
		Salt: part("salt", saltSize), Iterations: Iterations,
		StoredKey: part("stored", n), ServerKey: part("server", n),
	}
}

// Failed and Succeeded count for throttling by address and user; for exchanges
// that the caller runs (SASL). Verify does it itself.
func (a *Accounts) Failed(remote netip.Addr, u presence.Entity)    { a.failed(remote, u) }
func (a *Accounts) Succeeded(remote netip.Addr, u presence.Entity) { a.throttle.succeeded(remote, u) }
