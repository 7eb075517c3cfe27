package simple

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/sip"
)

var aliceHere = presence.Entity{User: "alice", Domain: domain}

// register sends a REGISTER and returns the contacts of the 200, sorted as they
// came: "URI expires".
func (p *phone) register(t *testing.T, lines string) []string {
	t.Helper()
	return contactsOf(t, p.want(200, out{method: "REGISTER", lines: lines}))
}

func contactsOf(t *testing.T, m *sip.Message) []string {
	t.Helper()
	cs, _, err := m.Contacts()
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, c := range cs {
		sec, _ := c.Expires()
		s = append(s, fmt.Sprintf("%s %d", c.URI, sec))
	}
	return s
}

func wantContacts(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		t.Errorf("contacts %q, want %q", got, want)
	}
}

// RFC 3261 §10.3.
func TestRegister(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		wantContacts(t, p.register(t, "")) // a query
		m := p.want(200, out{method: "REGISTER", lines: "Contact: <sip:a@192.0.2.10>;q=0.5;methods=\"MESSAGE\", <sip:b@192.0.2.10>;expires=60\r\nExpires: 600\r\n"})
		wantContacts(t, contactsOf(t, m), "sip:a@192.0.2.10 600", "sip:b@192.0.2.10 60")
		if get(m, sip.HDate) == "" || !strings.Contains(get(m, sip.HContact), ";q=0.5;methods=\"MESSAGE\";expires=600") {
			t.Errorf("200:\n%s", m.Append(nil))
		}
		// No expires at all: an hour. A contact that is the same URI is the same.
		wantContacts(t, p.register(t, "Contact: <sip:c@192.0.2.10>\r\nContact: <sip:a@192.0.2.10:5060>\r\n"),
			"sip:a@192.0.2.10 600", "sip:b@192.0.2.10 60", "sip:c@192.0.2.10 3600", "sip:a@192.0.2.10:5060 3600")
		time.Sleep(61 * time.Second)
		wantContacts(t, p.register(t, ""), "sip:c@192.0.2.10 3539", "sip:a@192.0.2.10:5060 3539", "sip:a@192.0.2.10 539") // by q
		// One removed, one refreshed.
		wantContacts(t, p.register(t, "Contact: <sip:a@192.0.2.10>;expires=0, <sip:c@192.0.2.10>;expires=100\r\n"),
			"sip:a@192.0.2.10:5060 3539", "sip:c@192.0.2.10 100")
		wantContacts(t, p.register(t, "Contact: *\r\nExpires: 0\r\n"))
		if u, b := w.edge.bindings.count(); b != 0 {
			t.Errorf("%d users, %d bindings", u, b)
		}
		time.Sleep(2 * sweepEvery)
		if u, _ := w.edge.bindings.count(); u != 0 {
			t.Errorf("%d users kept without bindings", u)
		}
	})
}

func TestRegisterRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      out
		status int
		want   string
	}{
		{"star without Expires", out{lines: "Contact: *\r\n"}, 400, ""},
		{"star with Expires", out{lines: "Contact: *\r\nExpires: 60\r\n"}, 400, ""},
		{"star and another", out{lines: "Contact: *, <sip:a@b>\r\nExpires: 0\r\n"}, 400, ""},
		{"bad contact", out{lines: "Contact: <sip:a@b\r\n"}, 400, ""},
		{"too brief", out{lines: "Contact: <sip:a@192.0.2.10>;expires=3\r\n"}, 423, "Min-Expires: 5"},
		{"one of two too brief", out{lines: "Contact: <sip:a@192.0.2.10>, <sip:b@192.0.2.10>;expires=3\r\n"}, 423, "Min-Expires: 5"},
		{"too long is cut", out{lines: "Contact: <sip:a@192.0.2.10>;expires=1000000\r\n"}, 200, "expires=86400"},
		{"bad expires is the default", out{lines: "Contact: <sip:a@192.0.2.10>;expires=x\r\n"}, 200, "expires=3600"},
		{"other domain", out{uri: "sip:example.org", lines: "Contact: <sip:a@192.0.2.10>\r\n"}, 404, ""},
		{"our address as registrar", out{uri: "sip:192.0.2.1", lines: "Contact: <sip:a@192.0.2.10>\r\n"}, 200, ""},
		{"path and outbound are known", out{lines: "Require: path, outbound\r\nContact: <sip:a@192.0.2.10>\r\n"}, 200, ""},
		{"gruu is not", out{lines: "Require: gruu\r\nContact: <sip:a@192.0.2.10>\r\n"}, 420, "Unsupported: gruu"},
		{"too many", out{lines: strings.Repeat("Contact: <sip:a@192.0.2.10>", 1) + func() (s string) {
			for i := range 16 {
				s += fmt.Sprintf(", <sip:%d@192.0.2.10>", i)
			}
			return s
		}() + "\r\n"}, 403, ""},
		{"too long a URI", out{lines: "Contact: <sip:" + strings.Repeat("a", 3000) + "@192.0.2.10>\r\n"}, 513, ""},
		{"first hop without Path", out{lines: "Supported: path, outbound\r\nVia: SIP/2.0/UDP 192.0.2.99;branch=z9hG4bK1\r\n" +
			"Contact: <sip:a@192.0.2.10>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n"}, 439, ""},
		{"ob of another name", out{lines: "Supported: path, outbound\r\nPath: <sip:p.example.com;lr;obj>\r\n" +
			"Contact: <sip:a@192.0.2.10>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n"}, 439, ""},
		{"two flows at once", out{lines: "Supported: path, outbound\r\nContact: <sip:a@192.0.2.10>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n" +
			"Contact: <sip:b@192.0.2.10>\r\n"}, 400, ""},
		{"first hop without outbound", out{lines: "Supported: path, outbound\r\nPath: <sip:p.example.com;lr>\r\n" +
			"Contact: <sip:a@192.0.2.10>;reg-id=1;+sip.instance=\"<urn:uuid:1>\"\r\n"}, 439, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				p := w.phone("alice", "192.0.2.10:5060")
				c.o.method = "REGISTER"
				m := p.want(c.status, c.o)
				if !strings.Contains(string(m.Append(nil)), c.want) {
					t.Errorf("no %q in\n%s", c.want, m.Append(nil))
				}
				if _, b := w.edge.bindings.count(); (b > 0) != (c.status == 200) {
					t.Errorf("%d bindings", b)
				}
			})
		})
	}
}

// §10.3 steps 6 and 7: a request that has been overtaken changes nothing.
func TestRegisterOrder(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		const a = "Contact: <sip:a@192.0.2.10>\r\n"
		p.want(200, out{method: "REGISTER", callID: "c", cseq: 5, lines: a})
		p.want(500, out{method: "REGISTER", callID: "c", cseq: 5, lines: a})
		p.want(500, out{method: "REGISTER", callID: "c", cseq: 4, lines: "Contact: *\r\nExpires: 0\r\n"})
		p.want(500, out{method: "REGISTER", callID: "c", cseq: 4, lines: a + "Contact: <sip:b@192.0.2.10>\r\n"})
		if _, b := w.edge.bindings.count(); b != 1 {
			t.Errorf("%d bindings", b)
		}
		p.want(200, out{method: "REGISTER", callID: "d", cseq: 1, lines: a}) // the program was started anew
		p.want(200, out{method: "REGISTER", callID: "d", cseq: 2, lines: a})
	})
}

// RFC 3327.
func TestPath(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		m := p.want(200, out{method: "REGISTER", lines: "Supported: path\r\nPath: <sip:192.0.2.10:5060;lr>, <sip:p2.example.com;lr>\r\nContact: <sip:alice@10.0.0.1>\r\n"})
		if get(m, sip.HPath) != "<sip:192.0.2.10:5060;lr>, <sip:p2.example.com;lr>" {
			t.Errorf("Path %q", get(m, sip.HPath))
		}
		if m = p.want(200, out{method: "REGISTER", lines: "Contact: <sip:other@10.0.0.1>;expires=0\r\n"}); get(m, sip.HPath) != "" {
			t.Errorf("Path %q without Supported", get(m, sip.HPath))
		}
		bob.want(200, out{method: "MESSAGE", to: "alice", body: "hi", ctype: "text/plain"})
		if n := p.one(); n.URI != "sip:alice@10.0.0.1" || get(n, sip.HRoute) != "<sip:192.0.2.10:5060;lr>, <sip:p2.example.com;lr>" {
			t.Errorf("by the path:\n%s", n.Append(nil))
		}
	})
}

const instance = `;+sip.instance="<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"`

