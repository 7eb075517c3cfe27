package server

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/presence"
	"pharos/store"
)

// Why names the rule of the user's document that decided, its line, and what it hides.
func TestWhyRules(t *testing.T) {
	s := run(t, nil)
	ctx := t.Context()
	for _, u := range []string{"alice@localhost", "bob@localhost", "carol@localhost", "eve@localhost"} {
		if err := s.admin.Add(ctx, u, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	write := func(user, body string) {
		t.Helper()
		err := s.store.Transact(ctx, func(tx *store.Tx) error {
			_, err := tx.PutDocument(presence.Entity{User: user, Domain: "localhost"}, "pres-rules", "index", []byte(body))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	write("alice", `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
<rule id="friends">
 <conditions><identity><one id="sip:bob@localhost"/></identity></conditions>
 <actions><pr:sub-handling>allow</pr:sub-handling></actions>
 <transformations><pr:provide-services><pr:all-services/></pr:provide-services><pr:provide-all-attributes/></transformations>
</rule>
<rule id="all"><actions><pr:sub-handling>confirm</pr:sub-handling></actions></rule><rule id="xmpp-blocked">
 <conditions><identity><one id="sip:eve@localhost"/></identity></conditions>
 <actions><pr:sub-handling>block</pr:sub-handling></actions>
</rule>
</ruleset>`)
	write("carol", `<ruleset/>`)
	for _, c := range []struct{ watcher, presentity, policy, filter, answer string }{
		{"bob", "alice", `allow, by rule "friends": Rule "friends" (pres-rules/index line 2) allows it.` +
			`these rules match and combine: Rule "friends" (pres-rules/index line 2) allows it. Rule "all" (pres-rules/index line 7) has the user asked first.`,
			"of the presence this watcher is not shown: all persons; all devices",
			"bob@localhost may see alice@localhost, but nothing of bob@localhost watches at this time."},
		{"eve", "alice", `block, by rule "xmpp-blocked": Rule "xmpp-blocked" (pres-rules/index line 7) blocks it.`, "", "alice@localhost has blocked eve@localhost."},
		{"carol", "alice", `confirm, by rule "all": Rule "all" (pres-rules/index line 7) has the user asked first.`, "",
			"carol@localhost waits for the word of alice@localhost, who has neither approved nor refused."},
		{"bob", "carol", `block, by rule "unreadable": The user's rules (pres-rules/index) cannot be read, so nobody is let in: policy: line 1: the document is not a <ruleset> of urn:ietf:params:xml:ns:common-policy`, "",
			"The rules of carol@localhost cannot be read, so that nobody else sees anything."},
		{"bob", "bob", `allow, by rule "self": Everybody may watch himself.`, "", "bob@localhost may see bob@localhost, but nothing of bob@localhost watches at this time."},
	} {
		w, err := s.Why(ctx, c.watcher+"@localhost", c.presentity+"@localhost")
		if err != nil {
			t.Fatal(err)
		}
		said := map[string]string{}
		for _, step := range w.Steps {
			said[step.What] += step.Text
		}
		if said["policy"] != c.policy || said["filter"] != c.filter || w.Answer != c.answer {
			t.Errorf("%s of %s:\n%s\n%s\n%s\nwant\n%s\n%s\n%s", c.watcher, c.presentity, said["policy"], said["filter"], w.Answer, c.policy, c.filter, c.answer)
		}
	}
}

// Lists for phones have no presence of their own; what a source says may be nothing.
func TestWhyLists(t *testing.T) {
	s := run(t, nil)
	ctx := t.Context()
	alice := presence.Entity{User: "alice", Domain: "localhost"}
	if err := s.admin.Add(ctx, alice.String(), "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Why(ctx, "alice@localhost", "sip:alice/buddies@localhost"); err == nil || !strings.Contains(err.Error(), "by its members") {
		t.Errorf("of a buddy list: %v", err)
	}
	w, err := s.Why(ctx, "alice@localhost", "lamps@localhost")
	if err != nil || len(w.Steps) != 2 || !strings.Contains(w.Steps[1].Text, "ask about a member") {
		t.Errorf("of a service: %+v, %v", w, err)
	}
	_, err = s.engine.Step(ctx, alice, presence.Publish{ID: presence.SourceID{Kind: presence.Extended, Key: "mood"}, NewTag: "t",
		Doc: &presence.Document{}, From: "alice@localhost/x"})
	if err != nil {
		t.Fatal(err)
	}
	w, err = s.Why(ctx, "alice@localhost", "alice@localhost")
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range w.Steps {
		if strings.Contains(st.Text, `"mood"`) && strings.HasSuffix(st.Text, "s old, from alice@localhost/x") {
			return
		}
	}
	t.Errorf("%+v", w.Steps)
}

// Calls and mailboxes have their place in the explanation, where there are any.
func TestWhyPackages(t *testing.T) {
	s := run(t, nil)
	ctx := t.Context()
	bob, alice := presence.Entity{User: "bob", Domain: "localhost"}, presence.Entity{User: "alice", Domain: "localhost"}
	for _, u := range []string{"alice@localhost", "bob@localhost"} {
		if err := s.admin.Add(ctx, u, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	steps := func() (found []string) {
		w, err := s.Why(ctx, "bob@localhost", "alice@localhost")
		if err != nil {
			t.Fatal(err)
		}
		for _, st := range w.Steps {
			if st.What == "dialog" || st.What == "message-summary" {
				found = append(found, st.What+" "+st.Text)
			}
		}
		return found
	}
	if got := steps(); len(got) > 0 {
		t.Errorf("of nothing it says %q", got)
	}
	for _, in := range []presence.Input{
		presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: "call"}, NewTag: "t", Package: "dialog",
			Native: presence.Payload{Type: "application/dialog-info+xml", Bytes: []byte("<x/>")}, Lifetime: time.Hour, From: "the PBX"},
		presence.Watch{ID: "w", Watcher: bob, Via: presence.Via{Edge: watchName}, Lifetime: time.Hour, Package: "dialog"},
	} {
		if _, err := s.engine.Step(ctx, alice, in); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Join(steps(), "\n")
	for _, want := range []string{`dialog publication "call", `, ", from the PBX, expires in ", "dialog pending over " + watchName} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in\n%s", want, got)
		}
	}
}

// Why tells of rules that do not hold, and marks those that would show more.
func TestWhyNear(t *testing.T) {
	s := run(t, nil)
	ctx := t.Context()
	for _, u := range []string{"alice@localhost", "bob@localhost"} {
		if err := s.admin.Add(ctx, u, "secret"); err != nil {
			t.Fatal(err)
		}
	}
	err := s.store.Transact(ctx, func(tx *store.Tx) error {
		_, err := tx.PutDocument(presence.Entity{User: "alice", Domain: "localhost"}, "pres-rules", "index", []byte(
			`<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:o="urn:oma:xml:xdm:common-policy">
<rule id="carol"><conditions><identity><one id="sip:carol@localhost"/></identity></conditions></rule>
<rule id="foes"><conditions><o:external-list><o:entry anc="resource-lists/users/sip:alice@localhost/index/~~/resource-lists/list"/></o:external-list></conditions>
 <actions><pr:sub-handling>block</pr:sub-handling></actions></rule>
<rule id="home"><conditions><identity><one id="sip:bob@localhost"/></identity><sphere value="home"/></conditions>
 <actions><pr:sub-handling>allow</pr:sub-handling></actions></rule>
</ruleset>`))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Why(ctx, "bob@localhost", "alice@localhost")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, st := range w.Steps {
		if st.What == "rule" {
			got = append(got, fmt.Sprint(st.OK, " ", st.Text))
		}
	}
	want := `false Rule "home" (pres-rules/index line 5) would allow it, but its sphere is "home", and the user's is not known: no device tells one, or they do not agree.
true Rule "foes" (pres-rules/index line 3) would block it, but the external list "resource-lists/users/sip:alice@localhost/index/~~/resource-lists/list" has no members here, or leads nowhere.
true 1 for other watchers`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	var back Why
	b, err := json.Marshal(w)
	if err == nil {
		err = json.Unmarshal(b, &back)
	}
	if n := back.Near; err != nil || len(n.Rules) != 2 || n.Rules[0].Rule != "home" || n.Rules[0].Line != 5 || n.Rules[0].Fails != presence.FailsSphere || n.Others != 1 {
		t.Errorf("%s: %+v, %v", b, n, err)
	}
}
