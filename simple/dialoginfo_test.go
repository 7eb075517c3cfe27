package simple

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"pharos/dialoginfo"
	"pharos/pidf"
	"pharos/presence"
	"pharos/sip"
)

// trusting believes PBXes at 192.0.2.8 and 192.0.2.9.
var trusting = []netip.Prefix{netip.MustParsePrefix("192.0.2.8/31")}

// call is a document with one dialog, as a PBX publishes it.
func call(callID, state string, version int) string {
	return calls(version, dialogOf(callID, state))
}

func dialogOf(callID, state string) string {
	return `<dialog id="` + callID + `" call-id="` + callID + `" local-tag="l" remote-tag="r" direction="recipient">` +
		`<state>` + state + `</state><remote><identity display="Carol">sip:carol@example.org</identity>` +
		`<target uri="sip:carol@198.51.100.7:5060"/></remote></dialog>`
}

func calls(version int, dialogs string) string {
	return fmt.Sprintf(`<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="%d" state="full" entity="sip:100@pbx.local">%s</dialog-info>`,
		version, dialogs)
}

// lamp writes a NOTIFY's document as "0: c1 confirmed, ...".
func lamp(t testing.TB, m *sip.Message) string {
	t.Helper()
	i, err := dialoginfo.Parse([]byte(m.Body))
	if err != nil || i.Partial || i.Entity != "sip:alice@example.com" {
		t.Fatalf("%v\n%s", err, m.Append(nil))
	}
	var ds []string
	for _, d := range i.Dialogs {
		ds = append(ds, d.ID+" "+d.State.String())
	}
	return fmt.Sprintf("%d: %s", i.Version, strings.Join(ds, ", "))
}

// lampWorld has a PBX that publishes alice's calls, and bob with a lamp key.
func lampWorld(t *testing.T, f func(w *world, pbx, bob *phone, want func(string) *sip.Message)) {
	inWorld(t, Config{Trusted: trusting}, func(w *world) {
		pbx, bob := w.phone("pbx", "192.0.2.9:5060"), w.phone("bob", "192.0.2.11:5060")
		f(w, pbx, bob, func(text string) *sip.Message {
			t.Helper()
			m := bob.one()
			if got := lamp(t, m); got != text {
				t.Errorf("lamp shows %s, want %s", got, text)
			}
			return m
		})
	})
}

func etag(m *sip.Message) string { return get(m, sip.HSIPETag) }

// A call rings, is answered and ends; then another comes.
func TestLamp(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		key := bob.watchEvent("dialog", "alice", 600, "Accept: application/dialog-info+xml\r\n")
		m := want("0: none terminated")
		if get(m, sip.HContentType) != dialoginfo.Type || get(m, sip.HEvent) != "dialog" || !strings.HasPrefix(state(m), "active;") {
			t.Errorf("got %s", m.Append(nil))
		}
		tag := etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c1", "early", 0)))
		m = want("1: c1 early")
		if !strings.Contains(m.Body, dialogOf("c1", "early")) {
			t.Errorf("not as it came: %s", m.Body)
		}
		tag = etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call("c1", "confirmed", 1)))
		want("2: c1 confirmed")
		key.send(200, "dialog", 600, "")
		want("3: c1 confirmed")
		tag = etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call("c1", "terminated", 2)))
		want("4: c1 terminated") // once
		key.send(200, "dialog", 600, "")
		want("5: none terminated")
		pbx.want(200, out{method: "PUBLISH", to: "alice", lines: "Event: dialog\r\nExpires: 0\r\nSIP-If-Match: " + tag + "\r\n"})
		bob.none() // as told
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c2", "trying", 0))
		want("6: c2 trying")
		key.send(200, "dialog", 0, "")
		want("7: c2 trying")
	})
}

