package presence

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// TestMoves compares a presentity that is moved now and then with one that stays: the
// same inputs have the same outcomes.
func TestMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		moved := New(w.p.entity)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			in := w.input(t)
			out, err := w.p.Step(w.now, in)
			other, otherErr := moved.Step(w.now, in)
			if a, b := said(w, out, err), said(w, other, otherErr); a != b {
				t.Fatalf("%#v\nstaying: %s\nmoved: %s", in, a, b)
			}
			if a, b := w.p.Deadline(), moved.Deadline(); !a.Equal(b) {
				t.Fatalf("staying due %v, moved %v", a, b)
			}
			if rapid.IntRange(0, 3).Draw(t, "moves") == 0 && !due(w) {
				moved = move(t, moved, w)
				// Being decided anew has the moved one drop the filters that no watcher needs now; so does the
				// other, lest a class that nobody sees is as old there as it last was to somebody (filter.apply).
				w.p.dropFilters()
			}
			for _, watcher := range someWatchers {
				a, b := w.p.Explain(w.now, watcher, ""), moved.Explain(w.now, watcher, "")
				if a.Version != b.Version || a.Decision != b.Decision || len(a.Subscriptions) != len(b.Subscriptions) ||
					(a.View == nil) != (b.View == nil) || a.View != nil && docText(a.View) != docText(b.View) {
					t.Fatalf("explained differently for %s: %+v, %+v", watcher, a, b)
				}
			}
		}
	})
}

// due: time has to be let pass first, as an owner does before it exports.
func due(w *world) bool {
	d := w.p.Deadline()
	return !d.IsZero() && !d.After(w.now)
}

func move(t *rapid.T, p *Presentity, w *world) *Presentity {
	q := New(p.entity)
	if _, err := q.Step(w.now, Assume{p.Export()}); err != nil {
		t.Fatal(err)
	}
	if p.policy != nil {
		if out, err := q.Step(w.now, SetPolicy{p.policy}); err != nil || len(out.Notices)+len(out.Saves) > 0 {
			t.Fatal("the same policy decides otherwise", err, said(w, out, err))
		}
	}
	return q
}

// said is all that an outcome says.
func said(w *world, out Outcome, err error) string {
	s := script{now: w.now}
	fmt.Fprintln(&s.said, err, out.Tag, out.Lifetime, out.State)
	for _, sv := range out.Saves {
		fmt.Fprintln(&s.said, sv.Kind, sv.Key, sv.Delete, sv.fresh, sv.before != nil)
		if c := sv.Subscription; c != nil {
			fmt.Fprintln(&s.said, c.State, c.Event, c.Via, c.Expires, c.Created)
		}
	}
	for _, n := range out.Notices {
		s.notice(n)
		for _, t := range n.Targets {
			fmt.Fprintln(&s.said, t.Expires)
		}
	}
	for _, c := range out.Watchers {
		fmt.Fprintf(&s.said, "%+v\n", c)
	}
	return s.said.String()
}

func TestAssumeRefused(t *testing.T) {
	p := New(user("alice"))
	step(t, p, Publish{ID: someSources[0], NewTag: "a", Doc: &Document{}})
	h := p.Export()
	for name, at := range map[string]*Presentity{"holds something": p, "somebody else": New(user("bob"))} {
		if _, err := at.Step(epoch, Assume{h}); err != ErrAssume {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := New(user("alice")).Step(epoch, Assume{}); err != ErrAssume {
		t.Error("nothing:", err)
	}
	// What is older than the policy that decided does not count.
	step(t, p, SetPolicy{&Policy{Revision: 5, Default: Block}})
	q := New(user("alice"))
	step(t, q, Assume{p.Export()})
	step(t, q, SetPolicy{&Policy{Revision: 4, Default: Allow}})
	out := step(t, q, Watch{ID: "s", Watcher: user("bob"), Via: Via{Edge: "sip"}})
	if out.State != Pending {
		t.Error("let in by an old policy:", out.State)
	}
	step(t, q, SetPolicy{&Policy{Revision: 5, Default: Block}})
	if _, n, _ := q.Size(); n != 0 {
		t.Error("the policy has not decided")
	}
}
