package simple

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"pharos/load"
	"pharos/presence"
	"pharos/sip"
	"pharos/store"
)

const (
	// defaultRegister is for a contact without expires in a REGISTER without
	// Expires (RFC 3261 §10.2.1.1).
	defaultRegister = time.Hour
	// flowTimer is told to clients of RFC 5626 (§4.4): they are to send a
	// keep-alive before it is over.
	flowTimer = 120 * time.Second
	// registration is the kind of record that the store keeps bindings under.
	registrationKind = 'r'
	// sweepEvery is how often expired bindings are let go of.
	sweepEvery = time.Minute
)

// register is RFC 3261 §10.3.
func (r *request) register() {
	// Step 5: the address-of-record is To. Who may change it, steps 3 and 4, is
	// its owner; a third party (From somebody else) may not.
	to, ok := entityOf(r.msg.To().URI)
	if !ok || to.User == "" || !r.edge.ours(to.Domain) {
		r.fail(404, "")
		return
	}
	from, ok := r.sender()
	if !ok {
		return
	}
	if from != to {
		r.fail(403, "Only Its Owner Registers An Address")
		return
	}
	r.to = to
	class := load.Newcomer
	if r.edge.bindings.registered(to, time.Now()) {
		class = load.Refresh
	}
	if !r.enter(class) {
		return
	}
	r.authenticate(to, func(r *request) {
		if r.trusted {
			r.existing(r.to, (*request).bind)
			return
		}
		r.bind()
	})
}

// change is what a REGISTER asks for.
type change struct {
	add    []*binding // to be put in the place of those that they replace
	remove []*binding // only contact, instance, reg-id, Call-ID and CSeq count
	all    bool       // "*"

	// Of the REGISTER: nothing that is newer in the same Call-ID is touched.
	callID string
	cseq   uint32
}

// bind is steps 6 to 8.
func (r *request) bind() {
	contacts, star, err := r.msg.Contacts()
	if err != nil {
		r.fail(400, "Malformed Contact")
		return
	}
	now := time.Now()
	var c change
	switch {
	case star:
		sec, has, err := r.msg.Seconds(sip.HExpires)
		if err != nil || !has || sec != 0 {
			r.fail(400, "Contact \"*\" Needs Expires 0") // step 6
			return
		}
		c.all = true
	case len(contacts) == 0:
		r.commit(&c, now, false) // a query
		return
	default:
		if !r.wishes(&c, contacts, now) {
			return
		}
	}
	r.commit(&c, now, true)
}

// wishes reads the contacts of a REGISTER; false when it has been answered.
func (r *request) wishes(c *change, contacts []sip.Address, now time.Time) bool {
	def, ok := r.expires(defaultRegister)
	if !ok {
		return false
	}
	var path strings.Builder
	for v := range r.msg.All(sip.HPath) {
		if path.Len() > 0 {
			path.WriteString(", ")
		}
		path.WriteString(v)
	}
	// RFC 5626 §6: reg-id counts only from a client that supports outbound, and
	// with proxies in between only when the first of them does too.
	outbound := r.msg.HasToken(sip.HSupported, "outbound") || r.msg.HasToken(sip.HRequire, "outbound")
	agent, _ := r.msg.Get(sip.HUserAgent)
	for _, a := range contacts {
		if u, err := a.ParseURI(); err != nil || u.Scheme == "" {
			r.fail(400, "Malformed Contact")
			return false
		}
		lifetime := def
		if sec, has := a.Expires(); has {
			if lifetime, ok = r.bounded(time.Duration(sec) * time.Second); !ok {
				return false
			}
		}
		flow, token := r.wayBack(a.URI)
		b := &binding{
			contact: a.URI, params: string(a.Params.Without("expires")), instance: a.Instance(),
			callID: r.msg.CallID(), cseq: r.msg.CSeq(),
			path: path.String(), token: token, agent: clip(agent, 64),
			expires: now.Add(lifetime), updated: now, flow: flow,
		}
		if outbound {
			b.regID = a.RegID()
		}
		for _, s := range b.strings() {
			if r.tooLong("Contact", *s) {
				return false
			}
			*s = strings.Clone(*s) // the message is not to be kept
		}
		if b.outbound() && !r.outboundHop() {
			r.fail(439, "") // RFC 5626 §6
			return false
		}
		if lifetime == 0 {
			c.remove = append(c.remove, b)
		} else {
			c.add = append(c.add, b)
		}
	}
	if len(c.add) > 1 && slices.ContainsFunc(c.add, (*binding).outbound) {
		r.fail(400, "One Contact With reg-id At A Time") // RFC 5626 §6
		return false
	}
	return true
}

