package xdm

import (
	"context"
	"fmt"
	"testing"

	"pharos/presence"
	"pharos/store"
)

// big makes a user with a roster of n.
func big(b *testing.B, d *Documents, n int) {
	items := make([]store.Item, n)
	for i := range items {
		items[i] = store.Item{Contact: presence.Entity{User: fmt.Sprintf("contact%04d", i), Domain: "example.com"},
			Name: fmt.Sprintf("Contact %d", i), Groups: []string{fmt.Sprintf("Group %d", i%10)}, To: true, From: true, Visible: true}
	}
	if err := d.c.Store.PutItems(b.Context(), alice, items); err != nil {
		b.Fatal(err)
	}
}

// A roster set of a user with a roster of 1,000: with rows only, and with the
// documents that XCAP has asked for.
func BenchmarkRosterSet(b *testing.B) {
	for _, documents := range []bool{false, true} {
		b.Run(fmt.Sprint("documents=", documents), func(b *testing.B) {
			d := open(b, Limits{})
			big(b, d, 1000)
			if documents {
				for _, n := range []Name{lists(alice), rules(alice)} {
					if _, err := d.Get(b.Context(), n); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				cs := []ItemChange{{ItemChange: store.ItemChange{User: alice, Contact: presence.Entity{User: fmt.Sprintf("contact%04d", i%1000), Domain: "example.com"},
					Change: func(it *store.Item) bool { it.Name = fmt.Sprint("Name ", i); return true }}}}
				if err := d.UpdateItems(context.Background(), cs); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// An approval beside rules with 1,000 approved.
func BenchmarkApprove(b *testing.B) {
	d := open(b, Limits{})
	big(b, d, 1000)
	if _, err := d.Get(b.Context(), rules(alice)); err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		cs := []ItemChange{{ItemChange: store.ItemChange{User: alice, Contact: presence.Entity{User: fmt.Sprintf("contact%04d", i%1000), Domain: "example.com"},
			Change: func(it *store.Item) bool { it.From = !it.From; return true }}}}
		if err := d.UpdateItems(context.Background(), cs); err != nil {
			b.Fatal(err)
		}
	}
}

// An entry of a list of 1,000 renamed by XCAP.
func BenchmarkUpdateEntry(b *testing.B) {
	d := open(b, Limits{})
	big(b, d, 1000)
	doc, err := d.Get(b.Context(), lists(alice))
	if err != nil {
		b.Fatal(err)
	}
	two := [][]byte{doc.Body, append([]byte(nil), doc.Body...)}
	for i := range two[1] {
		if string(two[1][i:i+len("Contact 500<")]) == "Contact 500<" {
			copy(two[1][i:], "Kontakt 500<")
			break
		}
	}
	for i := 0; b.Loop(); i++ {
		if _, _, err := d.Update(context.Background(), lists(alice), func(*Document) ([]byte, error) { return two[(i+1)%2], nil }); err != nil {
			b.Fatal(err)
		}
	}
}
