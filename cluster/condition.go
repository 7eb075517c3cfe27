package cluster

import (
	"fmt"
	"time"
)

// What a node can be, as Condition.Is says it.
const (
	IsValid   = "valid"        // it has a lease, and acts for users
	IsStill   = "still"        // its lease has run out: it acts again once the database renews it
	IsWaiting = "waiting"      // it has not taken part yet since it was started
	IsDown    = "stepped down" // it has stopped taking part, and waits to do so again
)

// Condition is whether a node takes part, since when, and, if it does not, why.
type Condition struct {
	Is    string    `json:"is"`
	Since time.Time `json:"since"`
	Why   string    `json:"why,omitempty"`
}

// Words say what a node is, of one that has a state, or would have if it took part.
func (c Condition) Words(state string) string {
	switch c.Is {
	case IsStill:
		return "stands still, its lease has run out"
	case IsWaiting:
		return "waits, and does not take part yet"
	case IsDown:
		return "has stepped down, and waits to take part again"
	}
	return "takes part as " + state
}

// Condition tells whether this node takes part.
func (n *Node) Condition() Condition {
	n.mu.RLock()
	defer n.mu.RUnlock()
	c := Condition{Is: IsValid, Since: n.taking.since, Why: n.taking.why}
	switch {
	case n.era.Load() == 0 && !n.entered:
		c.Is = IsWaiting
	case n.era.Load() == 0:
		c.Is = IsDown
	case !n.Valid():
		c.Is = IsStill
		if over := n.untilWall.Load(); over > 0 {
			c.Since = time.Unix(0, over)
		}
	default:
		c.Why = ""
	}
	return c
}

// taking is what Condition remembers; guarded by Node.mu.
type taking struct {
	since time.Time // when this node began or ended to take part
	why   string    // it does not, or its lease was not renewed the last time
}

// because notes why this node does not take part at present.
func (n *Node) because(format string, args ...any) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.taking.why = fmt.Sprintf(format, args...)
}

// partSince notes that this node has begun or ended to take part, which mu is held for.
func (n *Node) partSince(why string) { n.taking = taking{time.Now(), why} }
