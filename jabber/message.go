package jabber

import (
	"context"
	"errors"
	"time"

	"pharos/engine"
	"pharos/load"
	"pharos/markup"
	"pharos/presence"
	"pharos/xmpp"
)

// messageTypes of RFC 6121 §5.2.2; anything else is read as normal, which is
// written without a type.
var messageTypes = map[string]string{
	"chat": "chat", "error": "error", "groupchat": "groupchat", "headline": "headline",
}

// message routes a message that the client sends (RFC 6121 §8).
func (s *session) message(ctx context.Context, el *markup.Element) {
	to, ok := s.destination(el)
	if !ok {
		return
	}
	if !s.edge.local(to.Domain) {
		s.refuse(el, "remote-server-not-found")
		return
	}
	m := s.readMessage(el, to)
	switch {
	case to.Local == "":
		s.undeliverable(el, m) // nobody reads at the server's own address
		return
	case s.user.blocked(m.To, to.Resource):
		s.refuseBlocked(el)
		return
	case !s.edge.enter(load.Message):
		s.refuse(el, "resource-constraint")
		return
	case m.To != s.user.entity && (s.edge.blockedBy(ctx, m.To, m.From, s.resource) || s.edge.refuses(ctx, m.To, m.From)):
		// XEP-0191 §3.1. Where the recipient has no session the engine looks.
		s.undeliverable(el, m)
		return
	}
	if s.route(ctx, el, m) && !m.NoCopy {
		s.edge.sentCopies(s, m)
	}
}

// route finds the recipient's resources, or stores (RFC 6121 §8.5).
func (s *session) route(ctx context.Context, el *markup.Element, m *engine.Message) bool {
	e := s.edge
	rec := e.reg.user(m.To)
	if m.ToResource != "" {
		if target := rec.resource(m.ToResource); target != nil && (m.Type == "error" || !target.hides(ctx, m.From, m.FromResource)) {
			return e.deliverTo(rec, []*session{target}, m)
		} else if target == nil && e.many && e.anyTaken(ctx, m.To, messageCall(m, false)) {
			return true
		}
		// RFC 6121 §8.5.3.2.1: only chat is delivered as if to the bare
		// JID. So is what answers one of our stand-ins for SIP devices.
		if m.Type != "chat" && !(m.Type == "" && isStandIn(m.ToResource)) {
			s.undeliverable(el, m)
			return false
		}
	}
	switch m.Type {
	case "groupchat", "error":
		s.undeliverable(el, m) // RFC 6121 §8.5.2.1.1
		return false
	case "headline":
		if e.many {
			e.pass(m.To, messageCall(m, false))
		}
		return e.deliverTo(rec, rec.willing(m.Type), m) // never stored
	}
	if !worded(m) {
		// Nothing that another world could show: chat states, receipts.
		if e.offerBare(ctx, m) || m.NoStore {
			return true
		}
	}
	if rec == nil && !e.exists(ctx, m.To) {
		s.undeliverable(el, m) // RFC 6121 §8.5.1
		return false
	}
	stored, err := e.c.Engine.Send(ctx, m)
	switch {
	case err == nil:
	case errors.Is(err, engine.ErrMailboxFull):
		s.refuse(el, "service-unavailable") // XEP-0160 §2
		return false
	case errors.Is(err, engine.ErrUndeliverable):
		if !m.NoStore || worded(m) {
			s.undeliverable(el, m)
		}
		return false
	default:
		s.log().Error("message neither delivered nor stored", "to", m.To.String(), "err", err)
		s.refuse(el, conditionOf(err))
		return false
	}
	if stored {
		// Somebody may have come while it was on its way to the mailbox.
		e.mailHere(ctx, m.To)
		if e.many {
			e.pass(m.To, newCall(callMail).entity(m.To))
		}
	}
	return true
}

// offerBare offers what is for the bare JID to sessions alone. It blocks.
func (e *Edge) offerBare(ctx context.Context, m *engine.Message) bool {
	here := e.Deliver(m)
	switch {
	case !e.many:
		return here
	case here || m.NoStore:
		e.pass(m.To, messageCall(m, false))
		return here
	}
	return e.anyTaken(ctx, m.To, messageCall(m, false))
}

