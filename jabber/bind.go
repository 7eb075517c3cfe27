package jabber

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"strings"
	"time"

	"pharos/markup"
	"pharos/xmpp"
)

// establish reads until a resource is bound (RFC 6120 §7) or a session is
// resumed (XEP-0198 §5). Nil: the stream has ended.
func (e *Edge) establish(ctx context.Context, st *xmpp.Stream) *session {
	for range MaxPreBind {
		el, err := st.Next()
		if err != nil {
			st.Close(nil)
			return nil
		}
		switch {
		case el.Is(nsClient, "iq"):
			if el.Attr("type") != "set" || el.Child(nsBind, "bind") == nil {
				// RFC 6120 §7.3: nothing else is allowed before binding.
				st.Close(&xmpp.StreamError{Condition: "not-authorized"})
				return nil
			}
			if s := e.bind(ctx, st, el); s != nil {
				return s
			}
		case el.Is(nsSM, "resume"):
			if s := e.resume(ctx, st, el); s != nil {
				s.arrived(ctx)
				return s
			}
		case el.Is(nsSM, "enable"):
			st.Send(smFailed("unexpected-request", -1)) // XEP-0198 §3: bind first
		case el.Space == nsSM:
			// <r/> and <a/> mean nothing yet.
		case el.Space == nsClient && (el.Local == "message" || el.Local == "presence"):
			st.Close(&xmpp.StreamError{Condition: "not-authorized"})
			return nil
		default:
			st.Close(&xmpp.StreamError{Condition: "unsupported-stanza-type"})
			return nil
		}
	}
	st.Close(&xmpp.StreamError{Condition: "policy-violation"})
	return nil
}

// bind answers one bind request; nil when it was refused and the client may
// try again.
func (e *Edge) bind(ctx context.Context, st *xmpp.Stream, iq *markup.Element) *session {
	refuse := func(condition string) *session {
		st.Send(xmpp.AppendError(nil, iq, "", "", condition, ""))
		return nil
	}
	if iq.Attr("id") == "" {
		return refuse("bad-request") // RFC 6120 §8.1.3
	}
	if e.closing.Load() || !e.admit(ctx) {
		return refuse("resource-constraint")
	}
	jid := st.User().Bare()
	want := iq.Child(nsBind, "bind").Child(nsBind, "resource").Text()
	if len(want) > MaxResourceBytes {
		return refuse("bad-request")
	}
	if want == "" {
		jid.Resource = newResource() // RFC 6120 §7.6
	} else {
		var err error
		if jid, err = xmpp.ParseJID(jid.String() + "/" + want); err != nil {
			return refuse("bad-request") // RFC 6120 §7.7.2.1
		}
	}
	s := &session{
		edge: e, resource: jid.Resource, full: jid.String(), since: time.Now(),
		stream: st, origin: originOf(st), reader: make(chan struct{}),
	}
	s.prio.Store(unavailable)
	s.handle = e.newHandle(s.full)
	s.lang = st.Lang()
	if e.many {
		// Nothing is told to it until nobody else has its resource.
		s.stream, s.far = nil, &far{binding: true}
	}
	if condition := e.register(ctx, s, jid); condition != "" {
		return refuse(condition)
	}
	if e.many && !e.bindAmong(ctx, s, st, refuse) {
		return nil
	}
	if e.closing.Load() { // Close may have missed it
		close(s.reader)
		s.end(ctx, &xmpp.StreamError{Condition: "system-shutdown"})
		return nil
	}
	b := make([]byte, 0, 192+len(s.full))
	b = append(b, "<iq type='result'"...)
	b = markup.AppendAttr(b, "id", iq.Attr("id"))
	b = append(b, "><bind xmlns='"+nsBind+"'><jid>"...)
	b = markup.AppendText(b, s.full)
	b = append(b, "</jid></bind></iq>"...)
	st.Send(b)
	return s
}

// register makes a session known here; the condition is that of a refusal.
func (e *Edge) register(ctx context.Context, s *session, jid xmpp.JID) (condition string) {
	for {
		holder, condition := e.add(ctx, s, jid)
		if condition != "" {
			return condition
		}
		if holder == nil {
			e.leaving.waitSaid(ctx, s.seat())
			return ""
		}
		// RFC 6120 §7.7.2.2: the newer one stays, since the older is
		// most often a connection that died unnoticed.
		holder.end(ctx, &xmpp.StreamError{Condition: "conflict"})
		e.leaving.waitSaid(ctx, s.seat())
	}
}

// add is register, but for a holder of the resource who is there already.
func (e *Edge) add(ctx context.Context, s *session, jid xmpp.JID) (holder *session, condition string) {
	// Under the lock, so that a new record has the block list that is true.
	ctx, release := e.hold(ctx, entityOf(jid))
	defer release()
	u, err := e.newUser(ctx, jid)
	if err != nil {
		e.log.Error("block list not read", "entity", jid.Bare().String(), "err", err)
		return nil, conditionOf(err)
	}
	s.user = u
	holder, full := e.reg.add(s)
	if full {
		return nil, "resource-constraint" // RFC 6120 §7.6.2.1
	}
	return holder, ""
}

// bindAmong gives a session its stream when no other node has its resource any more.
// False: it has ended.
func (e *Edge) bindAmong(ctx context.Context, s *session, st *xmpp.Stream, refuse func(string) *session) bool {
	condition := e.claim(ctx, s)
	s.mu.Lock()
	ended := s.ended
	if !ended && condition == "" {
		s.stream = st
	}
	s.mu.Unlock()
	if !ended && condition == "" {
		return true
	}
	close(s.reader)
	if ended { // somebody was newer still, or the account has gone
		st.Close(&xmpp.StreamError{Condition: "conflict"})
		return false
	}
	s.end(ctx, nil)
	refuse(condition)
	return false
}

// newUser is the record of a user, with the block list read if there is none yet.
func (e *Edge) newUser(ctx context.Context, jid xmpp.JID) (*user, error) {
	ent := entityOf(jid)
	if u := e.reg.user(ent); u != nil {
		return u, nil
	}
	u := &user{entity: ent, bare: jid.Bare().String(), size: -1}
	u.to = markup.AppendAttr(nil, "to", u.bare)
	names, err := e.c.Store.Blocks(ctx, ent)
	if err != nil {
		return nil, err
	}
	u.blocks.Store(newBlocklist(names))
	return u, nil
}

// newResource is a random resourcepart (RFC 6120 §7.6: hard to guess).
func newResource() string {
	var b [10]byte
	rand.Read(b[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}
