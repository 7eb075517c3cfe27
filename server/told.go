package server

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"pharos/presence"
	"pharos/simple"
)

// told is what the server to which a watcher is connected says of him.
type told struct {
	Text  string `json:"text"` // what he was last told, and how that went
	OK    bool   `json:"ok"`
	Known bool   `json:"known"` // false: the edge has nothing to say
}

// asking is the question for it, to the server of the connection.
type asking struct {
	Edge, Sub, Handle string
	Of                presence.Entity
}

// lastTold says what the watcher was last told and how that went, wherever he is connected.
func (s *Server) lastTold(ctx context.Context, of presence.Entity, sub presence.Subscription) told {
	q := asking{Edge: sub.Via.Edge, Sub: sub.ID, Handle: sub.Via.Handle, Of: of}
	node := sub.Via.Node
	if node == "" {
		return s.toldHere(q)
	}
	var t told
	if node == s.engine.Self() {
		t = s.toldHere(q)
	} else if err := s.ask(ctx, node, q, &t); err != nil {
		t = told{Text: fmt.Sprintf("this server cannot be asked: %v", err), Known: true}
	}
	t.Text = "server " + node + ": " + t.Text
	return t
}

// ask has the operator's edge on another server answer.
func (s *Server) ask(ctx context.Context, node string, q asking, t *told) error {
	b, err := json.Marshal(q)
	if err != nil {
		return err
	}
	type answer struct {
		body []byte
		err  error
	}
	ended := make(chan answer, 1)
	if err := s.engine.CallEdge(node, watchName, b, func(body []byte, err error) { ended <- answer{body, err} }); err != nil {
		return err
	}
	select {
	case a := <-ended:
		if a.err != nil {
			return a.err
		}
		return json.Unmarshal(a.body, t)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// asked answers another server's ask.
func (s *Server) asked(request []byte) []byte {
	var q asking
	t := told{Text: "the question is not understood: the servers' versions differ", Known: true}
	if err := json.Unmarshal(request, &q); err == nil {
		t = s.toldHere(q)
	}
	b, _ := json.Marshal(t) // of strings and bools
	return b
}

// toldHere is lastTold of a watcher who is connected here.
func (s *Server) toldHere(q asking) told {
	switch q.Edge {
	case "sip":
		d, found := s.simple.Describe(q.Sub)
		if !found {
			return told{Text: "the dialog of this subscription is gone", Known: true}
		}
		text, ok := dialogText(d)
		if d.List != "" {
			text = "member of the list " + d.List + ": " + text
		}
		return told{text, ok, true}
	case "xmpp":
		i, found := s.jabber.Describe(q.Handle)
		if !found {
			return told{Text: "the session of this subscription is gone", Known: true}
		}
		text := fmt.Sprintf("session %s", i.Handle)
		switch {
		case i.Hibernating:
			text += ", its connection is lost and may be resumed"
		case i.Inactive:
			text += fmt.Sprintf(", its client is inactive: presence of %d contacts is held back", i.Held)
		default:
			text += ", connected from " + i.Remote
		}
		for _, w := range i.Watches {
			if w.Presentity == q.Of {
				text += fmt.Sprintf("; shown version %d", w.Version)
			}
		}
		return told{text, !i.Hibernating, true}
	}
	return told{}
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
