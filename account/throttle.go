package account

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"pharos/presence"
)

// Limits of guessing. Each failure takes from the allowance of its address, of
// its user, and of the two together; an allowance grows again with time. Whoever
// has logged in from an address before is judged there by the pair alone: neither
// a neighbour behind the same NAT nor an attacker on the same account shuts them out.
const (
	// maxAddressFailures is how many failed logins one address (IPv6: one /64) has at once; then one per minAddressWait.
	maxAddressFailures = 50
	// minAddressWait is the time after which an address may fail once more.
	minAddressWait = 2 * time.Second
	// maxUserFailures is how many failed logins one account has at once from all addresses where it has not logged in before.
	maxUserFailures = 50
	// minUserWait is the time after which it may fail once more.
	minUserWait = 10 * time.Second
	// maxPairFailures is how many failed logins one account has at once from one address.
	maxPairFailures = 20
	// minPairWait is the time after which it may fail once more from there.
	minPairWait = 5 * time.Second

	// maxThrottled bounds each of the three tables of failures; when full, an old entry makes room.
	maxThrottled = 1 << 16
	// maxKnownPairs bounds the pairs of account and address that have logged in.
	maxKnownPairs = 1 << 17
	// maxKnownTime is how long a login speaks for its pair.
	maxKnownTime = 168 * time.Hour
)

// throttle counts failures. The tables hold hashes; that two meet in one is so
// rare that its worst, one shared allowance, does not matter.
type throttle struct {
	seed    maphash.Seed
	mu      sync.Mutex
	address allowances
	user    allowances
	pair    allowances
	known   map[uint64]time.Time // when a pair last logged in
}

func (t *throttle) init() {
	t.seed = maphash.MakeSeed()
	t.address = allowances{burst: maxAddressFailures, every: minAddressWait, m: make(map[uint64]time.Time)}
	t.user = allowances{burst: maxUserFailures, every: minUserWait, m: make(map[uint64]time.Time)}
	t.pair = allowances{burst: maxPairFailures, every: minPairWait, m: make(map[uint64]time.Time)}
	t.known = make(map[uint64]time.Time)
}

// network is what counts as one address.
func network(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is6() { // a host has the whole of it
		p, _ := a.Prefix(64)
		return p.Addr()
	}
	return a
}

func (t *throttle) keys(remote netip.Addr, u presence.Entity) (address, user, pair uint64) {
	ip := network(remote).As16()
	address = maphash.Bytes(t.seed, ip[:])
	user = maphash.String(t.seed, u.User)*3 ^ maphash.String(t.seed, u.Domain)
	return address, user, address*31 + user
}

// refuse tells whether an attempt is not even looked at.
func (t *throttle) refuse(remote netip.Addr, u presence.Entity) bool {
	address, user, pair := t.keys(remote, u)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.pair.spent(pair, now) {
		return true
	}
	if at, ok := t.known[pair]; ok && now.Sub(at) < maxKnownTime {
		return false
	}
	return remote.IsValid() && t.address.spent(address, now) || t.user.spent(user, now)
}

func (t *throttle) failed(remote netip.Addr, u presence.Entity) {
	address, user, pair := t.keys(remote, u)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if remote.IsValid() {
		t.address.spend(address, now)
	}
	if u.User == "" {
		return
	}
	t.pair.spend(pair, now)
	if at, ok := t.known[pair]; !ok || now.Sub(at) >= maxKnownTime {
		t.user.spend(user, now)
	}
}

func (t *throttle) succeeded(remote netip.Addr, u presence.Entity) {
	if !remote.IsValid() {
		return // a pair with everybody behind a proxy would mean nothing
	}
	_, _, pair := t.keys(remote, u)
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if at, ok := t.known[pair]; ok {
		if now.Sub(at) < time.Hour {
			return
		}
	} else if len(t.known) >= maxKnownPairs {
		evict(t.known)
	}
	t.known[pair] = now
}

// allowances is a table of token buckets. Each is one time: when it will be full
// again (GCRA), so a bucket that is full needs no entry.
type allowances struct {
	burst int
	every time.Duration
	m     map[uint64]time.Time
}

func (a *allowances) spent(key uint64, now time.Time) bool {
	full, ok := a.m[key]
	return ok && full.Sub(now) > time.Duration(a.burst-1)*a.every
}

func (a *allowances) spend(key uint64, now time.Time) {
	full, ok := a.m[key]
	if !ok && len(a.m) >= maxThrottled {
		a.makeRoom(now)
	}
	if full.Before(now) {
		full = now
	}
	// No deeper than empty: failing on while refused does not lengthen the wait.
	a.m[key] = full.Add(a.every)
	if limit := now.Add(time.Duration(a.burst) * a.every); a.m[key].After(limit) {
		a.m[key] = limit
	}
}

// makeRoom drops what a short walk finds full, else the fullest seen.
func (a *allowances) makeRoom(now time.Time) {
	const look = 16
	n, dropped := 0, false
	var key uint64
	var best time.Time
	for k, full := range a.m {
		if full.Before(now) {
			delete(a.m, k)
			dropped = true
		} else if best.IsZero() || full.Before(best) {
			key, best = k, full
		}
		if n++; n == look {
			break
		}
	}
	if !dropped {
		delete(a.m, key)
	}
}

// evict drops the oldest of a few.
func evict(m map[uint64]time.Time) {
	const look = 16
	n := 0
	var key uint64
	var oldest time.Time
	for k, at := range m {
		if oldest.IsZero() || at.Before(oldest) {
			key, oldest = k, at
		}
		if n++; n == look {
			break
		}
	}
	delete(m, key)
}
