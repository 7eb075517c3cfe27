// Package load is admission: may this piece of work enter now, and if not,
// when to come again. It knows nothing of ours.
package load

import (
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// Class of work, in the order in which it is shed: the first goes first.
type Class uint8

const (
	Newcomer Class = iota // new subscription, login, registration
	Message
	Publish
	Refresh // never shed before all others

	classes = 4
)

// String is the name of the class in logs and metrics.
func (c Class) String() string {
	return [...]string{"newcomer", "message", "publish", "refresh"}[min(c, Refresh)]
}

// rules per class. Below From all is admitted, above Until nothing; between
// them a rising share is refused, so that load is shed smoothly and not all of
// it in the same instant. A class is refused wholly before the next one is touched.
var rules = [classes]struct {
	From, Until float64       // fullness of the queues, 0..1
	Retry       time.Duration // least wait; see Wait
}{
	Newcomer: {0.50, 0.65, 5 * time.Second},
	Message:  {0.65, 0.80, 2 * time.Second},
	Publish:  {0.80, 0.90, 2 * time.Second},
	// Whoever is refused a refresh loses what it had: only when the queues are
	// about to refuse everything anyway.
	Refresh: {0.95, 1.00, 1 * time.Second},
}

// Gate admits work by queue depth and class. Safe for concurrent use.
type Gate struct {
	depth    func() float64
	random   func() float64 // in [0, 1)
	admitted [classes]atomic.Uint64
	refused  [classes]atomic.Uint64
	share    atomic.Pointer[share]
}

// share is what of the work was refused.
type share struct {
	at                time.Time // of the counters
	admitted, refused uint64
	percent           int
}

// NewGate; depth reports the fullness of the inner queues, 0..1. It is called
// with every Enter, by many goroutines.
func NewGate(depth func() float64) *Gate {
	return &Gate{depth: depth, random: rand.Float64}
}

// Refused is the share of the work of a class that is refused when the queues are so full
// (0 to 1): a function without state, which a simulation asks, too.
func (c Class) Refused(full float64) float64 {
	r := rules[min(c, Refresh)]
	switch {
	case full < r.From:
		return 0
	case full < r.Until:
		return (full - r.From) / (r.Until - r.From)
	}
	return 1
}

// Wait is how long who was refused is to wait, in whole seconds; random is in [0, 1). It lies
// between once and three times the least wait of the class, growing to twice that range as
// the queues fill, so that those who were refused together do not come back together.
func (c Class) Wait(full, random float64) time.Duration {
	r := rules[min(c, Refresh)]
	over := min(1, (full-r.From)/(1-r.From))
	wait := float64(r.Retry) * (1 + over) * (1 + 2*random)
	return max(time.Second, time.Duration(wait).Round(time.Second))
}

// Enter answers at once. When refused, retry is a jittered wait for Retry-After, see Wait.
func (g *Gate) Enter(c Class) (ok bool, retry time.Duration) {
	c = min(c, Refresh)
	full := g.depth()
	if share := c.Refused(full); share <= 0 || share < 1 && g.random() >= share {
		g.admitted[c].Add(1)
		return true, 0
	}
	g.refused[c].Add(1)
	return false, c.Wait(full, g.random())
}

// lossWindow is how often Loss is reckoned anew.
const lossWindow = time.Second

// Loss is the share of all work that was refused of late, in percent rounded up: what those who
// can hold back are told to hold back (RFC 7339). It is cheap, and moves in steps of a second.
func (g *Gate) Loss() int {
	now := time.Now()
	s := g.share.Load()
	if s != nil && now.Sub(s.at) < lossWindow {
		return s.percent
	}
	next := &share{at: now}
	for c := range g.admitted {
		next.admitted += g.admitted[c].Load()
		next.refused += g.refused[c].Load()
	}
	if s != nil {
		if r, a := next.refused-s.refused, next.admitted-s.admitted; r > 0 {
			next.percent = int((100*r + r + a - 1) / (r + a))
		}
	}
	if !g.share.CompareAndSwap(s, next) { // another was faster
		return g.share.Load().percent
	}
	return next.percent
}

// Counts of a class since the start.
func (g *Gate) Counts(c Class) (admitted, refused uint64) {
	c = min(c, Refresh)
	return g.admitted[c].Load(), g.refused[c].Load()
}
