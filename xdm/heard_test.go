package xdm

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"pharos/presence"
	"pharos/store"
)

// nodes are two of a service: each hears what the other changes.
func nodes(t *testing.T) (a, b *Documents) {
	t.Helper()
	a = open(t, Limits{})
	b = New(Config{Store: a.c.Store, Default: presence.Confirm})
	tellTo := func(d *Documents) func(*Change) {
		return func(c *Change) {
			got, err := DecodeChange(c.Encode())
			if err != nil {
				t.Error(err)
				return
			}
			d.Heard(got)
		}
	}
	a.c.Tell, b.c.Tell = tellTo(b), tellTo(a)
	return a, b
}

func TestHeard(t *testing.T) {
	a, b := nodes(t)
	var here, there []*Change
	a.Listen(func(c *Change) { here = append(here, c) })
	b.Listen(func(c *Change) { there = append(there, c) })
	n := Name{ResourceLists, alice, Index}
	item(t, a, alice, bob, show("Bob", "Friends"))
	first := put(t, a, n, `<resource-lists xmlns="urn:ietf:params:xml:ns:resource-lists"><list><entry uri="sip:carol@example.org"/></list></resource-lists>`)
	if err := a.SetBlocks(t.Context(), alice, []string{"x.example"}, nil, false); err != nil {
		t.Fatal(err)
	}
	b.Settle()
	if len(here) != 4 || len(there) != 4 {
		t.Fatalf("%d changes here, %d there", len(here), len(there)) // the second is the document made of the row
	}
	for i := range here {
		l, r := here[i], there[i]
		if l.Remote || !r.Remote || l.User != r.User || l.Version != r.Version || l.Policy != r.Policy || l.ByXCAP != r.ByXCAP ||
			!slices.Equal(l.Blocked, r.Blocked) || len(l.Items) != len(r.Items) || len(l.Documents) != len(r.Documents) {
			t.Errorf("change %d: %+v became %+v", i, l, r)
		}
		for k := range l.Items {
			if fmt.Sprint(l.Items[k]) != fmt.Sprint(r.Items[k]) {
				t.Errorf("row %+v became %+v", l.Items[k], r.Items[k])
			}
		}
	}
	d := there[2].Documents[0]
	if d.After == nil || d.After.Body != nil || d.After.ETag != first.ETag || d.Before == nil || d.Before.ETag == "" || d.After.Name != n {
		t.Errorf("document %+v", d)
	}

	b.Missed()
	b.Settle()
	if last := there[len(there)-1]; len(there) != 5 || !last.Remote || last.User.User != "" {
		t.Errorf("missed is %+v", last)
	}
}

// More than can be kept is missed, and what follows is told.
func TestHeardBound(t *testing.T) {
	d := open(t, Limits{})
	var told []*Change
	d.Listen(func(c *Change) { told = append(told, c) })
	_, release := d.Hold(t.Context(), alice)
	d.Heard(&Change{User: alice, Version: 1})
	for range 3 * maxHeard { // some may be in the teller's hands already
		d.Heard(&Change{User: bob})
	}
	d.Heard(&Change{User: bob, Version: 9})
	release()
	d.Settle()
	missed := slices.IndexFunc(told, func(c *Change) bool { return c.User.User == "" })
	if missed < 0 || len(told) > 2*maxHeard || told[len(told)-1].Version != 9 {
		t.Errorf("%d told, missed at %d", len(told), missed)
	}
}

func TestDecodeChange(t *testing.T) {
	for _, s := range []string{"", "\x00{}", "\x02{}", "\x01", "\x01{", "\x01[]", "\x01{\"Documents\":[{}]}"} {
		if c, err := DecodeChange([]byte(s)); err == nil {
			t.Errorf("%q is %+v", s, c)
		}
	}
}

// Locks are one node's own. What two nodes write at the same time is right all the
// same: nothing is lost, and both faces agree.
func TestTwoNodes(t *testing.T) {
	a, b := nodes(t)
	const each = 12
	var wg sync.WaitGroup
	for i, d := range []*Documents{a, b} {
		wg.Go(func() {
			for k := range each {
				contact := presence.Entity{User: fmt.Sprintf("c%d-%d", i, k), Domain: "example.com"}
				cs := []ItemChange{{ItemChange: store.ItemChange{User: alice, Contact: contact, Change: func(it *store.Item) bool {
					it.Visible, it.From, it.Groups = true, true, []string{"g"}
					return true
				}}}}
				if err := d.UpdateItems(context.Background(), cs); err != nil {
					t.Errorf("row: %v", err)
				}
				if k == each/3 {
					for _, auid := range []string{ResourceLists, PresRules} { // from now on there are documents
						if _, err := d.Get(context.Background(), Name{auid, alice, Index}); err != nil {
							t.Errorf("document: %v", err)
						}
					}
				}
				if err := d.SetBlocks(context.Background(), alice, []string{fmt.Sprintf("b%d-%d.example", i, k)}, nil, false); err != nil {
					t.Errorf("block: %v", err)
				}
			}
		})
	}
	wg.Wait()
	a.Settle()
	b.Settle()
	rows := rowsOf(t, a, alice)
	blocks, err := a.c.Store.Blocks(t.Context(), alice)
	if len(rows) != 2*each || len(blocks) != 2*each || err != nil {
		t.Errorf("%d rows, %d blocks, %v", len(rows), len(blocks), err)
	}
	checkLists(t, a, alice)
	checkRules(t, b, alice)
}
