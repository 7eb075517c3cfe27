package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pharos/presence"
)

// What one node has written, every other reads, though it has the user in its cache:
// rows, blocks and documents, and that there is nothing left.
func TestReadOthersWrites(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		a, b := s.Node(), s.Node()
		type view struct {
			rows, blocks, docs int
			has                bool
			revision           uint64
			body               string
		}
		look := func(n *Store, ctx context.Context) (v view) {
			t.Helper()
			items, _, err1 := n.Roster(ctx, alice)
			blocks, err2 := n.Blocks(ctx, alice)
			docs, err3 := n.Documents(ctx, alice)
			var err4, err5, err6 error
			v.has, err4 = n.HasDocument(ctx, alice, "a", "index")
			v.revision, err5 = n.Revision(ctx, alice)
			d, err6 := n.Document(ctx, alice, "a", "index")
			if errors.Is(err6, ErrNotFound) {
				err6 = nil
			}
			if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
				t.Fatal(err)
			}
			v.rows, v.blocks, v.docs, v.body = len(items), len(blocks), len(docs), string(d.Body)
			return v
		}
		for i, write := range []func() error{
			func() error { return nil },
			func() error { return addOne(ctx, a, alice) },
			func() error { return a.SetBlocks(ctx, alice, []string{"spam.example"}, nil, false) },
			func() error { putDocument(t, a, alice, "a", "index", "<one/>"); return nil },
			func() error { putDocument(t, b, alice, "a", "index", "<two/>"); return nil },
			func() error { return addOne(ctx, b, alice) },
			func() error { return a.PutAccounts(ctx, []Account{testAccount(alice)}) },
			func() error { return a.RemoveAccount(ctx, alice) },
			func() error { putDocument(t, b, alice, "a", "index", "<three/>"); return nil },
		} {
			if err := write(); err != nil {
				t.Fatal(err)
			}
			va, vb, vs := look(a, ctx), look(b, ctx), look(s, ctx)
			if va != vb || va != vs {
				t.Errorf("step %d: %+v here, %+v there, %+v", i, va, vb, vs)
			}
		}
		if v := look(b, ctx); v != (view{docs: 1, has: true, revision: v.revision, body: "<three/>"}) {
			t.Errorf("in the end: %+v", v)
		}
		hits := b.Stats().CacheHits
		look(b, ctx)
		if b.Stats().CacheHits == hits {
			t.Error("nothing is read from the cache")
		}
	})
}

// Who does not mind what was written meanwhile is answered from memory, if it was looked
// at late enough.
func TestAsOf(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		a, b := s.Node(), s.Node()
		read := func(ctx context.Context, want uint64) {
			t.Helper()
			if r, err := b.Revision(ctx, alice); err != nil || r != want {
				t.Errorf("revision %d, %v; want %d", r, err, want)
			}
		}
		write := func() {
			t.Helper()
			if err := addOne(ctx, a, alice); err != nil {
				t.Fatal(err)
			}
		}
		read(ctx, 0)
		begun := AsOf(ctx, time.Now())
		write()
		read(begun, 1) // it was looked at before that
		write()
		read(begun, 1) // and after it
		if items, _, err := b.Roster(begun, alice); err != nil || len(items[0].Groups) != 1 {
			t.Errorf("%+v, %v", items, err)
		}
		read(AsOf(ctx, time.Now()), 2)
		write()
		read(ctx, 3)
	})
}

// A change that is put into what is cached comes behind all others of its user.
func TestCacheBehind(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		a, b := s.Node(), s.Node()
		if _, _, err := a.Roster(t.Context(), alice); err != nil { // cached
			t.Fatal(err)
		}
		if _, err := b.UpdateItem(t.Context(), alice, carol, func(i *Item) bool { i.To = true; return true }); err != nil {
			t.Fatal(err)
		}
		if err := addOne(t.Context(), a, alice); err != nil {
			t.Fatal(err)
		}
		items, version, err := a.Roster(t.Context(), alice)
		if err != nil || len(items) != 2 || version != 2 {
			t.Errorf("%+v of version %d, %v", items, version, err)
		}
	})
}

// Who comes while a question is under way gets the answer of the next one.
func TestGatherer(t *testing.T) {
	var mu sync.Mutex
	truth, asked := 1, 0
	asking, goOn := make(chan struct{}, 10), make(chan struct{})
	g := gatherer[presence.Entity, int]{ask: func(keys []presence.Entity) (map[presence.Entity]int, error) {
		mu.Lock()
		m := map[presence.Entity]int{}
		for _, k := range keys {
			if _, twice := m[k]; twice {
				t.Error("asked twice for", k)
			}
			m[k] = truth
		}
		asked++
		mu.Unlock()
		asking <- struct{}{}
		<-goOn
		return m, nil
	}}
	var wg sync.WaitGroup
	get := func(want int) {
		wg.Go(func() {
			if v, ok, err := g.get(context.Background(), alice); v != want || !ok || err != nil {
				t.Errorf("%d, %v, %v; want %d", v, ok, err, want)
			}
		})
	}
	get(1)
	<-asking // it has its answer, which is on its way
	mu.Lock()
	truth = 2
	mu.Unlock()
	for range 20 {
		get(2)
	}
	for { // all have come
		g.mu.Lock()
		n := 0
		if g.next != nil {
			n = len(g.next.keys)
		}
		g.mu.Unlock()
		if n == 20 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if _, _, err := g.get(ended, bob); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	close(goOn)
	wg.Wait()
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}
