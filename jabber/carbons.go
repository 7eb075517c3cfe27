package jabber

import (
	"context"

	"pharos/engine"
	"pharos/markup"
)

// carbonsOn and carbonsOff answer XEP-0280 §4 and §5.
func (r *request) carbonsOn(context.Context)  { r.setCarbons(true) }
func (r *request) carbonsOff(context.Context) { r.setCarbons(false) }

func (r *request) setCarbons(on bool) {
	if !r.set || !r.own() {
		r.refuse("not-allowed")
		return
	}
	r.mu.Lock()
	r.carbons = on
	r.mu.Unlock()
	r.result(nil)
}

// wantsCarbons tells whether a session has enabled carbons.
func (s *session) wantsCarbons() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.carbons && !s.ended
}

// receivedCopies shows what some sessions of a user got to the others that ask
// for copies (XEP-0280 §7).
func (e *Edge) receivedCopies(rec *user, got []*session, m *engine.Message, head, rest []byte) {
next:
	for _, s := range rec.list() {
		for _, g := range got {
			if s == g {
				continue next
			}
		}
		// What one resource of a user writes to another is copied as sent.
		if m.From == rec.entity && m.FromResource == s.resource {
			continue
		}
		if s.wantsCarbons() {
			s.copy("received", m.Type, head, rest)
		}
	}
}

// sentCopies shows what a session has sent to the user's other sessions
// (XEP-0280 §8).
func (e *Edge) sentCopies(from *session, m *engine.Message) {
	all := from.user.list()
	if len(all) < 2 && !e.many {
		return
	}
	var head, rest []byte
	if e.many && m.To != from.user.entity {
		head, rest = messageBytes(m)
		e.pass(from.user.entity, copyCall(from.user.entity, "sent", m, head, rest))
	}
	for _, s := range all {
		// Messages to oneself are seen as received already.
		if s == from || m.To == from.user.entity || !s.wantsCarbons() {
			continue
		}
		if head == nil {
			head, rest = messageBytes(m)
		}
		s.copy("sent", m.Type, head, rest)
	}
}

// copy wraps a message (XEP-0297) for one session.
func (s *session) copy(direction, typ string, head, rest []byte) {
	b := make([]byte, 0, 320)
	b = append(b, "<message"...)
	b = markup.AppendAttr(b, "from", s.user.bare)
	b = markup.AppendAttr(b, "to", s.full)
	b = attr(b, "type", typ)
	b = append(b, "><"...)
	b = append(b, direction...)
	b = append(b, " xmlns='"+nsCarbons+"'><forwarded xmlns='"+nsForward+"'><message xmlns='"+nsClient+"'"...)
	b = append(b, head[len("<message"):]...)
	end := make([]byte, 0, 48)
	end = append(end, "</forwarded></"...)
	end = append(end, direction...)
	end = append(end, "></message>"...)
	s.deliver(nil, b, rest, end)
}
