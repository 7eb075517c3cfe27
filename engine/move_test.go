package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// TestMove: a presentity moves with everything, inputs that come meanwhile wait, watchers are
// told nothing of it, and then of changes as ever.
func TestMove(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(string, string) time.Duration { return time.Millisecond }
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.must(alice, session("pad", "busy"))
		b.must(alice, session("desk", "away"))
		a.must(alice, watch("s", bob))
		c.must(alice, watch("u", carol))
		time.Sleep(time.Second)
		synctest.Wait()
		at, ct := a.sip.told(), c.sip.told()
		if len(at) != 1 || len(ct) != 1 {
			t.Fatalf("%d, %d notices", len(at), len(ct))
		}
		if err := w.move(alice, "b"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := len(a.sip.told()) + len(c.sip.told()); n > 0 {
			t.Errorf("%d notices for a move", n)
		}
		if a.Stats().Presentities != 0 || b.Stats().Sources != 2 || b.Stats().Subscriptions != 2 || a.Stats().Sources+a.Stats().Subscriptions != 0 {
			t.Errorf("at a %+v, at b %+v", a.Stats(), b.Stats())
		}
		a.must(alice, session("pad", "meeting"))
		time.Sleep(time.Second)
		synctest.Wait()
		for i, ns := range [][]*presence.Notice{a.sip.told(), c.sip.told()} {
			was := []*presence.Notice{at[0], ct[0]}[i]
			if len(ns) != 1 || ns[0].Targets[0].Shown == nil {
				t.Fatalf("%d: %d notices after the move, shown before %v", i, len(ns), ns)
			}
			// Only the source that has changed is a new one.
			gone, changed := ns[0].View.Changes(was.View)
			if len(gone) != 0 || len(changed) != 1 || changed[0].ID.Key != "pad" || ns[0].View.Version <= was.View.Version {
				t.Errorf("%d: %v gone, %v changed, version %d after %d", i, gone, changed, ns[0].View.Version, was.View.Version)
			}
			if ns[0].Targets[0].Shown != was.View && i == 1 {
				t.Errorf("%d: what was shown before is not what it was told", i)
			}
		}
	})
}

// TestMoveUnderLoad: inputs from all nodes while a presentity moves about are answered, each once
// and in the order of its node, and the last word counts.
func TestMoveUnderLoad(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(from, to string) time.Duration { return time.Duration(1+len(from+to)%3) * time.Millisecond }
		for _, n := range w.nodes {
			n.slow.Store(int64(2 * time.Millisecond))
		}
		a, b := w.nodes["a"], w.nodes["b"]
		b.must(alice, watch("s", bob))
		var wg sync.WaitGroup
		for _, n := range w.nodes {
			wg.Go(func() {
				var mu sync.Mutex
				next := 0
				var got sync.WaitGroup
				for i := range 300 {
					got.Add(1)
					err := n.Submit(alice, publish(n.name, fmt.Sprint(n.name, i), time.Hour, fmt.Sprint(i)), func(out presence.Outcome, err error) {
						mu.Lock()
						defer mu.Unlock()
						defer got.Done()
						if err != nil || i != next {
							t.Errorf("%s: answer to %d instead of %d: %v", n.name, i, next, err)
						}
						next = i + 1
					})
					if err != nil {
						t.Error(err)
						got.Done()
					}
					time.Sleep(time.Millisecond)
				}
				got.Wait()
			})
		}
		for i := range 12 {
			time.Sleep(20 * time.Millisecond)
			if err := w.move(alice, []string{"b", "c", "a"}[i%3]); err != nil {
				t.Error(err)
			}
		}
		wg.Wait()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		x, err := a.Explain(context.Background(), alice, bob)
		if err != nil || len(x.Sources) != 3 {
			t.Fatalf("%+v, %v", x.Sources, err)
		}
		for _, src := range x.Sources {
			if src.Tag != src.ID.Key+"299" {
				t.Errorf("%s ends with %s", src.ID, src.Tag)
			}
		}
		ns := b.sip.told()
		for i, n := range ns {
			if i > 0 && n.View.Version <= ns[i-1].View.Version {
				t.Errorf("version %d after %d", n.View.Version, ns[i-1].View.Version)
			}
		}
		if last := ns[len(ns)-1].View; last.Version != x.Version {
			t.Errorf("the watcher has version %d, the truth %d", last.Version, x.Version)
		}
	})
}

