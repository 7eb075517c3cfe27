package interop

import (
	"strings"
	"testing"
)

// One list, two faces: what curl puts is pushed to the chat client, what the chat
// client adds curl reads; a rule put by curl lets a waiting phone in.
func TestCurlXCAP(t *testing.T) {
	if _, err := CurlVersion(); err != nil {
		t.Skip(err)
	}
	s, us := launch(t, "alice", "bob")
	alice, bob := us["alice"], us["bob"]
	list := "/resource-lists/users/sip:" + alice.Address() + "/index"
	chat := slix(t, s, alice, "chat")
	get(s.Curl(alice, "PUT", list, "application/resource-lists+xml", `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">`+
		`<list name="Friends"><entry uri="sip:`+bob.Address()+`"><display-name>Bob</display-name></entry></list></resource-lists>`))(t)
	chat.sees(t, Fields{"event": "roster", "jid": bob.Address(), "name": "Bob", "groups": "[Friends]"})
	chat.ask(t, "roster set", Fields{"jid": "carol@localhost", "name": "Carol", "groups": []string{"Friends"}})
	entry := get(s.Curl(alice, "GET", list+"/~~/resource-lists/list%5b@name=%22Friends%22%5d/entry%5b2%5d", "", ""))(t)
	if !strings.Contains(entry, `<entry uri="sip:carol@localhost"`) || !strings.Contains(entry, "Carol</display-name>") {
		t.Errorf("curl reads %s", entry)
	}

	w := get(s.Sipp("watch", bob, "udp", Keys{"to": alice.Address(), "UNTIL": "active"}))(t)
	t.Cleanup(w.Stop)
	get(w.Log(soon, `notify \d+ pending`))(t)
	get(s.Curl(alice, "PUT", "/pres-rules/users/sip:"+alice.Address()+"/index", "application/auth-policy+xml",
		`<cr:ruleset xmlns:cr="urn:ietf:params:xml:ns:common-policy" xmlns="urn:ietf:params:xml:ns:pres-rules"><cr:rule id="friends">`+
			`<cr:conditions><cr:identity><cr:one id="sip:`+bob.Address()+`"/></cr:identity></cr:conditions>`+
			`<cr:actions><sub-handling>allow</sub-handling></cr:actions></cr:rule></cr:ruleset>`))(t)
	get(w.Log(soon, `notify \d+ active`))(t)
	must(t, w.Done(soon))

	if _, err := s.Curl(bob, "GET", list, "", ""); err == nil || !strings.Contains(err.Error(), "status 403") {
		t.Errorf("bob reads alice's list: %v", err)
	}
}