// outboundHop reports whether the first hop of a REGISTER supports outbound
// (RFC 5626 §6): this is us, or a proxy that says so in its Path.
func (r *request) outboundHop() bool {
	path := false
	for v := range r.msg.All(sip.HPath) {
		path = true
		if a, ok := sip.ParseAddress(v); ok {
			if u, err := a.ParseURI(); err == nil && u.Params.Has("ob") {
				return true
			}
		}
	}
	if path {
		return false
	}
	return r.vias() == 1
}

// commit has a change made, and answers when it is durable. All of a REGISTER is done
// or nothing (step 7).
func (r *request) commit(c *change, now time.Time, changed bool) {
	e := r.edge
	c.callID, c.cseq = strings.Clone(r.msg.CallID()), r.msg.CSeq()
	e.registrar(r.to, c, now, func(g registration) {
		switch {
		case g.err != nil:
			r.failed(g.err)
		case g.status != 0:
			r.fail(g.status, g.reason)
		default:
			r.registered(g.bindings, now, changed)
			if changed {
				e.returned(r.to)
			}
		}
	})
}

// registration is what has become of a change: all bindings afterwards, or a status
// that refuses it, or an error.
type registration struct {
	bindings []*binding
	status   int
	reason   string
	err      error
}

// update applies a change to memory and has it saved; done is called when it is
// durable.
func (e *Edge) update(u presence.Entity, c *change, now time.Time, done func(registration)) {
	t := &e.bindings
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	l := t.users[u]
	var before []*binding
	waiting := false
	if l != nil {
		before, waiting = l.bindings, l.waiting
	}
	term := e.engine.Term(u)
	if t.shared && c.made(before) {
		// An owner who has died, or whom the user has left, had it saved and could not say so.
		t.mu.Unlock()
		done(registration{bindings: before})
		return
	}
	after, fresh, status, reason := c.apply(before, e.limits.Bindings, now)
	if status != 0 {
		t.mu.Unlock()
		done(registration{status: status, reason: reason})
		return
	}
	if l == nil {
		l = &location{}
		t.users[u] = l
	}
	l.bindings = after
	l.version++
	version := l.version
	t.mu.Unlock()
	e.follow(u, before, after)
	e.put(u, after, func(err error) {
		if err != nil {
			e.undo(u, version, before)
		}
		if t.shared && (e.engine.Term(u) != term || errors.Is(err, store.ErrFenced)) {
			// The user's home has left meanwhile. Who has it now may have read what was saved before this.
			err = errNotOwner
		}
		if err != nil {
			done(registration{err: err})
			return
		}
		done(registration{bindings: after})
		if len(after) > 0 && (fresh || waiting) {
			e.fetchMail(u)
		}
	})
	e.sweepLater()
}

// made tells whether the bindings are there already that a change adds, from this very request.
func (c *change) made(bs []*binding) bool {
	return len(c.add) > 0 && !slices.ContainsFunc(c.add, func(b *binding) bool {
		return !slices.ContainsFunc(bs, func(old *binding) bool {
			return old.contact == b.contact && old.callID == b.callID && old.cseq == b.cseq && old.token == b.token && old.node == b.node &&
				old.updated.Unix() == b.updated.Unix() && old.expires.Unix() == b.expires.Unix()
		})
	})
}

