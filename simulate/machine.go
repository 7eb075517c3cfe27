package simulate

import (
	"math"
	"math/rand/v2"
	"time"
)

// machine has some processors, for which threads compete as in Linux: who has had the least goes first, and a thread that runs gives
// way after a slice, when another wakes up or on a tick of the clock.
type machine struct {
	cpus    []*thread // that runs there; nil: none
	threads []*thread
	tick    time.Duration
	slice   time.Duration
	now     time.Duration
	look    time.Duration // the next tick
}

// thread has work now and then.
type thread struct {
	quota *quota // nil: no bounds
	// next is what it has to do; false: nothing for now. It is done when done is called.
	next func() (work time.Duration, done func(), ok bool)

	left time.Duration // of its work
	done func()
	busy bool
	on   bool          // a processor
	had  time.Duration // of processors, or as much as if it had not slept
	ran  time.Duration // since its turn came
}

func newMachine(rnd *rand.Rand, e *Experiment) *machine {
	return &machine{cpus: make([]*thread, int(e.Machine)), tick: e.Tick, slice: e.Slice, look: time.Duration(rnd.Float64()*float64(e.Tick)) + 1}
}

func (t *thread) ready() bool { return t.busy && (t.quota == nil || !t.quota.still) }

// run goes on until ended; wake is when something happens outside next.
func (m *machine) run(ended func() bool, wake func() time.Duration) {
	for !ended() {
		m.ask()
		m.turns()
		at := m.look
		if w := wake(); w > m.now {
			at = min(at, w)
		}
		for _, t := range m.threads {
			if t.quota != nil {
				at = min(at, t.quota.refill)
			}
		}
		for _, t := range m.cpus {
			if t != nil {
				at = min(at, m.now+t.left)
			}
		}
		m.pass(at)
	}
}

// ask has threads without work look for some.
func (m *machine) ask() {
	least := time.Duration(math.MaxInt64)
	for _, t := range m.threads {
		if t.ready() {
			least = min(least, t.had)
		}
	}
	for _, t := range m.threads {
		if t.busy {
			continue
		}
		if t.left, t.done, t.busy = t.next(); t.busy && !t.on {
			if least < math.MaxInt64 { // who has slept has no more of a claim than a slice
				t.had = max(t.had, least-m.slice)
			}
			if t.quota != nil {
				t.quota.take()
			}
		}
	}
	for i, t := range m.cpus {
		if t != nil && !t.busy {
			m.off(i)
			if t.quota != nil {
				t.quota.sleep()
			}
		}
	}
}

// off ends a thread's turn.
func (m *machine) off(i int) {
	t := m.cpus[i]
	m.cpus[i], t.on, t.ran = nil, false, 0
	if t.quota != nil {
		t.quota.take()
	}
}

// first is who waits and has had the least; nil: nobody.
func (m *machine) first() (first *thread) {
	for _, t := range m.threads {
		if !t.on && t.ready() && (first == nil || t.had < first.had) {
			first = t
		}
	}
	return first
}

// turns gives processors to those who wait.
func (m *machine) turns() {
	for {
		t := m.first()
		if t == nil {
			return
		}
		free := -1
		for i, c := range m.cpus {
			if c == nil {
				free = i
				break
			}
			if c.ran >= m.slice && c.had > t.had && (free < 0 || c.had > m.cpus[free].had) {
				free = i
			}
		}
		if free < 0 {
			return
		}
		if m.cpus[free] != nil {
			m.off(free)
		}
		m.cpus[free], t.on = t, true
	}
}

// pass is until something happens.
func (m *machine) pass(at time.Duration) {
	d := at - m.now
	m.now = at
	for _, t := range m.cpus {
		if t == nil {
			continue
		}
		t.left, t.had, t.ran = t.left-d, t.had+d, t.ran+d
		if t.quota != nil {
			t.quota.left -= d
		}
	}
	tick := m.now >= m.look
	if tick {
		m.look += m.tick
	}
	for i, t := range m.cpus {
		if t == nil {
			continue
		}
		if t.quota != nil && tick {
			if t.quota.take(); t.quota.still {
				m.off(i)
			}
		}
		if t.left <= 0 {
			t.busy = false
			t.done()
		}
	}
	for _, t := range m.threads {
		if t.quota != nil && m.now >= t.quota.refill {
			t.quota.fill()
		}
	}
}
