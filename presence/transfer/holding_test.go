package transfer

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"pharos/presence"
)

// moved is a presentity that went over the wire to another node: a's, if it is not nil, where everybody has been told by then.
func moved(t *rapid.T, w *world, p *presence.Presentity, a *audience) *presence.Presentity {
	r, err := Open(AppendHolding(Begin(nil), p.Export()))
	if err != nil {
		t.Fatal(err)
	}
	h := r.Holding()
	if r.Err() != nil || r.More() {
		t.Fatal(r.Err())
	}
	if a != nil {
		if untold := a.m.Settle(h, a.node); len(untold) > 0 {
			t.Fatal("held not to have been told:", untold)
		}
	}
	q := presence.New(p.Entity())
	if _, err := q.Step(w.now, presence.Assume{Holding: h}); err != nil {
		t.Fatal(err)
	}
	again(t, w, q)
	return q
}

// again has the policy set that is there: what nobody needs any more is forgotten then.
func again(t *rapid.T, w *world, p *presence.Presentity) {
	if w.policy == nil {
		return
	}
	if out, err := p.Step(w.now, presence.SetPolicy{Policy: w.policy}); err != nil || len(out.Notices)+len(out.Saves) > 0 {
		t.Fatal("the same policy decides otherwise", err)
	}
}

// TestMoves compares a presentity that goes from node to node, and whose inputs come
// from other nodes, with one that does not.
func TestMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := &world{T: t, now: epoch}
		stays, goes := presence.New(user("alice")), presence.New(user("alice"))
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			in := w.input()
			a, aErr := stays.Step(w.now, in)
			b, bErr := goes.Step(w.now, over(t, in))
			if aErr != bErr {
				t.Fatal(aErr, bErr)
			}
			equalNotices(t, a.Notices, b.Notices)
			if !reflect.DeepEqual(a.Watchers, b.Watchers) || a.Tag != b.Tag || a.Lifetime != b.Lifetime || a.State != b.State || len(a.Saves) != len(b.Saves) {
				t.Fatalf("staying %+v, moved %+v", a, b)
			}
			for i := range a.Saves {
				equalSave(t, &a.Saves[i], &b.Saves[i])
			}
			if d := stays.Deadline(); !d.Equal(goes.Deadline()) {
				t.Fatal("due", d, goes.Deadline())
			} else if (d.IsZero() || d.After(w.now)) && w.pick(3, "moves") == 0 {
				goes = moved(t, w, goes, nil)
				again(t, w, stays)
			}
		}
	})
}

func equalSave(t *rapid.T, a, b *presence.Save) {
	if a.Key != b.Key || a.Kind != b.Kind || a.Delete != b.Delete || !reflect.DeepEqual(a.Subscription, b.Subscription) || (a.Source == nil) != (b.Source == nil) {
		t.Fatalf("saved %+v, moved %+v", a, b)
	}
	if a.Source != nil && !reflect.DeepEqual(a.Source.Marked(0), b.Source.Marked(0)) {
		t.Fatalf("saved %+v, moved %+v", a.Source, b.Source)
	}
}
