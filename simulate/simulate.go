// Package simulate plays the load control in virtual time: the code that decides in the
// servers (balance, the rules of load, redirect) over a model of what it decides about.
//
// Decisions are real, work is reckoned. Users are counts: of each node those who have
// their home there, the phones and the chat clients connected to it. What happens at a moment (a death, a
// round of the leader, a renewed lease, a group of a move) happens at that moment, to a tenth of a second;
// what many do all the time (changes, refreshes, logins) is a flow that is summed up over each tenth, and
// passes the gate of its node as a share. A node is a queue in front of its processors, the database
// one in front of what it was measured to do. Of more than 64 nodes, 64 choose homes for newcomers
// on behalf of all; of redirects a sample is decided by the real code.
//
// The same scenario with the same seed has the same result, to the bit.
package simulate

import (
	"context"
	"time"
)

// Options of a run.
type Options struct {
	// Progress is told now and then which share is done; may be nil.
	Progress func(done float64)
	// Clock has the leader's rounds timed by the clock on the wall; nil: they are not.
	Clock func() time.Time
}

// Run simulates a scenario, which must have passed Check. The error is ctx's.
func Run(ctx context.Context, s Scenario, o Options) (*Result, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	w := newWorld(&s, o)
	for w.now < time.Duration(s.Length) {
		w.step()
		if w.steps%100 == 0 {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if o.Progress != nil {
				o.Progress(float64(w.now) / float64(s.Length))
			}
		}
	}
	return w.result(), nil
}
