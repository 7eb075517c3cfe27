package store

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/presence"
)

// The tests in this file say what any database under the store must do. They
// get their store from openTest only, so that a second driver is held to the same.

func openTest(t testing.TB) *Store {
	t.Helper()
	s, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

var (
	alice = presence.Entity{User: "alice", Domain: "example.com"}
	bob   = presence.Entity{User: "bob", Domain: "example.com"}
	carol = presence.Entity{User: "carol", Domain: "example.org"}
)

func testAccount(u presence.Entity) Account {
	return Account{
		User: u, MD5: strings.Repeat("01", 16), SHA256: strings.Repeat("ab", 32), SHA512256: strings.Repeat("cd", 32),
		Sha1:    Scram{Salt: []byte("salt one"), Iterations: 4096, StoredKey: []byte("stored"), ServerKey: []byte("server")},
		Sha256:  Scram{Salt: []byte("salt two"), Iterations: 5000, StoredKey: []byte("stored 2"), ServerKey: []byte("server 2")},
		Created: time.Unix(1700000000, 5),
		Logins:  []Login{{Username: u.String(), MD5: [16]byte{1}, SHA256: [32]byte{2}, SHA512256: [32]byte{3}}},
	}
}

func TestAccounts(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if _, err := s.Account(ctx, alice); !errors.Is(err, ErrNotFound) {
			t.Fatalf("absent account: %v", err)
		}
		want := testAccount(alice)
		if err := s.PutAccounts(ctx, []Account{want, testAccount(carol), testAccount(bob)}); err != nil {
			t.Fatal(err)
		}
		got, err := s.Account(ctx, alice)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, want)
		}

		// Replaced, with the time of the first.
		want.Sha1.Iterations, want.Logins = 10000, nil
		changed := want
		changed.Created = time.Unix(1800000000, 0)
		if err := s.PutAccounts(ctx, []Account{changed}); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Account(ctx, alice); err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("after replacing: got %+v, %v\nwant %+v", got, err, want)
		}

		// In order of domain and name, in pages.
		var users []presence.Entity
		for after := (presence.Entity{}); ; {
			page, err := s.Accounts(ctx, after, 2)
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, a := range page {
				users = append(users, a.User)
			}
			after = page[len(page)-1].User
		}
		if want := []presence.Entity{alice, bob, carol}; !reflect.DeepEqual(users, want) {
			t.Errorf("listed %v, want %v", users, want)
		}
	})
}

func TestPutAccountsAllOrNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		bad := testAccount(bob)
		bad.SHA256 = "short"
		if err := s.PutAccounts(ctx, []Account{testAccount(alice), bad}); err == nil {
			t.Fatal("an account without its keys was taken")
		}
		if _, err := s.Account(ctx, alice); !errors.Is(err, ErrNotFound) {
			t.Errorf("the first of a failed batch is there: %v", err)
		}
	})
}

func TestRemoveAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if err := s.PutAccounts(ctx, []Account{testAccount(alice), testAccount(bob)}); err != nil {
			t.Fatal(err)
		}
		for _, u := range []presence.Entity{alice, bob} {
			if _, err := s.UpdateItem(ctx, u, carol, func(i *Item) bool { i.Visible = true; return true }); err != nil {
				t.Fatal(err)
			}
			if err := s.SetBlocks(ctx, u, []string{"spam.example"}, nil, false); err != nil {
				t.Fatal(err)
			}
			if err := s.PutOffline(ctx, u, []byte("hello"), 10); err != nil {
				t.Fatal(err)
			}
			putDocument(t, s, u, "resource-lists", "index", "<a/>")
			save(t, s, presence.Save{Presentity: u, Kind: presence.SavedSource, Key: "k", Source: &presence.Source{Tag: "t"}})
		}
		before, err := s.Revision(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		_, version, err := s.Roster(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}

		if err := s.RemoveAccount(ctx, alice); err != nil {
			t.Fatal(err)
		}
		if err := s.RemoveAccount(ctx, alice); !errors.Is(err, ErrNotFound) {
			t.Errorf("removed twice: %v", err)
		}
		for _, u := range []presence.Entity{alice, bob} {
			n := 0
			if u == bob { // untouched
				n = 1
			}
			items, _, err := s.Roster(ctx, u)
			if err != nil || len(items) != n {
				t.Errorf("%s: %d roster rows, %v, want %d", u, len(items), err, n)
			}
			if l, err := s.Blocks(ctx, u); err != nil || len(l) != n {
				t.Errorf("%s: %d blocks, %v, want %d", u, len(l), err, n)
			}
			if l, err := s.Offline(ctx, u); err != nil || len(l) != n {
				t.Errorf("%s: %d messages, %v, want %d", u, len(l), err, n)
			}
			if l, err := s.Documents(ctx, u); err != nil || len(l) != n {
				t.Errorf("%s: %d documents, %v, want %d", u, len(l), err, n)
			}
		}
		err = s.Saved(func(e presence.Entity, _ []*presence.Source, _ []*presence.Subscription) error {
			if e != bob {
				t.Errorf("presence of %s is still saved", e)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		// What rises goes on rising when the name is used again.
		if after, err := s.Revision(ctx, alice); err != nil || after <= before {
			t.Errorf("revision %d after the removal, %d before, %v", after, before, err)
		}
		item, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.Visible = true; return true })
		if err != nil || item.Version <= version {
			t.Errorf("roster version %d after the removal, %d before, %v", item.Version, version, err)
		}
	})
}

