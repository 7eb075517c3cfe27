package xdm

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pharos/presence"
	"pharos/store"
	"pharos/store/storetest"
)

var (
	alice = presence.Entity{User: "alice", Domain: "example.com"}
	bob   = presence.Entity{User: "bob", Domain: "example.com"}
	carol = presence.Entity{User: "carol", Domain: "example.org"}
)

func open(t testing.TB, l Limits) *Documents {
	t.Helper()
	return New(Config{Store: storetest.Open(t), Limits: l, Default: presence.Confirm})
}

// put writes a document whatever was there.
func put(t testing.TB, d *Documents, n Name, body string) *Document {
	t.Helper()
	_, after, err := d.Update(t.Context(), n, func(*Document) ([]byte, error) { return []byte(body), nil })
	if err != nil {
		t.Fatal(err)
	}
	return after
}

func TestUpdate(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	var told []*Change
	d.Listen(func(c *Change) { told = append(told, c) })
	n := Name{RLSServices, alice, Index}
	if _, err := d.Get(ctx, n); !errors.Is(err, ErrNotFound) {
		t.Errorf("absent document: %v", err)
	}
	before, after, err := d.Update(ctx, n, func(old *Document) ([]byte, error) {
		if old != nil {
			t.Errorf("an absent document is %+v", old)
		}
		return []byte("<one/>"), nil
	})
	if err != nil || before != nil || string(after.Body) != "<one/>" || after.ETag == "" || after.Name != n || after.Size != 6 {
		t.Fatalf("made: %+v, %+v, %v", before, after, err)
	}
	got, err := d.Get(ctx, n)
	if err != nil || string(got.Body) != "<one/>" || got.ETag != after.ETag || !got.Modified.Equal(after.Modified) || got.Name != n {
		t.Errorf("got %+v, %v", got, err)
	}
	tags := []string{after.ETag}
	if len(told) != 1 || told[0].User != alice || !told[0].ByXCAP || len(told[0].Documents) != 1 || told[0].Documents[0].Before != nil ||
		string(told[0].Documents[0].After.Body) != "<one/>" {
		t.Errorf("told %+v", told)
	}

	// What changes nothing, changes nothing.
	for _, fn := range []func(old *Document) ([]byte, error){
		func(old *Document) ([]byte, error) { return old.Body, nil },
		func(old *Document) ([]byte, error) { return []byte("<one/>"), nil },
	} {
		before, after, err := d.Update(ctx, n, fn)
		if err != nil || before.ETag != tags[0] || after.ETag != tags[0] {
			t.Errorf("unchanged: %+v, %+v, %v", before, after, err)
		}
	}
	odd := errors.New("odd")
	if _, _, err := d.Update(ctx, n, func(*Document) ([]byte, error) { return []byte("<no/>"), odd }); err != odd {
		t.Errorf("the caller's error comes back as %v", err)
	}
	if len(told) != 1 {
		t.Errorf("told of what has not changed: %+v", told[1:])
	}
	if got, err := d.Get(ctx, n); err != nil || got.ETag != tags[0] {
		t.Errorf("got %+v, %v", got, err)
	}

	// Deleted and made again; no entity-tag comes back.
	before, after, err = d.Update(ctx, n, func(*Document) ([]byte, error) { return nil, nil })
	if err != nil || before == nil || after != nil {
		t.Errorf("deleted: %+v, %+v, %v", before, after, err)
	}
	if len(told) != 2 || told[1].Documents[0].Before.ETag != tags[0] || told[1].Documents[0].After != nil {
		t.Errorf("told %+v", told[1:])
	}
	if _, _, err := d.Update(ctx, n, func(*Document) ([]byte, error) { return nil, nil }); err != nil || len(told) != 2 {
		t.Errorf("deleted again: %v, told %+v", err, told[2:])
	}
	for range 3 {
		tags = append(tags, put(t, d, n, "<two/>").ETag, put(t, d, n, "<one/>").ETag)
	}
	tags = append(tags, put(t, d, Name{Manipulation, alice, Index}, "<one/>").ETag)
	slices.Sort(tags)
	if len(slices.Compact(tags)) != 8 {
		t.Errorf("an entity-tag came twice: %q", tags)
	}
}

func TestList(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	for _, n := range []Name{{RLSServices, alice, Index}, {OMAPresRules, alice, OMAPath}, {Manipulation, alice, "a/b"}, {RLSServices, bob, Index},
		{RLSServices, presence.Entity{Domain: "example.com"}, Index}} {
		put(t, d, n, "<ruleset xmlns='urn:ietf:params:xml:ns:common-policy'/>")
	}
	list := func(auid string, want ...string) {
		t.Helper()
		all, err := d.List(ctx, alice, auid)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, x := range all {
			if x.Body != nil || x.ETag == "" || x.Size == 0 {
				t.Errorf("listed %+v", x)
			}
			got = append(got, x.AUID+"/"+x.Path)
		}
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("of %q: %q, want %q", auid, got, want)
		}
	}
	list("", "pidf-manipulation/a/b", "pres-rules/index", "rls-services/index")
	list(RLSServices, "rls-services/index")
	list(PresRules, "pres-rules/index")
	list(OMAPresRules, "org.openmobilealliance.pres-rules/pres-rules")
	list("nothing")
}

