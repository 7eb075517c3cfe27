package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// TestFarSubmit: any node takes an input, the owner decides, and the notice comes to the
// watcher's node.
func TestFarSubmit(t *testing.T) {
	inTown(t, func(w *town) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.must(alice, presence.Touch{Package: "x"}) // lives at a
		if out := b.must(alice, watch("s", bob)); out.State != presence.Active || out.Lifetime != time.Hour {
			t.Errorf("%+v", out)
		}
		w.expect(b.sip, "offline")
		if out := c.must(alice, publish("k", "tag", time.Hour, "busy")); out.Tag != "tag" {
			t.Errorf("%+v", out)
		}
		w.expect(b.sip, "busy")
		c.must(alice, session("pad", "away"))
		x, err := b.Explain(context.Background(), alice, bob)
		if err != nil || len(x.Sources) != 2 || x.Sources[1].Node != "c" || len(x.Subscriptions) != 1 || x.Subscriptions[0].Via.Node != "b" {
			t.Errorf("%+v, %v", x, err)
		}
		if _, err := b.Step(context.Background(), alice, presence.Publish{IfMatch: "none"}); !errors.Is(err, presence.ErrNoMatch) {
			t.Errorf("an error arrives as %v", err)
		}
		var src *presence.Source
		if err := b.Publication(alice, "", "tag", func(s *presence.Source, err error) { src = s }); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Millisecond)
		if ws, err := c.Watchers(context.Background(), alice); err != nil || len(ws) != 1 || ws[0].Watcher != bob {
			t.Errorf("%+v, %v", ws, err)
		}
		synctest.Wait()
		if src == nil || src.Tag != "tag" {
			t.Errorf("publication %+v", src)
		}
		if b.Stats().Presentities+c.Stats().Presentities != 0 || a.Stats().Presentities != 1 {
			t.Error("the presentity is not at its owner only")
		}
	})
}

// TestFarTransient: that something failed at the owner for a reason that passes is known where it
// was asked for, whatever the error is; and that it does not pass, too.
func TestFarTransient(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, presence.Touch{Package: "x"}) // lives at a
		for err, passes := range map[error]bool{errAway: true, errors.New("the disk is full"): false} {
			w.pols.mu.Lock()
			w.pols.err = err
			w.pols.mu.Unlock()
			if _, got := b.Step(context.Background(), alice, watch("s", bob)); got == nil || errors.Is(got, ErrTransient) != passes {
				t.Errorf("%v arrives as %v", err, got)
			}
			if _, got := b.Send(context.Background(), &Message{From: bob, To: alice, Body: "hi"}); got == nil || errors.Is(got, ErrTransient) != passes {
				t.Errorf("%v of a message arrives as %v", err, got)
			}
		}
	})
}

// TestFarOrder: what one node submits to one presentity arrives in order, wherever it is looked
// for first.
func TestFarOrder(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(w *town)
	}{
		{"known", func(w *town) {
			w.nodes["b"].must(alice, presence.Touch{Package: "x"})
			w.nodes["a"].must(alice, presence.Touch{Package: "x"})
		}},
		{"unknown", func(w *town) { w.nodes["b"].must(alice, presence.Touch{Package: "x"}) }},
		{"without a home", func(*town) {}},
		{"moved", func(w *town) {
			w.nodes["b"].must(alice, presence.Touch{Package: "x"})
			w.nodes["a"].must(alice, presence.Touch{Package: "x"})
			if err := w.move(alice, "c"); err != nil {
				w.t.Error(err)
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, func(w *town) {
				w.delay = func(string, string) time.Duration { return 5 * time.Millisecond }
				a := w.nodes["a"]
				tt.before(w)
				var mu sync.Mutex
				var order []int
				for i := range 200 {
					err := a.Submit(alice, publish("k", fmt.Sprint(i), time.Hour, fmt.Sprint(i)), func(out presence.Outcome, err error) {
						mu.Lock()
						defer mu.Unlock()
						if err != nil || out.Tag != fmt.Sprint(i) {
							t.Errorf("%d: %q, %v", i, out.Tag, err)
						}
						order = append(order, i)
					})
					if err != nil {
						t.Fatal(err)
					}
					if i%50 == 0 {
						time.Sleep(3 * time.Millisecond)
					}
				}
				time.Sleep(time.Second)
				synctest.Wait()
				for i, n := range order {
					if i != n {
						t.Fatalf("answered in the order %v", order)
					}
				}
				if len(order) != 200 {
					t.Errorf("%d answers", len(order))
				}
			})
		})
	}
}
