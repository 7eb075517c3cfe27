package xdm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pharos/policy"
	"pharos/presence"
	"pharos/store"
)

var rules = func(u presence.Entity) Name { return Name{PresRules, u, Index} }

// change changes rows as jabber does.
func change(t testing.TB, d *Documents, u, contact presence.Entity, theirs bool, fn func(*store.Item)) store.Item {
	t.Helper()
	cs := []ItemChange{{Theirs: theirs, ItemChange: store.ItemChange{User: u, Contact: contact, Change: func(it *store.Item) bool { fn(it); return true }}}}
	if err := d.UpdateItems(t.Context(), cs); err != nil {
		t.Fatal(err)
	}
	return cs[0].Item
}

// said is what the reserved rules say.
func said(t tester, d *Documents, u presence.Entity) *policy.Rules {
	t.Helper()
	doc, err := d.Get(context.Background(), rules(u))
	if err != nil {
		t.Fatal(err)
	}
	rs, err := readRules(doc.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rs
}

// checkRules compares the reserved rules with approvals and block list.
func checkRules(t tester, d *Documents, u presence.Entity) {
	t.Helper()
	if has, err := d.Exists(context.Background(), rules(u)); err != nil || !has {
		return
	}
	rs := said(t, d, u)
	for c, it := range rowsOf(t, d, u) {
		switch in := slices.Contains(rs.Approved, c); {
		case !expressible(c):
		case it.Approved && !in:
			t.Errorf("%s: row %+v is not approved in the rules", u, it)
		case in && !it.Approved && !it.From:
			t.Errorf("%s: %s is approved in the rules, row %+v", u, c, it)
		}
	}
	for _, e := range rs.Approved {
		if _, ok := rowsOf(t, d, u)[e]; !ok && e != u {
			t.Errorf("%s: %s is approved in the rules and has no row", u, e)
		}
	}
	blocks, err := d.c.Store.Blocks(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	blocks = ofWatchers(blocks)
	blocked := slices.Clone(rs.Blocked)
	slices.Sort(blocked)
	slices.Sort(blocks)
	if !slices.Equal(blocks, blocked) {
		t.Errorf("%s: blocked %q, in the rules %q", u, blocks, blocked)
	}
}

const foreignRules = `<?xml version="1.0" encoding="UTF-8"?>
<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules">
 <!-- my own -->
 <rule id="work"><conditions><identity><many domain="example.org"/></identity></conditions>
  <actions><pr:sub-handling>allow</pr:sub-handling></actions><transformations/></rule>
</ruleset>
`

func TestRowsToRules(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	if _, err := d.Get(ctx, rules(alice)); err != ErrNotFound {
		t.Errorf("of somebody who has said nothing: %v", err)
	}
	put(t, d, rules(alice), foreignRules)
	doc := func() string { d, _ := d.Get(ctx, rules(alice)); return string(d.Body) }
	check := func(approved, cancelled, blocked string) {
		t.Helper()
		rs := said(t, d, alice)
		if a, c := fmt.Sprint(rs.Approved), fmt.Sprint(rs.Cancelled); a != approved || c != cancelled || fmt.Sprint(rs.Blocked) != blocked {
			t.Errorf("approved %s, cancelled %s, blocked %s; want %s, %s, %s in\n%s", a, c, rs.Blocked, approved, cancelled, blocked, doc())
		}
		if !strings.Contains(doc(), "<!-- my own -->") || !strings.Contains(doc(), `<rule id="work"><conditions><identity><many domain="example.org"/></identity></conditions>
  <actions>`) {
			t.Errorf("what was another's has been touched:\n%s", doc())
		}
		checkRules(t, d, alice)
	}
	from := func(is bool) func(*store.Item) {
		return func(it *store.Item) { it.From, it.Visible = is, true }
	}
	// The user's own word is written into the rules.
	change(t, d, alice, bob, false, from(true))
	check("[bob@example.com]", "[]", "[]")
	// What the rules allow anyway is not the user's word.
	was := doc()
	change(t, d, alice, carol, true, from(true))
	if check("[bob@example.com]", "[]", "[]"); doc() != was {
		t.Errorf("an answer by the rules changes them:\n%s", doc())
	}
	// Nor is it when the contact goes.
	change(t, d, alice, carol, true, from(false))
	check("[bob@example.com]", "[]", "[]")
	change(t, d, alice, bob, true, from(false))
	check("[]", "[]", "[]")
	// In advance; then taken back, against other rules too.
	change(t, d, alice, carol, false, func(it *store.Item) { it.Approved = true })
	check("[carol@example.org]", "[]", "[]")
	change(t, d, alice, carol, false, func(it *store.Item) { it.From = true })
	check("[carol@example.org]", "[]", "[]")
	change(t, d, alice, carol, false, func(it *store.Item) { it.From, it.Approved = false, false })
	check("[]", "[carol@example.org]", "[]")
	change(t, d, alice, carol, false, from(true))
	check("[carol@example.org]", "[]", "[]")
	// Blocks.
	var told *Change
	d.Listen(func(c *Change) { told = c })
	set := func(add, remove []string, all bool) {
		t.Helper()
		if err := d.SetBlocks(ctx, alice, add, remove, all); err != nil {
			t.Fatal(err)
		}
	}
	set([]string{"eve@example.com", "spam.example", "bob@example.com/phone"}, nil, false)
	check("[carol@example.org]", "[]", "[eve@example.com spam.example]")
	if told == nil || told.ByXCAP || !told.Policy || len(told.Blocked) != 3 || len(told.Documents) != 1 {
		t.Errorf("told %+v", told)
	}
	set([]string{"eve@example.com"}, []string{"spam.example"}, false)
	check("[carol@example.org]", "[]", "[eve@example.com]")
	if !slices.Equal(told.Unblocked, []string{"spam.example"}) || len(told.Blocked) != 0 {
		t.Errorf("told %+v", told)
	}
	set(nil, nil, true)
	check("[carol@example.org]", "[]", "[]")
}

func TestRulesToRows(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	change(t, d, alice, bob, false, func(it *store.Item) { it.From, it.Visible = true, true })
	change(t, d, alice, carol, false, func(it *store.Item) { it.Approved, it.Visible = true, true })
	if err := d.SetBlocks(ctx, alice, []string{"eve@example.com", "x@example.com/phone"}, nil, false); err != nil {
		t.Fatal(err)
	}
	rs := said(t, d, alice)
	if fmt.Sprint(rs.Approved, rs.Blocked) != "[bob@example.com carol@example.org] [eve@example.com]" {
		t.Errorf("generated: %+v", rs)
	}
	var told *Change
	d.Listen(func(c *Change) { told = c })
	dave := presence.Entity{User: "dave", Domain: "example.com"}
	_, _, err := d.Update(ctx, Name{OMAPresRules, alice, OMAPath}, func(old *Document) ([]byte, error) {
		s := strings.Replace(string(old.Body), "sip:carol@example.org", "sip:dave@example.com", 1)
		s = strings.Replace(s, "sip:eve@example.com", "sip:mallory@example.com", 1)
		return []byte(s), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	checkRules(t, d, alice)
	rows := rowsOf(t, d, alice)
	if it := rows[dave]; !it.Approved || it.Visible {
		t.Errorf("dave: %+v", it)
	}
	if it := rows[carol]; it.Approved || !it.Visible {
		t.Errorf("carol: %+v", it)
	}
	if it := rows[bob]; !it.From {
		t.Errorf("bob: %+v", it)
	}
	if blocks, err := d.c.Store.Blocks(ctx, alice); err != nil || fmt.Sprint(blocks) != "[mallory@example.com x@example.com/phone]" {
		t.Errorf("blocked %q, %v", blocks, err)
	}
	if told == nil || !told.ByXCAP || !told.Policy || len(told.Items) != 2 || fmt.Sprint(told.Blocked, told.Unblocked) != "[mallory@example.com] [eve@example.com]" ||
		told.Documents[0].After.Name != rules(alice) {
		t.Errorf("told %+v", told)
	}
	// Without rules nobody is approved, whatever the rows said.
	if _, _, err := d.Update(ctx, rules(alice), func(*Document) ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	for _, it := range rowsOf(t, d, alice) {
		if it.From || it.Approved {
			t.Errorf("without rules: %+v", it)
		}
	}
	if blocks, err := d.c.Store.Blocks(ctx, alice); err != nil || fmt.Sprint(blocks) != "[x@example.com/phone]" {
		t.Errorf("blocked %q, %v", blocks, err)
	}
	if _, err := d.Get(ctx, rules(alice)); err != ErrNotFound {
		t.Errorf("the rules have come back: %v", err)
	}
}

// A block list is bounded, whoever writes it.
func TestBlocksBound(t *testing.T) {
	d := open(t, Limits{})
	var b strings.Builder
	b.WriteString(`<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules"><rule id="xmpp-blocked"><conditions><identity>`)
	for i := range store.MaxBlocks + 1 {
		fmt.Fprintf(&b, `<one id="sip:u%d@example.com"/>`, i)
	}
	b.WriteString(`</identity></conditions><actions><pr:sub-handling>block</pr:sub-handling></actions></rule></ruleset>`)
	_, _, err := d.Update(t.Context(), rules(alice), func(*Document) ([]byte, error) { return []byte(b.String()), nil })
	if err != ErrTooMany {
		t.Errorf("beyond the bound: %v", err)
	}
	if _, err := d.Get(t.Context(), rules(alice)); err != ErrNotFound {
		t.Errorf("refused, but %v", err)
	}
}

// Rules that name a list change with it.
func TestExternalList(t *testing.T) {
	d := open(t, Limits{})
	var told *Change
	d.Listen(func(c *Change) { told = c })
	put(t, d, lists(alice), `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="Friends"><entry uri="sip:bob@example.com"/></list></resource-lists>`)
	if told.Policy {
		t.Error("a list that no rule names is no policy")
	}
	put(t, d, rules(alice), `<ruleset xmlns="urn:ietf:params:xml:ns:common-policy" xmlns:pr="urn:ietf:params:xml:ns:pres-rules" xmlns:ocp="urn:oma:xml:xdm:common-policy">
	<rule id="f"><conditions><ocp:external-list><ocp:entry anc="http://example.com/xcap/resource-lists/users/sip:alice@example.com/index/~~/resource-lists/list%5b@name=%22Friends%22%5d"/></ocp:external-list></conditions>
	<actions><pr:sub-handling>allow</pr:sub-handling></actions></rule></ruleset>`)
	edit(t, d, lists(alice), "sip:bob@example.com", "sip:carol@example.org")
	if !told.Policy || !told.ByXCAP {
		t.Errorf("told %+v", told)
	}
	change(t, d, alice, bob, false, show("Bob", "Friends"))
	if !told.Policy {
		t.Errorf("told %+v", told)
	}
}