func TestUpdateItem(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		want := Item{
			Contact: bob, Name: "Bob ❤", Groups: []string{"Friends", "a\x00b", ""}, To: true, From: true, Ask: true,
			PendingIn: true, Approved: true, Visible: true, Stanza: []byte("<status>hi</status>"), Version: 1,
		}
		got, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool {
			if !reflect.DeepEqual(*i, Item{Contact: bob}) {
				t.Errorf("an absent row reads %+v", *i)
			}
			*i = want
			i.Contact, i.Version = carol, 77 // not for fn to say
			return true
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("written %+v, %v\nwant %+v", got, err, want)
		}
		got, err = s.UpdateItem(ctx, alice, bob, func(i *Item) bool {
			if !reflect.DeepEqual(*i, want) {
				t.Errorf("read back %+v\nwant %+v", *i, want)
			}
			i.Name = "scribble"
			return false
		})
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("unchanged row returned as %+v, %v", got, err)
		}
		items, version, err := s.Roster(ctx, alice)
		if err != nil || version != 1 || !reflect.DeepEqual(items, []Item{want}) {
			t.Errorf("roster %+v, version %d, %v", items, version, err)
		}

		// A row in which nothing is left goes; its version does not come again.
		if _, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { *i = Item{}; return true }); err != nil {
			t.Fatal(err)
		}
		if items, version, err := s.Roster(ctx, alice); err != nil || len(items) != 0 || version != 2 {
			t.Errorf("emptied roster %+v, version %d, %v", items, version, err)
		}
		if items, version, err := s.Roster(ctx, bob); err != nil || len(items) != 0 || version != 0 {
			t.Errorf("roster of nobody %+v, version %d, %v", items, version, err)
		}
	})
}

func TestPutItems(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if _, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.Visible, i.Name = true, "old"; return true }); err != nil {
			t.Fatal(err)
		}
		items := []Item{
			{Contact: bob, Name: "new", Visible: true, Groups: []string{"g"}},
			{Contact: carol, From: true, Version: 99},
			{Contact: alice}, // nothing in it
		}
		if err := s.PutItems(ctx, alice, items); err != nil {
			t.Fatal(err)
		}
		items[0].Version, items[1].Version = 2, 3
		got, version, err := s.Roster(ctx, alice)
		if err != nil || version != 3 || !reflect.DeepEqual(got, items[:2]) {
			t.Errorf("%+v of version %d, %v", got, version, err)
		}
	})
}

// Updates of many callers, grouped however they come, are one after another.
func TestUpdateItemConcurrent(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		const callers, each = 16, 25
		versions := make([][]uint64, callers)
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for range each {
					i, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool {
						i.Visible, i.Groups = true, append(i.Groups, "x")
						return true
					})
					if err != nil {
						t.Error(err)
						return
					}
					if int(i.Version) != len(i.Groups) {
						t.Errorf("version %d with %d groups", i.Version, len(i.Groups))
					}
					versions[c] = append(versions[c], i.Version)
				}
			})
		}
		wg.Wait()
		seen := map[uint64]bool{}
		for _, l := range versions {
			for i, v := range l {
				if seen[v] || i > 0 && v <= l[i-1] {
					t.Fatalf("version %d given twice or out of order", v)
				}
				seen[v] = true
			}
		}
		items, version, err := s.Roster(ctx, alice)
		if err != nil || version != callers*each || len(items) != 1 || len(items[0].Groups) != callers*each {
			t.Errorf("version %d, %d rows, %v", version, len(items), err)
		}
		if st := s.Stats(); st.SQLWrites < callers*each || st.SQLGroups >= st.SQLWrites {
			t.Errorf("%d writes in %d commits: not grouped", st.SQLWrites, st.SQLGroups)
		}
	})
}

