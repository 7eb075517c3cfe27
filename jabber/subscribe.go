package jabber

import (
	"context"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
	"pharos/xmpp"
)

// subscription is a subscription stanza that the client sends (RFC 6121 §3).
func (s *session) subscription(ctx context.Context, el *markup.Element, to xmpp.JID, k roster.Kind) {
	contact := entityOf(to) // RFC 6121 §3.1.2: routed on to the bare JID
	u := s.user.entity
	if contact == u {
		return // one always sees oneself (RFC 6121 §4.2.2)
	}
	lock := s.edge.pairLock(u, contact)
	lock.Lock()
	defer lock.Unlock()
	var eff roster.Effect
	_, err := s.edge.change(ctx, u, contact, func(it *store.Item) bool {
		eff = roster.Out(stateOf(it), k)
		if eff.Changed {
			setState(it, eff.State)
		}
		return eff.Changed
	})
	switch {
	case err == errRosterFull:
		s.refuse(el, "resource-constraint")
		return
	case err != nil:
		s.log().Error("roster item not written", "contact", contact.String(), "err", err)
		s.refuse(el, "internal-server-error")
		return
	}
	if k == roster.Unsubscribed && eff.Changed {
		s.edge.cancelled(ctx, u, contact)
	}
	if eff.Route {
		s.edge.inbound(ctx, contact, u, k, el.AppendInner(nil, nsClient))
	}
}

// inbound takes a subscription stanza of somebody here for another user here
// (RFC 6121 §3.1.3, §3.1.6, §3.2.3, §3.3.3 and §A.3). native is its content. The
// pair lock is held.
func (e *Edge) inbound(ctx context.Context, u, from presence.Entity, k roster.Kind, native []byte) {
	// RFC 6121 §8.5.1: for nobody it is silently ignored, and so are addresses
	// of the server itself.
	if u.User == "" || !e.local(u.Domain) || !e.exists(ctx, u) {
		return
	}
	// XEP-0191 §3.1: who is blocked asks in vain, and is not heard. The rosters
	// of both still have to agree on what has ended.
	blocked := e.blocks(ctx, u, from, "")
	if blocked && k == roster.Subscribe {
		return
	}
	if len(native) > MaxPendingNative {
		native = nil
	}
	var eff roster.Effect
	_, err := e.change(ctx, u, from, func(it *store.Item) bool {
		eff = roster.In(stateOf(it), k)
		if !eff.Changed {
			return false
		}
		setState(it, eff.State)
		if k == roster.Subscribe && it.PendingIn {
			it.Stanza = native
		}
		return true
	})
	if err != nil {
		e.log.Error("subscription not written", "entity", u.String(), "contact", from.String(), "err", err)
		return
	}
	if eff.Deliver && !blocked {
		e.tellSubscription(u, from, k, native)
	}
	if eff.Reply != 0 && e.local(from.Domain) {
		e.inbound(ctx, from, u, eff.Reply, nil)
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
		if err := e.submit(ctx, u, presence.Unwatch{ID: sub.ID, Reason: presence.Rejected}, nil); err != nil {
			e.log.Error("subscription not ended", "entity", u.String(), "watcher", watcher.String(), "err", err)
		}
	}
}
