package simple

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/pidf"
	"pharos/presence"
)

// aList is a subscription to a list of n members, all of whom have published, without
// a network; change makes the next view of one of them.
func aList(tb testing.TB, n int, source listSource) (t *telling, l *listing, change func(i int) *presence.View) {
	e := &Edge{domains: map[string]bool{domain: true}}
	e.lists.init()
	owner := presence.Entity{User: "alice", Domain: domain}
	d := &dialog{id: newID(), presentity: owner, watcher: owner, pkg: listOf(presencePackage), memory: &memory{}}
	l = &listing{edge: e, dialog: d, owner: owner, source: source}
	e.lists.byID[d.id] = l
	var all []listEntry
	users := make([]*presence.Presentity, n)
	for i := range n {
		who := presence.Entity{User: fmt.Sprint("member", i), Domain: domain}
		all = append(all, listEntry{uri: aor(who), entity: who})
		users[i] = presence.New(who)
		if _, err := users[i].Step(time.Unix(1, 0), presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}}); err != nil {
			tb.Fatal(err)
		}
		if _, err := users[i].Step(time.Unix(1, 0), presence.Watch{ID: "w", Watcher: owner, Via: presence.Via{Edge: Name}}); err != nil {
			tb.Fatal(err)
		}
	}
	l.list.set(nil, all)
	version := 0
	change = func(i int) *presence.View {
		version++
		native := []byte(strings.ReplaceAll(benchDoc[0], "alice", users[i].Entity().User) + fmt.Sprint("note ", version) + benchDoc[1])
		doc, _, err := pidf.Parse(native)
		if err != nil {
			tb.Fatal(err)
		}
		out, err := users[i].Step(time.Unix(2, 0), presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: "p"}, NewTag: fmt.Sprint(version),
			Doc: doc, Native: presence.Payload{Type: pidf.Type, Bytes: native}, Lifetime: time.Hour})
		if err != nil || len(out.Notices) != 1 {
			tb.Fatal(out, err)
		}
		v := out.Notices[0].View
		l.list.note(l.list.members[users[i].Entity()], presence.Active, presence.NoReason, v)
		return v
	}
	for i := range n {
		change(i)
	}
	return &telling{edge: e, dialog: d, view: &presence.View{}, must: true}, l, change
}

// The body of the first NOTIFY, whole, and of one with a member's change, of a list
// of 200. The members' documents are rendered once for all their watchers, and so
// are not made here; wire-B/op is what goes over the wire.
func BenchmarkList(b *testing.B) {
	for name, deflated := range map[string]bool{"plain": false, "deflate": true} {
		source := listSource{uri: "sip:rls@example.com", deflate: deflated}
		b.Run("full/"+name, func(b *testing.B) {
			t, _, _ := aList(b, 200, source)
			n := 0
			b.ReportAllocs()
			for b.Loop() {
				t.must, t.before = true, nil
				n = 0
				for c := tellList(t); !c.nothing; c = tellList(t) {
					n += len(c.body)
					t.must, t.before = false, t.view
				}
			}
			b.ReportMetric(float64(n), "wire-B/op")
		})
		b.Run("change/"+name, func(b *testing.B) {
			t, l, change := aList(b, 200, source)
			tellList(t)
			var views [2]*presence.View
			for i := range views {
				views[i] = change(0)
				renderPIDF(views[i])
			}
			t.must, t.before = false, t.view
			for c := tellList(t); !c.nothing; c = tellList(t) {
			}
			n, m := 0, l.list.resources[0].member
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.list.note(m, presence.Active, presence.NoReason, views[i%2])
				n = len(tellList(t).body)
			}
			b.ReportMetric(float64(n), "wire-B/op")
		})
	}
}
