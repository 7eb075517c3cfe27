package store

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"pharos/presence"
)

// fresh reads a user past the cache.
func (s *Store) fresh(t testing.TB, u presence.Entity) *userState {
	t.Helper()
	past := &Store{reads: s.reads, reader: s.reader}
	past.cache.init(0)
	st, err := past.user(context.Background(), u)
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func sameState(a, b *userState) bool {
	if a.version != b.version || a.floor != b.floor || a.revision != b.revision || len(a.items) != len(b.items) || len(a.blocks) != len(b.blocks) ||
		!slices.EqualFunc(a.docs, b.docs, func(x, y Document) bool { return reflect.DeepEqual(x, y) }) {
		return false
	}
	for i := range a.items {
		x, y := a.items[i], b.items[i]
		if len(x.Groups) == 0 && len(y.Groups) == 0 {
			x.Groups, y.Groups = nil, nil
		}
		if len(x.Stanza) == 0 && len(y.Stanza) == 0 {
			x.Stanza, y.Stanza = nil, nil
		}
		if !reflect.DeepEqual(x, y) {
			return false
		}
	}
	for i := range a.blocks {
		if a.blocks[i] != b.blocks[i] {
			return false
		}
	}
	return true
}

var paths = []string{"index", "b", "b/c"}

// randomTx changes documents and more of a user than is written into the cache one by one.
func randomTx(t *rapid.T, tx *Tx, u, contact presence.Entity) error {
	for range rapid.IntRange(0, 4).Draw(t, "changes") {
		path := rapid.SampledFrom(paths).Draw(t, "path")
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			if err := tx.DropDocument(u, "a", path); err != nil {
				return err
			}
		case 1:
			if _, err := tx.Item(u, contact); err != nil {
				return err
			}
			for i := range 20 {
				it := Item{Contact: presence.Entity{User: fmt.Sprint("m", i), Domain: "example.com"}, Visible: rapid.Bool().Draw(t, "visible")}
				if err := tx.PutItem(u, &it); err != nil {
					return err
				}
			}
		case 2:
			if err := tx.SetBlocks(u, []string{contact.String()}, nil, true); err != nil {
				return err
			}
		default:
			body := make([]byte, rapid.IntRange(0, 900).Draw(t, "size"))
			if _, err := tx.PutDocument(u, "a", path, body); err != nil {
				return err
			}
		}
	}
	return nil
}

// Whatever is done, what is cached is what is in the database.
func TestCacheIsTheDatabase(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		s.cache.init(40) // a few users only
		s.bodies.init(2000)
		checks := 0
		rapid.Check(t, func(rt *rapid.T) {
			if checks++; checks > 25 && s.rows != nil {
				return // the rules are the same, and every step is some round trips
			}
			user := rapid.Custom(func(t *rapid.T) presence.Entity {
				return presence.Entity{User: fmt.Sprint("u", rapid.IntRange(0, 9).Draw(t, "user")), Domain: "example.com"}
			})
			for range rapid.IntRange(1, 30).Draw(rt, "steps") {
				u, contact := user.Draw(rt, "of"), user.Draw(rt, "contact")
				switch rapid.IntRange(0, 12).Draw(rt, "step") {
				case 10, 11:
					if err := s.Transact(ctx, func(tx *Tx) error { return randomTx(rt, tx, u, contact) }); err != nil && !errors.Is(err, ErrNotFound) {
						rt.Fatal(err)
					}
				case 12:
					path := rapid.SampledFrom(paths).Draw(rt, "path")
					d, err := s.Document(ctx, u, "a", path)
					if err != nil && !errors.Is(err, ErrNotFound) {
						rt.Fatal(err)
					}
					if now, e := (&Store{reads: s.reads, reader: s.reader, cache: cache{users: map[presence.Entity]*list.Element{}}}).Document(ctx, u, "a", path); !reflect.DeepEqual(d, now) || !errors.Is(e, err) {
						rt.Fatalf("cached %+v, %v, in the database %+v, %v", d, err, now, e)
					}
				case 0:
					if err := s.SetBlocks(ctx, u, []string{contact.String()}, nil, rapid.Bool().Draw(rt, "all")); err != nil {
						rt.Fatal(err)
					}
				case 1:
					if err := s.PutAccounts(ctx, []Account{testAccount(u)}); err != nil {
						rt.Fatal(err)
					}
					if err := s.RemoveAccount(ctx, u); err != nil {
						rt.Fatal(err)
					}
				case 2, 3, 4:
					if _, _, err := s.Roster(ctx, u); err != nil {
						rt.Fatal(err)
					}
				default:
					flags, change := rapid.Int64Range(0, 127).Draw(rt, "flags"), rapid.IntRange(0, 5).Draw(rt, "change") > 0
					item, err := s.UpdateItem(ctx, u, contact, func(i *Item) bool {
						i.setFlags(flags)
						if len(i.Groups) > 0 {
							i.Groups[0] += "!" // in place
						}
						i.Groups = append(i.Groups[:len(i.Groups):len(i.Groups)], "g")
						i.Name += "x"
						return change
					})
					if err != nil {
						rt.Fatal(err)
					}
					item.Groups = append(item.Groups, "scribbled") // ours to change
				}
				cached, err := s.user(ctx, u)
				if err != nil {
					rt.Fatal(err)
				}
				if now := s.fresh(t, u); !sameState(cached, now) {
					rt.Fatalf("%s: cached %+v, in the database %+v", u, cached, now)
				}
			}
			rows := 0
			for _, el := range s.cache.users {
				rows += el.Value.(*cachedUser).s.rows()
			}
			bytes := 0
			for _, el := range s.bodies.m {
				bytes += el.Value.(*body).size()
			}
			if bytes != s.bodies.bytes || bytes > 2000 || len(s.bodies.m) != s.bodies.order.Len() {
				rt.Fatalf("%d bytes of %d documents, counted %d", bytes, len(s.bodies.m), s.bodies.bytes)
			}
			if rows != s.cache.rows || rows > 40 && len(s.cache.users) > 1 || len(s.cache.users) != s.cache.order.Len() {
				rt.Fatalf("%d rows of %d users, counted %d", rows, len(s.cache.users), s.cache.rows)
			}
		})
	})
}