func TestRosterSince(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		contact := func(n int) presence.Entity {
			return presence.Entity{User: fmt.Sprintf("c%03d", n), Domain: "example.com"}
		}
		put := func(n int, f func(*Item)) {
			t.Helper()
			if _, err := s.UpdateItem(ctx, alice, contact(n), func(i *Item) bool { f(i); return true }); err != nil {
				t.Fatal(err)
			}
		}
		show := func(i *Item) { *i = Item{Visible: true} }
		bury := func(i *Item) { *i = Item{Removed: true} }
		for n := range 3 {
			put(n, show)
		}
		put(0, bury) // version 4
		for _, c := range []struct {
			since uint64
			full  bool
			want  []int
		}{
			{4, false, nil}, {3, false, []int{0}}, {1, false, []int{1, 2, 0}}, {0, false, []int{1, 2, 0}}, {5, true, []int{0, 1, 2}},
		} {
			items, version, full, err := s.RosterSince(ctx, alice, c.since)
			var got []int
			for _, i := range items {
				n := -1
				fmt.Sscanf(i.Contact.User, "c%03d", &n)
				got = append(got, n)
			}
			if err != nil || version != 4 || full != c.full || !reflect.DeepEqual(got, c.want) {
				t.Errorf("since %d: %v of version %d, full %v, %v; want %v, full %v", c.since, got, version, full, err, c.want, c.full)
			}
		}

		// Tombstones are bounded; whoever is behind the lost ones gets all.
		for n := range maxTombstones + 10 {
			put(n, show)
			put(n, bury)
		}
		items, version, err := s.Roster(ctx, alice)
		if err != nil || len(items) != maxTombstones {
			t.Fatalf("%d rows, %v, want %d", len(items), err, maxTombstones)
		}
		oldest := version
		for _, i := range items {
			oldest = min(oldest, i.Version)
		}
		if _, _, full, err := s.RosterSince(ctx, alice, oldest-1); err != nil || full {
			t.Errorf("since the oldest tombstone: full %v, %v", full, err)
		}
		if _, _, full, err := s.RosterSince(ctx, alice, 4); err != nil || !full {
			t.Errorf("since before the oldest tombstone: full %v, %v", full, err)
		}
	})
}

func TestBlocks(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		check := func(revision uint64, want ...string) {
			t.Helper()
			got, err := s.Blocks(ctx, alice)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("blocks %q, %v, want %q", got, err, want)
			}
			if r, err := s.Revision(ctx, alice); err != nil || r != revision {
				t.Fatalf("revision %d, %v, want %d", r, err, revision)
			}
		}
		set := func(add, remove []string, all bool) {
			t.Helper()
			if err := s.SetBlocks(ctx, alice, add, remove, all); err != nil {
				t.Fatal(err)
			}
		}
		check(0)
		set([]string{"spam.example", "eve@example.com", "bob@example.com/phone"}, nil, false)
		check(1, "bob@example.com/phone", "eve@example.com", "spam.example")
		set([]string{"eve@example.com"}, []string{"nobody@example.com"}, false) // changes nothing
		check(1, "bob@example.com/phone", "eve@example.com", "spam.example")
		set([]string{"a.example"}, []string{"spam.example"}, false)
		check(2, "a.example", "bob@example.com/phone", "eve@example.com")
		set([]string{"b.example"}, nil, true)
		check(3, "b.example")
		set(nil, nil, true)
		check(4)

		many := make([]string, MaxBlocks+1)
		for i := range many {
			many[i] = fmt.Sprintf("d%d.example", i)
		}
		if err := s.SetBlocks(ctx, alice, many, nil, false); !errors.Is(err, ErrFull) {
			t.Errorf("beyond the bound: %v", err)
		}
		set(many[:MaxBlocks], nil, false)
		if err := s.SetBlocks(ctx, alice, many[MaxBlocks:], nil, false); !errors.Is(err, ErrFull) {
			t.Errorf("one beyond the bound: %v", err)
		}
	})
}

// The revision rises with what a policy is made of, and with nothing else.
func TestRevision(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		last := uint64(0)
		rises := func(what string, rise bool, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(what, err)
			}
			r, err := s.Revision(ctx, alice)
			if err != nil || rise != (r > last) || r < last {
				t.Errorf("%s: revision %d after %d, %v", what, r, last, err)
			}
			last = r
		}
		_, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.From = true; return true })
		rises("roster row", true, err)
		rises("block", true, s.SetBlocks(ctx, alice, []string{"eve@example.com"}, nil, false))
		rises("message", false, s.PutOffline(ctx, alice, []byte("m"), 5))
		_, err = s.UpdateItem(ctx, bob, alice, func(i *Item) bool { i.From = true; return true })
		rises("another's roster", false, err)
		_, err = s.UpdateItem(ctx, alice, bob, func(i *Item) bool { return false })
		rises("no change", false, err)
	})
}

