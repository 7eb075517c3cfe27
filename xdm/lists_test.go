package xdm

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"pharos/presence"
	"pharos/roster"
	"pharos/store"
)

// item changes one row as the user does.
func item(t testing.TB, d *Documents, u, contact presence.Entity, fn func(*store.Item)) store.Item {
	t.Helper()
	cs := []ItemChange{{ItemChange: store.ItemChange{User: u, Contact: contact, Change: func(it *store.Item) bool { fn(it); return true }}}}
	if err := d.UpdateItems(t.Context(), cs); err != nil {
		t.Fatal(err)
	}
	return cs[0].Item
}

// tester is what testing.TB and rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

func rowsOf(t tester, d *Documents, u presence.Entity) map[presence.Entity]store.Item {
	t.Helper()
	items, _, err := d.c.Store.Roster(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	m := map[presence.Entity]store.Item{}
	for _, it := range items {
		m[it.Contact] = it
	}
	return m
}

// checkLists compares the buddy list with the visible rows.
func checkLists(t tester, d *Documents, u presence.Entity) {
	t.Helper()
	doc, err := d.c.Store.Document(context.Background(), u, ResourceLists, Index)
	if err != nil {
		return // rows only
	}
	cs, err := contactsOf(doc.Body)
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(t, d, u)
	seen := map[presence.Entity]bool{}
	for _, c := range cs {
		it := rows[c.Entity]
		if seen[c.Entity] = true; !shown(&it) || !sameContact(&it, &c) {
			t.Errorf("%s: listed %+v, row %+v", u, c, it)
		}
	}
	for _, it := range rows {
		if shown(&it) && !seen[it.Contact] && expressible(it.Contact) {
			t.Errorf("%s: row %+v is not listed in\n%s", u, it, doc.Body)
		}
	}
}

var lists = func(u presence.Entity) Name { return Name{ResourceLists, u, Index} }

func show(name string, groups ...string) func(*store.Item) {
	return func(it *store.Item) { it.Visible, it.Removed, it.Name, it.Groups = true, false, name, groups }
}

// edit replaces text of a document.
func edit(t testing.TB, d *Documents, n Name, old, new string) *Document {
	t.Helper()
	_, after, err := d.Update(t.Context(), n, func(doc *Document) ([]byte, error) {
		if doc == nil || !strings.Contains(string(doc.Body), old) {
			t.Fatalf("no %q in %+v", old, doc)
		}
		return []byte(strings.Replace(string(doc.Body), old, new, 1)), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return after
}

// A roster becomes a document when one is asked for, and not before.
func TestMaterialise(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	if _, err := d.Get(ctx, lists(alice)); err != ErrNotFound {
		t.Errorf("of nobody: %v", err)
	}
	item(t, d, alice, bob, show("Bob", "Friends"))
	last := item(t, d, alice, carol, show(""))
	if l, err := d.c.Store.Documents(ctx, alice); err != nil || len(l) != 0 {
		t.Errorf("made without being asked for: %+v, %v", l, err)
	}
	var told []*Change
	d.Listen(func(c *Change) { told = append(told, c) })
	doc, err := d.Get(ctx, lists(alice))
	if err != nil || !strings.Contains(string(doc.Body), "sip:bob@example.com") {
		t.Fatalf("%s, %v", doc.Body, err)
	}
	checkLists(t, d, alice)
	if doc.ETag <= etag(last.Version) {
		t.Errorf("entity-tag %s after version %d", doc.ETag, last.Version)
	}
	if len(told) != 1 || !told[0].ByXCAP || told[0].Policy || len(told[0].Items) != 0 || len(told[0].Documents) != 1 {
		t.Errorf("told %+v", told)
	}
	again, err := d.Get(ctx, lists(alice))
	if err != nil || again.ETag != doc.ETag || len(told) != 1 {
		t.Errorf("asked again: %+v, %v", again, err)
	}
	// By List and by Update too.
	item(t, d, bob, alice, show("Alice"))
	if l, err := d.List(ctx, bob, ""); err != nil || len(l) != 1 || l[0].Name != lists(bob) {
		t.Errorf("listed %+v, %v", l, err)
	}
	item(t, d, carol, alice, show("Alice"))
	edit(t, d, lists(carol), "Alice", "Alicia")
	if it := rowsOf(t, d, carol)[alice]; it.Name != "Alicia" {
		t.Errorf("row %+v", it)
	}
}

// What XMPP changes is spliced into the document; nothing else of it is touched.
func TestRowsToLists(t *testing.T) {
	d := open(t, Limits{})
	put(t, d, lists(alice), `<?xml version="1.0"?>
<!-- mine --><rl:resource-lists xmlns:rl="urn:ietf:params:xml:ns:resource-lists" xmlns:x="urn:x">
 <rl:list name="Friends" x:y="z"><rl:entry uri="sip:bob@example.com" x:id="7"><rl:display-name>Bob</rl:display-name><x:more/></rl:entry>
  <rl:entry uri="tel:+123"/><rl:external anchor="http://example.com/x"/></rl:list>
</rl:resource-lists>`)
	checkLists(t, d, alice)
	body := func() string {
		doc, err := d.Get(t.Context(), lists(alice))
		if err != nil {
			t.Fatal(err)
		}
		return string(doc.Body)
	}
	var told *Change
	d.Listen(func(c *Change) { told = c })
	after := item(t, d, alice, bob, show("Bobby", "Work"))
	checkLists(t, d, alice)
	for _, s := range []string{"<!-- mine -->", `x:y="z"`, `x:id="7"`, "<x:more/>", "tel:+123", "Bobby", "Work"} {
		if !strings.Contains(body(), s) {
			t.Errorf("%q is lost in\n%s", s, body())
		}
	}
	if told == nil || told.ByXCAP || told.Policy || len(told.Documents) != 1 || len(told.Items) != 1 || told.Items[0].Before.Name != "Bob" ||
		told.Items[0].After.Name != "Bobby" || string(told.Documents[0].After.Body) != body() || told.Version <= after.Version {
		t.Errorf("told %+v", told)
	}
	// What changes nothing that the document shows does not change it.
	told = nil
	before := body()
	item(t, d, alice, bob, func(it *store.Item) { it.Ask = true })
	if body() != before || len(told.Documents) != 0 {
		t.Errorf("a request changed the list:\n%s", body())
	}
	item(t, d, alice, carol, show("", "Work", "Family"))
	item(t, d, alice, bob, func(it *store.Item) { *it = store.Item{Removed: true} })
	checkLists(t, d, alice)
	if strings.Contains(body(), "bob@") || !strings.Contains(body(), "tel:+123") {
		t.Errorf("after the removal of bob:\n%s", body())
	}
	// A name that the document cannot have is as it has it, also when nothing else changes.
	for range 2 {
		if it := item(t, d, alice, carol, show("two\nlines", roster.Ungrouped)); it.Name != "two lines" || !slices.Equal(it.Groups, []string{roster.Ungrouped}) {
			t.Errorf("written %+v in\n%s", it, body())
		}
		checkLists(t, d, alice)
	}
	checkLists(t, d, alice)
}

// What XCAP changes is in the rows in the same commit.
func TestListsToRows(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	item(t, d, alice, carol, func(it *store.Item) { show("Carol", "Work")(it); it.To, it.From = true, true })
	item(t, d, alice, bob, func(it *store.Item) { show("Bob")(it); it.To = true })
	dave := presence.Entity{User: "dave", Domain: "example.com"}
	item(t, d, alice, dave, func(it *store.Item) { it.PendingIn, it.Stanza = true, []byte("<x/>") })
	var told *Change
	d.Listen(func(c *Change) { told = c })
	after := put(t, d, lists(alice), `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists">
	<list name="Friends"><entry uri="sip:dave@example.com"><display-name>Dave</display-name></entry><entry uri="sip:new@example.com"/></list>
	</resource-lists>`)
	checkLists(t, d, alice)
	rows := rowsOf(t, d, alice)
	if it := rows[bob]; !it.Removed || it.To {
		t.Errorf("bob has gone, but %+v", it)
	}
	if it := rows[carol]; it.Visible || it.Removed || it.To || !it.From {
		t.Errorf("what carol may see is another matter: %+v", it)
	}
	if it := rows[dave]; !it.Visible || !it.PendingIn || it.Name != "Dave" || !slices.Equal(it.Groups, []string{"Friends"}) || len(it.Stanza) == 0 {
		t.Errorf("dave is %+v", it)
	}
	if it := rows[presence.Entity{User: "new", Domain: "example.com"}]; !it.Visible || it.To || it.Ask {
		t.Errorf("new is %+v", it)
	}
	if told == nil || !told.ByXCAP || told.Policy || len(told.Items) != 4 || len(told.Documents) != 1 || told.Documents[0].After.ETag != after.ETag {
		t.Fatalf("told %+v", told)
	}
	for _, r := range told.Items {
		if now := rows[r.After.Contact]; now.Version != r.After.Version || now.Visible != r.After.Visible || r.Before.Contact != r.After.Contact || r.After.Version > told.Version {
			t.Errorf("told of %+v, %+v is there", r, now)
		}
	}
	// The whole list goes: with it everybody, and the document is gone indeed.
	if _, _, err := d.Update(ctx, lists(alice), func(*Document) ([]byte, error) { return nil, nil }); err != nil {
		t.Fatal(err)
	}
	for _, it := range rowsOf(t, d, alice) {
		if shown(&it) {
			t.Errorf("the list is gone, but %+v", it)
		}
	}
	if _, err := d.Get(ctx, lists(alice)); err != ErrNotFound {
		t.Errorf("the list has come back: %v", err)
	}
	if told.Documents[0].After != nil || told.Version <= told.Items[len(told.Items)-1].After.Version {
		t.Errorf("told %+v", told)
	}
}

// Many rows at once, as an import has them, are in the documents that there are.
func TestUpdateManyItems(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	put(t, d, lists(alice), `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="Friends"><entry uri="sip:carol@example.org"/></list></resource-lists>`)
	put(t, d, rules(alice), foreignRules)
	dave := presence.Entity{User: "dave", Domain: "example.com"}
	var changes []ItemChange
	for _, row := range []store.Item{
		{Contact: bob, Name: "Bob", Groups: []string{"Friends"}, To: true, From: true, Visible: true},
		{Contact: carol, Name: "Carol", To: true, Visible: true}, {Contact: dave, Approved: true},
	} {
		changes = append(changes, ItemChange{ItemChange: store.ItemChange{User: alice, Contact: row.Contact, Change: func(it *store.Item) bool {
			*it = row
			return true
		}}})
	}
	if err := d.UpdateItems(ctx, changes); err != nil {
		t.Fatal(err)
	}
	checkLists(t, d, alice)
	checkRules(t, d, alice)
	if rs := said(t, d, alice); !slices.Contains(rs.Approved, bob) || !slices.Contains(rs.Approved, dave) || slices.Contains(rs.Approved, carol) {
		t.Errorf("approved %v", rs.Approved)
	}
	if rows := rowsOf(t, d, alice); len(rows) != 3 || !rows[bob].From || rows[carol].Name != "Carol" {
		t.Errorf("rows %+v", rows)
	}
}

func TestListsBound(t *testing.T) {
	d := open(t, Limits{})
	body := func(n int) []byte {
		var b strings.Builder
		b.WriteString(`<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list name="a">`)
		for i := range n {
			fmt.Fprintf(&b, `<entry uri="sip:u%d@example.com"/>`, i)
		}
		b.WriteString(`</list></resource-lists>`)
		return []byte(b.String())
	}
	write := func(n int) error {
		_, _, err := d.Update(context.Background(), lists(alice), func(*Document) ([]byte, error) { return body(n), nil })
		return err
	}
	if err := write(maxContacts + 1); err != ErrTooMany {
		t.Errorf("beyond the bound: %v", err)
	}
	if err := write(maxContacts); err != nil {
		t.Errorf("at the bound: %v", err)
	}
	checkLists(t, d, alice)
	if err := write(1); err != nil {
		t.Error(err)
	}
	checkLists(t, d, alice)
	if n := len(rowsOf(t, d, alice)); n > 300 {
		t.Errorf("%d rows are left", n)
	}
}