// Findings of the field: what lights a lamp for hours elsewhere.
func TestLampIsNotStuck(t *testing.T) {
	publish := func(pbx *phone, status int, tag, body string) string {
		return etag(pbx.publishEvent(status, "dialog", dialoginfo.Type, "alice", tag, body))
	}
	t.Run("early overtaken by terminated", func(t *testing.T) {
		lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
			tag := publish(pbx, 200, "", call("c1", "trying", 0))
			publish(pbx, 200, tag, call("c1", "terminated", 2))
			publish(pbx, 412, tag, call("c1", "early", 1)) // sent before, with the former tag
			publish(pbx, 200, "", call("c1", "early", 1))  // and so anew
			bob.watchEvent("dialog", "alice", 600, "")
			want("0: none terminated")
		})
	})
	t.Run("second PUBLISH before the first answer", func(t *testing.T) {
		lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
			publish(pbx, 200, "", call("c1", "confirmed", 0))
			tag := publish(pbx, 200, "", call("c1", "confirmed", 1))
			bob.watchEvent("dialog", "alice", 600, "")
			want("0: c1 confirmed") // one row, not two
			publish(pbx, 200, tag, call("c1", "terminated", 2))
			want("1: c1 terminated")
			if p := person(t, w, bob); p != "" {
				t.Errorf("still %s", p)
			}
		})
	})
	t.Run("older version", func(t *testing.T) {
		lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
			publish(pbx, 200, "", call("c1", "confirmed", 5))
			bob.watchEvent("dialog", "alice", 600, "")
			want("0: c1 confirmed")
			publish(pbx, 200, "", calls(4, dialogOf("c1", "early")+dialogOf("c2", "early")))
			want("1: c1 confirmed, c2 early")
		})
	})
	t.Run("the end from somebody else", func(t *testing.T) {
		lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
			alice := w.phone("alice", "192.0.2.10:5060")
			publish(pbx, 200, "", call("c1", "confirmed", 0))
			bob.watchEvent("dialog", "alice", 600, "")
			want("0: c1 confirmed")
			alice.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c1", "terminated", 0))
			want("1: c1 terminated")
			publish(pbx, 200, "", call("c1", "early", 0))
			bob.none()
		})
	})
	t.Run("no end at all", func(t *testing.T) {
		lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
			m := pbx.want(200, out{method: "PUBLISH", to: "alice", lines: "Event: dialog\r\nExpires: 10800\r\n", body: call("c1", "early", 0), ctype: dialoginfo.Type})
			if got := get(m, sip.HExpires); got != "300" {
				t.Errorf("granted %s", got)
			}
			bob.watchEvent("dialog", "alice", 1000, "")
			want("0: c1 early")
			time.Sleep(maxRinging + time.Second)
			want("1: none terminated")
			m = pbx.want(200, out{method: "PUBLISH", to: "alice", lines: "Event: dialog\r\nExpires: 10800\r\n", body: call("c2", "confirmed", 0), ctype: dialoginfo.Type})
			if got := get(m, sip.HExpires); got != "10800" {
				t.Errorf("granted %s", got)
			}
		})
	})
	t.Run("a PBX that has crashed", func(t *testing.T) {
		lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
			one := func(state string) string { return calls(0, `<dialog id="100"><state>`+state+`</state></dialog>`) }
			publish(pbx, 200, "", one("confirmed"))
			publish(pbx, 200, "", one("terminated")) // its entity-tag is lost
			bob.watchEvent("dialog", "alice", 600, "")
			want("0: none terminated")
			other := w.phone("pbx", "192.0.2.8:5060")
			publish(other, 200, "", one("confirmed"))
			want("1: 100-2 confirmed") // the other line is there still, and idle
			publish(pbx, 200, "", one("early"))
			want("2: 100 early, 100-2 confirmed")
		})
	})
	t.Run("a call after the last", func(t *testing.T) {
		lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
			// Asterisk has one id for all calls of an extension, and no Call-ID.
			one := func(state string) string { return calls(0, `<dialog id="100"><state>`+state+`</state></dialog>`) }
			bob.watchEvent("dialog", "alice", 600, "")
			want("0: none terminated")
			tag := publish(pbx, 200, "", one("early"))
			want("1: 100 early")
			tag = publish(pbx, 200, tag, one("terminated"))
			want("2: 100 terminated")
			publish(pbx, 200, tag, one("early"))
			want("3: 100 early")
		})
	})
}

