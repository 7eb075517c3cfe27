package jabber

import (
	"context"
	"errors"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
	"pharos/xdm"
	"pharos/xmpp"
)

// subscription is a subscription stanza that the client sends (RFC 6121 §3). Both
// rosters are written in one commit.
func (s *session) subscription(ctx context.Context, el *markup.Element, to xmpp.JID, k roster.Kind) {
	contact := entityOf(to) // RFC 6121 §3.1.2: routed on to the bare JID
	u, e := s.user.entity, s.edge
	if contact == u {
		return // one always sees oneself (RFC 6121 §4.2.2)
	}
	refused, err := e.outbound(ctx, u, contact, k, outbound{native: el.AppendInner(nil, nsClient)})
	switch {
	case refused || errors.Is(err, errRosterFull):
		s.refuse(el, "resource-constraint")
	case err != nil:
		s.log().Error("roster item not written", "contact", contact.String(), "err", err)
		s.refuse(el, conditionOf(err))
	}
}

// outbound says how a subscription stanza is sent.
type outbound struct {
	native  []byte                 // its content
	ready   func(context.Context)  // called before when with the users held; may be nil
	when    func(*store.Item) bool // whether it is still to be sent; nil: it is
	byRules bool                   // the user's rules have answered, not the user
}

// outbound sends a subscription stanza for a user. Refused: the user's roster is full.
func (e *Edge) outbound(ctx context.Context, u, contact presence.Entity, k roster.Kind, o outbound) (refused bool, err error) {
	lock := e.pairLock(u, contact)
	lock.Lock()
	defer lock.Unlock()
	x := e.newExchange(ctx, contact, u, k, o.native)
	var eff roster.Effect
	listed := false
	own := &row{u: u, contact: contact, theirs: o.byRules, byRules: o.byRules,
		withdraw: k == roster.Unsubscribed && !o.byRules}
	own.ready = func(ctx context.Context) {
		if o.ready != nil {
			o.ready(ctx)
		}
		if own.withdraw {
			e.ruledBefore(ctx, own)
		}
		listed = o.byRules && e.has(ctx, xdm.Name{AUID: xdm.ResourceLists, User: u, Path: xdm.Index})
	}
	own.fn = func(it *store.Item) bool {
		eff = roster.Effect{}
		if o.when != nil && !o.when(it) {
			return false
		}
		eff = roster.Out(stateOf(it), k)
		if eff.Changed {
			setState(it, eff.State, listed)
		}
		return eff.Changed
	}
	// A row that a full roster refuses stops the rest.
	x.passes = func() bool { return eff.Route && !own.refused }
	say := func() {
		if !own.refused {
			x.tell()
		}
	}
	err = e.transact(ctx, say, append([]*row{own}, x.rows()...)...)
	return own.refused, err
}

// revisionKey asks a context how new a user's policy has to be.
type revisionKey struct{ u presence.Entity }

// atRevision is a context in which a user's policy is at least of a revision: what is decided by an
// older one might be written after the newer one was, on another node.
func atRevision(ctx context.Context, u presence.Entity, revision uint64) context.Context {
	return context.WithValue(ctx, revisionKey{u}, revision)
}

// policy is a user's policy. It may block.
func (e *Edge) policy(ctx context.Context, u presence.Entity) (*presence.Policy, error) {
	p, err := e.c.Engine.Policy(ctx, u)
	if !e.many {
		return p, err
	}
	if revision, ok := ctx.Value(revisionKey{u}).(uint64); ok && err == nil && p.Revision < revision {
		e.c.Engine.PolicyHeard(u)
		p, err = e.c.Engine.Policy(ctx, u)
	}
	return p, err
}

