package main

import (
	"fmt"
	"strings"

	"pharos/interop"
)

// play is the story.
func (c *cast) play(s *story) error {
	sipp, slix, bare := c.versions["sipp"], c.versions["slixmpp"], c.versions["baresip"]
	var (
		bob, chat *interop.Client
		watcher   *interop.Sipp
		carol     *interop.Baresip
		etag      string
		err       error
	)
	defer func() {
		for _, p := range []interface{ Stop() }{bob, chat, watcher, carol} {
			stop(p)
		}
	}()

	return s.play(
		act("bob", slix, "logs in", func() error {
			bob, err = c.server.Slixmpp(c.bob, "desk")
			return err
		}),
		act("alice", sipp, "publishes from her phone: “on the phone”", func() error {
			etag, err = c.publish("open", "on-the-phone", "on the phone")
			return err
		}),

		// Who may see whom: asked from XMPP, answered by the same user's chat client.
		act("bob", slix, "asks to see alice", does(&bob, "subscribe", interop.Fields{"to": c.alice.Address()})),
		act("alice", slix, "opens her chat client too", func() error {
			chat, err = c.server.Slixmpp(c.alice, "chat")
			return err
		}),
		sees("alice", slix, "bob's request", event(&chat, interop.Fields{"type": "subscribe", "from": c.bob.Address()}, "from")),
		act("alice", slix, "approves bob, and closes the chat client", does(&chat, "subscribed", interop.Fields{"to": c.bob.Address()})),
		sees("bob", slix, "alice's phone", event(&bob, interop.Fields{"bare": c.alice.Address(), "status": "on the phone"}, "show", "status")),
		quiet(func() error { return chat.Quit() }),

		// The other way round: asked from SIP, answered from XMPP.
		act("alice", sipp, "subscribes to bob with her phone", func() error {
			watcher, err = c.server.Sipp("watch", c.alice, "udp", interop.Keys{"to": c.bob.Address()})
			return err
		}),
		sees("alice", sipp, "that bob has not answered yet", func() (string, error) { return state(watcher, "pending") }),
		sees("bob", slix, "alice's request", event(&bob, interop.Fields{"type": "subscribe", "from": c.alice.Address()}, "from")),
		act("bob", slix, "approves alice", does(&bob, "subscribed", interop.Fields{"to": c.alice.Address()})),
		sees("alice", sipp, "the subscription go on", func() (string, error) { return state(watcher, "active") }),
		act("carol", bare, "starts her softphone, which subscribes to bob", func() error {
			carol, err = c.server.Baresip(c.carol, "tcp", c.bob)
			return err
		}),
		sees("bob", slix, "carol's request", event(&bob, interop.Fields{"type": "subscribe", "from": c.carol.Address()}, "from")),
		act("bob", slix, "approves carol", does(&bob, "subscribed", interop.Fields{"to": c.carol.Address()})),
		sees("carol", bare, "bob", func() (string, error) { return "Online", carol.Shows(patience, c.bob, "Online") }),

		// Presence both ways.
		act("bob", slix, "sets “away, lunch”", does(&bob, "presence", interop.Fields{"show": "away", "status": "lunch"})),
		sees("alice", sipp, "it in the NOTIFY", func() (string, error) { return elements(watcher, "away", "lunch") }),
		act("bob", slix, "sets “do not disturb, writing”", does(&bob, "presence", interop.Fields{"show": "dnd", "status": "writing"})),
		sees("alice", sipp, "it in the NOTIFY", func() (string, error) { return elements(watcher, "busy", "writing") }),
		sees("carol", bare, "bob", func() (string, error) { return "Busy", carol.Shows(patience, c.bob, "Busy") }),
		act("alice", sipp, "hangs up: her phone publishes “at my desk”", func() error {
			if err := c.unpublish(etag); err != nil {
				return err
			}
			etag, err = c.publish("open", "working", "at my desk")
			return err
		}),
		sees("bob", slix, "alice's phone", event(&bob, interop.Fields{"bare": c.alice.Address(), "status": "at my desk"}, "type", "status")),

		// A message each way.
		act("bob", slix, "writes to carol", does(&bob, "message", interop.Fields{"to": c.carol.Address(), "body": "coffee at three?"})),
		sees("carol", bare, "the message", func() (string, error) {
			m, err := carol.See(patience, `sip:bob@localhost: "([^"]*)"`)
			return quote(m), err
		}),
		act("carol", bare, "answers", func() error { return carol.Message("with cake") }),
		sees("bob", slix, "the message", func() (string, error) {
			e, err := bob.Event(patience, interop.Fields{"event": "message", "bare": c.carol.Address()})
			return fmt.Sprintf("“%v”", e["body"]), err
		}),

		// Everybody signs out.
		act("alice", sipp, "signs out: her phone takes its state back", func() error { return c.unpublish(etag) }),
		sees("bob", slix, "alice go", event(&bob, interop.Fields{"bare": c.alice.Address(), "type": "unavailable"}, "type")),
		act("bob", slix, "signs out", func() error { return bob.Quit() }),
		sees("alice", sipp, "bob go", func() (string, error) { return elements(watcher, "closed", "") }),
		sees("carol", bare, "bob go", func() (string, error) { return "Offline", carol.Shows(patience, c.bob, "Offline") }),
		act("carol", bare, "signs out: the softphone takes state, subscription and registration back", func() error { return carol.Quit() }),
	)
}

