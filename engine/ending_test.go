package engine

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// TestEndTogether: an engine that ends does not wait for owners who end at the same time, nor for the day
// on which it may act again.
func TestEndTogether(t *testing.T) {
	for _, x := range []struct {
		name string
		fall func(w *town, b *townNode)
	}{
		{"the owner is silent", func(*town, *townNode) {}},
		{"nobody is found", func(w *town, _ *townNode) { w.lost.Store(true) }},
		{"the node may not act", func(_ *town, b *townNode) { b.valid.Store(false) }},
		{"saves do not come back", func(_ *town, b *townNode) {
			b.slow.Store(int64(time.Hour))
			_ = b.Submit(user("erin"), publish("k", "tag", time.Hour, "busy"), nil)
			time.Sleep(time.Millisecond)
			b.valid.Store(false)
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			inTown(t, func(w *town) {
				a, b := w.nodes["a"], w.nodes["b"]
				a.must(alice, session("pad", "busy"))
				b.must(alice, presence.Touch{Package: "x"})
				b.must(user("erin"), presence.Touch{Package: "x"})
				w.delay = func(from, _ string) time.Duration {
					if from == "a" {
						return time.Hour
					}
					return 0
				}
				var told atomic.Int32
				done := func(_ presence.Outcome, err error) {
					if err == nil {
						t.Error("done")
					}
					told.Add(1)
				}
				x.fall(w, b)
				for _, of := range []presence.Entity{alice, carol} {
					if err := b.Submit(of, presence.Unwatch{ID: "s"}, done); err != nil {
						t.Fatal(err)
					}
				}
				synctest.Wait()
				before := time.Now()
				err := b.stop()
				if took := time.Since(before); err != nil && !errors.Is(err, ErrStopped) || took > LastTime+time.Second {
					t.Errorf("it took %v: %v", took, err)
				}
				if told.Load() == 0 {
					t.Error("nobody was told")
				}
				w.mu.Lock()
				b.alive = false
				w.mu.Unlock()
			})
		})
	}
}
