package account

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"strings"
	"time"

	"pharos/presence"
	"pharos/store"
)

// FromScram makes an account of SCRAM keys that another server kept
// (XEP-0227); one of the two may be the zero value. The keys that cannot be
// derived from them are random, so that nothing verifies against them, until
// the user logs in with the password itself (PLAIN) or gets a new one.
func FromScram(u presence.Entity, sha1Keys, sha256Keys store.Scram) store.Account {
	a := store.Account{
		User: u, MD5: randomHex(16), SHA256: randomHex(32), SHA512256: randomHex(32),
		Sha1: sha1Keys, Sha256: sha256Keys, Created: time.Now(),
	}
	if a.Sha1.StoredKey == nil {
		a.Sha1 = randomScram(sha1.Size)
	}
	if a.Sha256.StoredKey == nil {
		a.Sha256 = randomScram(sha256.Size)
	}
	return a
}

// FromDigest makes an account of digest keys (HA1 in hex, realm = domain) that a
// SIP server kept; the SHA ones may be "". What FromScram says of missing
// keys holds here too. The error says which key is malformed.
func FromDigest(u presence.Entity, ha1, ha1SHA256, ha1SHA512256 string) (store.Account, error) {
	a := FromScram(u, store.Scram{}, store.Scram{})
	for _, k := range []struct {
		name, key string
		size      int
		to        *string
	}{{"ha1", ha1, 16, &a.MD5}, {"ha1_sha256", ha1SHA256, 32, &a.SHA256}, {"ha1_sha512t256", ha1SHA512256, 32, &a.SHA512256}} {
		if k.key == "" {
			continue
		}
		if b, err := hex.DecodeString(k.key); err != nil || len(b) != k.size {
			return a, fmt.Errorf("account: %s of %s is not %d hexadecimal digits", k.name, u, 2*k.size)
		}
		*k.to = strings.ToLower(k.key)
	}
	return a, nil
}

func randomHex(n int) string { return hex.EncodeToString(randomBytes(n)) }

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func randomScram(n int) store.Scram {
	return store.Scram{Salt: randomBytes(saltSize), Iterations: Iterations, StoredKey: randomBytes(n), ServerKey: randomBytes(n)}
}

// MaxIterations bounds the rounds of keys from elsewhere, since verifying a
// password against them costs as many.
const MaxIterations = 200_000

// complete verifies a prepared password against the SCRAM keys and the MD5 digest,
// whichever came with the account, and, when it is right, replaces the account by one with all keys. It costs about a
// millisecond, which only wrong passwords and a first login after an import pay.
func (a *Accounts) complete(ctx context.Context, u presence.Entity, e *entry, password string) bool {
	digest := md5.Sum([]byte(u.User + ":" + u.Domain + ":" + password))
	if !hmac.Equal(digest[:], e.md5[:]) && !matches(sha256.New, e.sha256Scram, password) && !matches(sha1.New, e.sha1Scram, password) {
		return false
	}
	full, err := Derive(u, password)
	if err != nil {
		return true
	}
	// A failure costs nothing but the work at the next login.
	if err := a.store.PutAccounts(ctx, []store.Account{full}); err == nil {
		a.Changed(u)
	}
	return true
}

func matches(h func() hash.Hash, k store.Scram, password string) bool {
	if k.Iterations < 1 || k.Iterations > MaxIterations {
		return false
	}
	salted, err := pbkdf2.Key(h, password, k.Salt, k.Iterations, h().Size())
	if err != nil {
		return false
	}
	m := hmac.New(h, salted)
	m.Write([]byte("Client Key"))
	stored := h()
	stored.Write(m.Sum(nil))
	return hmac.Equal(stored.Sum(nil), k.StoredKey)
}