// apply works out the bindings after a change; fresh tells that a contact is
// new. A status that is not 0 refuses the whole. The table is locked.
func (c *change) apply(before []*binding, most int, now time.Time) (after []*binding, fresh bool, status int, reason string) {
	for _, old := range before {
		if !old.expires.After(now) {
			continue
		}
		touched := c.all
		for _, b := range c.remove {
			touched = touched || b.replaces(old) || sameURI(b.contact, old.contact)
		}
		for _, b := range c.add {
			touched = touched || b.replaces(old)
		}
		if touched {
			// A request that has been overtaken changes nothing (steps 6 and 7).
			if old.callID == c.callID && c.cseq <= old.cseq {
				return nil, false, 500, "CSeq Not Higher Than Before"
			}
			continue
		}
		after = append(after, old)
	}
	for i, b := range c.add {
		fresh = fresh || !slices.ContainsFunc(before, b.replaces)
		// The same contact twice in one request: the last counts.
		if !slices.ContainsFunc(c.add[i+1:], func(x *binding) bool { return x.replaces(b) }) {
			after = append(after, b)
		}
	}
	if len(c.add) > 0 {
		after = room(after, c.add, most)
		if len(after) > most {
			return nil, false, 403, "Too Many Registered Contacts"
		}
	}
	return after, fresh, 0, ""
}

// room makes room at the bound: a program that has been started anew many times,
// with another contact each time (baresip), has left old ones of its instance.
func room(bs, added []*binding, most int) []*binding {
	for len(bs) > most {
		i := slices.IndexFunc(bs, func(old *binding) bool {
			return !slices.Contains(added, old) && slices.ContainsFunc(added, func(b *binding) bool {
				return instanceEqual(b.instance, old.instance)
			})
		})
		if i < 0 {
			return bs
		}
		bs = slices.Delete(slices.Clone(bs), i, i+1)
	}
	return bs
}

// put saves the bindings of a user. The table's order is held, its lock not:
// done may be called at once.
func (e *Edge) put(u presence.Entity, bs []*binding, done func(error)) {
	e.store.Put([]store.Record{bindingsRecord(u, bs)}, done)
}

// undo takes back what could not be saved, unless more has been changed since.
func (e *Edge) undo(u presence.Entity, version uint64, before []*binding) {
	t := &e.bindings
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.users[u]; l != nil && l.version == version {
		l.bindings = before
	}
}

// registered answers 200 with all bindings (step 8).
func (r *request) registered(bs []*binding, now time.Time, changed bool) {
	b := make([]byte, 0, 256)
	outbound := false
	for _, x := range bs {
		left := x.expires.Sub(now)
		if left <= 0 {
			continue
		}
		b = append(b, "Contact: <"...)
		b = append(b, x.contact...)
		b = append(b, '>')
		b = append(b, x.params...)
		b = append(b, ";expires="...)
		b = strconv.AppendUint(b, uint64(seconds(left)), 10)
		b = append(b, "\r\n"...)
		outbound = outbound || x.outbound() && x.callID == r.msg.CallID()
	}
	b = sip.AppendDate(b, now)
	if changed && r.msg.HasToken(sip.HSupported, "path") {
		b = r.msg.AppendCopy(b, sip.HPath) // RFC 3327 §5.3
	}
	if outbound && changed {
		b = append(b, "Require: outbound\r\n"...) // RFC 5626 §6
		b = sip.AppendNamed(b, "Flow-Timer", strconv.Itoa(int(flowTimer/time.Second)))
	}
	b = append(b, supported...)
	b = append(b, allowEvents...)
	r.reply(200, "", b)
}

// follow watches the connections of bindings that end with them, and stops
// watching for those that are gone.
func (e *Edge) follow(u presence.Entity, before, after []*binding) {
	for _, b := range before {
		if b.cancel != nil && !slices.Contains(after, b) {
			b.cancel()
		}
	}
	for _, b := range after {
		if slices.Contains(before, b) || b.flow == nil || !b.outbound() && !b.onlyFlow() {
			continue
		}
		cancel := b.flow.OnClose(func() { go e.flowClosed(u, b) }) // OnClose may call at once
		e.bindings.mu.Lock()
		b.cancel = cancel
		e.bindings.mu.Unlock()
	}
}

