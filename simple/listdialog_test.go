package simple

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"pharos/dialoginfo"
	"pharos/sip"
	"pharos/xdm"
)

// A key system (Yealink, Grandstream, Polycom): one subscription without a body to
// the list of all lamps, Event dialog. Each state of a call is told, in order.
func TestDialogList(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.tcpPhone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		w.putDocument("alice", xdm.RLSServices, `<rls-services xmlns="urn:ietf:params:xml:ns:rls-services" xmlns:rl="urn:ietf:params:xml:ns:resource-lists">
			<service uri="sip:lamps@example.com"><list><rl:entry uri="sip:bob@example.com"/><rl:entry uri="sip:carol@example.com"/></list>
			<packages><package>dialog</package></packages></service></rls-services>`)
		l := &listPhone{phone: alice, table: newSubscriber(), sub: &sub{p: alice, callID: newID()}}
		m := alice.want(200, out{method: "SUBSCRIBE", uri: "sip:lamps@example.com", callID: l.sub.callID, lines: "Supported: eventlist\r\n" +
			"Accept: multipart/related, application/rlmi+xml, application/dialog-info+xml\r\nEvent: dialog\r\nContact: <" + alice.contact + ">\r\nExpires: 600\r\n"})
		if get(m, sip.HRequire) != "eventlist" {
			t.Errorf("%s", m.Append(nil))
		}
		read := func(n *sip.Message) {
			t.Helper()
			if get(n, sip.HEvent) != "dialog" || !strings.Contains(n.Body, "Content-Type: "+dialoginfo.Type) {
				t.Errorf("%s", n.Append(nil))
			}
			if err := l.table.take(get(n, sip.HContentType), n.Body); err != nil {
				t.Fatalf("%v\n%s", err, n.Append(nil))
			}
		}
		time.Sleep(50 * time.Millisecond)
		read(alice.one())
		for _, u := range []string{"bob", "carol"} {
			if s := l.table.states["sip:"+u+"@example.com"]; !strings.Contains(s, "sip:"+u+"@example.com") || !strings.Contains(s, `state="full"`) {
				t.Errorf("%s: %s", u, s)
			}
		}

		time.Sleep(time.Second)
		tag := ""
		for i, state := range []string{"trying", "early", "confirmed", "terminated"} {
			lines := "Event: dialog\r\nExpires: 600\r\n"
			if tag != "" {
				lines += "SIP-If-Match: " + tag + "\r\n"
			}
			body := fmt.Sprintf(`<?xml version="1.0"?><dialog-info xmlns="urn:ietf:params:xml:ns:dialog-info" version="%d" state="full" entity="sip:bob@example.com">`+
				`<dialog id="d1" call-id="c1" local-tag="l1" remote-tag="r1" direction="recipient"><state>%s</state></dialog></dialog-info>`, i, state)
			tag = get(bob.want(200, out{method: "PUBLISH", lines: lines, body: body, ctype: dialoginfo.Type}), sip.HSIPETag)
		}
		time.Sleep(2 * time.Second)
		for _, n := range alice.got() {
			read(n)
		}
		var states []string
		for _, s := range l.table.history["sip:bob@example.com"][1:] {
			for _, found := range regexp.MustCompile(`<state>(\w+)</state>`).FindAllStringSubmatch(s, -1) {
				states = append(states, found[1])
			}
		}
		if !slices.Equal(states, []string{"trying", "early", "confirmed", "terminated"}) {
			t.Errorf("%q", states)
		}
	})
}
