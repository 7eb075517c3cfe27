package interop

import (
	"strconv"
	"strings"
	"testing"
)

// lets makes a subscription of watcher to presentity by their chat clients,
// which it closes again, so that phones of both may watch each other.
func lets(t *testing.T, s *Server, watcher, presentity User) {
	t.Helper()
	w, p := slix(t, s, watcher, "setup"), slix(t, s, presentity, "setup")
	befriend(t, w, p)
	must(t, w.Quit())
	must(t, p.Quit())
}

// state publishes one state from a phone and returns its entity-tag.
func state(t *testing.T, s *Server, u User, tr, basic, activity, note string) string {
	t.Helper()
	r := through(t, s, "state", u, tr, Keys{"basic": basic, "activity": activity, "note": note})
	return get(r.Log(soon, `published (\S+)`))(t)[1]
}

func unpublish(t *testing.T, s *Server, u User, tr, tag string) {
	t.Helper()
	through(t, s, "unpublish", u, tr, Keys{"etag": tag})
}

// A phone's state in a chat client: activities, notes, several devices, the end.
func TestSIPSeenInXMPP(t *testing.T) {
	perTransport(t, func(t *testing.T, tr string) {
		s, us := launch(t, "alice", "bob")
		lets(t, s, us["bob"], us["alice"])
		bob := slix(t, s, us["bob"], "desk")
		for _, c := range []struct{ activity, note, show string }{
			{"on-the-phone", "on the phone", "dnd"},
			{"away", "back soon", "away"},
			{"meal", "lunch", "away"},
			{"working", "at my desk", ""},
			{"busy", "busy", "dnd"},
		} {
			tag := state(t, s, us["alice"], tr, "open", c.activity, c.note)
			want := Fields{"event": "presence", "bare": "alice@localhost", "status": c.note, "show": nil}
			if c.show != "" {
				want["show"] = c.show
			}
			bob.sees(t, want)
			unpublish(t, s, us["alice"], tr, tag)
			bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "unavailable"})
		}
	})
}

// A chat client's state at phones: what sipp's NOTIFY says, and what baresip
// shows. Both wait for approval first, which is given in the chat client.
func TestXMPPSeenInSIP(t *testing.T) {
	s, us := launch(t, "alice", "bob", "carol")
	bob := slix(t, s, us["bob"], "desk")
	for _, tr := range transports {
		// A new watcher for each transport.
		who := us[map[string]string{"udp": "alice", "tcp": "carol"}[tr]]
		w := get(s.Sipp("watch", who, tr, Keys{"to": "bob@localhost", "UNTIL": ">the end<"}))(t)
		t.Cleanup(w.Stop)
		get(w.Message(soon, `Subscription-State: pending`))(t)
		bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": who.Address()})
		bob.must(t, "subscribed", Fields{"to": who.Address()})
		get(w.Message(soon, `Subscription-State: active`))(t)
		get(w.Message(soon, `<basic>open</basic>`))(t)
		b := phone(t, s, who, tr, us["bob"])
		get(b.See(soon, `(?s)Subscription-State: active.*<basic>open</basic>`))(t) // baresip says nothing of the first state

		bob.must(t, "presence", Fields{"show": "away", "status": "lunch", "priority": 3})
		get(w.Message(soon, `<basic>open</basic>[^\n]*<rpid:away/>[^\n]*<dm:note[^>]*>lunch<`))(t)
		// baresip 1.0 reads RPID's away as offline.
		must(t, b.Shows(soon, us["bob"], "Offline"))
		bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
		get(w.Message(soon, `<rpid:busy/>[^\n]*>writing<`))(t)
		must(t, b.Shows(soon, us["bob"], "Busy"))
		bob.must(t, "presence", Fields{"show": "chat"})
		must(t, b.Shows(soon, us["bob"], "Online"))
		bob.must(t, "presence", Fields{"show": "xa", "status": "the end"})
		get(w.Log(soon, `terminated;reason=timeout`))(t)
		must(t, w.Done(soon))
		must(t, b.Quit())
		bob.must(t, "presence", Fields{})
	}
}

// A watcher refused in the chat client hears of it.
func TestSIPWatcherRefused(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	bob := slix(t, s, us["bob"], "desk")
	w := get(s.Sipp("watch", us["alice"], "udp", Keys{"to": "bob@localhost"}))(t)
	t.Cleanup(w.Stop)
	get(w.Message(soon, `Subscription-State: pending`))(t)
	bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
	bob.must(t, "unsubscribed", Fields{"to": "alice@localhost"})
	get(w.Log(soon, `notify \d+ terminated;reason=rejected`))(t)
}