// TestExport: what is not to be moved now is said, and what leads nowhere changes nothing.
func TestExport(t *testing.T) {
	inTown(t, func(w *town) {
		a := w.nodes["a"]
		export := func() (state []byte, err error) {
			t.Helper()
			done := false
			if e := a.Export(alice, func(s []byte, x error) { state, err, done = s, x, true }); e != nil {
				t.Fatal(e)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if !done {
				t.Fatal("an export never ends")
			}
			return state, err
		}
		if _, err := export(); err == nil {
			t.Error("somebody who does not live here was exported")
		}
		a.must(alice, presence.Touch{Package: "x"})
		if state, err := export(); err != nil || state != nil {
			t.Errorf("nothing is held: %q, %v", state, err)
		}
		if _, err := export(); err == nil {
			t.Error("exported twice")
		}
		answered := false
		if err := a.Submit(alice, session("pad", "busy"), func(presence.Outcome, error) { answered = true }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if answered {
			t.Error("an input was taken while the presentity is out")
		}
		a.KeepHere(alice)
		time.Sleep(time.Second)
		synctest.Wait()
		if !answered || a.Stats().Sources != 1 {
			t.Errorf("%v, %+v", answered, a.Stats())
		}
		// It waits for what is being saved.
		a.slow.Store(int64(300 * time.Millisecond))
		if err := a.Submit(alice, publish("k", "tag", time.Hour, "busy"), nil); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		var took time.Duration
		if err := a.Export(alice, func(s []byte, err error) {
			took = time.Since(start)
			if err != nil || s == nil {
				t.Errorf("%q, %v", s, err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if took != 300*time.Millisecond {
			t.Errorf("exported after %v", took)
		}
		a.KeepHere(alice)
		if err := w.nodes["b"].Import(alice, []byte("nonsense")); err == nil {
			t.Error("nonsense was imported")
		}
		if err := w.nodes["b"].Import(alice, nil); err != nil {
			t.Error(err)
		}
	})
}

// TestDepartOnTheWay: whoever is on the way while a node dies does not bring its sessions back.
func TestDepartOnTheWay(t *testing.T) {
	for _, tt := range []struct {
		name string
		gone []string // before the import, who hears of it
		late []string // after it
	}{
		{"heard by both before", []string{"a", "b"}, nil},
		{"heard by the new owner before", []string{"b"}, []string{"a"}},
		{"heard by both after", nil, []string{"a", "b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, func(w *town) {
				a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
				a.must(alice, session("pad", "busy"))
				c.must(alice, session("desk", "away"))
				b.must(alice, watch("s", bob))
				var state []byte
				if err := a.Export(alice, func(s []byte, err error) { state = s }); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				w.cut(c)
				for _, name := range tt.gone {
					w.nodes[name].Gone("c")
				}
				w.mu.Lock()
				w.homes[alice] = home{"b", 2}
				a.hints[alice] = home{"b", 2}
				w.mu.Unlock()
				if err := b.Import(alice, state); err != nil {
					t.Fatal(err)
				}
				w.mu.Lock()
				b.hints[alice] = home{"b", 2}
				w.mu.Unlock()
				a.Forget(alice)
				time.Sleep(time.Second)
				for _, name := range tt.late {
					w.nodes[name].Gone("c")
				}
				time.Sleep(time.Second)
				x, err := b.Explain(context.Background(), alice, bob)
				if err != nil || len(x.Sources) != 1 || x.Sources[0].ID.Key != "pad" {
					t.Errorf("%+v, %v", x.Sources, err)
				}
			})
		})
	}
}
