package load

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/balance"
)

func gate(full, random float64) *Gate {
	g := NewGate(func() float64 { return full })
	g.random = func() float64 { return random }
	return g
}

func TestEnterByFullness(t *testing.T) {
	for _, c := range []struct {
		full, random float64
		want         [classes]bool // newcomer, message, publish, refresh
	}{
		{0, 0, [classes]bool{true, true, true, true}},
		{0.49, 0, [classes]bool{true, true, true, true}},
		{0.575, 0.49, [classes]bool{false, true, true, true}}, // half of the newcomers
		{0.575, 0.51, [classes]bool{true, true, true, true}},
		{0.65, 0.99, [classes]bool{false, true, true, true}},
		{0.80, 0.99, [classes]bool{false, false, true, true}},
		{0.94, 0.99, [classes]bool{false, false, false, true}},
		{1, 0.99, [classes]bool{false, false, false, false}},
		{2, 0.99, [classes]bool{false, false, false, false}}, // a depth above one is full
	} {
		for class := Newcomer; class <= Refresh; class++ {
			g := gate(c.full, c.random)
			ok, retry := g.Enter(class)
			if ok != c.want[class] {
				t.Errorf("at %v (random %v) %v: admitted %v, want %v", c.full, c.random, class, ok, c.want[class])
			}
			if ok != (retry == 0) {
				t.Errorf("at %v %v: admitted %v with retry %v", c.full, class, ok, retry)
			}
			if a, r := g.Counts(class); a+r != 1 || (a == 1) != ok {
				t.Errorf("at %v %v: counted %d, %d", c.full, class, a, r)
			}
		}
	}
}

// Nobody is refused while a class that goes first may still come in.
func TestOrderOfShedding(t *testing.T) {
	for full := 0.0; full <= 1; full += 0.001 {
		for class := Newcomer; class < Refresh; class++ {
			first, _ := gate(full, 0.9999).Enter(class) // nearly always admitted
			second, _ := gate(full, 0).Enter(class + 1) // refused if there is any chance of it
			if first && !second {
				t.Fatalf("at %v %v may be refused while %v may enter", full, class+1, class)
			}
		}
	}
}

func TestRetrySpreads(t *testing.T) {
	seen := map[time.Duration]bool{}
	g := NewGate(func() float64 { return 1 })
	for range 1000 {
		_, retry := g.Enter(Newcomer)
		if retry < 10*time.Second || retry > 30*time.Second || retry%time.Second != 0 {
			t.Fatalf("retry after %v", retry)
		}
		seen[retry] = true
	}
	if len(seen) < 15 {
		t.Errorf("1000 refusals come back at only %d different times", len(seen))
	}
	low, _ := func() (time.Duration, bool) { ok, r := gate(0.66, 0.5).Enter(Newcomer); return r, ok }()
	high, _ := func() (time.Duration, bool) { ok, r := gate(1, 0.5).Enter(Newcomer); return r, ok }()
	if low >= high {
		t.Errorf("retry %v when nearly full, %v when full", low, high)
	}
}

func TestConcurrent(t *testing.T) {
	g := NewGate(func() float64 { return 0.575 })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				g.Enter(Newcomer)
			}
		})
	}
	wg.Wait()
	if a, r := g.Counts(Newcomer); a+r != 8000 || a < 3000 || r < 3000 {
		t.Errorf("%d admitted, %d refused of 8000 at half", a, r)
	}
}

func BenchmarkEnter(b *testing.B) {
	g := NewGate(func() float64 { return 0.1 })
	for b.Loop() {
		g.Enter(Publish)
	}
}

// What was refused of late is told, until it is over.
func TestLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := 0.0
		g := NewGate(func() float64 { return full })
		enter := func(n int) {
			for range n {
				g.Enter(Newcomer)
				g.Enter(Publish)
			}
		}
		if l := g.Loss(); l != 0 {
			t.Errorf("at first %d", l)
		}
		full = 0.7 // no newcomer
		enter(50)
		if l := g.Loss(); l != 0 {
			t.Errorf("within a second %d", l)
		}
		time.Sleep(lossWindow)
		if l := g.Loss(); l != 50 {
			t.Errorf("half was refused: %d", l)
		}
		full = 0
		time.Sleep(lossWindow)
		enter(10)
		if l := g.Loss(); l != 0 {
			t.Errorf("after it: %d", l)
		}
	})
}

// A level above the maximum shuts newcomers out, and nobody else.
func TestPressure(t *testing.T) {
	for _, c := range []struct {
		level, most float64
		newcomers   bool // all of them
	}{{0, 100, true}, {100, 100, true}, {134, 100, false}, {1000, 100, false}, {5, 0, true}} {
		full := balance.Pressure(c.level, c.most)
		if ok, _ := gate(full, 0.9999).Enter(Newcomer); ok != c.newcomers {
			t.Errorf("%v of %v: newcomers admitted %v", c.level, c.most, ok)
		}
		for class := Message; class <= Refresh; class++ {
			if ok, _ := gate(full, 0).Enter(class); !ok {
				t.Errorf("%v of %v: %v refused", c.level, c.most, class)
			}
		}
	}
	if ok, _ := gate(balance.Pressure(116, 100), 0.3).Enter(Newcomer); ok {
		t.Error("at half of the range, a third of the newcomers is not refused")
	}
}
