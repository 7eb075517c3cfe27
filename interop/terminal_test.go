package interop

import "testing"

// profanity: asks for and gets bob's presence, is asked and approves, sets its
// status, writes and is written to.
func TestProfanity(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	bob := slix(t, s, us["bob"], "desk")
	p := get(s.Profanity(us["alice"]))(t)
	t.Cleanup(p.Stop)

	must(t, p.Type("/sub request bob@localhost"))
	bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
	bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
	bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
	get(p.See(soon, `bob@localhost.* is dnd, "writing"`))(t)

	bob.must(t, "subscribe", Fields{"to": "alice@localhost"})
	get(p.See(soon, `Received authorization request from bob@localhost`))(t)
	must(t, p.Type("/sub allow bob@localhost"))
	bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "available"})
	must(t, p.Type(`/status set away "lunch"`))
	bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "away", "status": "lunch"})

	must(t, p.Type("/msg bob@localhost hello from a terminal"))
	bob.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "hello from a terminal"})
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello to a terminal"})
	get(p.See(soon, `hello to a terminal`))(t)

	must(t, p.Type("/quit"))
	bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "unavailable"})
	must(t, p.Wait(soon))
}

// mcabber, with PLAIN under TLS: as profanity.
func TestMcabber(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	bob := slix(t, s, us["bob"], "desk")
	p := get(s.Mcabber(us["alice"]))(t)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(p.Text())
		}
	})
	t.Cleanup(p.Stop)

	must(t, p.Type("/add bob@localhost Bob"))
	bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
	bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
	bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
	get(p.See(soon, `bob@localhost.*writing`))(t)

	bob.must(t, "subscribe", Fields{"to": "alice@localhost"})
	get(p.See(soon, `wants to subscribe`))(t)
	must(t, p.Type("/authorization allow bob@localhost"))
	bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "available"})
	must(t, p.Type("/status away lunch"))
	bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "away", "status": "lunch"})

	must(t, p.Type("/say_to bob@localhost hello from a terminal"))
	bob.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "hello from a terminal"})
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello to a terminal"})
	get(p.See(soon, `#\[d\] Bob`))(t) // unread
	must(t, p.Type("/roster unread_first"))
	must(t, p.Type("")) // the Enter key shows the conversation
	get(p.See(soon, `hello to a terminal`))(t)

	must(t, p.Type("/quit"))
	bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "unavailable"})
	must(t, p.Wait(soon))
}

// finch, which stands for libpurple: publishes, watches, takes a message. On UDP
// only: over TCP it leaves the second of two messages that arrive together
// unread until a third arrives, and so mostly the first NOTIFY.
func TestFinch(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	lets(t, s, us["bob"], us["alice"])
	bob := slix(t, s, us["bob"], "desk")
	p := get(s.Finch(us["alice"], "udp", us["bob"]))(t)
	t.Cleanup(p.Stop)
	bob.seesAll(t,
		Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"},
		Fields{"event": "presence", "bare": "alice@localhost", "type": "available", "status": "available"})
	get(p.See(soon, `(?s)Subscription-State: pending.*Updating buddy status for sip:bob@localhost`))(t)
	bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
	get(p.See(soon, `(?s)Subscription-State: active.*Updating buddy status for sip:bob@localhost`))(t)
	bob.must(t, "presence", Fields{"show": "away", "status": "lunch"})
	get(p.See(soon, `(?s)>lunch<.*Updating buddy status for sip:bob@localhost`))(t)
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello to a terminal"})
	get(p.See(soon, `got message from sip:bob@localhost: hello to a terminal`))(t)
	// Its goodbye has no credentials, and it does not stay for the challenge.
}

// finch on the other side: libpurple's XMPP.
func TestFinchXMPP(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	lets(t, s, us["alice"], us["bob"])
	lets(t, s, us["bob"], us["alice"])
	bob := slix(t, s, us["bob"], "desk")
	p := get(s.Finch(us["alice"], "xmpp", us["bob"]))(t)
	t.Cleanup(p.Stop)
	get(p.See(soon, `Recv \(ssl\).*<presence [^>]*from='bob@localhost/desk'`))(t)
	bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
	get(p.See(soon, `Recv \(ssl\).*<show>dnd</show>`))(t)
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/finch", "type": "available"})
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello to a terminal"})
	get(p.See(soon, `Recv \(ssl\).*<body>hello to a terminal</body>`))(t)
	p.Stop()
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/finch", "type": "unavailable"})
}