// Readers beside writers never see a version go back, and in the end all is there.
func TestCacheConcurrent(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		s.cache.init(60)
		var users []presence.Entity
		for i := range 6 {
			users = append(users, presence.Entity{User: fmt.Sprint("u", i), Domain: "example.com"})
		}
		stop := make(chan struct{})
		var readers, writers sync.WaitGroup
		for range 2 {
			readers.Go(func() {
				last := map[presence.Entity]uint64{}
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					u := users[n%len(users)]
					items, version, err := s.Roster(ctx, u)
					if err != nil {
						t.Error(err)
						return
					}
					if version < last[u] {
						t.Errorf("%s: version %d after %d", u, version, last[u])
					}
					last[u] = version
					for _, i := range items {
						if i.Contact.User == "" || len(i.Groups) == 0 {
							t.Errorf("%s: row %+v", u, i)
						}
					}
				}
			})
		}
		for w := range 8 {
			writers.Go(func() {
				for n := range 60 {
					u := users[(w+n)%len(users)]
					contact := presence.Entity{User: fmt.Sprint("c", n%7), Domain: "example.com"}
					item, err := s.UpdateItem(ctx, u, contact, func(i *Item) bool {
						i.Visible, i.Groups = true, append(i.Groups[:len(i.Groups):len(i.Groups)], "g")
						return true
					})
					if err != nil {
						t.Error(err)
						return
					}
					if _, version, err := s.Roster(ctx, u); err != nil || version < item.Version {
						t.Errorf("%s: version %d read after %d was acknowledged, %v", u, version, item.Version, err)
					}
				}
			})
		}
		writers.Wait()
		close(stop)
		readers.Wait()
		total := 0
		for _, u := range users {
			st, err := s.user(ctx, u)
			if err != nil {
				t.Fatal(err)
			}
			if now := s.fresh(t, u); !sameState(st, now) {
				t.Errorf("%s: cached %+v, in the database %+v", u, st, now)
			}
			for _, i := range st.items {
				total += len(i.Groups)
			}
		}
		if total != 8*60 {
			t.Errorf("%d of %d updates are there", total, 8*60)
		}
	})
}

// A transaction that is rolled back leaves no trace in the cache.
func TestCacheAfterFailure(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if _, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.Visible = true; return true }); err != nil {
			t.Fatal(err)
		}
		before, err := s.user(ctx, alice)
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("broken")
		err = s.w.do(ctx, func(q *statements) error {
			i := Item{Contact: bob, From: true}
			if err := s.putItem(q, alice, &i, false); err != nil {
				return err
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatal(err)
		}
		after, err := s.user(ctx, alice)
		if err != nil || !sameState(before, after) || !sameState(after, s.fresh(t, alice)) {
			t.Errorf("before %+v, after %+v, %v", before, after, err)
		}
		item, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.To = true; return true })
		if err != nil || item.From || item.Version != 2 {
			t.Errorf("%+v, %v", item, err)
		}
	})
}
