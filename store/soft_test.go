package store

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"testing"
	"time"

	"pharos/presence"
)

func put(t testing.TB, s *Store, recs ...Record) {
	t.Helper()
	done := make(chan error, 1)
	s.Put(recs, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func rangeOf(t testing.TB, s *Store, kind byte, prefix string) map[string]string {
	t.Helper()
	m := map[string]string{}
	if err := s.RangeOf(kind, prefix, func(k string, v []byte) error {
		if _, twice := m[k]; twice {
			t.Errorf("%q told twice", k)
		}
		m[k] = string(v)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return m
}

// Records are what was put last; those of a presentity have their place, others not.
func TestRecords(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		of := string(appendEntityKey(nil, alice))
		put(t, s, Record{'r', "a@x", []byte("1")}, Record{'r', "a@y", []byte("")}, Record{'r', "b@x\x00\xff", []byte("3")},
			Record{'o', "a@x", []byte("other")}, Record{'p', of + "k", []byte("published")}, Record{'r', "gone", []byte("x")})
		put(t, s, Record{'r', "a@x", []byte("first")}, Record{'r', "gone", nil}, Record{'r', "a@x", []byte("last")})
		put(t, s, Record{'r', "never was", nil})
		for _, c := range []struct {
			kind   byte
			prefix string
			want   map[string]string
		}{
			{'r', "", map[string]string{"a@x": "last", "a@y": "", "b@x\x00\xff": "3"}},
			{'r', "a@", map[string]string{"a@x": "last", "a@y": ""}},
			{'r', "b@x\x00", map[string]string{"b@x\x00\xff": "3"}},
			{'r', "z", map[string]string{}},
			{'o', "", map[string]string{"a@x": "other"}},
			{'p', "", map[string]string{of + "k": "published"}},
			{'p', of, map[string]string{of + "k": "published"}},
			{'s', "", map[string]string{}},
		} {
			if got := rangeOf(t, s, c.kind, c.prefix); !reflect.DeepEqual(got, c.want) {
				t.Errorf("%c %q: %q, want %q", c.kind, c.prefix, got, c.want)
			}
		}
		for _, c := range []struct {
			kind byte
			key  string
			want []byte
		}{{'r', "a@x", []byte("last")}, {'r', "a@y", []byte{}}, {'r', "gone", nil}, {'p', of + "k", []byte("published")}, {'p', "k", nil}, {'o', "b", nil}} {
			if got, err := s.Get(c.kind, c.key); err != nil || !reflect.DeepEqual(got, c.want) {
				t.Errorf("%c %q: %q, %v, want %q", c.kind, c.key, got, err, c.want)
			}
		}
		stop := errors.New("enough")
		if err := s.Range('r', func(string, []byte) error { return stop }); err != stop {
			t.Errorf("%v", err)
		}
	})
}

// What is read page by page comes whole and once.
func TestManyRecords(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		const n = 2*softPage + 7
		recs := make([]Record, n)
		saves := make([]presence.Save, n)
		var of []presence.Entity
		for i := range recs {
			recs[i] = Record{'r', fmt.Sprintf("u%05d@example.com", i), fmt.Append(nil, i)}
			e := presence.Entity{User: fmt.Sprintf("u%05d", i/2), Domain: "example.com"}
			sub := &presence.Subscription{ID: fmt.Sprint(i), Watcher: bob}
			saves[i] = presence.Save{Presentity: e, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub}
			of = append(of, e)
		}
		put(t, s, recs...)
		save(t, s, saves...)
		if got := rangeOf(t, s, 'r', ""); len(got) != n || got["u00900@example.com"] != "900" {
			t.Errorf("%d records", len(got))
		}
		count := func(what string, walk func(func(presence.Entity, []*presence.Source, []*presence.Subscription) error) error) {
			t.Helper()
			seen := map[presence.Entity]bool{}
			subs := 0
			err := walk(func(e presence.Entity, _ []*presence.Source, l []*presence.Subscription) error {
				if seen[e] {
					t.Errorf("%s: %s told twice", what, e)
				}
				seen[e] = true
				subs += len(l)
				return nil
			})
			if err != nil || subs != n || len(seen) != n/2+1 {
				t.Errorf("%s: %d presentities, %d subscriptions, %v", what, len(seen), subs, err)
			}
		}
		count("Saved", s.Saved)
		count("LoadMany", func(fn func(presence.Entity, []*presence.Source, []*presence.Subscription) error) error {
			return s.LoadMany(t.Context(), append(slices.Compact(of), carol), fn)
		})
	})
}

