package engine

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// TestHolds: the owner is asked after all that was submitted before, by the nodes of the subscriptions.
func TestHolds(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(string, string) time.Duration { return time.Millisecond }
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.must(alice, durable("mine", user("dave")))
		c.must(alice, durable("d", carol))
		for _, x := range []struct {
			n    *townNode
			want []Held
		}{
			{a, []Held{HeldHere, HeldElsewhere, HeldNot, HeldNot}},
			{b, []Held{HeldElsewhere, HeldElsewhere, HeldNot, HeldHere}},
			{c, []Held{HeldElsewhere, HeldHere, HeldNot, HeldNot}},
		} {
			if x.n == b { // nobody waits for it
				if err := b.Submit(alice, durable("late", bob), nil); err != nil {
					t.Fatal(err)
				}
			}
			var got []Held
			err := x.n.Holds(alice, []string{"mine", "d", "never", "late"}, func(list []Held, err error) {
				if got = list; err != nil {
					t.Error(err)
				}
			})
			time.Sleep(time.Second)
			synctest.Wait()
			if err != nil || !slices.Equal(got, x.want) {
				t.Errorf("%s: %v, %v, want %v", x.n.name, got, err, x.want)
			}
			if x.n == b {
				b.must(alice, presence.Unwatch{ID: "late"})
			}
		}
	})
}
