package soak

import (
	"math"
	"math/rand/v2"
	"testing"
)

// process makes samples of one that carries a changing load.
func process(rnd *rand.Rand, node string, life int, from, until, perHour, noise float64) (all []Sample) {
	load := 4000.0
	for t := from; t < until; t += 5 {
		if rnd.IntN(24) == 0 { // users come and go at once
			load = 2000 + 4000*rnd.Float64()
		}
		y := 50e6 + 12e3*load + perHour*(t-from)/3600 + noise*rnd.NormFloat64()
		all = append(all, Sample{At: t, Node: node, Life: life, Resident: y, Live: y / 2, Sessions: load, Dialogs: 2 * load, Subs: 3 * load, Homes: load / 2, Told: 4000, Goroutines: 200, Descriptors: load + 30})
	}
	return all
}

// Growth is found under a load that jumps by more, and where there is none, none is.
func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		perHour float64
		want    string
	}{{0, "no leak"}, {20e6, "leak"}, {-20e6, "no leak"}} {
		rnd := rand.New(rand.NewPCG(1, 2))
		all := process(rnd, "n1", 0, 0, 2400, c.perHour, 1e6)
		all = append(all, process(rnd, "n1", 1, 2410, 3600, c.perHour, 1e6)...)
		all = append(all, process(rnd, "n2", 0, 0, 3600, c.perHour, 1e6)...)
		all = append(all, process(rnd, "n3", 0, 0, 400, 1e9, 1e6)...) // too short to count
		gs := growths(all, span{0, 3600, 180})
		seen := 0
		for _, g := range gs {
			if g.Figure != "resident without all these" {
				continue
			}
			seen++
			if math.Abs(g.PerHour-c.perHour) > 2*g.Bound {
				t.Errorf("%s %d: %.0f ± %.0f an hour, not %.0f", g.Node, g.Life, g.PerHour, g.Bound, c.perHour)
			}
			if g.Node == "all" && g.Verdict != c.want {
				t.Errorf("%.0f an hour: %s (%.0f ± %.0f)", c.perHour, g.Verdict, g.PerHour, g.Bound)
			}
		}
		if seen != 4 {
			t.Errorf("%d growths of resident memory, not of 3 lives and all", seen)
		}
	}
}

// Caches that fill are no leak, and beside them a leak is found.
func TestGrowthOfCaches(t *testing.T) {
	for _, c := range []struct {
		perHour float64
		want    string
	}{{0, "no leak"}, {30e6, "leak"}} {
		rnd := rand.New(rand.NewPCG(7, 8))
		all := process(rnd, "n1", 0, 0, 3600, c.perHour, 1e6)
		for i := range all {
			s := &all[i]
			s.Cached = 30e6 * (1 - math.Exp(-s.At/900)) // as many again are met ever more seldom
			s.Resident += s.Cached
			s.Room = 10e6 + 40e6*s.At/3600 // what is only told
			s.Resident += s.Room
		}
		for _, g := range growths(all, span{0, 3600, 180}) {
			if g.Figure == "resident without all these" && g.Node == "all" && g.Verdict != c.want {
				t.Errorf("%.0f an hour: %s (%.0f ± %.0f)", c.perHour, g.Verdict, g.PerHour, g.Bound)
			}
			if told := g.Figure == "room in the heap" || g.Figure == "in caches"; told && g.Verdict != "grows" {
				t.Errorf("what is only told: %+v", g)
			}
		}
	}
}

// What is garbage says nothing: where there are samples behind a collection, memory is judged by these.
func TestGrowthSettled(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	all := process(rnd, "n1", 0, 0, 3600, 0, 1e6)
	for i := range all {
		if s := &all[i]; i%12 == 11 {
			s.Settled = true
		} else {
			s.Live += 40e6 * s.At / 3600
		}
	}
	for _, g := range growths(all, span{0, 3600, 180}) {
		if g.Figure == "live heap without caches" && g.Node == "all" && (g.Verdict != "no leak" || g.Minutes != 57) {
			t.Errorf("%+v", g)
		}
	}
	for i := range all {
		all[i].Settled = false
	}
	for _, g := range growths(all, span{0, 3600, 180}) {
		if g.Figure == "live heap without caches" && g.Node == "all" && g.Verdict != "leak" {
			t.Errorf("none is settled: %+v", g)
		}
	}
}

// A restart is not shrinking, and what grows in each life is seen however often it begins anew.
func TestGrowthAcrossLives(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	var all []Sample
	for i := range 4 {
		from := float64(900 * i)
		all = append(all, process(rnd, "n1", i, from, from+890, 60e6, 1e6)...)
	}
	gs := growths(all, span{0, 3600, 180})
	last := Growth{}
	for _, g := range gs {
		if g.Figure == "resident without all these" && g.Node == "all" {
			last = g
		}
	}
	if math.Abs(last.PerHour-60e6) > 2*last.Bound || last.Verdict != "leak" {
		t.Errorf("%+v", last)
	}
}

// The bounds hold what they promise: of many processes that do not grow, about one in twenty is outside of them.
func TestBounds(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	outside := 0
	const n = 300
	for range n {
		g := fit(lives(process(rnd, "n1", 0, 0, 3600, 0, 1e6), func(s *Sample) float64 { return s.Resident }, true, span{0, 3600, 180}))
		if math.Abs(g.PerHour) > g.Bound {
			outside++
		}
	}
	if outside > n*8/100 {
		t.Errorf("%d of %d are outside of the bounds", outside, n)
	}
}

func TestStudent(t *testing.T) {
	for free, want := range map[int]float64{1: 12.706, 5: 2.571, 6: 2.447, 10: 2.228, 30: 2.042, 120: 1.980} {
		if got := student(free); math.Abs(got-want) > 0.01 {
			t.Errorf("%d degrees: %.3f, want %.3f", free, got, want)
		}
	}
}
