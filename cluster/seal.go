package cluster

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
)

const (
	sealVersion = 1
	sealID      = 16 // bytes by which a process is told from others
	sealHead    = 1 + sealID + 8
	sealTag     = 16
	maxSealers  = 4 * MaxNodes // processes whose keys are remembered
	sealWindow  = 1024         // how far one datagram may be overtaken by others
)

var errSealed = errors.New("cluster: a sealed datagram does not open")

// sealer seals datagrams on a bus on which there may be others: AES-256-GCM with
// a key for each process, made from the secret and a random number, and a nonce that
// counts, so that none comes twice. A datagram is
//
//	version (1 byte), process (16), count (8), sealed bytes and tag
//
// and says nothing without the names of sender and receiver. What was taken once
// is not taken again, as long as the process that sent it is remembered.
type sealer struct {
	key   []byte
	self  [sealID]byte
	own   cipher.AEAD
	count atomic.Uint64

	mu    sync.Mutex
	peers map[[sealID]byte]*sealPeer
}

type sealPeer struct {
	aead   cipher.AEAD
	newest uint64
	seen   [sealWindow / 64]uint64 // bit n%sealWindow: n has come; for those in the window
}

func newSealer(s *Secret) (*sealer, error) {
	l := &sealer{key: s.seal, peers: map[[sealID]byte]*sealPeer{}}
	if _, err := rand.Read(l.self[:]); err != nil {
		return nil, err
	}
	var err error
	l.own, err = l.aead(l.self)
	return l, err
}

func (l *sealer) aead(process [sealID]byte) (cipher.AEAD, error) {
	key, err := hkdf.Expand(sha256.New, l.key, "process "+string(process[:]), 32) // RFC 5869 §2.3
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

func sealNonce(count uint64) []byte {
	return binary.BigEndian.AppendUint64(make([]byte, 4, 12), count)
}

func sealNames(from, to string) []byte { return []byte(from + "\x00" + to) }

// seal makes what goes over the bus.
func (l *sealer) seal(from, to string, b []byte) []byte {
	count := l.count.Add(1)
	out := make([]byte, 0, sealHead+len(b)+sealTag)
	out = append(append(out, sealVersion), l.self[:]...)
	out = binary.BigEndian.AppendUint64(out, count)
	return l.own.Seal(out, sealNonce(count), b, sealNames(from, to))
}

// open takes it apart; process is who has sealed it. The bytes are b's.
func (l *sealer) open(from, to string, b []byte) (plain []byte, process [sealID]byte, err error) {
	if len(b) < sealHead+sealTag || b[0] != sealVersion {
		return nil, process, errSealed
	}
	copy(process[:], b[1:])
	count := binary.BigEndian.Uint64(b[1+sealID:])
	l.mu.Lock()
	defer l.mu.Unlock()
	p, known := l.peers[process]
	if !known {
		aead, err := l.aead(process)
		if err != nil {
			return nil, process, err
		}
		p = &sealPeer{aead: aead}
	}
	plain, err = p.aead.Open(b[sealHead:sealHead], sealNonce(count), b[sealHead:], sealNames(from, to))
	if err != nil || !p.fresh(count) {
		return nil, process, errSealed
	}
	if !known {
		if len(l.peers) >= maxSealers {
			clear(l.peers)
		}
		l.peers[process] = p
	}
	return plain, process, nil
}

// fresh tells whether a count has not come before, and notes it.
func (p *sealPeer) fresh(n uint64) bool {
	bit := func(n uint64) (*uint64, uint64) { return &p.seen[n%sealWindow/64], 1 << (n % 64) }
	if n > p.newest {
		for k := max(p.newest+1, n-min(n, sealWindow-1)); k < n; k++ {
			word, mask := bit(k)
			*word &^= mask
		}
		p.newest = n
		word, mask := bit(n)
		*word |= mask
		return true
	}
	word, mask := bit(n)
	if p.newest-n >= sealWindow || *word&mask != 0 {
		return false
	}
	*word |= mask
	return true
}
