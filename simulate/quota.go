package simulate

import (
	"math/rand/v2"
	"time"
)

// quota is what a control group with a processor quota lets its process have, as Linux does it (kernel/sched/fair.c, "CFS
// bandwidth"). At each period a pool is filled up to the quota, of which a processor takes all when it has none left. Whether it has is
// looked at on the processor's clock's ticks, and when another thread's turn comes. So a process runs on for milliseconds
// that it does not have, stands still until as many periods have paid for them, and for what it owes at the end of its work nobody waits.
type quota struct {
	period, part, keep time.Duration
	left               time.Duration // of the processor; below 0: it owes
	pool               time.Duration
	refill             time.Duration // when the next period begins
	still              bool          // it stands still
}

// newQuota is one at any moment of a period.
func newQuota(rnd *rand.Rand, e *Experiment) *quota {
	within := func(d time.Duration) time.Duration { return time.Duration(rnd.Float64() * float64(d)) }
	part := time.Duration(float64(e.Period) * e.Cores)
	return &quota{period: e.Period, part: part, keep: e.Keep, left: within(e.Keep), pool: part, refill: within(e.Period) + 1}
}

// take has the processor take what is in the pool, if it needs it.
func (q *quota) take() {
	if q.left <= 0 {
		q.left, q.pool = q.left+q.pool, 0
		q.still = q.left <= 0
	}
}

// sleep gives back what is left, but for what a processor may keep.
func (q *quota) sleep() {
	if d := q.left - q.keep; d > 0 {
		q.left, q.pool = q.left-d, q.pool+d
	}
}

// fill is the beginning of a period.
func (q *quota) fill() {
	q.pool, q.refill = q.part, q.refill+q.period
	if q.still { // it gets no more than lets it go on
		d := min(q.pool, 1-q.left)
		q.left, q.pool = q.left+d, q.pool-d
		q.still = q.left <= 0
	}
}
