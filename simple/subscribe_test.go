package simple

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// The first light: alice publishes, bob sees it, changes reach him, and he is
// told when it ends.
func TestPresence(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		s, ok := bob.subscribe("alice", 600)
		if got := get(ok, sip.HExpires); got != "600" {
			t.Errorf("Expires %q in the 200", got)
		}
		n := bob.one()
		if n.Method != "NOTIFY" || n.URI != bob.contact || state(n) != "active;expires=600" || get(n, sip.HEvent) != "presence" ||
			n.From().Tag() != s.tag || n.To().Tag() != bob.tag || n.CSeq() != 1 || get(n, sip.HContact) != "<"+s.target+">" {
			t.Errorf("first NOTIFY:\n%s", n.Append(nil))
		}
		if !strings.Contains(n.Body, "<basic>closed</basic>") || !strings.Contains(n.Body, `entity="sip:alice@example.com"`) {
			t.Errorf("of a user who is away:\n%s", n.Body)
		}

		tag := alice.publish("open", "here", "")
		n = bob.one()
		want := strings.Replace(doc("alice", "open", "here"), "pres:alice", "sip:alice", 1)
		if n.Body != want || get(n, sip.HContentType) != "application/pidf+xml" || n.CSeq() != 2 {
			t.Errorf("not carried as published:\n%s", n.Append(nil))
		}

		tag2 := alice.publish("open", "on the phone", tag)
		if tag2 == tag || tag2 == "" {
			t.Errorf("entity-tag %q after %q", tag2, tag)
		}
		if n = bob.one(); !strings.Contains(n.Body, "on the phone") {
			t.Errorf("after the change:\n%s", n.Body)
		}

		time.Sleep(601 * time.Second)
		ns := bob.got()
		if len(ns) == 0 {
			t.Fatal("nothing when time was up")
		}
		last := ns[len(ns)-1]
		if state(last) != "terminated;reason=timeout" {
			t.Errorf("at the end: %s", state(last))
		}
		s.again(481, 600)
		if n := w.edge.Stats().Dialogs; n != 0 {
			t.Errorf("%d dialogs left", n)
		}
	})
}

func TestSubscribeRefusals(t *testing.T) {
	const contact = "Contact: <sip:bob@192.0.2.11>\r\n"
	for _, c := range []struct {
		name   string
		o      out
		status int
		want   string // in the response
	}{
		{"no Event", out{to: "alice", lines: contact}, 489, "Allow-Events: presence"},
		{"other package", out{to: "alice", lines: contact + "Event: conference\r\n"}, 489, "Allow-Events: presence"},
		{"template of ours", out{to: "alice", lines: contact + "Event: dialog.winfo\r\n"}, 489, "Allow-Events: presence"},
		{"no type of ours", out{to: "alice", lines: contact + "Event: dialog\r\nAccept: application/pidf+xml\r\n"}, 406, "Accept: application/dialog-info+xml"},
		{"of somebody else", out{to: "alice", lines: contact + "Event: presence.winfo\r\n"}, 403, ""},
		{"capital package", out{to: "alice", lines: contact + "Event: Presence\r\n"}, 200, ""},
		{"unknown user", out{to: "nobody", lines: contact + "Event: presence\r\n"}, 404, ""},
		{"other domain", out{to: "alice", uri: "sip:alice@example.org", lines: contact + "Event: presence\r\n"}, 404, ""},
		{"no Contact", out{to: "alice", lines: "Event: presence\r\n"}, 400, ""},
		{"star", out{to: "alice", lines: "Contact: *\r\nEvent: presence\r\n"}, 400, ""},
		{"too brief", out{to: "alice", lines: contact + "Event: presence\r\nExpires: 1\r\n"}, 423, "Min-Expires: 5"},
		{"bad Expires", out{to: "alice", lines: contact + "Event: presence\r\nExpires: soon\r\n"}, 400, ""},
		{"too long is cut", out{to: "alice", lines: contact + "Event: presence\r\nExpires: 9999999\r\n"}, 200, "Expires: 86400"},
		{"default", out{to: "alice", lines: contact + "Event: presence\r\n"}, 200, "Expires: 3600"},
		{"not acceptable", out{to: "alice", lines: contact + "Event: presence\r\nAccept: text/plain\r\n"}, 406, ""},
		{"refused by q", out{to: "alice", lines: contact + "Event: presence\r\nAccept: application/pidf+xml;q=0, */*\r\n"}, 406, ""},
		{"any", out{to: "alice", lines: contact + "Event: presence\r\nAccept: */*\r\n"}, 200, ""},
		{"two types", out{to: "alice", lines: contact + "Event: presence\r\nAccept: application/xpidf+xml, application/pidf+xml\r\n"}, 200, ""},
		{"list without a list", out{to: "alice", lines: contact + "Event: presence\r\nRequire: recipient-list-subscribe\r\n"}, 400, "No List"},
		{"list without a list of presence.winfo", out{to: "bob", lines: contact + "Event: presence.winfo\r\nRequire: recipient-list-subscribe\r\n"}, 400, "No List"},
		{"list without a list of message-summary", out{to: "bob", lines: contact + "Event: message-summary\r\nRequire: recipient-list-subscribe\r\n"}, 400, "No List"},
		{"list without a list of xcap-diff", out{to: "bob", lines: contact + "Event: xcap-diff\r\nRequire: recipient-list-subscribe\r\n"}, 400, "No List"},
		{"list without a list of dialog", out{to: "bob", lines: contact + "Event: dialog\r\nRequire: recipient-list-subscribe\r\n"}, 400, "No List"},
		{"unknown dialog", out{to: "alice", toTag: "no", lines: contact + "Event: presence\r\n"}, 481, ""},
		{"as another", out{to: "alice", from: "sip:carol@example.com", lines: contact + "Event: presence\r\n"}, 403, ""},
		{"as a stranger", out{to: "alice", from: "sip:bob@example.org", lines: contact + "Event: presence\r\n"}, 403, ""},
		{"pres", out{to: "alice", uri: "pres:alice@example.com", lines: contact + "Event: presence\r\n"}, 200, ""},
		{"capital user", out{to: "ALICE", lines: contact + "Event: presence\r\n"}, 200, ""},
		{"other letters", out{to: "m%C3%BCller", lines: contact + "Event: presence\r\n"}, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				bob := w.phone("bob", "192.0.2.11:5060")
				c.o.method = "SUBSCRIBE"
				m := bob.want(c.status, c.o)
				if !strings.Contains(string(m.Append(nil)), c.want) {
					t.Errorf("no %q in\n%s", c.want, m.Append(nil))
				}
				want := 0
				if c.status == 200 {
					want = 1
				}
				if got := len(bob.got()); got != want {
					t.Errorf("%d NOTIFYs", got)
				}
			})
		})
	}
}

