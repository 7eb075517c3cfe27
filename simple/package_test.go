package simple

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/dialoginfo"
	"pharos/engine"
	"pharos/presence"
	"pharos/sip"
	"pharos/summary"
	"pharos/watcherinfo"
)

// watchEvent subscribes to a package; event is the value of the header, lines are more.
func (p *phone) watchEvent(event, to string, expires int, lines string) *sub {
	p.w.t.Helper()
	s := &sub{p: p, to: to, callID: newID()}
	m := p.want(200, out{method: "SUBSCRIBE", to: to, callID: s.callID,
		lines: fmt.Sprintf("Event: %s\r\nContact: <%s>\r\nExpires: %d\r\n", event, p.contact, expires) + lines})
	s.tag = m.To().Tag()
	c, _, err := m.Contact()
	if err != nil {
		p.w.t.Fatal(err)
	}
	s.target = c.URI
	return s
}

// send sends a SUBSCRIBE in the dialog.
func (s *sub) send(status int, event string, expires int, lines string) *sip.Message {
	s.p.w.t.Helper()
	return s.p.want(status, out{method: "SUBSCRIBE", to: s.to, uri: s.target, toTag: s.tag, callID: s.callID,
		lines: fmt.Sprintf("Event: %s\r\nContact: <%s>\r\nExpires: %d\r\n", event, s.p.contact, expires) + lines})
}

// hold leaves requests without an answer, until release answers the first.
func (p *phone) hold() (release func()) {
	synctest.Wait()
	var first *sip.Message
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = func(m *sip.Message) (int, string) {
		if first == nil {
			first = m
		}
		return 0, ""
	}
	return func() {
		synctest.Wait()
		p.mu.Lock()
		p.requests, p.answer = nil, nil
		p.mu.Unlock()
		p.write(replyTo(first, 200, ""))
	}
}

// publishEvent publishes a body of a package, and returns the answer.
func (p *phone) publishEvent(status int, event, ctype, to, tag, body string) *sip.Message {
	p.w.t.Helper()
	lines := "Event: " + event + "\r\nExpires: 600\r\n"
	if tag != "" {
		lines += "SIP-If-Match: " + tag + "\r\n"
	}
	return p.want(status, out{method: "PUBLISH", to: to, lines: lines, body: body, ctype: ctype})
}

// The table says of itself what requests are told.
func TestPackages(t *testing.T) {
	const all = "Allow-Events: presence, presence.winfo, dialog, message-summary, xcap-diff\r\n"
	if !strings.HasPrefix(allowEvents, strings.TrimSuffix(all, "\r\n")) {
		t.Errorf("got %q", allowEvents)
	}
	keys := map[string]bool{}
	for _, p := range packages {
		if keys[p.key] {
			t.Errorf("two rows for %q", p.key)
		}
		keys[p.key] = true
		if packageOfKey(p.key) != p || p.name != strings.ToLower(p.name) || p.def == 0 || len(p.bodies) == 0 {
			t.Errorf("row %q is not whole", p.name)
		}
		for i := range p.bodies {
			b := &p.bodies[i]
			if (b.view == nil) == (b.tell == nil) || p.body(p.saved(b)) != b {
				t.Errorf("%s: body %q", p.name, b.name)
			}
		}
	}
	for name, key := range map[string]string{"presence": "", "Presence": "", "Presence.WINFO": presence.WatcherInfo, "DIALOG": "dialog"} {
		if p := packageOf(name); p == nil || p.key != key {
			t.Errorf("%s is not found", name)
		}
	}
}

