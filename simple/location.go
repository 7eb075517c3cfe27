package simple

import (
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"time"

	"pharos/fields"
	"pharos/presence"
	"pharos/sip"
)

// A binding is one contact of an address-of-record (RFC 3261 §10). Bindings are
// values: a change makes a new list.
type binding struct {
	contact  string // URI
	params   string // of the Contact, without expires: q, +sip.instance, methods, ...
	instance string // +sip.instance; empty without
	regID    uint32 // RFC 5626; 0 without
	callID   string
	cseq     uint32
	path     string // RFC 3327: value of the Route header towards it
	token    string // of the flow it was registered over
	agent    string // User-Agent, for people
	node     string // where the flow is, of several nodes; empty: there is one
	expires  time.Time
	updated  time.Time

	flow   *sip.Flow // nil after a restart, until found by token
	cancel func()    // of OnClose; nil without
}

// outbound reports whether the binding stands and falls with its flow
// (RFC 5626 §6).
func (b *binding) outbound() bool { return b.regID > 0 && b.instance != "" }

// onlyFlow reports whether nothing but the flow leads to the contact.
func (b *binding) onlyFlow() bool {
	u, err := sip.ParseURI(b.contact)
	return err != nil || unreachable(u.Host) || u.Transport() == "WS" || u.Transport() == "WSS"
}

// replaces reports whether a new binding takes the place of an old one: the same
// URI (RFC 3261 §10.3 step 7), or the same instance and reg-id, whatever the URI
// is now (RFC 5626 §6).
func (b *binding) replaces(old *binding) bool {
	if b.outbound() && old.outbound() {
		return b.regID == old.regID && instanceEqual(b.instance, old.instance)
	}
	return !b.outbound() && !old.outbound() && sameURI(b.contact, old.contact)
}

func sameURI(a, b string) bool {
	if a == b {
		return true
	}
	x, err1 := sip.ParseURI(a)
	y, err2 := sip.ParseURI(b)
	return err1 == nil && err2 == nil && x.Equal(y)
}

// locationTable is the location service (RFC 3261 §10.1): all bindings of the
// users here, in memory; the store holds the same. Of several nodes the users here are
// those whom this node owns (registrar.go).
type locationTable struct {
	order  sync.Mutex // held over a change and its Put, so that both come in one order
	mu     sync.Mutex
	users  map[presence.Entity]*location
	here   map[presence.Entity][]*binding // of several nodes: those whose flows are on this one, whoever owns the user
	shared bool                           // there are several nodes
	sweep  *time.Timer
	closed bool
}

// location is what one user has registered.
type location struct {
	bindings []*binding
	version  uint64
	term     uint64       // of the user's home, when this was read; 0: it is being read
	readers  []func(bool) // wait for it to be read

	waiting  bool           // a stored message may be there
	fetching bool           // stored messages are being delivered
	handed   map[int64]bool // stored messages that were delivered, while others were not
}

func (t *locationTable) init(shared bool) {
	t.users, t.shared = make(map[presence.Entity]*location), shared
	t.here = make(map[presence.Entity][]*binding)
}

func (t *locationTable) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.sweep != nil {
		t.sweep.Stop()
	}
}

// get returns the live bindings of a user, best q first. The slice is the
// caller's, the bindings are not to be changed.
func (t *locationTable) get(u presence.Entity, now time.Time) []*binding {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.users[u]
	if l == nil {
		return nil
	}
	live := make([]*binding, 0, len(l.bindings))
	for _, b := range l.bindings {
		if b.expires.After(now) {
			live = append(live, b)
		}
	}
	slices.SortStableFunc(live, func(a, b *binding) int { return b.q() - a.q() })
	return live
}

func (b *binding) q() int { return sip.Address{Params: sip.Params(b.params)}.Q() }

// flow finds a live flow on which the client with that contact or instance has
// registered; nil when there is none.
func (t *locationTable) flow(u presence.Entity, contact, instance string) *sip.Flow {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.here[u]
	if l := t.users[u]; l != nil && !t.shared {
		list = l.bindings
	}
	for _, b := range list {
		if b.flow != nil && b.flow.Alive() &&
			(instanceEqual(b.instance, instance) || sameURI(b.contact, contact)) {
			return b.flow
		}
	}
	return nil
}

// count returns the numbers of users and bindings.
func (t *locationTable) count() (users, bindings int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.users {
		bindings += len(l.bindings)
	}
	return len(t.users), bindings
}

// Saved form of a user's bindings: version, number, then for each its numbers
// and strings.
const (
	locationVersion = 2
	nodelessVersion = 1 // without node
)

func appendBindings(b []byte, bs []*binding) []byte {
	b = append(b, locationVersion)
	b = binary.AppendUvarint(b, uint64(len(bs)))
	for _, x := range bs {
		b = binary.BigEndian.AppendUint64(b, uint64(x.expires.Unix()))
		b = binary.BigEndian.AppendUint64(b, uint64(x.updated.Unix()))
		b = binary.BigEndian.AppendUint32(b, x.cseq)
		b = binary.BigEndian.AppendUint32(b, x.regID)
		for _, s := range x.strings() {
			b = fields.AppendText(b, *s)
		}
	}
	return b
}

// strings are those of a binding that are saved, in order.
func (b *binding) strings() [8]*string {
	return [...]*string{&b.contact, &b.params, &b.instance, &b.callID, &b.path, &b.token, &b.agent, &b.node}
}

var errBindings = errors.New("simple: bindings cannot be read")

func decodeBindings(v []byte) ([]*binding, error) {
	if len(v) == 0 || v[0] != locationVersion && v[0] != nodelessVersion {
		return nil, errBindings
	}
	parts := 8
	if v[0] == nodelessVersion {
		parts = 7
	}
	r := fields.Of(v[1:])
	n := r.Uint()
	if n > 1<<16 {
		return nil, errBindings
	}
	var bs []*binding
	for range n {
		v := r.Take(24)
		if v == nil {
			return nil, errBindings
		}
		x := &binding{
			expires: time.Unix(int64(binary.BigEndian.Uint64(v)), 0),
			updated: time.Unix(int64(binary.BigEndian.Uint64(v[8:])), 0),
			cseq:    binary.BigEndian.Uint32(v[16:]),
			regID:   binary.BigEndian.Uint32(v[20:]),
		}
		all := x.strings()
		for _, s := range all[:parts] {
			*s = r.Text()
		}
		bs = append(bs, x)
	}
	if !r.Done() {
		return nil, errBindings
	}
	return bs, nil
}
