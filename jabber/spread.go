package jabber

import (
	"context"
	"encoding/json"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"

	"pharos/engine"
	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
)

// Messages to users whose sessions are on several nodes. What is for the bare
// address the engine offers to each of those nodes; what is for one resource, or must not
// leave XMPP, goes by calls.

// messageCall offers a message to another node; again, since who had it has gone.
func messageCall(m *engine.Message, again bool) []byte {
	b, err := json.Marshal(m)
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return newCall(callMessage).entity(m.To).bool(again).bytes(b)
}

// readMessage is nil for what is none.
func readMessage(b []byte) *engine.Message {
	m := new(engine.Message)
	if json.Unmarshal(b, m) != nil {
		return nil
	}
	return m
}

func (e *Edge) calledMessage(ctx context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	again, m := in.Bool(), readMessage(in.Bytes())
	if !in.Done() || m == nil || m.To != u {
		answer(nil)
		return
	}
	if again && e.recent.has(m) || e.offered(ctx, m) {
		answer(taken)
		return
	}
	answer(nil)
}

// offered is Deliver with a look at who may know that a resource is here.
func (e *Edge) offered(ctx context.Context, m *engine.Message) bool {
	if m.ToResource != "" && m.Type != "error" {
		if target := e.reg.user(m.To).resource(m.ToResource); target == nil || target.hides(ctx, m.From, m.FromResource) {
			return false
		}
	}
	return e.Deliver(m)
}

// willing are the sessions here that get what is for the bare JID. Of the highest
// priority are those only than whom nobody on another node has a higher one; elsewhere
// tells that there is one.
func (e *Edge) willing(rec *user, typ string) (here []*session, elsewhere bool) {
	here = rec.willing(typ)
	if !e.many || rec == nil || typ == "headline" {
		return here, false
	}
	best := int32(-1)
	if len(here) > 0 {
		best = here[0].prio.Load()
	}
	if rec.bestElsewhere() > best {
		return nil, true
	}
	return here, false
}

// bestElsewhere is the highest priority of the user's sessions that are not here, as those
// that are see their own user's presence.
func (u *user) bestElsewhere() (best int32) {
	best = unavailable
	for _, s := range u.list() {
		s.mu.Lock()
		v := s.watches[u.entity]
		s.mu.Unlock()
		if v == nil {
			continue
		}
		b := v.Render("jabber priorities", renderPriorities)
		for len(b) > 0 {
			prio := int32(int8(b[0]))
			var key []byte
			if key, b = cut(b[1:]); prio > best && u.resource(string(key)) == nil {
				best = prio
			}
		}
		return best
	}
	return best
}

// renderPriorities writes the priority and the resource of each session of a view.
func renderPriorities(v *presence.View) (b []byte) {
	for _, src := range v.Sources {
		if src.ID.Kind != presence.Session || src.Native.Type != nsClient {
			continue
		}
		el, err := markup.ParseIn(append(append([]byte("<presence>"), src.Native.Bytes...), "</presence>"...),
			[]markup.Decl{{Space: nsClient}}, storedOptions)
		if err != nil {
			continue
		}
		prio, _ := priorityOf(el)
		b = append(b, byte(int8(prio)))
		b = appendPart(b, []byte(src.ID.Key))
	}
	return b
}

// copyCall shows a message to a user's sessions on other nodes that ask for copies.
func copyCall(u presence.Entity, direction string, m *engine.Message, head, rest []byte) []byte {
	return newCall(callCopy).entity(u).str(direction).str(m.Type).entity(m.From).str(m.FromResource).bytes(head).bytes(rest)
}

func (e *Edge) calledCopy(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	direction, typ := in.Text(), in.Text()
	from, resource := in.Entity(), in.Text()
	head, rest := in.Bytes(), in.Bytes()
	answer(nil)
	if !in.Done() || direction != "sent" && direction != "received" || len(head) < len("<message") {
		return
	}
	for _, s := range e.reg.user(u).list() {
		if s.wantsCarbons() && (from != u || resource != s.resource) {
			s.copy(direction, typ, head, rest)
		}
	}
}

// passOn is redelivery to sessions that are on other nodes. far is whether it may be tried,
// and false from then on when nobody answers. It blocks.
func (e *Edge) passOn(ctx context.Context, m *engine.Message, far *bool) bool {
	if !*far {
		return false
	}
	answers, err := e.reach(ctx, m.To, messageCall(m, true))
	if err != nil {
		e.log.Warn("sessions on other nodes not reached", "entity", m.To.String(), "err", err)
		*far = false
	}
	return anyOf(answers)
}

func anyOf(answers [][]byte) bool {
	return slices.ContainsFunc(answers, func(a []byte) bool { return len(a) > 0 })
}

// recent knows the messages that were handed to sessions here of late: when a session on
// another node gives one back that it was handed, too, nobody gets it twice.
type recent struct {
	mu         sync.Mutex
	seed       maphash.Seed
	young, old map[uint64]*fate
}

func (r *recent) key(m *engine.Message) uint64 {
	var h maphash.Hash
	h.SetSeed(r.seed)
	for _, s := range [...]string{m.To.String(), m.From.String(), m.FromResource, m.ID, m.Body, strconv.FormatInt(m.Sent.UnixNano(), 36)} {
		h.WriteString(s)
		h.WriteByte(0)
	}
	return h.Sum64()
}

func (r *recent) put(d *duty) {
	k := r.key(d.message)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= MaxRecent/2 {
		r.old, r.young = r.young, nil
	}
	if r.young == nil {
		r.young = make(map[uint64]*fate)
	}
	r.young[k] = d.fate
}

