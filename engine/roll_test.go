package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// Each node lists those who live with it, and no more than it is asked for.
func TestRoll(t *testing.T) {
	inTown(t, func(w *town) {
		for name, at := range map[string]string{"alice": "a", "bob": "b", "carol": "b"} {
			if _, err := w.nodes[at].Step(context.Background(), user(name), presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: "k"}, NewTag: "t",
				Lifetime: time.Hour, Doc: &presence.Document{Tuples: []presence.Tuple{{ID: "x", Basic: presence.Open}}}}); err != nil {
				t.Fatal(err)
			}
		}
		for name, want := range map[string]int{"a": 1, "b": 2, "c": 0} {
			for _, limit := range []int{100, 0} {
				var got []Resident
				called := 0
				w.nodes[name].Roll(limit, func(all []Resident) { got, called = all, called+1 })
				synctest.Wait()
				if called != 1 || len(got) != min(want, 2*limit) {
					t.Fatalf("%s: called %d times with %+v", name, called, got)
				}
				for _, r := range got {
					if !r.SIP || r.XMPP || !r.Open || r.Resources != 1 {
						t.Errorf("%+v", r)
					}
				}
			}
		}
	})
}
