// Package account verifies who somebody is: one password, several derived
// keys (SIP digest MD5, SHA-256, SHA-512/256; SCRAM-SHA-1, -SHA-256), and the
// throttling of those who guess.
package account

import (
	"context"
	"errors"
	"net/netip"

	"pharos/presence"
	"pharos/store"
)

// Errors of a verification; edges map them once.
var (
	ErrNotAuthorized = errors.New("account: wrong credentials")
	ErrThrottled     = errors.New("account: too many failures from this address")
	ErrUnknown       = errors.New("account: no such user")
)

// Accounts is safe for concurrent use. It keeps a bounded cache over the store.
type Accounts struct{}

// New; domains are the realms we answer for.
func New(st *store.Store, domains []string) *Accounts { panic("contract") }

// Derive makes an account from a password (RFC 7616, RFC 5802); about 2 ms of CPU.
func Derive(u presence.Entity, password string) (store.Account, error) { panic("contract") }

// Changed drops a user from the cache.
func (a *Accounts) Changed(u presence.Entity) { panic("contract") }

// Exists tells whether the user has an account. Cached answers call done at once
// on the caller's goroutine, others later on another.
func (a *Accounts) Exists(u presence.Entity, done func(bool, error)) { panic("contract") }

// Nonce makes a digest nonce: stateless, signed, with its time inside.
func (a *Accounts) Nonce() string { panic("contract") }

// Digest is what a client sent (RFC 7616 §3.4), unquoted.
type Digest struct {
	Method, Username, Realm, Nonce, URI, Response string
	Algorithm, QOP, CNonce, NC                    string
	Remote                                        netip.Addr
}

// Verdict of a digest verification.
type Verdict struct {
	User  presence.Entity
	Stale bool  // right password, old nonce: challenge again with stale=true
	Err   error // nil: verified
}

// Verify checks a digest. Nonces may be used by several methods with counts out
// of order (real clients do), but a response is bound to its nonce's lifetime.
// done is called at once when the account is cached, else later.
func (a *Accounts) Verify(d Digest, done func(Verdict)) { panic("contract") }

// Plain checks a password (RFC 4616); blocks.
func (a *Accounts) Plain(ctx context.Context, remote netip.Addr, u presence.Entity, password string) error {
	panic("contract")
}

// Scram returns stored keys, or stable fake ones for an unknown user; hash is "SHA-1" or "SHA-256".
func (a *Accounts) Scram(ctx context.Context, remote netip.Addr, u presence.Entity, hash string) (store.Scram, error) {
	panic("contract")
}

// Failed and Succeeded count for throttling by address and user.
func (a *Accounts) Failed(remote netip.Addr, u presence.Entity)    { panic("contract") }
func (a *Accounts) Succeeded(remote netip.Addr, u presence.Entity) { panic("contract") }
