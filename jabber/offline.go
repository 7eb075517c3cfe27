package jabber

import (
	"context"

	"pharos/engine"
	"pharos/markup"
)

// takeOffline hands over what came while the user was away (XEP-0160 §2). It
// blocks.
func (s *session) takeOffline(ctx context.Context) {
	if s.edge.many {
		ms, _, err := s.edge.c.Engine.Take(ctx, s.user.entity)
		if err == nil && len(ms) == 0 {
			return
		}
		over := s.turn(ctx) // lest two sessions that come together on two nodes get the same
		defer over()
	}
	// One at a time, lest two sessions that come together get the same.
	ctx, release := s.edge.hold(ctx, s.user.entity)
	defer release()
	ms, done, err := s.edge.c.Engine.Take(ctx, s.user.entity)
	if err != nil {
		s.log().Error("stored messages not read", "err", err)
		return
	}
	if len(ms) == 0 {
		return
	}
	for _, m := range ms {
		if s.user.blocked(m.From, m.FromResource) {
			continue
		}
		head, rest := messageBytes(m)
		end := len(rest) - len("</message>")
		d := s.edge.newDuty(m, 1)
		if !s.deliver(d, head, rest[:end:end], appendDelay(nil, m, s.user.entity.Domain)) {
			return // still in the mailbox
		}
	}
	if err := done(); err != nil {
		s.log().Error("stored messages not removed", "err", err)
	}
}

// appendDelay says when a message was sent (XEP-0203), and ends the message.
func appendDelay(b []byte, m *engine.Message, domain string) []byte {
	b = append(b, "<delay xmlns='"+nsDelay+"'"...)
	b = markup.AppendAttr(b, "from", domain)
	b = append(b, " stamp='"...)
	b = m.Sent.UTC().AppendFormat(b, stampFormat)
	return append(b, "'/></message>"...)
}

// redeliver passes on what a session never acknowledged (XEP-0198 §4): as to an
// unavailable resource, that is to the user's other sessions, else the mailbox.
func (e *Edge) redeliver(ctx context.Context, s *session, ms []*engine.Message) {
	far := e.many
	for _, m := range ms {
		again := *m
		again.ToResource = ""
		if m.ToResource != "" && m.Type != "chat" && m.Type != "" {
			continue
		}
		rec := e.reg.user(m.To)
		if e.deliverTo(rec, rec.willing(m.Type), &again) || e.passOn(ctx, &again, &far) || m.NoStore {
			continue
		}
		e.c.Engine.Undelivered(&again)
	}
}
