package xcap

import (
	"context"
	"strings"
	"testing"
	"time"

	"pharos/engine"
	"pharos/markup"
	"pharos/policy"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
)

// withEngine has presentities decide by the rules that are in the documents.
func withEngine(t *testing.T, h *house) {
	t.Helper()
	e := engine.New(engine.Config{Policies: &policy.Loader{Store: h.store, Default: presence.Confirm}})
	h.Edge.Engine = e
	h.docs.Listen(func(c *xdm.Change) {
		if c.Policy {
			e.PolicyChanged(c.User)
		}
	})
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func rules(rule string) string {
	return `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"><rule id="a"><conditions><identity><one id="sip:joe@example.com"/></identity></conditions>` +
		rule + `</rule></ruleset>`
}

// A status icon is for those to whom the user shows the status icon; other content
// is the user's.
func TestIconsOfOthers(t *testing.T) {
	h := newHouse(t, "bill@example.com", "joe@example.com", "max@example.org")
	withEngine(t, h)
	icon := "/org.openmobilealliance.pres-content/users/sip:bill@example.com/oma_status-icon/index"
	other := "/org.openmobilealliance.pres-content/users/sip:bill@example.com/other/index"
	for _, doc := range []string{icon, other} {
		w := h.do("bill@example.com", "PUT", doc, presContent.Type,
			`<content xmlns="urn:oma:xml:prs:pres-content"><mime-type>image/png</mime-type><encoding>base64</encoding><data>AAAA</data></content>`)
		if w.Code != 201 {
			t.Fatal(w.Code, w.Body)
		}
	}
	for _, c := range []struct {
		rule   string
		status int
	}{
		{``, 403},
		{`<actions><pr:sub-handling>confirm</pr:sub-handling></actions>`, 403},
		{`<actions><pr:sub-handling>polite-block</pr:sub-handling></actions><transformations><pr:provide-status-icon>true</pr:provide-status-icon></transformations>`, 404},
		{`<actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations><pr:provide-note>true</pr:provide-note></transformations>`, 403},
		{`<actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations><pr:provide-status-icon>true</pr:provide-status-icon></transformations>`, 200},
		{`<actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations><pr:provide-all-attributes/></transformations>`, 200},
	} {
		if w := h.do("bill@example.com", "PUT", "/pres-rules/users/sip:bill@example.com/index", presRules.Type, rules(c.rule)); w.Code/100 != 2 {
			t.Fatal(w.Code, w.Body)
		}
		if w := h.do("joe@example.com", "GET", icon, "", ""); w.Code != c.status {
			t.Errorf("%s: %d %s", c.rule, w.Code, w.Body)
		}
		for _, never := range [][3]string{{"joe@example.com", "GET", other}, {"max@example.org", "GET", icon}, {"joe@example.com", "DELETE", icon}, {"joe@example.com", "PUT", icon}, {"joe@example.com", "GET", billsList}} {
			if w := h.do(never[0], never[1], never[2], "", ""); w.Code != 403 {
				t.Errorf("%s: %v: %d", c.rule, never, w.Code)
			}
		}
	}
}

func TestWatchersDocument(t *testing.T) {
	h := newHouse(t, "bill@example.com", "joe@example.com", "max@example.org")
	withEngine(t, h)
	bill := presence.Entity{User: "bill", Domain: "example.com"}
	if w := h.do("bill@example.com", "PUT", "/pres-rules/users/sip:bill@example.com/index", presRules.Type,
		rules(`<actions><pr:sub-handling>allow</pr:sub-handling></actions>`)); w.Code != 201 {
		t.Fatal(w.Code, w.Body)
	}
	for i, who := range []presence.Entity{{User: "joe", Domain: "example.com"}, {User: "max", Domain: "example.org"}} {
		_, err := h.Edge.Engine.Step(context.Background(), bill, presence.Watch{ID: string(rune('a' + i)), Watcher: who, Via: presence.Via{Edge: "sip"}, Lifetime: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
	}
	target := "/org.openxcap.watchers/users/sip:bill@example.com/index"
	w := h.do("bill@example.com", "GET", target, "", "")
	const want = `<?xml version="1.0" encoding="UTF-8"?>
<watchers xmlns="http://openxcap.org/ns/watchers">
  <watcher>
    <id>joe@example.com</id>
    <online>true</online>
    <status>allow</status>
  </watcher>
  <watcher>
    <id>max@example.org</id>
    <online>true</online>
    <status>confirm</status>
  </watcher>
</watchers>
`
	if w.Code != 200 || w.Body.String() != want || w.Header().Get("Content-Type") != "application/xml" {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	root, err := markup.Parse(w.Body.Bytes(), markup.File)
	if err != nil || watchersGrammar.Check(root, w.Body.Bytes()) != nil {
		t.Error(err)
	}
	if w := h.do("joe@example.com", "GET", target, "", ""); w.Code != 403 {
		t.Errorf("%d", w.Code)
	}
	if w := h.do("bill@example.com", "PUT", target, "application/xml", want); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
		t.Errorf("%d", w.Code)
	}
}

// Documents that are generated from what XMPP clients have written can be changed
// by element as if they had been put.
func TestGeneratedFromRows(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	ctx := context.Background()
	bill := presence.Entity{User: "bill", Domain: "example.com"}
	var changes []xdm.ItemChange
	for _, it := range []store.Item{
		{Contact: presence.Entity{User: "o'hara & co", Domain: "example.com"}, Name: `<"O'Hara">`, Groups: []string{"A & B", "Work::Lunch"}, Visible: true, To: true, From: true},
		{Contact: presence.Entity{User: "joe", Domain: "example.com"}, Visible: true},
		{Contact: presence.Entity{Domain: "example.org"}, Groups: []string{"Work"}, Visible: true, From: true},
	} {
		changes = append(changes, xdm.ItemChange{ItemChange: store.ItemChange{User: bill, Contact: it.Contact, Change: func(i *store.Item) bool { *i = it; return true }}})
	}
	if err := h.docs.UpdateItems(ctx, changes); err != nil {
		t.Fatal(err)
	}
	if err := h.docs.SetBlocks(ctx, bill, []string{"spam@example.org", "evil.example"}, nil, false); err != nil {
		t.Fatal(err)
	}
	for target, u := range map[string]*Usage{billsList: resourceLists, "/pres-rules/users/bill@example.com/index": presRules} {
		w := h.do("bill@example.com", "GET", target, "", "")
		root, err := markup.Parse(w.Body.Bytes(), markup.File)
		if w.Code != 200 || err != nil {
			t.Fatalf("%s: %d %v %s", target, w.Code, err, w.Body)
		}
		if err := u.Grammar.Check(root, w.Body.Bytes()); err != nil || len(u.Grammar.Duplicates(root)) > 0 {
			t.Errorf("%s: %v\n%s", target, err, w.Body)
		}
	}
	w := h.do("bill@example.com", "PUT", billsList+"/~~/resource-lists/list%5b@name=%22Work%22%5d/entry%5b@uri=%22sip:new@example.com%22%5d", elementType, `<entry uri="sip:new@example.com"/>`)
	if w.Code != 201 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	w = h.do("bill@example.com", "PUT", "/pres-rules/users/bill@example.com/index/~~/cr:ruleset/cr:rule%5b@id=%22mine%22%5d?xmlns(cr=urn:ietf:params:xml:ns:common-policy)", elementType,
		`<rule id="mine" xmlns="urn:ietf:params:xml:ns:common-policy"/>`)
	if w.Code != 201 || !strings.Contains(h.do("bill@example.com", "GET", "/pres-rules/users/bill@example.com/index", "", "").Body.String(), policy.Blocked) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
