package jabber

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"pharos/account"
	"pharos/engine"
	"pharos/markup"
	"pharos/presence"
	"pharos/store"
	"pharos/xmpp"
)

// request is an IQ get or set for the server or an account of it.
type request struct {
	*session
	iq    *markup.Element
	child *markup.Element
	set   bool
	to    presence.Entity // an account, or with User "" the server
}

// own tells whether the request is for the sender's own account.
func (r *request) own() bool { return r.to == r.user.entity }

func (r *request) server() bool { return r.to.User == "" }

type name struct{ space, local string }

// answers says who answers what that is addressed to an account or the server.
// What is not here is service-unavailable (RFC 6120 §8.4).
var answers = map[name]func(*request, context.Context){
	{nsRoster, "query"}:       (*request).roster,
	{nsSession, "session"}:    (*request).session3921,
	{nsBind, "bind"}:          (*request).bindAgain,
	{nsInfo, "query"}:         (*request).discoInfo,
	{nsItems, "query"}:        (*request).discoItems,
	{nsVersion, "query"}:      (*request).version,
	{nsLast, "query"}:         (*request).last,
	{nsTime, "time"}:          (*request).time,
	{nsPing, "ping"}:          (*request).ping,
	{nsVCard, "vCard"}:        (*request).vcard,
	{nsCarbons, "enable"}:     (*request).carbonsOn,
	{nsCarbons, "disable"}:    (*request).carbonsOff,
	{nsPubSub, "pubsub"}:      (*request).pubsub,
	{nsPubSubOwner, "pubsub"}: (*request).pubsubOwner,
	{nsPrivate, "query"}:      (*request).private,
	{nsBlocking, "blocklist"}: (*request).blocklist,
	{nsBlocking, "block"}:     (*request).block,
	{nsBlocking, "unblock"}:   (*request).unblock,
}

// iq checks the rules of RFC 6120 §8.2.3 and routes (RFC 6121 §8).
func (s *session) iq(ctx context.Context, el *markup.Element) {
	typ := el.Attr("type")
	if typ != "get" && typ != "set" && typ != "result" && typ != "error" || el.Attr("id") == "" {
		s.refuse(el, "bad-request")
		return
	}
	var child *markup.Element
	children := 0
	for c := range el.Children() {
		if children++; child == nil {
			child = c
		}
	}
	asks := typ == "get" || typ == "set"
	if !asks && (s.learned(ctx, el) || s.proved(ctx, el)) {
		return
	}
	if asks && children != 1 || typ == "result" && children > 1 {
		s.refuse(el, "bad-request")
		return
	}
	to, ok := s.destination(el)
	if !ok {
		return
	}
	switch {
	case !s.edge.local(to.Domain):
		s.refuse(el, "remote-server-not-found")
	case to.Resource != "":
		s.forwardIQ(ctx, el, to)
	case asks:
		if to.Local != "" && entityOf(to) != s.user.entity {
			if s.user.blocked(entityOf(to), "") {
				s.refuseBlocked(el)
				return
			}
			if s.edge.blocks(ctx, entityOf(to), s.user.entity, s.resource) || s.edge.refuses(ctx, entityOf(to), s.user.entity) {
				s.refuse(el, "service-unavailable")
				return
			}
		}
		r := request{session: s, iq: el, child: child, set: typ == "set", to: entityOf(to)}
		if answer := answers[name{child.Space, child.Local}]; answer != nil {
			answer(&r, ctx)
		} else {
			s.refuse(el, "service-unavailable")
		}
	}
}