// RFC 6665 §4.2.1.4, RFC 3261 §12.2.2.
func TestRefresh(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		bob, carol := w.phone("bob", "192.0.2.11:5060"), w.phone("carol", "192.0.2.12:5060")
		s, _ := bob.subscribe("alice", 600)
		bob.one()
		time.Sleep(500 * time.Second)
		s.again(200, 600)
		if n := bob.one(); state(n) != "active;expires=600" {
			t.Errorf("after the refresh: %s", state(n))
		}

		// The remote target moves.
		bob.contact = "sip:bob@192.0.2.11:5060;moved=1"
		s.again(200, 700)
		if n := bob.one(); n.URI != bob.contact {
			t.Errorf("target %s after the refresh", n.URI)
		}
		if i, ok := w.edge.Describe(s.tag); !ok || i.Target != bob.contact || i.Code != 200 || i.Transport != "UDP" {
			t.Errorf("described as %+v", i)
		}

		// libpurple: the presentity as request-URI.
		target := s.target
		s.target = "sip:alice@example.com"
		s.again(200, 700)
		bob.one()
		s.target = target

		// The same request again under its CSeq, as with credentials; then one that
		// has been overtaken.
		o := out{method: "SUBSCRIBE", to: "alice", uri: s.target, toTag: s.tag, callID: s.callID, cseq: bob.cseq,
			lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\nExpires: 700\r\n"}
		bob.want(200, o)
		bob.one()
		o.cseq--
		bob.want(500, o)
		bob.none()

		// Not by somebody else, in another dialog, for another event.
		o.cseq = 100
		theft := o
		carol.tag = bob.tag
		carol.want(403, theft)
		o.callID = "other"
		bob.want(481, o)
		o.callID = s.callID
		o.lines = "Event: presence;id=1\r\nContact: <" + bob.contact + ">\r\nExpires: 700\r\n"
		bob.want(481, o)
		o.lines = "Event: presence\r\nContact: <" + bob.contact + ">\r\nExpires: 2\r\n"
		bob.want(423, o)
		bob.none()

		if m := s.again(200, 0); get(m, sip.HExpires) != "0" {
			t.Errorf("Expires %q when unsubscribed", get(m, sip.HExpires))
		}
		if n := bob.one(); state(n) != "terminated;reason=timeout" {
			t.Errorf("unsubscribed: %s", state(n))
		}
		s.again(481, 600)
	})
}

// RFC 6665 §8.2.1: the id comes back, and without it there is no dialog.
func TestEventID(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		bob := w.phone("bob", "192.0.2.11:5060")
		m := bob.want(200, out{method: "SUBSCRIBE", to: "alice", callID: "c1", lines: "Event: presence;id=7;x=y\r\nContact: <" + bob.contact + ">\r\n"})
		if n := bob.one(); get(n, sip.HEvent) != "presence;id=7" {
			t.Errorf("Event %q", get(n, sip.HEvent))
		}
		o := out{method: "SUBSCRIBE", to: "alice", toTag: m.To().Tag(), callID: "c1", lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\n"}
		bob.want(481, o)
		o.lines = strings.Replace(o.lines, "presence", "presence;id=7", 1)
		bob.want(200, o)
		bob.one()
	})
}

