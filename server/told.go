package server

import (
	"fmt"
	"time"

	"pharos/presence"
	"pharos/simple"
)

// lastTold says what the watcher was last told and how that went; known is
// false when the edge has nothing to say.
func (s *Server) lastTold(of presence.Entity, sub presence.Subscription) (text string, ok, known bool) {
	switch sub.Via.Edge {
	case "sip":
		d, found := s.simple.Describe(sub.ID)
		if !found {
			return "the dialog of this subscription is gone", false, true
		}
		text, ok = dialogText(d)
		if d.List != "" {
			text = "member of the list " + d.List + ": " + text
		}
		return text, ok, true
	case "xmpp":
		i, found := s.jabber.Describe(sub.Via.Handle)
		if !found {
			return "the session of this subscription is gone", false, true
		}
		text = fmt.Sprintf("session %s", i.Handle)
		switch {
		case i.Hibernating:
			text += ", its connection is lost and may be resumed"
		case i.Inactive:
			text += fmt.Sprintf(", its client is inactive: presence of %d contacts is held back", i.Held)
		default:
			text += ", connected from " + i.Remote
		}
		for _, w := range i.Watches {
			if w.Presentity == of {
				text += fmt.Sprintf("; shown version %d", w.Version)
			}
		}
		return text, !i.Hibernating, true
	}
	return "", false, false
}

func dialogText(d simple.DialogInfo) (text string, ok bool) {
	to := d.Target
	if d.Transport != "" {
		to += " over " + d.Transport + " to " + d.Remote
	}
	switch {
	case d.Stranded:
		return fmt.Sprintf("the connection of %s has ended; waiting for the phone to come back", d.Target), false
	case d.Sent.IsZero() && d.InFlight:
		return "a NOTIFY is on its way to " + to, true
	case d.Sent.IsZero():
		return "no NOTIFY was sent since the server started", true
	}
	text = fmt.Sprintf("NOTIFY %d to %s, %s ago: ", d.CSeq, to, time.Since(d.Sent).Round(time.Second))
	switch {
	case d.InFlight:
		return text + "waiting for the answer", true
	case d.Code == 408:
		text += "no answer came"
	case d.Code == 503:
		text += "it could not be sent, or the phone was overloaded (503)"
	default:
		text += fmt.Sprintf("answered %d", d.Code)
	}
	if d.Retrying {
		text += fmt.Sprintf(", failure %d in a row, will be tried again", d.Failures)
	}
	return text, d.Code/100 == 2
}