// forwardIQ hands an IQ to the resource it is for (RFC 6121 §8.5.3.1).
func (s *session) forwardIQ(ctx context.Context, el *markup.Element, to xmpp.JID) {
	ent := entityOf(to)
	if s.user.blocked(ent, to.Resource) {
		s.refuseBlocked(el)
		return
	}
	u := s.edge.reg.user(ent)
	target := u.resource(to.Resource)
	far := target == nil && s.edge.many && to.Local != ""
	asks := el.Attr("type") == "get" || el.Attr("type") == "set"
	if !far && (to.Local == "" || target == nil || u.blocked(s.user.entity, s.resource) || asks && target.hides(ctx, s.user.entity, s.resource)) {
		s.refuse(el, "service-unavailable") // RFC 6121 §8.5.3.2.3
		return
	}
	if el.Child(nsLast, "query") != nil && el.Attr("type") == "get" && ent != s.user.entity && !slices.Contains(resources(s.glance(ctx, ent)), to.Resource) {
		// XEP-0012 §4: not even asked. It would have "forbidden", which would tell
		// those who may not know that the resource is there.
		s.refuse(el, "service-unavailable")
		return
	}
	b := make([]byte, 0, 96+len(s.full)+el.End-el.Start)
	b = append(b, "<iq"...)
	b = markup.AppendAttr(b, "from", s.full)
	b = markup.AppendAttr(b, "to", el.Attr("to"))
	b = markup.AppendAttr(b, "type", el.Attr("type"))
	b = markup.AppendAttr(b, "id", el.Attr("id"))
	b = attr(b, "xml:lang", s.language(el))
	b = append(b, '>')
	b = el.AppendInner(b, nsClient)
	b = append(b, "</iq>"...)
	if far {
		s.forwardFar(el, iqCall(ent, to.Resource, s.user.entity, s.resource, asks, b))
	} else if !target.send(b) {
		s.refuse(el, "service-unavailable")
	}
}

// forwardFar is for a resource that is on another node, if anywhere.
func (s *session) forwardFar(el *markup.Element, call []byte) {
	head := headOf(el)
	_, in := openCall(call)
	err := s.edge.c.Engine.Reach(in.Entity(), EdgeName, call, func(answers [][]byte, _ error) {
		if !anyOf(answers) {
			s.refuse(head.element(), "service-unavailable") // RFC 6121 §8.5.3.2.3
		}
	})
	if err != nil {
		s.refuse(el, "service-unavailable")
	}
}

// result answers a request with content, which is appended by fill (nil: none).
func (r *request) result(fill func([]byte) []byte) {
	b := make([]byte, 0, 256)
	b = append(b, "<iq type='result'"...)
	b = markup.AppendAttr(b, "id", r.iq.Attr("id"))
	b = attr(b, "from", r.iq.Attr("to"))
	b = markup.AppendAttr(b, "to", r.full)
	if fill == nil {
		r.send(append(b, "/>"...))
		return
	}
	b = append(b, '>')
	b = fill(b)
	r.send(append(b, "</iq>"...))
}

func (r *request) refuse(condition string) { r.session.refuse(r.iq, condition) }

// failed answers a request that the store could not carry out.
func (r *request) failed(what string, err error) {
	condition := conditionOf(err)
	level := slog.LevelError
	if condition == "resource-constraint" {
		level = slog.LevelDebug // of a database that is away the store says so once, not each client
	}
	r.log().Log(context.Background(), level, what, "err", err)
	r.refuse(condition)
}

// conditionOf is the stanza error for what the server could not do. What passes by itself, since the database or
// another node is away or a queue is full, is one of type wait (RFC 6120 §8.3.3.18): the client is to ask again.
func conditionOf(err error) string {
	for _, e := range []error{engine.ErrOverload, engine.ErrStopped, engine.ErrGone, engine.ErrTransient, account.ErrBusy} {
		if errors.Is(err, e) {
			return "resource-constraint"
		}
	}
	if store.Transient(err) {
		return "resource-constraint"
	}
	return "internal-server-error"
}

// session3921 answers the session request of RFC 3921, without effect since
// RFC 6121; clients of today still send it.
func (r *request) session3921(context.Context) {
	if !r.set {
		r.refuse("bad-request")
		return
	}
	r.result(nil)
}

// bindAgain: one resource per stream (RFC 6120 §7.1).
func (r *request) bindAgain(context.Context) { r.refuse("not-allowed") }
