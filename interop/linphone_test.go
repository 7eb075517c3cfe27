package interop

import "testing"

// Linphone: registers, publishes activities and notes, watches a chat client,
// messages both ways, and the goodbye.
func TestLinphone(t *testing.T) {
	for _, tr := range []string{"udp", "tcp", "tls"} {
		t.Run(tr, func(t *testing.T) {
			s, us := launch(t, "alice", "bob")
			lets(t, s, us["bob"], us["alice"])
			bob := slix(t, s, us["bob"], "desk")
			alice := get(s.Linphone(us["alice"], tr))(t)
			t.Cleanup(alice.Stop)

			alice.must(t, "publish", Fields{"activity": "on-the-phone", "note": "on the phone"})
			bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "dnd", "status": "on the phone"})
			alice.must(t, "publish", Fields{"activity": "away", "note": "back soon"})
			bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "away", "status": "back soon"})

			alice.must(t, "watch", Fields{"to": "bob@localhost"})
			bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
			bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
			alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "basic": "open"})
			bob.must(t, "presence", Fields{"show": "away", "status": "lunch"})
			alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "basic": "open", "activity": "away", "note": "lunch"})
			bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
			alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "activity": "busy", "note": "writing"})

			alice.must(t, "message", Fields{"to": "bob@localhost", "body": "hello from Linphone"})
			bob.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "hello from Linphone"})
			bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello <&> ☎"})
			alice.sees(t, Fields{"event": "message", "bare": "bob@localhost", "body": "hello <&> ☎"})

			alice.must(t, "quit", nil)
			bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "unavailable"})
			must(t, alice.Wait(soon))
		})
	}
}

// Linphone as its apps are: all friends in one subscription, the list with it, and
// bodies deflated both ways.
func TestLinphoneList(t *testing.T) {
	for _, tr := range []string{"udp", "tcp", "tls"} {
		t.Run(tr, func(t *testing.T) {
			s, us := launch(t, "alice", "bob", "carol")
			lets(t, s, us["alice"], us["bob"])
			bob, carol := slix(t, s, us["bob"], "desk"), slix(t, s, us["carol"], "phone")
			alice := get(s.LinphoneList(us["alice"], tr, ""))(t)
			t.Cleanup(alice.Stop)
			bob.must(t, "presence", Fields{"show": "away", "status": "lunch"})
			carol.must(t, "presence", Fields{"show": "", "status": "at home"})

			alice.must(t, "watch", Fields{"to": "bob@localhost"})
			alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "basic": "open", "activity": "away", "note": "lunch"})
			bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
			alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "activity": "busy", "note": "writing"})

			// One friend more is another list; she is asked, as by any other watcher.
			alice.must(t, "watch", Fields{"to": "carol@localhost"})
			carol.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
			carol.must(t, "subscribed", Fields{"to": "alice@localhost"})
			alice.sees(t, Fields{"event": "presence", "bare": "carol@localhost", "basic": "open", "note": "at home"})
			bob.must(t, "presence", Fields{"show": "away", "status": "gone"})
			alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "activity": "away", "note": "gone"})

			var status struct{ SIP struct{ Dialogs int } }
			must(t, s.Command(&status, "status", "--json"))
			if n := status.SIP.Dialogs; n != 1 {
				t.Errorf("%d dialogs, want one for the whole list", n)
			}
			alice.must(t, "quit", nil)
			must(t, alice.Wait(soon))
		})
	}
}

// The list that is kept at the server, which Linphone then takes its friends from.
func TestLinphoneBuddies(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	lets(t, s, us["alice"], us["bob"])
	bob := slix(t, s, us["bob"], "desk")
	bob.must(t, "presence", Fields{"show": "away", "status": "lunch"})
	alice := get(s.LinphoneList(us["alice"], "tcp", "sip:alice/buddies@"+Domain))(t)
	t.Cleanup(alice.Stop)
	alice.must(t, "list", nil)
	alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "basic": "open", "activity": "away", "note": "lunch"})
	bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
	alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "activity": "busy", "note": "writing"})
}
