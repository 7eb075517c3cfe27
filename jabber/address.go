package jabber

import (
	"pharos/markup"
	"pharos/presence"
	"pharos/xmpp"
)

// checkFrom enforces RFC 6120 §8.1.2.1: a from that a client gives must be its
// own bare or full JID.
func (s *session) checkFrom(st *xmpp.Stream, el *markup.Element) bool {
	from := el.Attr("from")
	if from == "" || from == s.full || from == s.user.bare {
		return true
	}
	if j, err := xmpp.ParseJID(from); err == nil && (j == s.jid() || j == s.jid().Bare()) {
		return true
	}
	s.fail(st, "invalid-from")
	return false
}

// destination reads the to attribute. ok false: the stanza was answered. No
// attribute is the sender's own bare JID (RFC 6120 §10.3).
func (s *session) destination(el *markup.Element) (to xmpp.JID, ok bool) {
	v := el.Attr("to")
	if v == "" || v == s.user.bare {
		return s.jid().Bare(), true
	}
	to, err := xmpp.ParseJID(v)
	if err != nil {
		s.refuse(el, "jid-malformed")
		return to, false
	}
	return to, true
}

func entityOf(j xmpp.JID) presence.Entity {
	return presence.Entity{User: j.Local, Domain: j.Domain}
}

// refuse answers a stanza with an error; one of type error or result is never
// answered (RFC 6120 §8.3.1).
func (s *session) refuse(el *markup.Element, condition string) {
	switch t := el.Attr("type"); {
	case t == "error", t == "result" && el.Local == "iq":
		return
	}
	s.send(xmpp.AppendError(nil, el, el.Attr("to"), s.full, condition, ""))
}

// stanzaHead is what an answer needs of a stanza that is read no more: elements
// are valid until the next one is read.
type stanzaHead struct{ local, to, id, typ string }

func headOf(el *markup.Element) stanzaHead {
	return stanzaHead{el.Local, el.Attr("to"), el.Attr("id"), el.Attr("type")}
}

// element is the stanza without its content.
func (h stanzaHead) element() *markup.Element {
	el := &markup.Element{Space: nsClient, Local: h.local}
	for _, a := range [...]markup.Attr{{Local: "to", Value: h.to}, {Local: "id", Value: h.id}, {Local: "type", Value: h.typ}} {
		if a.Value != "" {
			el.Attrs = append(el.Attrs, a)
		}
	}
	return el
}

// refuseBlocked is the answer to a stanza for somebody whom its sender blocks
// (XEP-0191 §3.4).
func (s *session) refuseBlocked(el *markup.Element) {
	switch t := el.Attr("type"); {
	case t == "error", t == "result" && el.Local == "iq":
		return
	}
	b := make([]byte, 0, 256)
	b = append(b, '<')
	b = append(b, el.Local...)
	b = append(b, " type='error'"...)
	b = attr(b, "id", el.Attr("id"))
	b = attr(b, "from", el.Attr("to"))
	b = attr(b, "to", s.full)
	b = append(b, "><error type='cancel'><not-acceptable xmlns='"+nsStanzas+
		"'/><blocked xmlns='"+nsBlockErrs+"'/></error></"...)
	b = append(b, el.Local...)
	b = append(b, '>')
	s.send(b)
}

// attr appends an attribute that has a value.
func attr(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	return markup.AppendAttr(b, name, v)
}

// language is that of a stanza: its own, else the stream's (RFC 6120 §8.1.5).
func (s *session) language(el *markup.Element) string {
	if v := lang(el); v != "" {
		return v
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lang
}

// lang is the xml:lang of an element.
func lang(el *markup.Element) string {
	v, _ := el.LookupAttr(markup.XMLSpace, "lang")
	return v
}
