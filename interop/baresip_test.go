package interop

import (
	"testing"
)

func phone(t *testing.T, s *Server, u User, transport string, contacts ...User) *Baresip {
	t.Helper()
	b := get(s.Baresip(u, transport, contacts...))(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(u.Name, b.Text())
		}
	})
	t.Cleanup(b.Stop)
	return b
}

// Two phones: registered, published, pending and then active, each other's
// state, a message each way, and the goodbye.
func TestBaresip(t *testing.T) {
	for _, tr := range []string{"udp", "tcp", "tls"} {
		t.Run(tr, func(t *testing.T) {
			s, us := launch(t, "alice", "bob")
			alice := phone(t, s, us["alice"], tr, us["bob"])
			get(alice.See(soon, `SIP-ETag: \S+`))(t)
			bob := phone(t, s, us["bob"], tr, us["alice"])
			get(bob.See(soon, `Subscription-State: pending`))(t)

			// Phones cannot approve: the same user's chat client does.
			chat := slix(t, s, us["alice"], "chat")
			chat.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "bob@localhost"})
			chat.must(t, "subscribed", Fields{"to": "bob@localhost"})
			get(bob.See(soon, `Subscription-State: active`))(t)
			must(t, bob.Shows(soon, us["alice"], "Online"))

			must(t, chat.Quit())
			must(t, alice.Type("/presence_offline"))
			must(t, bob.Shows(soon, us["alice"], "Offline"))
			must(t, alice.Type("/presence_online"))
			must(t, bob.Shows(soon, us["alice"], "Online"))

			must(t, bob.Message("from bob over "+tr))
			get(alice.See(soon, `sip:bob@localhost: "from bob over `+tr))(t)
			must(t, alice.Message("from alice over "+tr))
			get(bob.See(soon, `sip:alice@localhost: "from alice over `+tr))(t)

			must(t, alice.Quit())
			must(t, bob.Shows(soon, us["alice"], "Offline"))
		})
	}
}