// A slow phone is told each state, in order, and a quick one no other.
func TestLampOrder(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		bob.watchEvent("dialog", "alice", 600, "")
		want("0: none terminated")
		release := bob.hold()
		tag := ""
		for i, s := range []string{"trying", "early", "confirmed", "terminated"} {
			tag = etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call("c1", s, i)))
		}
		release()
		var got []string
		for _, m := range bob.got() {
			got = append(got, lamp(t, m))
		}
		if fmt.Sprint(got) != "[2: c1 early 3: c1 confirmed 4: c1 terminated]" {
			t.Errorf("told %q", got)
		}
	})
}

// What waits behind a slow NOTIFY goes with the permission: nothing that was
// allowed before is told afterwards.
func TestLampOrderEndsWithPermission(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		for i, now := range []presence.Handling{presence.PoliteBlock, presence.Confirm} {
			id := fmt.Sprintf("secret%d", i)
			w.rule("bob", "alice", presence.Allow)
			bob.got()
			bob.watchEvent("dialog", "alice", 600, "")
			bob.one()
			release := bob.hold()
			tag := ""
			for i, s := range []string{"early", "confirmed", "terminated"} {
				tag = etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call(id, s, i)))
			}
			w.rule("bob", "alice", now)
			release()
			for _, m := range bob.got()[1:] { // the one that was under way
				if strings.Contains(m.Body, id) {
					t.Errorf("%s: still told %s", now, m.Body)
				}
			}
		}
	})
}

// Several publishers make one document.
func TestLampCollates(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		alice := w.phone("alice", "192.0.2.10:5060")
		bob.watchEvent("dialog", "alice", 600, "")
		want("0: none terminated")
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", calls(0, `<dialog id="1" call-id="x"><state>confirmed</state></dialog>`))
		want("1: 1 confirmed")
		tag := etag(alice.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", calls(7, `<dialog id="1" call-id="y"><state>early</state></dialog>`)))
		want("2: 1 confirmed, 1-2 early")
		// A partial document changes what the same publisher has said.
		partial := strings.Replace(calls(8, `<dialog id="2" call-id="z"><state>trying</state></dialog>`), "full", "partial", 1)
		tag = etag(alice.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, partial))
		want("3: 1 confirmed, 1-2 early, 2 trying")
		alice.publishEvent(412, "dialog", dialoginfo.Type, "alice", "nonsense", partial)
		alice.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, strings.Replace(partial, "trying", "terminated", 1))
		want("4: 1 confirmed, 1-2 early, 2 terminated")
	})
}

// What watchers may see is the policy's matter here too.
func TestLampPolicy(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c1", "confirmed", 0))
		w.rule("bob", "alice", presence.PoliteBlock)
		bob.watchEvent("dialog", "alice", 600, "")
		want("0: none terminated")
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c2", "confirmed", 0))
		bob.none()
		w.rule("bob", "alice", presence.Allow)
		if got := lamp(t, bob.one()); got != "1: c1 confirmed, c2 confirmed" {
			t.Errorf("allowed: %s", got)
		}
		w.rule("bob", "alice", presence.Confirm)
		if m := bob.one(); m.Body != "" || !strings.HasPrefix(state(m), "pending") {
			t.Errorf("asked: %s", m.Append(nil))
		}
		w.rule("bob", "alice", presence.Block)
		if m := bob.one(); m.Body != "" || state(m) != "terminated;reason=rejected" {
			t.Errorf("blocked: %s", m.Append(nil))
		}
	})
}