// blockedBy tells whether the block list of a user who has a session names the sender.
// It blocks where the session may be on another node.
func (e *Edge) blockedBy(ctx context.Context, u, from presence.Entity, resource string) bool {
	if e.many {
		return e.blocks(ctx, u, from, resource)
	}
	return e.reg.user(u).blocked(from, resource)
}

// undeliverable answers where the table of RFC 6121 §8.5.4 lets us choose
// between an error and silence: an error for what people write.
func (s *session) undeliverable(el *markup.Element, m *engine.Message) {
	if m.Type != "headline" && m.Type != "error" {
		s.refuse(el, "service-unavailable")
	}
}

// worded tells whether a message says something that any protocol could show.
func worded(m *engine.Message) bool { return m.Body != "" || m.Subject != "" }

// readMessage makes the engine's message of a stanza.
func (s *session) readMessage(el *markup.Element, to xmpp.JID) *engine.Message {
	m := &engine.Message{
		From: s.user.entity, FromResource: s.resource,
		To: entityOf(to), ToResource: to.Resource,
		ID: el.Attr("id"), Type: messageTypes[el.Attr("type")], Lang: s.language(el),
		Edge: EdgeName, Sent: time.Now(),
	}
	private, noCopy, keep, lasting, talk, forged := false, false, false, false, false, false
	for c := range el.Children() {
		switch c.Space {
		case nsClient:
			switch c.Local {
			case "body":
				if m.Body == "" {
					m.Body = c.Text()
				}
			case "subject":
				if m.Subject == "" {
					m.Subject = c.Text()
				}
			case "thread":
				m.Thread = c.Text()
			}
		case nsHints: // XEP-0334
			switch c.Local {
			case "no-store", "no-permanent-store":
				m.NoStore = true
			case "no-copy":
				noCopy = true
			case "store":
				keep = true
			}
		case nsCarbons:
			private = private || c.Local == "private"
		case nsChat:
			talk = true
		case nsDelay:
			forged = forged || s.edge.forged(c)
		default:
			talk = talk || isTalk(c)
			lasting = true // receipts, markers, encrypted payloads
		}
	}
	switch {
	case m.Type == "headline", m.Type == "groupchat", m.Type == "error":
		m.NoStore = true // XEP-0160 §3
	case !worded(m) && !keep && !lasting:
		m.NoStore = true // chat states alone
	}
	// XEP-0280 §6.1
	m.NoCopy = private || noCopy || m.Type == "groupchat" || m.Type == "headline" ||
		m.Type == "" && m.Body == "" && !talk
	m.Native = presence.Payload{Type: nsClient, Bytes: s.innerOf(el, private || forged)}
	return m
}

// isTalk tells whether an element belongs to conversations, so that a message with
// it is copied though it has no body (XEP-0280 §6.1): receipts, markers and
// invitations; chat states are known already.
func isTalk(c *markup.Element) bool {
	switch c.Space {
	case nsReceipts, "urn:xmpp:chat-markers:0", "jabber:x:conference":
		return true
	case "http://jabber.org/protocol/muc#user":
		return c.Child(c.Space, "invite") != nil
	}
	return false
}

// forged tells whether a delay is said to be noted by this server: no client can
// know that (XEP-0203 §5).
func (e *Edge) forged(delay *markup.Element) bool {
	from := delay.Attr("from")
	j, err := xmpp.ParseJID(from)
	return from != "" && err == nil && j.Local == "" && e.local(j.Domain)
}

// innerOf is a message's content; with less, without what does not travel:
// carbons' <private/> is for the servers only (XEP-0280 §9.1), and see forged.
func (s *session) innerOf(el *markup.Element, less bool) []byte {
	b := make([]byte, 0, el.Inner[1]-el.Inner[0])
	if !less {
		return el.AppendInner(b, nsClient)
	}
	for c := range el.Children() {
		if !c.Is(nsCarbons, "private") && !(c.Is(nsDelay, "delay") && s.edge.forged(c)) {
			b = c.Append(b, nsClient)
		}
	}
	return b
}