// Messages both ways, also to one who is away, for whom they wait.
func TestMessagesAcross(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	bob := slix(t, s, us["bob"], "desk")
	alice := phone(t, s, us["alice"], "udp", us["bob"])
	must(t, alice.Message("can you hear me?"))
	bob.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "can you hear me?"})
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "loud & clear <äöü>"})
	get(alice.See(soon, `sip:bob@localhost: "loud & clear <äöü>"`))(t)

	must(t, alice.Quit())
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "call me back"})
	bob.ask(t, "ping", Fields{"to": "localhost"}) // the server has taken it
	alice = phone(t, s, us["alice"], "udp", us["bob"])
	get(alice.See(soon, `sip:bob@localhost: "call me back"`))(t)

	must(t, bob.Quit())
	must(t, alice.Message("here I am"))
	get(alice.See(soon, `SIP/2\.0 20[02]`))(t)
	bob = slix(t, s, us["bob"], "desk")
	bob.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "here I am", "delayed": true})
}

// kill -9: the SIP watcher gets its next NOTIFY, with a higher CSeq, without
// having subscribed again; an entity-tag from before still counts; nobody is a
// ghost; what was approved stays approved.
func TestKilled(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, bob := us["alice"], us["bob"]
	lets(t, s, alice, bob)
	b := slix(t, s, bob, "desk")
	w := get(s.Sipp("watch", alice, "udp", Keys{"to": "bob@localhost", "UNTIL": ">the end<"}))(t)
	t.Cleanup(w.Stop)
	get(w.Message(soon, `<basic>open</basic>`))(t)
	tag := state(t, s, bob, "udp", "open", "meeting", "in a meeting")
	get(w.Message(soon, `in a meeting`))(t)

	s.Kill()
	b.sees(t, Fields{"event": "disconnected"})
	before := lastSeq(t, w)
	must(t, s.Restart())

	// The chat session went with the server: what is left is the phone's state.
	get(w.Message(soon, `(?s)CSeq: \d+ NOTIFY.*in a meeting`))(t)
	if after := lastSeq(t, w); after <= before {
		t.Errorf("CSeq %d after the restart, %d before", after, before)
	}
	b = slix(t, s, bob, "desk")
	b.must(t, "presence", Fields{"show": "away", "status": "back again"})
	get(w.Message(soon, `>back again<`))(t)
	unpublish(t, s, bob, "udp", tag)
	b.must(t, "presence", Fields{"status": "the end"})
	get(w.Log(soon, `terminated;reason=timeout`))(t)
	must(t, w.Done(soon))
	if n := strings.Count(w.Messages.Text(), "CSeq: 2 SUBSCRIBE"); n != 2 { // sent, and answered
		t.Errorf("the watcher subscribed again")
	}
}

// lastSeq is the CSeq of the last NOTIFY that sipp took.
func lastSeq(t *testing.T, w *Sipp) int {
	t.Helper()
	text := w.Messages.Text()
	end := strings.LastIndex(text, " NOTIFY\r\n")
	begin := strings.LastIndex(text[:max(end, 0)], "CSeq: ")
	if begin < 0 {
		t.Fatalf("no NOTIFY in:\n%s", text)
	}
	n, err := strconv.Atoi(text[begin+len("CSeq: ") : end])
	must(t, err)
	return n
}

// The same for a phone that nobody wrote for tests: it shows what happened
// after the restart. On UDP and TCP the server reaches its Contact; on TLS it
// cannot connect to a phone, which has no certificate, and tells it when it has
// registered again.
func TestKilledPhone(t *testing.T) {
	for _, tr := range []string{"udp", "tcp", "tls"} {
		t.Run(tr, func(t *testing.T) {
			s, us := launch(t, "alice", "bob")
			lets(t, s, us["alice"], us["bob"])
			b := slix(t, s, us["bob"], "desk")
			p := get(s.baresip(us["alice"], tr, 10, []User{us["bob"]}))(t)
			t.Cleanup(p.Stop)
			get(p.See(soon, `(?s)Subscription-State: active.*<basic>open</basic>`))(t)

			s.Kill()
			b.sees(t, Fields{"event": "disconnected"})
			must(t, s.Restart())
			b = slix(t, s, us["bob"], "desk")
			b.must(t, "presence", Fields{"show": "dnd", "status": "back again"})
			must(t, p.Shows(2*soon, us["bob"], "Busy"))
			if strings.Count(p.Text(), "SUBSCRIBE sip:bob") != 2 { // without, and with credentials
				t.Error("the phone subscribed again")
			}
		})
	}
}