// Who is known to have had no message hears of the first.
func TestOfflineFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if err := s.PutItems(ctx, alice, []Item{{Contact: bob, To: true, Visible: true}}); err != nil {
			t.Fatal(err)
		}
		for n := range 3 {
			if _, _, err := s.Roster(ctx, alice); err != nil { // now she is cached
				t.Fatal(err)
			}
			if n == 1 { // and changed in the cache
				if err := s.PutItems(ctx, alice, []Item{{Contact: bob, From: true, Visible: true}}); err != nil {
					t.Fatal(err)
				}
			}
			ms, err := s.Offline(ctx, alice)
			if err != nil || len(ms) != n {
				t.Fatalf("%d messages, %v, want %d", len(ms), err, n)
			}
			if err := s.PutOffline(ctx, alice, []byte("m"), 5); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestOffline(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		before := time.Now()
		for i := range 3 {
			if err := s.PutOffline(ctx, alice, fmt.Appendf(nil, "message %d", i), 3); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.PutOffline(ctx, alice, []byte("too many"), 3); !errors.Is(err, ErrFull) {
			t.Errorf("beyond the bound: %v", err)
		}
		if err := s.PutOffline(ctx, bob, nil, 3); err != nil {
			t.Errorf("another's bound: %v", err)
		}
		list, err := s.Offline(ctx, alice)
		if err != nil || len(list) != 3 {
			t.Fatalf("%d messages, %v", len(list), err)
		}
		for i, o := range list {
			if string(o.Blob) != fmt.Sprintf("message %d", i) || o.At.Before(before.Add(-time.Second)) || o.At.After(time.Now()) {
				t.Errorf("message %d is %q of %v", i, o.Blob, o.At)
			}
		}
		if err := s.RemoveOffline(ctx, alice, []int64{list[0].ID, list[2].ID, 999}); err != nil {
			t.Fatal(err)
		}
		if err := s.PutOffline(ctx, alice, []byte("later"), 3); err != nil {
			t.Fatal(err)
		}
		left, err := s.Offline(ctx, alice)
		if err != nil || len(left) != 2 || left[0].ID != list[1].ID || left[1].ID <= list[2].ID {
			t.Errorf("left %+v, %v", left, err)
		}
		if other, err := s.Offline(ctx, bob); err != nil || len(other) != 1 || len(other[0].Blob) != 0 {
			t.Errorf("another's messages %+v, %v", other, err)
		}
	})
}

func TestSecret(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		a, err := s.Secret(ctx, "one", 32)
		if err != nil || len(a) != 32 {
			t.Fatalf("%d bytes, %v", len(a), err)
		}
		if b, err := s.Secret(ctx, "one", 32); err != nil || string(b) != string(a) {
			t.Errorf("asked again: differs, or %v", err)
		}
		if c, err := s.Secret(ctx, "two", 32); err != nil || string(c) == string(a) {
			t.Errorf("another name: the same, or %v", err)
		}
	})
}

// A context that has ended is honoured before anything is done, and not after.
func TestContextEnded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for what, err := range map[string]error{
			"Account": func() error { _, err := s.Account(ctx, alice); return err }(),
			"Roster":  func() error { _, _, err := s.Roster(ctx, alice); return err }(),
			"Blocks":  func() error { _, err := s.Blocks(ctx, alice); return err }(),
			"Offline": func() error { _, err := s.Offline(ctx, alice); return err }(),
		} {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", what, err)
			}
		}
		for range 50 { // it may win the race and be written, but then says so
			err := s.PutOffline(ctx, alice, []byte("m"), 1000)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("PutOffline: %v", err)
			}
		}
	})
}

// A reader sees what was acknowledged, while others write.
func TestReadYourWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		var wg sync.WaitGroup
		for n := range 8 {
			wg.Go(func() {
				u := presence.Entity{User: fmt.Sprintf("u%d", n), Domain: "example.com"}
				for i := range 20 {
					contact := presence.Entity{User: fmt.Sprintf("c%d", i), Domain: "example.com"}
					item, err := s.UpdateItem(ctx, u, contact, func(it *Item) bool { it.Visible = true; return true })
					if err != nil {
						t.Error(err)
						return
					}
					items, version, err := s.Roster(ctx, u)
					if err != nil || len(items) != i+1 || version != item.Version {
						t.Errorf("%s: %d rows of version %d, %v; written %d as version %d", u, len(items), version, err, i+1, item.Version)
					}
				}
			})
		}
		wg.Wait()
	})
}