// decision is what the user's rules say of a watcher now. What cannot be decided
// is blocked: privacy goes first.
func (e *Edge) decision(ctx context.Context, u, watcher presence.Entity) presence.Handling {
	p, err := e.policy(ctx, u)
	if err == nil && p.UsesSphere() {
		var x presence.Explanation
		x, err = e.c.Engine.Explain(ctx, u, watcher)
		if err == nil {
			return x.Decision.Class.Handling
		}
	}
	if err != nil {
		e.log.Error("policy not loaded", "entity", u.String(), "err", err)
		return presence.Block
	}
	return presence.Decide(p, u, watcher, presence.Circumstances{Now: time.Now()}).Class.Handling
}

// allows tells whether a handling shows something, if only a closed state.
func allows(h presence.Handling) bool { return h == presence.Allow || h == presence.PoliteBlock }

// othersAllow tells whether a user's rules, or what holds without any, allow a
// watcher whom the user has not approved any more. It is for before the engine has the new policy.
func (e *Edge) othersAllow(ctx context.Context, u, watcher presence.Entity) bool {
	p, err := e.c.Engine.Policy(ctx, u)
	if err != nil {
		return false
	}
	others := &presence.Policy{Default: p.Default, Rules: p.Rules, Domains: p.Domains}
	if g, ok := p.Watchers[watcher]; ok && g.Handling == presence.Block {
		return false
	}
	return allows(presence.Decide(others, u, watcher, presence.Circumstances{Now: time.Now()}).Class.Handling)
}

// exchange is a subscription stanza on its way to a user here, and the answer
// that the server gives for the user (RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3 and
// §A.3). The lock of the pair is held from its making to its end.
type exchange struct {
	e       *Edge
	u, from presence.Entity
	kind    roster.Kind
	native  []byte      // content of the stanza
	passes  func() bool // nil: always
	exists  bool        // the user is somebody here
	blocked bool
	says    presence.Handling // of a request, what the user's rules say
	listed  bool              // the user has a buddy list as a document

	in, back     roster.Effect // at the user; of the answer, at the sender
	inRow, reply *row          // where; nil: nowhere
}

func (e *Edge) newExchange(ctx context.Context, u, from presence.Entity, k roster.Kind, native []byte) *exchange {
	x := &exchange{e: e, u: u, from: from, kind: k, native: native}
	// RFC 6121 §8.5.1: for nobody it is silently ignored, and so are addresses
	// of the server itself.
	if x.exists = u.User != "" && e.local(u.Domain) && e.exists(ctx, u); x.exists {
		x.blocked = e.blocks(ctx, u, from, "")
	}
	if len(native) > MaxPendingNative {
		x.native = nil
	}
	return x
}

// rows are what changes at the user, and at the sender by the answer.
func (x *exchange) rows() []*row {
	// XEP-0191 §3.1: who is blocked asks in vain, and is not heard. The rosters
	// of both still have to agree on what has ended.
	if !x.exists || x.blocked && x.kind == roster.Subscribe {
		return nil
	}
	x.inRow = &row{u: x.u, contact: x.from, theirs: true, ready: x.ready, fn: func(it *store.Item) bool {
		x.in = roster.Effect{}
		if x.passes != nil && !x.passes() {
			return false
		}
		x.take(it)
		if x.in.Changed {
			setState(it, x.in.State, x.listed)
			if x.kind == roster.Subscribe && it.PendingIn {
				it.Stanza = x.native
			}
		}
		return x.in.Changed
	}}
	if x.kind != roster.Subscribe || !x.e.local(x.from.Domain) {
		return []*row{x.inRow}
	}
	x.reply = &row{u: x.from, contact: x.u, theirs: true, fn: func(it *store.Item) bool {
		x.back = roster.Effect{}
		if x.in.Reply == 0 {
			return false
		}
		x.back = roster.In(stateOf(it), x.in.Reply)
		if x.back.Changed {
			setState(it, x.back.State, false)
		}
		return x.back.Changed
	}}
	return []*row{x.inRow, x.reply}
}

// ready asks the user's rules, with the user held, so that they are still true when
// the row is written.
func (x *exchange) ready(ctx context.Context) {
	if x.kind == roster.Subscribe {
		x.says = x.e.decision(ctx, x.u, x.from)
	}
	x.listed = x.e.has(ctx, xdm.Name{AUID: xdm.ResourceLists, User: x.u, Path: xdm.Index})
}