// Whoever may know of activities only is told that there is a call, and who may not
// even that is told nothing (RFC 4235 §3.6).
func TestLampFiltered(t *testing.T) {
	rule := func(user string, t *presence.Transform) presence.Rule {
		return presence.Rule{ID: user, Identity: [][]presence.Identity{{{One: map[presence.Entity]struct{}{{User: user, Domain: domain}: {}}}}},
			Rank: presence.Named, Handling: presence.Allow, Shows: t}
	}
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		w.rules.more = []presence.Rule{
			rule("bob", &presence.Transform{Persons: presence.Selection{All: true}, Attributes: map[string]bool{"activities": true}}),
			rule("carol", &presence.Transform{Services: presence.Selection{All: true}}),
		}
		w.rule("dave", "alice", presence.Allow) // read anew
		carol := w.phone("carol", "192.0.2.12:5060")
		bob.watchEvent("dialog", "alice", 600, "")
		want("0: none terminated")
		carol.watchEvent("dialog", "alice", 600, "")
		carol.one()
		tag := etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c1", "early", 0)))
		bob.none() // it only rings
		tag = etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call("c1", "confirmed", 1)))
		if m := want("1: virtual confirmed"); strings.Contains(m.Body, "carol") || strings.Contains(m.Body, "c1") {
			t.Errorf("bob is told %s", m.Body)
		}
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c2", "confirmed", 0))
		bob.none() // how many calls there are is not his matter
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call("c1", "terminated", 2))
		bob.none()
		carol.none()
	})
}

// Event parameters choose one dialog, and session descriptions are for the user's
// own devices (RFC 4235 §3.2, §3.3).
func TestLampParams(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		alice := w.phone("alice", "192.0.2.10:5060")
		sdp := `<local><session-description type="application/sdp">v=0</session-description></local>`
		with := func(state string) string {
			return calls(0, strings.Replace(dialogOf("c1", state), "<remote>", sdp+"<remote>", 1)+dialogOf("c2", "early"))
		}
		tag := etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", with("confirmed")))
		bob.watchEvent(`dialog;call-id="c2";to-tag=l;from-tag=r`, "alice", 600, "")
		want("0: c2 early")
		bob.watchEvent(`dialog;call-id="c2";to-tag=l;from-tag=other`, "alice", 600, "")
		want("0: none terminated")
		bob.watchEvent("dialog;include-session-description", "alice", 600, "")
		if m := want("0: c1 confirmed, c2 early"); strings.Contains(m.Body, "session-description") {
			t.Errorf("bob sees %s", m.Body)
		}
		alice.watchEvent("dialog;include-session-description", "alice", 600, "")
		if m := alice.one(); !strings.Contains(m.Body, sdp) {
			t.Errorf("alice sees %s", m.Body)
		}
		alice.watchEvent("dialog", "alice", 600, "")
		if m := alice.one(); strings.Contains(m.Body, "session-description") {
			t.Errorf("alice is told unasked %s", m.Body)
		}
		// Only who sees a difference is told.
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, with("terminated"))
		want("1: c1 terminated, c2 early")
	})
}

// Whoever is himself at the other end knows (RFC 4235 §3.3).
func TestLampOwnCall(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		own := strings.ReplaceAll(dialogOf("c1", "early"), "sip:carol@198.51.100.7:5060", bob.contact)
		tag := etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", calls(0, own)))
		bob.watchEvent("dialog", "alice", 600, "")
		want("0: none terminated")
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, calls(1, strings.Replace(own, "early", "confirmed", 1)))
		bob.none()
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c2", "early", 0))
		want("1: c2 early")
	})
}

func TestPublishDialogRefusals(t *testing.T) {
	inWorld(t, Config{Trusted: trusting}, func(w *world) {
		pbx, bob := w.phone("pbx", "192.0.2.9:5060"), w.phone("bob", "192.0.2.11:5060")
		pbx.publishEvent(404, "dialog", dialoginfo.Type, "nobody", "", call("c", "early", 0))
		pbx.publishEvent(403, "presence", pidf.Type, "alice", "", doc("alice", "open", ""))
		bob.publishEvent(403, "dialog", dialoginfo.Type, "alice", "", call("c", "early", 0))
		pbx.publishEvent(400, "dialog", dialoginfo.Type, "alice", "", calls(0, "<dialog/>"))
		pbx.publishEvent(415, "dialog", dialoginfo.Type, "alice", "", doc("alice", "open", ""))
		pbx.publishEvent(413, "dialog", dialoginfo.Type, "alice", "", calls(0, strings.Repeat(`<dialog id="a"><state>early</state></dialog>`, dialoginfo.MaxDialogs+1)))
		tag := etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c", "early", 0)))
		pbx.publishEvent(412, "message-summary", "application/simple-message-summary", "alice", tag, "Messages-Waiting: yes\r\n")
	})
}