// Of the bodies that a watcher accepts the best is taken, of equal ones the
// richest, and without Accept the plain one.
func TestAccept(t *testing.T) {
	pkg := &eventPackage{bodies: []bodyType{{name: "application/plain"}, {name: "application/rich"}}}
	for _, c := range []struct {
		accept, want string // "": 406
	}{
		{"", "application/plain"},
		{"Accept: application/plain\r\n", "application/plain"},
		{"Accept: application/plain, application/rich\r\n", "application/rich"},
		{"Accept: application/plain;q=0.5, application/rich;q=0.4\r\n", "application/plain"},
		{"Accept: application/plain;q=0.5\r\nAccept: application/rich\r\n", "application/rich"},
		{"Accept: application/*\r\n", "application/rich"},
		{"Accept: */*;q=0.1, application/rich;q=0\r\n", "application/plain"},
		{"Accept: text/plain\r\n", ""},
		{"Accept: application/rich;q=0\r\n", ""},
	} {
		msg, err := sip.Parse([]byte("SUBSCRIBE sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\n" +
			"From: <sip:b@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: 1\r\nCSeq: 1 SUBSCRIBE\r\n" + c.accept + "Content-Length: 0\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if b := pkg.chosen(msg); b != nil {
			got = b.name
		}
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.accept, got, c.want)
		}
	}
}

// All packages go through a restart: their dialogs, sources, and what was kept.
func TestPackagesSurviveRestart(t *testing.T) {
	inWorld(t, Config{Trusted: trusting}, func(w *world) {
		pbx, alice, bob := w.phone("pbx", "192.0.2.9:5060"), w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		pbx.publishEvent(200, "dialog", dialoginfo.Type, "alice", "", call("c1", "confirmed", 0))
		pbx.publishEvent(200, "message-summary", summary.Type, "alice", "", "Messages-Waiting: yes\r\nVoice-Message: 2/0\r\n")
		alice.watchEvent("message-summary", "alice", 600, "")
		alice.watchEvent("presence.winfo", "alice", 600, "")
		lamp := bob.watchEvent("dialog;id=7;call-id=c1", "alice", 600, "")
		icon := bob.watchEvent("presence", "alice", 600, "")
		alice.got()
		bob.got()
		w.restart()
		time.Sleep(engine.RestoreTime + time.Second)
		want := map[string]string{
			"message-summary": "Voice-Message: 2/0", "presence.winfo": `state="full"`,
			"dialog;id=7": "<state>confirmed</state>", "presence": "on-the-phone",
		}
		for _, m := range append(alice.got(), bob.got()...) {
			ev := get(m, sip.HEvent)
			if !strings.Contains(m.Body, want[ev]) {
				t.Errorf("%s: %s", ev, m.Body)
			}
			delete(want, ev)
		}
		if len(want) > 0 {
			t.Errorf("nothing of %v", want)
		}
		if i, ok := w.edge.Describe(lamp.tag); !ok || i.Event != "dialog;id=7;call-id=c1" || i.Accept != dialoginfo.Type {
			t.Errorf("described as %+v", i)
		}
		lamp.send(200, "dialog;id=7", 600, "")
		icon.again(200, 600)
		if n := w.edge.Stats().Packages; n["presence"] != 1 || n["dialog"] != 1 || n["presence.winfo"] != 1 || n["message-summary"] != 1 {
			t.Errorf("counted %v", n)
		}
	})
}

// Bodies of SUBSCRIBE are for packages that read them.
func TestSubscribeBody(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		bob := w.phone("bob", "192.0.2.11:5060")
		for _, event := range []string{"presence.winfo", "dialog", "message-summary"} {
			lines := "Event: " + event + "\r\nContact: <" + bob.contact + ">\r\n"
			bob.want(415, out{method: "SUBSCRIBE", lines: lines, body: "<a/>", ctype: "application/unheard-of+xml"})
			bob.want(200, out{method: "SUBSCRIBE", lines: lines + "Content-Disposition: render;handling=optional\r\n", body: "<a/>", ctype: "application/unheard-of+xml"})
		}
		if got := bob.got(); len(got) != 3 {
			t.Errorf("got %v", texts(got))
		}
	})
}

func winfo(t testing.TB, m *sip.Message) *watcherinfo.Info {
	t.Helper()
	i, err := watcherinfo.Parse([]byte(m.Body))
	if err != nil {
		t.Fatalf("%v\n%s", err, m.Append(nil))
	}
	return i
}