// RFC 5626 §6.
func TestOutbound(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.tcpPhone("alice", "192.0.2.10:50000")
		m := p.want(200, out{method: "REGISTER", lines: "Supported: path, outbound\r\nContact: <sip:x@abc.invalid;transport=ws>;reg-id=1" + instance + "\r\n"})
		if get(m, sip.HRequire) != "outbound" {
			t.Errorf("Require %q", get(m, sip.HRequire))
		}
		if v, _ := m.GetName("Flow-Timer"); v != "120" {
			t.Errorf("Flow-Timer %q", v)
		}
		// The same instance and reg-id with another URI takes its place; another
		// reg-id stands beside it.
		wantContacts(t, p.register(t, "Supported: outbound\r\nContact: <sip:y@abc.invalid;transport=ws>;reg-id=1"+strings.ToLower(instance)+"\r\n"),
			"sip:y@abc.invalid;transport=ws 3600")
		wantContacts(t, p.register(t, "Supported: outbound\r\nContact: <sip:z@abc.invalid;transport=ws>;reg-id=1"+instance+"\r\n"),
			"sip:z@abc.invalid;transport=ws 3600")
		if got := p.register(t, "Supported: outbound\r\nContact: <sip:z2@abc.invalid;transport=ws>;reg-id=2"+instance+"\r\n"); len(got) != 2 {
			t.Errorf("contacts %q", got)
		}
		// They end with their connection, also in the store.
		udp := w.phone("alice", "192.0.2.10:5060")
		udp.register(t, "Contact: <sip:alice@192.0.2.10>\r\n")
		p.close()
		wantContacts(t, udp.register(t, ""), "sip:alice@192.0.2.10 3600")
		w.restart()
		wantContacts(t, udp.register(t, ""), "sip:alice@192.0.2.10 3600")
	})
}

// What was acknowledged is there after a restart, and what has expired is not.
func TestRegisterRestart(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p, m := w.phone("alice", "192.0.2.10:5060"), w.phone("müller", "192.0.2.12:5060")
		p.register(t, "Contact: <sip:a@192.0.2.10>;expires=100;q=0.3"+instance+", <sip:b@192.0.2.10>;expires=10\r\n")
		if r := m.do(out{method: "REGISTER", to: "m%C3%BCller", from: "sip:m%C3%BCller@example.com", lines: "Contact: <sip:m@192.0.2.12>\r\n"}); r.Status != 200 {
			t.Errorf("müller: %d %s", r.Status, r.Reason)
		}
		before := w.edge.Bindings(aliceHere)
		time.Sleep(20 * time.Second)
		w.restart()
		after := w.edge.Bindings(aliceHere)
		if len(after) != 1 || after[0].Contact != "sip:a@192.0.2.10" || after[0].Q != 300 || after[0].Transport != "UDP" ||
			after[0].Remote != "192.0.2.10:5060" || after[0].Instance != before[1].Instance && after[0].Instance != before[0].Instance {
			t.Errorf("after the restart %+v", after)
		}
		wantContacts(t, p.register(t, ""), "sip:a@192.0.2.10 80")
		if b := w.edge.Bindings(presence.Entity{User: "müller", Domain: domain}); len(b) != 1 {
			t.Errorf("müller after the restart %+v", b)
		}
		time.Sleep(81*time.Second + sweepEvery)
		synctest.Wait()
		if u, b := w.edge.bindings.count(); b != 1 {
			t.Errorf("%d users, %d bindings at the end", u, b)
		}
	})
}

// A program that was started anew, with another contact each time, makes room for
// itself; another one does not push it out.
func TestBindingsBound(t *testing.T) {
	inWorld(t, Config{Limits: Limits{Bindings: 3}}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		for i := range 6 {
			got := p.register(t, fmt.Sprintf("Contact: <sip:%d@192.0.2.10>%s\r\n", i, instance))
			if len(got) > 3 || !strings.HasPrefix(got[len(got)-1], fmt.Sprintf("sip:%d@", i)) {
				t.Errorf("contacts %q", got)
			}
		}
		p.want(403, out{method: "REGISTER", lines: "Contact: <sip:x@192.0.2.10>\r\n"})
	})
}

// Nothing is left of a user whose account was removed.
func TestRemoved(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		p.register(t, "Contact: <sip:alice@192.0.2.10>\r\n")
		w.edge.Removed(aliceHere)
		wantContacts(t, p.register(t, ""))
		w.restart()
		wantContacts(t, p.register(t, ""))
	})
}