// flowClosed removes a binding whose connection has ended (RFC 5626 §6: the
// registrar removes it, so that requests take another flow of the instance).
func (e *Edge) flowClosed(u presence.Entity, b *binding) {
	t := &e.bindings
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	l := t.users[u]
	i := -1
	if l != nil {
		i = slices.Index(l.bindings, b)
	}
	if i < 0 {
		t.mu.Unlock()
		return
	}
	l.bindings = slices.Delete(slices.Clone(l.bindings), i, i+1)
	l.version++
	left := l.bindings
	t.mu.Unlock()
	e.put(u, left, func(err error) {
		if err != nil { // found dead again at the next start
			e.log.Warn("simple: removal of a binding not saved", "entity", u.String(), "err", err)
		}
	})
}

// Removed lets go of what a user had registered whose account is gone.
func (e *Edge) Removed(u presence.Entity) {
	if e.bindings.shared {
		e.removeEverywhere(u)
		return
	}
	e.removed(u)
}

func (e *Edge) removed(u presence.Entity) {
	t := &e.bindings
	t.order.Lock()
	defer t.order.Unlock()
	t.mu.Lock()
	var before []*binding
	if l := t.users[u]; l != nil {
		before = l.bindings
	}
	delete(t.users, u)
	t.mu.Unlock()
	e.follow(u, before, nil)
	e.put(u, nil, func(err error) {
		if err != nil {
			e.log.Warn("simple: removal of bindings not saved", "entity", u.String(), "err", err)
		}
	})
}

// sweepLater has expired bindings let go of within a minute or two.
func (e *Edge) sweepLater() {
	t := &e.bindings
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.sweep == nil && len(t.users)+len(t.here) > 0 && !t.closed {
		t.sweep = time.AfterFunc(sweepEvery, e.sweepBindings)
	}
}

// sweepBindings lets go of what has expired, here and in the store.
func (e *Edge) sweepBindings() {
	t := &e.bindings
	t.order.Lock()
	defer t.order.Unlock()
	gone, cancel := t.expire(time.Now(), e.engine.Term)
	for _, f := range cancel {
		f()
	}
	if len(gone) > 0 {
		e.store.Put(gone, func(err error) {
			if err != nil {
				e.log.Warn("simple: expired bindings not removed from the store", "err", err)
			}
		})
	}
	e.sweepLater()
}

// expire removes what is over at now. It returns what is to be saved, and what
// no longer is to be watched.
// Users who have left for another node are let go of.
func (t *locationTable) expire(now time.Time, term func(presence.Entity) uint64) (recs []store.Record, cancel []func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep = nil
	over := func(b *binding) bool { return !b.expires.After(now) }
	for u, list := range t.here {
		for _, b := range list {
			if over(b) && b.cancel != nil {
				cancel = append(cancel, b.cancel)
			}
		}
		if t.here[u] = slices.DeleteFunc(slices.Clone(list), over); len(t.here[u]) == 0 {
			delete(t.here, u)
		}
	}
	for u, l := range t.users {
		if t.shared && l.term != term(u) {
			if len(l.readers) == 0 && !l.fetching {
				delete(t.users, u)
			}
			continue
		}
		if !slices.ContainsFunc(l.bindings, over) {
			if len(l.bindings) == 0 && !l.fetching && len(l.handed) == 0 {
				delete(t.users, u)
			}
			continue
		}
		for _, b := range l.bindings {
			if over(b) && b.cancel != nil {
				cancel = append(cancel, b.cancel)
			}
		}
		l.bindings = slices.DeleteFunc(slices.Clone(l.bindings), over)
		l.version++
		recs = append(recs, bindingsRecord(u, l.bindings))
	}
	return recs, cancel
}

func bindingsRecord(u presence.Entity, bs []*binding) store.Record {
	rec := store.Record{Kind: registrationKind, Key: u.String()}
	if len(bs) > 0 {
		rec.Value = appendBindings(nil, bs)
	}
	return rec
}