// publish lets the phone publish a state and returns its entity-tag.
func (c *cast) publish(basic, activity, note string) (etag string, err error) {
	r, err := c.server.Sipp("state", c.alice, "udp", interop.Keys{"basic": basic, "activity": activity, "note": note})
	if err != nil {
		return "", err
	}
	defer r.Stop()
	m, err := r.Log(patience, `published (\S+)`)
	if err != nil {
		return "", err
	}
	return m[1], r.Done(patience)
}

func (c *cast) unpublish(etag string) error {
	r, err := c.server.Sipp("unpublish", c.alice, "udp", interop.Keys{"etag": etag})
	if err != nil {
		return err
	}
	defer r.Stop()
	return r.Done(patience)
}

// does has a chat client, which a scene before has started, do something.
func does(who **interop.Client, what string, with interop.Fields) func() error {
	return func() error { return (*who).Do(what, with) }
}

// event waits for a presence and shows the fields named.
func event(who **interop.Client, want interop.Fields, show ...string) func() (string, error) {
	return func() (string, error) {
		want["event"] = "presence"
		e, err := (*who).Event(patience, want)
		if err != nil {
			return "", err
		}
		var parts []string
		for _, f := range show {
			if v, has := e[f]; has {
				parts = append(parts, fmt.Sprintf("%s “%v”", f, v))
			}
		}
		return strings.Join(parts, ", "), nil
	}
}

// state waits for a NOTIFY with this Subscription-State.
func state(w *interop.Sipp, want string) (string, error) {
	m, err := w.Message(patience, `Subscription-State: (`+want+`)[^\r\n]*`)
	if err != nil {
		return "", err
	}
	return m[0], nil
}

// elements waits for a NOTIFY whose document has the activity (or basic
// status) and the note, and shows both as they stand there.
func elements(w *interop.Sipp, status, note string) (string, error) {
	pattern := `<(?:rpid:)?` + status + `/>`
	if status == "closed" || status == "open" {
		pattern = `<basic>` + status + `</basic>`
	}
	m, err := w.Message(patience, pattern)
	if err != nil || note == "" {
		return strings.Join(m, ""), err
	}
	n, err := w.Message(patience, `<(?:dm:)?note[^>]*>`+note+`</(?:dm:)?note>`)
	return strings.Join(append(m, n...), " … "), err
}

func quote(m []string) string {
	if len(m) < 2 {
		return ""
	}
	return "“" + m[1] + "”"
}

// stop ends a program that may not have been started.
func stop(p interface{ Stop() }) {
	switch p := p.(type) {
	case *interop.Client:
		if p != nil {
			p.Stop()
		}
	case *interop.Sipp:
		if p != nil {
			p.Stop()
		}
	case *interop.Baresip:
		if p != nil {
			p.Stop()
		}
	}
}
