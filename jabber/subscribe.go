package jabber

import (
	"context"
	"errors"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
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
	lock := e.pairLock(u, contact)
	lock.Lock()
	defer lock.Unlock()
	x := e.newExchange(ctx, contact, u, k, el.AppendInner(nil, nsClient))
	var eff roster.Effect
	own := &row{u: u, contact: contact, fn: func(it *store.Item) bool {
		eff = roster.Out(stateOf(it), k)
		if eff.Changed {
			setState(it, eff.State)
		}
		return eff.Changed
	}}
	// A row that a full roster refuses stops the rest.
	x.passes = func() bool { return eff.Route && !own.refused }
	say := func() {
		if !own.refused {
			x.tell()
		}
	}
	if err := e.transact(ctx, say, append([]*row{own}, x.rows()...)...); err != nil {
		s.log().Error("roster item not written", "contact", contact.String(), "err", err)
		s.refuse(el, "internal-server-error")
		return
	}
	if own.refused {
		s.refuse(el, "resource-constraint")
	}
}

// Strangers is what becomes of a request to subscribe to a user who has not
// spoken of the sender; the same default as for SIP watchers.
type Strangers uint8

const (
	AskUser  Strangers = iota // the user is asked (RFC 6121 §3.1.3)
	LetIn                     // approved for the user
	TurnAway                  // not heard; the user is not asked
)

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

	in, back roster.Effect // at the user; of the answer, at the sender
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
	rows := []*row{{u: x.u, contact: x.from, fn: func(it *store.Item) bool {
		x.in = roster.Effect{}
		if x.passes != nil && !x.passes() {
			return false
		}
		st := stateOf(it)
		if x.kind == roster.Subscribe && !st.From && !st.Approved {
			switch x.e.c.Strangers {
			case TurnAway:
				return false
			case LetIn: // as if the user had approved in advance
				st.Approved = true
			}
		}
		x.in = roster.In(st, x.kind)
		if x.in.State.Approved && !it.Approved {
			x.in.State.Approved = false
		}
		if !x.in.Changed {
			return false
		}
		setState(it, x.in.State)
		if x.kind == roster.Subscribe && it.PendingIn {
			it.Stanza = x.native
		}
		return true
	}}}
	if x.kind != roster.Subscribe || !x.e.local(x.from.Domain) {
		return rows
	}
	return append(rows, &row{u: x.from, contact: x.u, fn: func(it *store.Item) bool {
		x.back = roster.Effect{}
		if x.in.Reply == 0 {
			return false
		}
		x.back = roster.In(stateOf(it), x.in.Reply)
		if x.back.Changed {
			setState(it, x.back.State)
		}
		return x.back.Changed
	}})
}

// tell shows the stanzas, after the commit.
func (x *exchange) tell() {
	if x.in.Deliver && !x.blocked {
		x.e.tellSubscription(x.u, x.from, x.kind, x.native)
	}
	if x.back.Deliver {
		x.e.tellSubscription(x.from, x.u, x.in.Reply, nil)
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
// interested or, for a request, available (RFC 6121 §3.1.3).
func (e *Edge) tellSubscription(u, from presence.Entity, k roster.Kind, native []byte) {
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