// take works out what the stanza does to the user's row.
func (x *exchange) take(it *store.Item) {
	st := stateOf(it)
	if x.kind != roster.Subscribe {
		x.in = roster.In(st, x.kind)
		return
	}
	if x.says == presence.Block {
		return // not heard
	}
	// Whom the rules allow is approved for the user, as if the user had done so
	// in advance; whom they do not is asked about, also when the row says more.
	asked := st
	asked.Approved = allows(x.says)
	x.in = roster.In(asked, x.kind)
	x.in.State.Approved = st.Approved
	x.in.Changed = x.in.State != st
}

// tell shows the stanzas, after the commit.
func (x *exchange) tell() {
	if x.in.Deliver && !x.blocked {
		x.e.tellSubscription(x.u, x.from, x.kind, x.native, x.inRow)
	}
	if x.back.Deliver {
		x.e.tellSubscription(x.from, x.u, x.in.Reply, nil, x.reply)
	}
}

// inbound is an exchange alone, for a request that did not come from a client.
func (e *Edge) inbound(ctx context.Context, u, from presence.Entity, k roster.Kind) {
	lock := e.pairLock(u, from)
	lock.Lock()
	defer lock.Unlock()
	x := e.newExchange(ctx, u, from, k, nil)
	if err := e.transact(ctx, x.tell, x.rows()...); err != nil {
		e.log.Error("subscription not written", "entity", u.String(), "contact", from.String(), "err", err)
	}
}

// tellSubscription shows a stanza to those resources of a user that are
// interested or, for a request, available (RFC 6121 §3.1.3); r is the row that has changed with it.
func (e *Edge) tellSubscription(u, from presence.Entity, k roster.Kind, native []byte, r *row) {
	e.tellSubscriptionHere(u, from, k, native)
	if e.many {
		e.pass(u, newCall(callSubscription).entity(u).entity(from).num(uint64(k)).bytes(native).num(r.after.Version))
	}
}

func (e *Edge) tellSubscriptionHere(u, from presence.Entity, k roster.Kind, native []byte) {
	for _, s := range e.reg.user(u).list() {
		s.mu.Lock()
		wants := s.interested || k == roster.Subscribe && s.available()
		if wants {
			s.flush()
			s.put(nil, appendSubscription(nil, from, s.user.bare, k, native))
		}
		s.mu.Unlock()
	}
}

func appendSubscription(b []byte, from presence.Entity, to string, k roster.Kind, native []byte) []byte {
	b = append(b, "<presence"...)
	b = markup.AppendAttr(b, "from", from.String())
	b = markup.AppendAttr(b, "to", to)
	b = markup.AppendAttr(b, "type", kindNames[k])
	if len(native) == 0 {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	b = append(b, native...)
	return append(b, "</presence>"...)
}

// cancelled ends the subscriptions that a watcher holds from elsewhere than
// XMPP: SIP has no state "none", so one who was refused is told "rejected"
// (RFC 6665 §4.4.1) and not left pending for ever.
func (e *Edge) cancelled(ctx context.Context, u, watcher presence.Entity) {
	x, err := e.c.Engine.Explain(ctx, u, watcher)
	if err != nil {
		e.log.Error("subscriptions not looked up", "entity", u.String(), "watcher", watcher.String(), "err", err)
		return
	}
	for i := range x.Subscriptions {
		sub := &x.Subscriptions[i]
		if sub.Via.Edge == EdgeName {
			continue
		}
		if _, err := e.c.Engine.Step(ctx, u, presence.Unwatch{ID: sub.ID, Reason: presence.Rejected}); err != nil && !errors.Is(err, presence.ErrNoSubscription) {
			e.log.Error("subscription not ended", "entity", u.String(), "watcher", watcher.String(), "err", err)
		}
	}
}