// Deliver takes a message for a user's sessions; false: none wants it.
func (e *Edge) Deliver(m *engine.Message) bool {
	rec := e.reg.user(m.To)
	if rec == nil {
		return false
	}
	if (m.Edge != EdgeName || e.many) && rec.blocked(m.From, m.FromResource) {
		return true // taken and dropped: whoever is blocked learns nothing
	}
	if m.ToResource == "" {
		to, elsewhere := e.willing(rec, m.Type)
		if elsewhere && !m.NoCopy {
			head, rest := messageBytes(m)
			e.receivedCopies(rec, nil, m, head, rest)
		}
		return e.deliverTo(rec, to, m)
	}
	target := rec.resource(m.ToResource)
	return target != nil && e.deliverTo(rec, []*session{target}, m)
}

// willing are the sessions that get what is for the bare JID (RFC 6121
// §8.5.2.1.1): a headline all that are not negative, else those of the highest
// priority; nil-safe.
func (u *user) willing(typ string) []*session {
	var out []*session
	best := int32(0)
	for _, s := range u.list() {
		p := s.prio.Load()
		if p < 0 { // unavailable is far below
			continue
		}
		if typ != "headline" && p > best {
			best, out = p, out[:0]
		}
		if typ == "headline" || p == best {
			out = append(out, s)
		}
	}
	return out
}

// deliverTo hands a message to sessions of one user, and copies to the others.
func (e *Edge) deliverTo(rec *user, to []*session, m *engine.Message) bool {
	if len(to) == 0 {
		return false
	}
	head, rest := messageBytes(m)
	done := false
	// The sessions answer for the message together: where none ever
	// acknowledges it, it goes elsewhere.
	d := e.newDuty(m, len(to))
	for _, s := range to {
		if s.deliver(d, head, rest) {
			done = true
		} else {
			d.open.Add(-1)
		}
	}
	if done && !m.NoCopy && len(rec.list()) > len(to) {
		e.receivedCopies(rec, to, m, head, rest)
	}
	if e.many {
		e.recent.put(d)
		if done && !m.NoCopy && m.ToResource != "" {
			// What is for the bare JID every node was offered, and copies by itself.
			e.pass(m.To, copyCall(m.To, "received", m, head, rest))
		}
	}
	return done
}

func (s *session) deliver(d *duty, parts ...[]byte) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	return s.put(d, parts...)
}

// messageBytes renders a message: its start tag, and its content with the end
// tag. Every recipient gets the same bytes.
func messageBytes(m *engine.Message) (head, rest []byte) {
	b := make([]byte, 0, 160+len(m.ID))
	b = append(b, "<message"...)
	b = markup.AppendAttr(b, "from", fullName(m.From, m.FromResource))
	b = markup.AppendAttr(b, "to", fullName(m.To, m.ToResource))
	typ := m.Type
	if typ == "" && m.Native.Type != nsClient {
		typ = "chat" // RFC 7572 §5: what a SIP user writes is a conversation
	}
	b = attr(b, "type", typ)
	b = attr(b, "id", m.ID)
	b = attr(b, "xml:lang", m.Lang)
	b = append(b, '>')
	if m.Native.Type == nsClient {
		rest = make([]byte, 0, len(m.Native.Bytes)+len("</message>"))
		rest = append(rest, m.Native.Bytes...)
	} else {
		rest = appendBody(nil, m)
	}
	return b, append(rest, "</message>"...)
}

// appendBody maps a message of another protocol (RFC 7572 §5, table 1).
func appendBody(b []byte, m *engine.Message) []byte {
	for _, c := range [...]struct{ name, text string }{
		{"subject", m.Subject}, {"body", m.Body}, {"thread", m.Thread},
	} {
		if c.text == "" {
			continue
		}
		b = append(append(append(b, '<'), c.name...), '>')
		b = markup.AppendText(b, c.text)
		b = append(append(append(b, "</"...), c.name...), '>')
	}
	return b
}

func fullName(e presence.Entity, resource string) string {
	if resource == "" {
		return e.String()
	}
	return e.String() + "/" + resource
}

// isStandIn tells whether a resource is one of those that we make for sources
// of other protocols.
func isStandIn(resource string) bool {
	return len(resource) > len(SIPResource) && resource[:len(SIPResource)] == SIPResource
}
