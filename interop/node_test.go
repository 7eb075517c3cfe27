package interop

import "testing"

// nodeClients are libraries for node, each with its ways in.
func nodeClients(s *Server) []struct{ script, pkg, service string } {
	return []struct{ script, pkg, service string }{
		{"xmppjs", "@xmpp/client", "xmpp://127.0.0.1:" + s.Port("xmpp")},
		{"xmppjs", "@xmpp/client", "xmpps://127.0.0.1:" + s.Port("xmpps")},
		{"xmppjs", "@xmpp/client", "wss://127.0.0.1:" + s.Port("https") + "/xmpp"},
		{"stanzajs", "stanza", "wss://127.0.0.1:" + s.Port("https") + "/xmpp"},
	}
}

// Login, roster, subscription, presence and messages with slixmpp on the other
// side, ping, and a phone's state.
func TestNode(t *testing.T) {
	s, us := launch(t, "alice", "bob", "carol")
	bob := slix(t, s, us["bob"], "desk")
	lets(t, s, us["alice"], us["carol"])
	for _, c := range nodeClients(s) {
		t.Run(c.pkg+" "+c.service[:4], func(t *testing.T) {
			alice := get(s.Node(c.script, c.pkg, us["alice"], "web", c.service))(t)
			t.Cleanup(alice.Stop)
			alice.ask(t, "ping", Fields{"to": "localhost"})
			if sm := alice.ask(t, "sm", nil); sm["enabled"] != true {
				t.Errorf("no stream management: %v", sm)
			}

			alice.must(t, "subscribe", Fields{"to": "bob@localhost"})
			bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
			bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
			alice.sees(t, Fields{"event": "presence", "from": "bob@localhost/desk", "type": "available"})
			bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
			alice.sees(t, Fields{"event": "presence", "from": "bob@localhost/desk", "show": "dnd", "status": "writing"})

			bob.must(t, "subscribe", Fields{"to": "alice@localhost"})
			alice.sees(t, Fields{"event": "presence", "type": "subscribe", "bare": "bob@localhost"})
			alice.must(t, "subscribed", Fields{"to": "bob@localhost"})
			bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/web", "type": "available"})
			alice.must(t, "presence", Fields{"show": "away", "status": "lunch"})
			bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/web", "show": "away", "status": "lunch"})

			alice.must(t, "message", Fields{"to": "bob@localhost", "body": "hello from " + c.pkg})
			bob.sees(t, Fields{"event": "message", "from": "alice@localhost/web", "body": "hello from " + c.pkg})
			bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello <&> ☎"})
			alice.sees(t, Fields{"event": "message", "bare": "bob@localhost", "body": "hello <&> ☎"})

			// carol has but a phone.
			tag := state(t, s, us["carol"], "udp", "open", "on-the-phone", "on the phone")
			alice.sees(t, Fields{"event": "presence", "bare": "carol@localhost", "show": "dnd", "status": "on the phone"})
			unpublish(t, s, us["carol"], "udp", tag)
			alice.sees(t, Fields{"event": "presence", "bare": "carol@localhost", "type": "unavailable"})

			must(t, alice.Quit())
			bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/web", "type": "unavailable"})
			for _, do := range []string{"unsubscribe", "unsubscribed"} {
				bob.must(t, do, Fields{"to": "alice@localhost"})
			}
			bob.ask(t, "ping", Fields{"to": "localhost"})
		})
	}
}
