package balance

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

func nodes(levels ...float64) (all []Node) {
	for i, l := range levels {
		all = append(all, Node{Name: string(rune('a' + i)), State: Active, Users: int(l), Level: l, Max: 100, Report: 1})
	}
	return all
}

func TestAdmitLowest(t *testing.T) {
	for name, c := range map[string]struct {
		nodes []Node
		want  string
		v     Verdict
	}{
		"lowest":      {nodes(50, 20, 90), "b", Admitted},
		"nobody":      {nil, "", Nobody},
		"all full":    {nodes(120, 100, 101), "b", Full},
		"not joining": {[]Node{{Name: "a", State: Joining, Max: 9}, {Name: "b", State: Draining, Max: 9}, {Name: "c", State: Standby, Max: 9}}, "", Nobody},
		// The lowest is at its maximum: the lowest of those below theirs.
		"small one full":         {[]Node{{Name: "a", State: Active, Level: 10, Max: 10}, {Name: "b", State: Active, Level: 60, Max: 100}}, "b", Admitted},
		"full, least of maximum": {[]Node{{Name: "a", State: Active, Level: 12, Max: 10}, {Name: "b", State: Active, Level: 101, Max: 100}}, "b", Full},
	} {
		a := NewAdmission("x", 1)
		a.Update(c.nodes)
		if got, v := a.Admit(); got != c.want || v != c.v {
			t.Errorf("%s: %q, %v; want %q, %v", name, got, v, c.want, c.v)
		}
	}
}

// Between two exchanges what was admitted counts, until the node has spoken again.
func TestAdmitCounts(t *testing.T) {
	a := NewAdmission("x", 1)
	a.Update(nodes(97, 90))
	got := map[string]int{}
	for range 13 {
		n, v := a.Admit()
		if v != Admitted {
			t.Fatalf("%v after %v", v, got)
		}
		got[n]++
	}
	if got["a"] != 3 || got["b"] != 10 {
		t.Errorf("admitted %v", got)
	}
	if _, v := a.Admit(); v != Full {
		t.Error("not full at the maximum")
	}
	a.Update(nodes(97, 90)) // not a new report
	if _, v := a.Admit(); v != Full {
		t.Error("forgotten without a new word of the nodes")
	}
	later := nodes(97, 90)
	later[1].Report = 2
	a.Update(later)
	if n, v := a.Admit(); v != Admitted || n != "b" {
		t.Errorf("after a new report: %s, %v", n, v)
	}
}

// admitted has each admit so many by the levels that all know, and then tells them the new ones; it returns how many each node got.
func admitted(all []Node, as []*Admission, each int) map[string]int {
	got := map[string]int{}
	for _, a := range as {
		for range each {
			n, _ := a.Admit()
			got[n]++
		}
	}
	for i := range all {
		n := got[all[i].Name]
		all[i].Level += float64(n)
		all[i].Users += n
		all[i].Report++
	}
	for _, a := range as {
		a.Update(all)
	}
	return got
}

// Many nodes that admit by the same levels do not all send to the same one.
func TestAdmitHerding(t *testing.T) {
	const admitters, each = 20, 10
	levels := make([]float64, 20)
	for i := range levels {
		levels[i] = 1000
	}
	levels[7] = 0 // a new one: everybody's first choice
	all := nodes(levels...)
	for i := range all {
		all[i].Max = 10_000
	}
	as := make([]*Admission, admitters)
	for i := range as {
		as[i] = NewAdmission(string(rune('A'+i)), 1)
		as[i].Update(all)
	}
	for round := range 10 {
		admitted(all, as, each)
		// Levels stay in order: nobody is overtaken by more than a few exchanges' worth.
		if round > 0 && all[7].Level > 1000+admitters*each {
			t.Fatalf("round %d: the new one was overrun: %v", round, all[7].Level)
		}
	}
	// Now all are nearly equal: an exchange's worth spreads over all.
	most := 0
	for range 10 {
		most = 0
		for _, n := range admitted(all, as, each) {
			most = max(most, n)
		}
	}
	if most > 3*each {
		t.Errorf("one node got %d of %d newcomers of a second, %d nodes", most, admitters*each, len(all))
	}
}

// A hundred nodes admit by the same levels, a second old: no node is overrun, wherever levels
// lie: below the maximum, just there, and above it.
func TestAdmitMany(t *testing.T) {
	const admitters, each = 100, 3
	for _, begin := range []float64{3000, 9700, 10_500} {
		all := make([]Node, admitters)
		as := make([]*Admission, admitters)
		for i := range all {
			all[i] = Node{Name: fmt.Sprint("n", i), State: Active, Users: int(begin), Level: begin, Max: 10_000, Report: 1}
			as[i] = NewAdmission(all[i].Name, 1)
		}
		for _, a := range as {
			a.Update(all)
		}
		for round := range 30 {
			admitted(all, as, each)
			least, most := math.Inf(1), 0.0
			for _, n := range all {
				least, most = min(least, n.Level), max(most, n.Level)
			}
			if apart := most - least; round > 10 && apart > 15*each {
				t.Fatalf("from %v, round %d: levels lie %v apart, with %d newcomers for each node", begin, round, apart, each)
			}
		}
	}
}

// The heap finds what looking at all would find.
func TestAdmitProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 8).Draw(t, "nodes")
		all := make([]Node, n)
		for i := range all {
			all[i] = Node{Name: string(rune('a' + i)), State: Active, Report: 1,
				Level: float64(rapid.IntRange(0, 30).Draw(t, "level")), Max: float64(rapid.IntRange(0, 30).Draw(t, "max"))}
		}
		a := NewAdmission("x", 1)
		a.Update(all)
		for range rapid.IntRange(1, 60).Draw(t, "newcomers") {
			best, below := -1, false
			for i, x := range all {
				if x.Level < x.Max && (!below || x.Level < all[best].Level) {
					best, below = i, true
				}
			}
			name, v := a.Admit()
			got := int(name[0] - 'a')
			if below != (v == Admitted) {
				t.Fatalf("verdict %v, levels %v", v, all)
			}
			if below && (all[got].Level != all[best].Level || all[got].Level >= all[got].Max) {
				t.Fatalf("took %v, lowest below its maximum is %v", all[got], all[best])
			}
			all[got].Level++
		}
	})
}

func BenchmarkAdmit(b *testing.B) {
	a := NewAdmission("x", 1)
	all := make([]Node, 10_000)
	for i := range all {
		all[i] = Node{Name: string(rune(i)), State: Active, Level: float64(i * 7919 % 10_000), Max: 1e5}
	}
	a.Update(all)
	b.ResetTimer()
	for b.Loop() {
		a.Admit()
	}
}