// RFC 6665 §4.4.3.
func TestFetch(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		alice.publish("open", "here", "")
		s, m := bob.subscribe("alice", 0)
		if get(m, sip.HExpires) != "0" {
			t.Errorf("Expires %q", get(m, sip.HExpires))
		}
		n := bob.one()
		if state(n) != "terminated;reason=timeout" || !strings.Contains(n.Body, "here") {
			t.Errorf("fetched:\n%s", n.Append(nil))
		}
		s.again(481, 600)
		alice.publish("open", "there", "")
		bob.none()

		w.rule("bob", "alice", presence.Confirm)
		bob.subscribe("alice", 0)
		n = bob.one()
		if state(n) != "terminated;reason=timeout" || strings.Contains(n.Body, "basic") {
			t.Errorf("fetched while undecided:\n%s", n.Append(nil))
		}
		w.rule("bob", "alice", presence.Block)
		bob.want(403, out{method: "SUBSCRIBE", to: "alice", lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\nExpires: 0\r\n"})
		bob.none()
		if n := w.edge.Stats().Dialogs; n != 0 {
			t.Errorf("%d dialogs left", n)
		}
	})
}

// Pending, allowed, polite-blocked and blocked; RFC 5025 §3.2.1.
func TestPolicy(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		alice.publish("open", "here", "")
		w.rule("bob", "alice", presence.Confirm)
		s, _ := bob.subscribe("alice", 600)
		n := bob.one()
		if state(n) != "pending;expires=600" || strings.Contains(n.Body, "here") || strings.Contains(n.Body, "basic") {
			t.Errorf("pending:\n%s", n.Append(nil))
		}
		// libpurple answers only what has a basic status.
		carol := w.phone("carol", "192.0.2.12:5060")
		carol.agent = "Purple/2.14.12"
		w.rule("carol", "alice", presence.Confirm)
		carol.subscribe("alice", 600)
		if n := carol.one(); state(n) != "pending;expires=600" || !strings.Contains(n.Body, ">closed<") || strings.Contains(n.Body, "here") {
			t.Errorf("pending libpurple:\n%s", n.Append(nil))
		}
		tag := alice.publish("open", "there", "")
		bob.none()

		w.rule("bob", "alice", presence.Allow)
		if n = bob.one(); !strings.HasPrefix(state(n), "active;") || !strings.Contains(n.Body, "there") {
			t.Errorf("allowed:\n%s", n.Append(nil))
		}
		w.rule("bob", "alice", presence.PoliteBlock)
		if n = bob.one(); !strings.HasPrefix(state(n), "active;") || strings.Contains(n.Body, "there") || !strings.Contains(n.Body, ">closed<") {
			t.Errorf("politely blocked:\n%s", n.Append(nil))
		}
		alice.publish("open", "everywhere", tag)
		bob.none()

		w.rule("bob", "alice", presence.Block)
		if n = bob.one(); state(n) != "terminated;reason=rejected" || n.Body != "" {
			t.Errorf("blocked:\n%s", n.Append(nil))
		}
		s.again(481, 600)
		bob.want(403, out{method: "SUBSCRIBE", to: "alice", lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\n"})
		bob.none()

		// A user sees himself whatever the policy says.
		w.rule("alice", "alice", presence.Block)
		alice.subscribe("alice", 600)
		if n = alice.one(); !strings.HasPrefix(state(n), "active;") || !strings.Contains(n.Body, "everywhere") {
			t.Errorf("self:\n%s", n.Append(nil))
		}
	})
}

// Record-Route becomes the route set (RFC 3261 §12.1.1), and a strict router is
// spoken to as it expects (§12.2.1.1).
func TestRouteSet(t *testing.T) {
	for _, c := range []struct{ record, uri, route string }{
		{"<sip:p1.example.com;lr>, <sip:p2.example.com;lr>", "sip:bob@192.0.2.11:5060", "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>"},
		{"<sip:p1.example.com>, <sip:p2.example.com;lr>", "sip:p1.example.com", "<sip:p2.example.com;lr>, <sip:bob@192.0.2.11:5060>"},
	} {
		inWorld(t, Config{}, func(w *world) {
			bob := w.phone("bob", "192.0.2.11:5060")
			m := bob.want(200, out{method: "SUBSCRIBE", to: "alice", lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\nRecord-Route: " + c.record + "\r\n"})
			if get(m, sip.HRecordRoute) != c.record {
				t.Errorf("Record-Route %q in the 200", get(m, sip.HRecordRoute))
			}
			n := bob.one()
			if n.URI != c.uri || get(n, sip.HRoute) != c.route {
				t.Errorf("request-URI %q, Route %q", n.URI, get(n, sip.HRoute))
			}
		})
	}
}

func TestSubscriptionLimit(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Subscriptions: 2}}, func(w *world) {
		bob := w.phone("bob", "192.0.2.11:5060")
		first, _ := bob.subscribe("alice", 600)
		bob.subscribe("carol", 600)
		o := out{method: "SUBSCRIBE", to: "dave", lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\n"}
		bob.want(403, o)
		first.again(200, 0)
		synctest.Wait()
		bob.want(200, o)
	})
}