// has tells whether somebody here has the message, or may still acknowledge it.
func (r *recent) has(m *engine.Message) bool {
	k := r.key(m)
	r.mu.Lock()
	d := r.young[k]
	if d == nil {
		d = r.old[k]
	}
	r.mu.Unlock()
	return d != nil && (d.met.Load() || d.open.Load() > 0)
}

// iqCall hands an IQ to a resource.
func iqCall(to presence.Entity, resource string, from presence.Entity, fromResource string, asks bool, b []byte) []byte {
	return newCall(callIQ).entity(to).str(resource).entity(from).str(fromResource).bool(asks).bytes(b)
}

func (e *Edge) calledIQ(ctx context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	resource, from, fromResource := in.Text(), in.Entity(), in.Text()
	asks, b := in.Bool(), in.Bytes()
	rec := e.reg.user(u)
	target := rec.resource(resource)
	if !in.Done() || target == nil || rec.blocked(from, fromResource) || asks && target.hides(ctx, from, fromResource) || !target.send(b) {
		answer(nil)
		return
	}
	answer(taken)
}

func (e *Edge) calledSubscription(ctx context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	from, kind, native, version := in.Entity(), roster.Kind(in.Uint()), in.Bytes(), in.Uint()
	answer(nil)
	rec := e.reg.user(u)
	if !in.Done() || rec == nil || kind < roster.Subscribe || kind > roster.Unsubscribed {
		return
	}
	// The push comes first (RFC 6121 §3.1.6), and what made it may not have been heard
	// of yet.
	ctx, release := e.hold(ctx, u)
	defer release()
	follow := &following{}
	if rec.behind(version) {
		follow = e.catchUp(ctx, rec, nil)
	}
	e.tellSubscriptionHere(u, from, kind, native)
	rec.followNow(from)
	follow.now(from)
}

func (e *Edge) calledEvent(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	name, event := in.Text(), in.Bytes()
	answer(nil)
	if in.Done() {
		e.tellOwnHere(u, name, event)
	}
}

// find is the handle of a resource, wherever it is; "" for none. It blocks.
func (e *Edge) find(ctx context.Context, u presence.Entity, resource string) string {
	if s := e.reg.user(u).resource(resource); s != nil {
		return s.handle
	}
	answers, err := e.reach(ctx, u, newCall(callFind).entity(u).str(resource))
	if err != nil {
		e.log.Warn("resource not looked up on other nodes", "entity", u.String(), "err", err)
	}
	for _, a := range answers {
		if len(a) > 0 {
			return string(a)
		}
	}
	return ""
}

func (e *Edge) calledFind(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	if s := e.reg.user(u).resource(in.Text()); s != nil && in.Done() {
		answer([]byte(s.handle))
		return
	}
	answer(nil)
}

// capability writes what clients want that have told it, by the name of the whole.
func (p packer) capability(k capsKey, c *capability) packer {
	p = p.str(k.hash).str(k.ver).bool(c != nil)
	if c == nil {
		return p
	}
	p = p.bool(c.redirect).num(uint64(len(c.notify)))
	for node := range c.notify {
		p = p.str(node)
	}
	return p
}

func (u *unpacker) capability() (k capsKey, c *capability) {
	k = capsKey{u.Text(), u.Text()}
	if u.Bool() {
		c = &capability{redirect: u.Bool(), notify: make(map[string]struct{})}
		for range u.Count() {
			c.notify[u.Text()] = struct{}{}
		}
	}
	return k, c
}

func (e *Edge) calledCaps(_ context.Context, _ presence.Entity, in *unpacker, answer func([]byte)) {
	k, c := in.capability()
	if in.Done() && c != nil && len(c.notify) <= MaxNotify {
		e.caps.put(k, c)
	}
	answer(nil)
}

// settled waits until what was submitted and told to the owner of a presentity before
// is done. It blocks.
func (e *Edge) settled(ctx context.Context, u presence.Entity) {
	if !e.many {
		return
	}
	if _, err := e.c.Engine.Explain(ctx, u, u); err != nil {
		e.log.Warn("owner does not answer", "entity", u.String(), "err", err)
	}
}

// seeElsewhere has contacts' sessions on other nodes ask for a user again, once the user's
// owner decides by what holds now.
func (e *Edge) seeElsewhere(ctx context.Context, u presence.Entity, unblocked bool) {
	if !e.many {
		return
	}
	e.settled(ctx, u)
	revision, err := e.c.Store.Revision(ctx, u)
	if err != nil {
		e.log.Error("revision not read", "entity", u.String(), "err", err)
	}
	e.passAll(newCall(callSee).entity(u).bool(unblocked).num(revision))
}

func (e *Edge) calledSee(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	unblocked, revision := in.Bool(), in.Uint()
	answer(nil)
	if in.Done() {
		e.calls.spawn(func() { e.seeHere(atRevision(context.Background(), u, revision), u, unblocked) })
	}
}

// seeHere has the sessions here of a user's contacts ask for him again.
func (e *Edge) seeHere(ctx context.Context, u presence.Entity, unblocked bool) {
	items, _, err := e.c.Store.Roster(ctx, u)
	if err != nil {
		e.log.Error("roster not read", "entity", u.String(), "err", err)
		return
	}
	for i := range items {
		it := &items[i]
		if it.Removed || !it.From || it.Contact == u {
			continue
		}
		rec := e.reg.user(it.Contact)
		if rec == nil || !unblocked && !allows(e.decision(ctx, u, it.Contact)) {
			continue
		}
		for _, s := range rec.list() {
			if unblocked {
				s.rewatch(ctx, u)
			} else {
				s.revive(ctx, u)
			}
		}
	}
}
