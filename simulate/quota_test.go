package simulate

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// A server with a fifth of a processor has it, over a long time, and sooner by no more than what its processor had kept, what it owes at a tick,
// and the pools of the period at whose end it begins and of the next.
func TestQuota(t *testing.T) {
	e := DefaultExperiment()
	for _, work := range []time.Duration{20 * time.Millisecond, 100 * time.Millisecond, time.Second} {
		var sum time.Duration
		const times = 200
		for seed := range uint64(times) {
			rnd := rand.New(rand.NewPCG(seed, 1))
			m := newMachine(rnd, &e)
			ended, begun := false, false
			m.threads = []*thread{{quota: newQuota(rnd, &e), next: func() (time.Duration, func(), bool) {
				if begun {
					return 0, nil, false
				}
				begun = true
				return work, func() { ended = true }, true
			}}}
			m.run(func() bool { return ended }, func() time.Duration { return 0 })
			early := time.Duration(float64(work)/e.Cores) - m.now
			if most := time.Duration(float64(e.Tick+e.Keep)/e.Cores) + 2*e.Period; early < 0 || early > most {
				t.Errorf("%v of work were done %v sooner than the quota lets them; at most %v", work, early, most)
			}
			sum += early
		}
		// By bench/paper/rounds.csv 16 ms is the median.
		if mean := sum / times; mean < 10*time.Millisecond || mean > 25*time.Millisecond {
			t.Errorf("%v of work: %v sooner on the average", work, mean)
		}
	}
}

// A pool is not filled above the quota, and a processor keeps no more than it may.
func TestQuotaIdle(t *testing.T) {
	e := DefaultExperiment()
	q := newQuota(rand.New(rand.NewPCG(1, 1)), &e)
	for range 100 {
		q.fill()
	}
	q.left = 5 * time.Millisecond
	q.sleep()
	if q.left != e.Keep || q.still {
		t.Errorf("%+v", q)
	}
	q.fill()
	if q.pool != 2*time.Millisecond {
		t.Errorf("the pool has %v", q.pool)
	}
}

// Threads without bounds share processors evenly, and none is used by two or left idle.
func TestMachine(t *testing.T) {
	e := DefaultExperiment()
	for _, n := range []int{1, 2, 3, 5, 8} {
		m := newMachine(rand.New(rand.NewPCG(1, 1)), &e)
		for range n {
			m.threads = append(m.threads, &thread{next: func() (time.Duration, func(), bool) { return time.Millisecond, func() {}, true }})
		}
		const end = time.Second
		m.run(func() bool { return m.now >= end }, func() time.Duration { return 0 })
		var all time.Duration
		for _, x := range m.threads {
			all += x.had
			if want := float64(end) * min(1, 2/float64(n)); math.Abs(float64(x.had)/want-1) > 0.03 {
				t.Errorf("of %d one had %v, want %v", n, x.had, time.Duration(want))
			}
		}
		if want := min(2, time.Duration(n)) * m.now; all != want {
			t.Errorf("%d had %v together, want %v", n, all, want)
		}
	}
}