// Partial documents add up to no more than one document may hold; what is there
// stays when more comes.
func TestLampAddsUp(t *testing.T) {
	lampWorld(t, func(w *world, pbx, bob *phone, want func(string) *sip.Message) {
		some := func(from, n int) string {
			var b strings.Builder
			for i := range n {
				b.WriteString(dialogOf(fmt.Sprint("c", from+i), "confirmed"))
			}
			return b.String()
		}
		partial := func(s string) string { return strings.Replace(s, `state="full"`, `state="partial"`, 1) }
		bob.watchEvent("dialog", "alice", 600, "")
		bob.one()
		tag := etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", calls(0, some(0, dialoginfo.MaxDialogs))))
		bob.one()
		pbx.publishEvent(413, "dialog", dialoginfo.Type, "alice", tag, partial(calls(1, some(100, 1))))
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, partial(calls(2, dialogOf("c0", "terminated"))))
		i, err := dialoginfo.Parse([]byte(bob.one().Body))
		if err != nil || len(i.Dialogs) != dialoginfo.MaxDialogs || i.Dialogs[0].State != dialoginfo.Terminated {
			t.Errorf("%v, %d dialogs", err, len(i.Dialogs))
		}
	})
}

// A PBX speaks for all; a proxy only for the user whose request it passes on.
func TestPublishForOthers(t *testing.T) {
	inWorld(t, Config{Trusted: trusting}, func(w *world) {
		pbx := w.phone("pbx", "192.0.2.9:5060")
		body := call("c", "early", 0)
		o := out{method: "PUBLISH", to: "alice", lines: "Event: dialog\r\n", body: body, ctype: dialoginfo.Type}
		noUser, relayed, asserted, own := o, o, o, o
		noUser.from = "sip:192.0.2.9"
		pbx.want(200, noUser)
		relayed.from = "sip:bob@example.com"
		relayed.raw = func(msg string) string {
			return strings.Replace(msg, "Max-Forwards", "Via: SIP/2.0/UDP 192.0.2.11:5060;branch=z9hG4bKu1\r\nMax-Forwards", 1)
		}
		pbx.want(403, relayed)
		asserted.from, asserted.lines = "sip:bob@example.com", o.lines+"P-Asserted-Identity: <sip:bob@example.com>\r\n"
		pbx.want(403, asserted)
		own.from, own.raw = "sip:alice@example.com", relayed.raw
		pbx.want(200, own)
	})
}

// person is what a fetch of alice's presence says of her.
func person(t testing.TB, w *world, p *phone) string {
	t.Helper()
	p.got()
	p.watchEvent("presence", "alice", 0, "")
	d, _, err := pidf.Parse([]byte(p.one().Body))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, p := range d.Persons {
		if p.Rich.Activities != nil {
			all = append(all, p.Rich.Activities.Names...)
		}
	}
	return strings.Join(all, " ")
}

// A confirmed call makes its user on the phone for those who watch the presence,
// beside what the user's own devices say.
func TestOnThePhone(t *testing.T) {
	inWorld(t, Config{Trusted: trusting}, func(w *world) {
		pbx, alice, bob := w.phone("pbx", "192.0.2.9:5060"), w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		alice.publish("open", "at work", "")
		bob.subscribe("alice", 600)
		bob.one()
		tag := etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c1", "early", 0)))
		bob.none()
		tag = etag(pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call("c1", "confirmed", 1)))
		m := bob.one()
		if !strings.Contains(m.Body, "on-the-phone") || !strings.Contains(m.Body, "at work") {
			t.Errorf("told %s", m.Body)
		}
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", tag, call("c1", "terminated", 2))
		if m := bob.one(); strings.Contains(m.Body, "on-the-phone") || !strings.Contains(m.Body, "at work") {
			t.Errorf("told %s", m.Body)
		}
	})
}
