package account

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"hash"
	"sync"
	"sync/atomic"
	"time"
)

// NonceLifetime is how long a digest nonce is good, and so how long a captured
// request could be sent again. Clients reuse a nonce for all methods and refresh
// every few minutes; each expiry costs them one more round trip.
const NonceLifetime = 5 * time.Minute

// nonces makes and checks nonces: 6 bytes of time (ms), 6 of a counter, 12 of
// HMAC-SHA-256 over both, in base64. Nothing is kept (RFC 7616 §3.3 suggests the like).
type nonces struct {
	key   []byte
	count atomic.Uint64
	macs  sync.Pool
}

const (
	nonceRaw = 24
	nonceLen = nonceRaw / 3 * 4
	nonceMAC = 12 // where the MAC begins
)

func (n *nonces) init(key []byte) {
	n.key = key
	n.count.Store(uint64(time.Now().UnixNano())) // another run does not repeat this one's
	n.macs.New = func() any { return &mac{Hash: hmac.New(sha256.New, n.key)} }
}

func (n *nonces) make(now time.Time) string {
	var b [nonceRaw]byte
	var t [8]byte
	binary.BigEndian.PutUint64(t[:], uint64(now.UnixMilli()))
	copy(b[:6], t[2:])
	binary.BigEndian.PutUint64(t[:], n.count.Add(1))
	copy(b[6:nonceMAC], t[2:])
	m := n.macs.Get().(*mac)
	copy(b[nonceMAC:], m.of(b[:nonceMAC]))
	n.macs.Put(m)
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// fresh tells whether a nonce is ours and young enough.
func (n *nonces) fresh(nonce string, now time.Time) bool {
	var raw [nonceRaw]byte
	if len(nonce) != nonceLen {
		return false
	}
	var text [nonceLen]byte
	copy(text[:], nonce)
	if _, err := base64.RawURLEncoding.Decode(raw[:], text[:]); err != nil {
		return false
	}
	m := n.macs.Get().(*mac)
	ours := hmac.Equal(m.of(raw[:nonceMAC]), raw[nonceMAC:])
	n.macs.Put(m)
	if !ours {
		return false
	}
	var t [8]byte
	copy(t[2:], raw[:6])
	age := now.Sub(time.UnixMilli(int64(binary.BigEndian.Uint64(t[:]))))
	// A little from the future: another node's clock.
	return age < NonceLifetime && age > -NonceLifetime
}

// mac is a keyed hash with room for what goes in and comes out, for reuse.
type mac struct {
	hash.Hash
	in  [nonceMAC]byte
	sum [sha256.Size]byte
}

// of is the MAC of a nonce's first part, valid until the next call.
func (m *mac) of(b []byte) []byte {
	m.Reset()
	m.Write(m.in[:copy(m.in[:], b)])
	return m.Sum(m.sum[:0])[:nonceRaw-nonceMAC]
}

// Nonce makes a digest nonce: stateless, signed, with its time inside.
func (a *Accounts) Nonce() string { return a.nonces.make(time.Now()) }