// Load gives what was saved of one presentity and of nobody else, to many at once.
func TestLoad(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		source := &presence.Source{ID: presence.SourceID{Kind: presence.Publication, Key: "k"}, Tag: "t",
			Native: presence.Payload{Type: "application/pidf+xml", Bytes: []byte("<presence/>")}}
		sub := &presence.Subscription{ID: "s", Watcher: bob, State: presence.Active, Durable: true, Opaque: []byte("dialog")}
		save(t, s, presence.Save{Presentity: alice, Kind: presence.SavedSource, Key: "k", Source: source},
			presence.Save{Presentity: alice, Kind: presence.SavedSubscription, Key: "s", Subscription: sub},
			presence.Save{Presentity: carol, Kind: presence.SavedSource, Key: "k", Source: &presence.Source{Tag: "hers"}})
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				sources, subs, err := s.Load(t.Context(), alice)
				if err != nil || len(sources) != 1 || len(subs) != 1 || !same(*sources[0], *source) || !same(*subs[0], *sub) {
					t.Errorf("%+v, %+v, %v", sources, subs, err)
				}
				sources, subs, err = s.Load(t.Context(), carol)
				if err != nil || len(sources) != 1 || sources[0].Tag != "hers" || len(subs) != 0 {
					t.Errorf("%+v, %+v, %v", sources, subs, err)
				}
				if sources, subs, err := s.Load(t.Context(), bob); err != nil || len(sources)+len(subs) != 0 {
					t.Errorf("%+v, %+v, %v", sources, subs, err)
				}
			})
		}
		wg.Wait()
		save(t, s, presence.Save{Presentity: alice, Kind: presence.SavedSource, Key: "k", Delete: true})
		if sources, subs, err := s.Load(t.Context(), alice); err != nil || len(sources) != 0 || len(subs) != 1 {
			t.Errorf("%+v, %+v, %v", sources, subs, err)
		}
		done := make(chan error, 1)
		s.forget(alice, func(err error) { done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if sources, subs, err := s.Load(t.Context(), alice); err != nil || len(sources)+len(subs) != 0 {
			t.Errorf("%+v, %+v, %v", sources, subs, err)
		}
		if sources, _, err := s.Load(t.Context(), carol); err != nil || len(sources) != 1 {
			t.Errorf("%+v, %v", sources, err)
		}
	})
}

// All of a call or nothing, acknowledged in the order of the calls, and what the
// caller does with its values afterwards is its own business.
func TestPutCalls(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		const n = 3 * groupRows
		var order []int
		all := make(chan struct{})
		value := []byte("000000")
		for i := range n {
			copy(value, fmt.Sprintf("%06d", i))
			recs := []Record{{'r', fmt.Sprint("k", i%100), value}, {'r', "last", value}}
			if i == 17 {
				recs = append(recs, Record{'r', "large", make([]byte, MaxRecord)})
			}
			s.Put(recs, func(err error) {
				if (i == 17) != errors.Is(err, ErrTooLarge) || i != 17 && err != nil {
					t.Errorf("%d: %v", i, err)
				}
				if order = append(order, i); len(order) == n {
					close(all)
				}
			})
		}
		<-all
		if !slices.IsSorted(order) {
			t.Error("not acknowledged in order")
		}
		got := rangeOf(t, s, 'r', "")
		if got["last"] != fmt.Sprintf("%06d", n-1) || len(got) != 101 {
			t.Errorf("%d records, last %q", len(got), got["last"])
		}
		for i := range 100 {
			if last := n - 1 - (n-1-i)%100; got[fmt.Sprint("k", i)] != fmt.Sprintf("%06d", last) {
				t.Errorf("k%d is %s, put last in call %d", i, got[fmt.Sprint("k", i)], last)
			}
		}
		if st := s.Stats(); st.SoftGroups == 0 || st.SoftGroups > n/4 {
			t.Errorf("%d calls in %d groups", n, st.SoftGroups)
		}
	})
}

// What no text column can hold is refused, and does not harm others.
func TestPutNoText(t *testing.T) {
	s := openPostgresTest(t, postgresURL(t))
	results := make(chan error, 3)
	for _, name := range []string{"good", "n\x00l", "\xff"} {
		s.Save([]presence.Save{{Presentity: presence.Entity{User: name, Domain: "example.com"}, Kind: presence.SavedSource,
			Key: "\x00\xff", Source: &presence.Source{Tag: "t"}}}, func(err error) { results <- err })
	}
	if err := <-results; err != nil {
		t.Errorf("good: %v", err)
	}
	for range 2 {
		if err := <-results; !errors.Is(err, errText) {
			t.Errorf("no text: %v", err)
		}
	}
	done := make(chan error, 1)
	s.Put([]Record{{'p', "no entity", []byte("v")}}, func(err error) { done <- err })
	if err := <-done; !errors.Is(err, errCode) {
		t.Errorf("no entity: %v", err)
	}
	if sources, _, err := s.Load(t.Context(), presence.Entity{User: "good", Domain: "example.com"}); err != nil || len(sources) != 1 {
		t.Errorf("%+v, %v", sources, err)
	}
}

// What waits for a database that does not go on is bounded.
func TestRowsBusy(t *testing.T) {
	s := openPostgresTest(t, postgresURL(t))
	tx, err := s.read.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(`LOCK TABLE soft`); err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 2*maxWaiting/MaxRecord)
	done := func(err error) { results <- err }
	s.Put([]Record{{'r', "first", []byte("v")}}, done)
	for { // it is under way
		s.rows.mu.Lock()
		n := len(s.rows.waiting)
		s.rows.mu.Unlock()
		if n == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	value := make([]byte, MaxRecord-1)
	for range maxWaiting/MaxRecord + 5 {
		s.Put([]Record{{'r', "k", value}}, done)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	var ok, busy int
	for range maxWaiting/MaxRecord + 6 {
		switch err := <-results; {
		case err == nil && busy == 0:
			ok++
		case errors.Is(err, ErrBusy):
			busy++
		default:
			t.Error(err)
		}
	}
	if ok != maxWaiting/MaxRecord+1 || busy != 5 {
		t.Errorf("%d written, %d refused", ok, busy)
	}
}
