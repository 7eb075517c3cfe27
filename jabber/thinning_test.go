package jabber

import (
	"fmt"
	"testing"
	"time"
)

// An hour of a client with 50 contacts who change 12 times each, with and without
// client state indication (XEP-0352): the client is looked at for a minute in ten.
// With -v it prints rows for 'go run ./bench/run -only thin'.
func TestThinningCSI(t *testing.T) {
	const contacts = 50
	var octets, stanzas [2]int
	for i, csi := range []bool{false, true} {
		inWorld(t, userNames(contacts), func(w *world) {
			var cs []*client
			for c := range contacts {
				name := fmt.Sprint("c", c)
				w.befriend("alice", name)
				p := w.login(name, "desk")
				p.send("<presence/>")
				cs = append(cs, p)
			}
			settle()
			a := w.login("alice", "phone")
			a.send("<presence/>")
			settle()
			a.drop()
			state := func(s string) {
				if csi {
					a.send("<" + s + " xmlns='urn:xmpp:csi:0'/>")
				}
			}
			state("inactive")
			for second := range 3600 {
				switch second % 600 {
				case 300:
					state("active")
				case 360:
					state("inactive")
				}
				for c, p := range cs {
					at := second - 60 - c*11%600
					if at < 0 || at%900 != 0 && at%900 != 20 && at%900 != 40 {
						continue
					}
					p.send(thinPresence(at))
				}
				time.Sleep(time.Second)
			}
			state("active")
			settle()
			a.mu.Lock()
			for _, el := range a.got {
				stanzas[i]++
				octets[i] += len(el.Source())
			}
			a.mu.Unlock()
		})
		t.Logf("thin: XMPP, 50 contacts%s | %.1f | %d | %d", []string{"", ", client state"}[i], float64(stanzas[i]), octets[i], octets[i])
	}
	if stanzas[0] != contacts*12 || stanzas[1] > stanzas[0]*2/3 || octets[1] > octets[0]*2/3 {
		t.Errorf("%d stanzas, %d octets without, %d and %d with client state", stanzas[0], octets[0], stanzas[1], octets[1])
	}
}

// thinPresence is a client's presence at a second of its hour: something begins, then
// the status says what, then it is something else.
func thinPresence(at int) string {
	show := []string{"dnd", "dnd", "away"}[at%900/20]
	status := "at my desk"
	if at%900 > 0 {
		status = fmt.Sprint("call ", at/900)
	}
	return "<presence><show>" + show + "</show><status>" + status + "</status><priority>1</priority>" +
		"<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='http://example.org/client' ver='q07IKJEyjvHSyhy//CH0CxmKi8w='/></presence>"
}
