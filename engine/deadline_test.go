package engine

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestDeadlines compares the heap with a plain map.
func TestDeadlines(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d deadlines
		epoch := time.Unix(0, 0)
		rs := make([]*resident, 20)
		for i := range rs {
			rs[i] = &resident{pos: -1}
		}
		model := map[*resident]time.Time{}
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			r := rs[rapid.IntRange(0, len(rs)-1).Draw(t, "resident")]
			if rapid.IntRange(0, 2).Draw(t, "remove") == 0 {
				d.remove(r)
				delete(model, r)
			} else {
				at := epoch.Add(time.Duration(rapid.IntRange(1, 50).Draw(t, "at")))
				d.want(r, at)
				if was, ok := model[r]; !ok || at.Before(was) {
					model[r] = at
				}
			}
			var first time.Time
			for _, at := range model {
				if first.IsZero() || at.Before(first) {
					first = at
				}
			}
			if len(d) != len(model) || len(d) > 0 && !d[0].at.Equal(first) {
				t.Fatalf("%d in the heap, %d wanted", len(d), len(model))
			}
			for i, r := range d {
				if r.pos != i {
					t.Fatal("a wrong place")
				}
			}
		}
	})
}
