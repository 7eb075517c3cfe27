package simple

import (
	"strings"
	"testing"

	"pharos/presence"
)

// A Contact that names another address than the one the request came from is
// where requests go, unless a NAT is in between: then only the flow leads back.
func TestWayBack(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		w.rule("bob", "alice", presence.Allow)
		alice := w.phone("alice", "192.0.2.10:5060")
		front, back := w.phone("bob", "192.0.2.11:5060"), w.phone("bob", "192.0.2.11:5070")
		front.contact = back.contact
		front.register(t, "Contact: <"+back.contact+">\r\n")
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "there", ctype: "text/plain"})
		if m := back.one(); m.Body != "there" {
			t.Errorf("got\n%s", m.Append(nil))
		}
		front.none()
		s, _ := front.subscribe("alice", 600)
		if m := back.one(); m.Method != "NOTIFY" {
			t.Errorf("got\n%s", m.Append(nil))
		}
		s.again(200, 600)
		back.one()
		front.none()
		s.again(200, 0)
		back.one()
		front.none()

		// Behind a NAT the Via names an address that is not the source's.
		natted := w.phone("carol", "192.0.2.12:40000")
		hidden := func(msg string) string {
			return strings.Replace(msg, "UDP 192.0.2.12:40000;", "UDP 10.0.0.7:5060;", 1)
		}
		natted.want(200, out{method: "REGISTER", to: "carol", lines: "Contact: <sip:carol@10.0.0.7:5060>\r\n", raw: hidden})
		alice.want(200, out{method: "MESSAGE", to: "carol", body: "behind", ctype: "text/plain"})
		if m := natted.one(); m.Body != "behind" || m.URI != "sip:carol@10.0.0.7:5060" {
			t.Errorf("got\n%s", m.Append(nil))
		}
	})
}
