package sip

import (
	"net/netip"
	"sync"
)

// connKey names what a connection can be reused for (RFC 3261 §18.1.1,
// RFC 5923): transport, address, and for TLS the name that was verified.
type connKey struct {
	transport string
	addr      netip.AddrPort
	name      string
}

// connTable holds all connections of a stack.
type connTable struct {
	mu      sync.Mutex
	byID    map[uint64]*conn
	byKey   map[connKey]*conn
	perAddr map[netip.Addr]int
	last    uint64
	dialing int
	closed  bool
}

func (t *connTable) init() {
	t.byID = make(map[uint64]*conn)
	t.byKey = make(map[connKey]*conn)
	t.perAddr = make(map[netip.Addr]int)
}

func (t *connTable) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byID)
}

func (t *connTable) get(id uint64) *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id]
}

// source is what ConnectionsPerAddress counts by: an IPv6 host has a whole /64.
func source(a netip.Addr) netip.Addr {
	if a.Is6() {
		if p, err := a.WithZone("").Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return a
}

// add takes in an accepted connection; false when a limit is reached.
func (t *connTable) add(c *conn, l *Limits) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.byID) >= l.Connections {
		return false
	}
	if a := c.flow.addr.Addr(); c.accepted && a.IsValid() {
		a = source(a)
		if t.perAddr[a] >= l.ConnectionsPerAddress {
			return false
		}
		t.perAddr[a]++
	}
	t.last++
	c.id = t.last
	t.byID[c.id] = c
	return true
}

// alias makes an accepted connection reusable for requests to key (RFC 5923).
func (t *connTable) alias(c *conn, key connKey) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[c.id] != c || c.key != (connKey{}) {
		return // one alias for each connection: it bounds the table
	}
	if _, taken := t.byKey[key]; !taken {
		c.key = key
		t.byKey[key] = c
	}
}

// findOrAdd returns the connection for key, or takes in the one that fresh
// makes, which is then to be opened. Nil when a limit is reached.
func (t *connTable) findOrAdd(key connKey, l *Limits, fresh func() *conn) (c *conn, open bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.byKey[key]; c != nil {
		return c, false
	}
	if t.closed || len(t.byID) >= l.Connections || t.dialing >= l.Dials {
		return nil, false
	}
	c = fresh()
	t.last++
	c.id, c.key = t.last, key
	t.byID[c.id], t.byKey[key] = c, c
	t.dialing++
	return c, true
}

// dialed tells that an opening has ended, well or badly.
func (t *connTable) dialed() {
	t.mu.Lock()
	t.dialing--
	t.mu.Unlock()
}

func (t *connTable) remove(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID[c.id] != c {
		return
	}
	delete(t.byID, c.id)
	if t.byKey[c.key] == c {
		delete(t.byKey, c.key)
	}
	if a := c.flow.addr.Addr(); c.accepted && a.IsValid() {
		a = source(a)
		if t.perAddr[a]--; t.perAddr[a] <= 0 {
			delete(t.perAddr, a)
		}
	}
}

func (t *connTable) closeAll(cause error) {
	t.mu.Lock()
	t.closed = true
	all := make([]*conn, 0, len(t.byID))
	for _, c := range t.byID {
		all = append(all, c)
	}
	t.mu.Unlock()
	for _, c := range all {
		c.close(cause)
	}
}