// Two names, one document.
func TestAlias(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	oma, ietf := Name{OMAPresRules, alice, OMAPath}, Name{PresRules, alice, Index}
	var told *Change
	d.Listen(func(c *Change) { told = c })
	after := put(t, d, oma, "<ruleset xmlns='urn:ietf:params:xml:ns:common-policy'/>")
	if after.Name != oma {
		t.Errorf("written as %+v", after.Name)
	}
	if told.Documents[0].After.Name != ietf {
		t.Errorf("told %+v", told.Documents[0].After.Name)
	}
	for _, n := range []Name{oma, ietf} {
		if got, err := d.Get(ctx, n); err != nil || got.ETag != after.ETag || got.Name != n {
			t.Errorf("%v: %+v, %v", n, got, err)
		}
	}
}

func TestLimits(t *testing.T) {
	d, ctx := open(t, Limits{Documents: 3, Bytes: 100, Body: 60}), t.Context()
	write := func(path string, size int) error {
		_, _, err := d.Update(ctx, Name{RLSServices, alice, path}, func(*Document) ([]byte, error) { return make([]byte, size), nil })
		return err
	}
	for _, c := range []struct {
		path string
		size int
		err  error
	}{
		{"a", 61, ErrTooLarge}, {"a", 60, nil}, {"b", 41, ErrTooLarge}, {"b", 39, nil}, {"a", 10, nil}, {"c", 51, nil},
		{"d", 0, ErrTooMany}, {"c", 52, ErrTooLarge}, {"c", 50, nil},
	} {
		if err := write(c.path, c.size); !errors.Is(err, c.err) || c.err == nil && err != nil {
			t.Errorf("%s of %d bytes: %v, want %v", c.path, c.size, err, c.err)
		}
	}
	if _, _, err := d.Update(ctx, Name{RLSServices, alice, "b"}, func(*Document) ([]byte, error) { return nil, nil }); err != nil {
		t.Error(err)
	}
	if err := write("d", 1); err != nil {
		t.Error(err)
	}
}

// Who goes by what is there never overwrites what another has written.
func TestUpdateConcurrent(t *testing.T) {
	d := open(t, Limits{})
	n := Name{RLSServices, alice, Index}
	var mu sync.Mutex
	var seen []string
	d.Listen(func(c *Change) {
		mu.Lock()
		defer mu.Unlock()
		if b := c.Documents[0].Before; b != nil && b.ETag != seen[len(seen)-1] {
			t.Errorf("told of %s after %s", b.ETag, seen[len(seen)-1])
		}
		seen = append(seen, c.Documents[0].After.ETag)
	})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				_, _, err := d.Update(context.Background(), n, func(old *Document) ([]byte, error) {
					if old == nil {
						return []byte("x"), nil
					}
					return append(slices.Clone(old.Body), 'x'), nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got, err := d.Get(t.Context(), n); err != nil || len(got.Body) != 160 || len(seen) != 160 {
		t.Errorf("%d bytes after %d changes, %v", len(got.Body), len(seen), err)
	}
}

// What a change was worked out from is looked at again in the transaction.
func TestUpdateFaster(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	n := Name{RLSServices, alice, Index}
	tries := 0
	_, after, err := d.Update(ctx, n, func(old *Document) ([]byte, error) {
		if tries++; tries == 1 { // somebody who does not know of locks
			if err := d.c.Store.Transact(ctx, func(tx *store.Tx) error {
				_, err := tx.PutDocument(alice, n.AUID, n.Path, []byte("a"))
				return err
			}); err != nil {
				t.Error(err)
			}
		}
		if old == nil {
			return []byte("b"), nil
		}
		return append(slices.Clone(old.Body), 'c'), nil
	})
	if err != nil || string(after.Body) != "ac" || tries != 2 {
		t.Errorf("%+v, %v after %d tries", after, err, tries)
	}
}

func TestHold(t *testing.T) {
	d, ctx := open(t, Limits{}), t.Context()
	held, release := d.Hold(ctx, alice, bob)
	if _, err := d.Get(held, Name{ResourceLists, bob, Index}); err != nil && !errors.Is(err, ErrNotFound) {
		t.Error(err)
	}
	if _, _, err := d.Update(held, Name{RLSServices, alice, Index}, func(*Document) ([]byte, error) { return []byte("x"), nil }); err != nil {
		t.Error(err)
	}
	if err := d.SetBlocks(held, carol, []string{"x.example"}, nil, false); !errors.Is(err, errNotHeld) {
		t.Errorf("who was not held is changed: %v", err)
	}
	began, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		close(began)
		if _, _, err := d.Update(ctx, Name{RLSServices, bob, Index}, func(*Document) ([]byte, error) { return []byte("x"), nil }); err != nil {
			t.Error(err)
		}
	}()
	<-began
	if _, err := d.Get(held, Name{RLSServices, bob, Index}); !errors.Is(err, ErrNotFound) {
		t.Errorf("changed while it was held: %v", err)
	}
	release()
	<-done
	// Any two, in any order, without a deadlock.
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			a := presence.Entity{User: fmt.Sprint(i), Domain: "example.com"}
			b := presence.Entity{User: fmt.Sprint(19 - i), Domain: "example.com"}
			for range 50 {
				_, release := d.Hold(context.Background(), a, b)
				release()
			}
		})
	}
	wg.Wait()
}
