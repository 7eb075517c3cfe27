package presence

import "time"

// Presentity is one user's presence. It is not safe for concurrent use: one
// owner steps it.
type Presentity struct {
	entity Entity
}

// New makes an empty presentity.
func New(e Entity) *Presentity { return &Presentity{entity: e} }

// Step is where the protocols meet. An error means that nothing changed.
func (p *Presentity) Step(now time.Time, in Input) (Outcome, error) { panic("contract") }

// Deadline is when Tick is due; zero for never.
func (p *Presentity) Deadline() time.Time { panic("contract") }

// Idle is true when nothing is held and the presentity may be dropped from memory.
func (p *Presentity) Idle() bool { panic("contract") }

// Explanation says step by step what one watcher sees, and why.
type Explanation struct {
	Watcher, Presentity Entity
	Decision            Decision
	Handling            string
	Subscriptions       []Subscription // of this watcher
	Sources             []*Source
	View                *View
	Version             uint64
}

// Explain walks the same way as Step does, changing nothing.
func (p *Presentity) Explain(now time.Time, watcher Entity) Explanation { panic("contract") }
