package presence

import (
	"hash/fnv"
	"time"
)

// State of a subscription (RFC 6665 §4.1.3).
type State uint8

const (
	Active State = iota + 1
	Pending
	Terminated
)

// Reason of a termination (RFC 6665 §4.1.3).
type Reason uint8

const (
	NoReason Reason = iota
	Deactivated
	Probation
	Rejected
	Timeout
	Giveup
	NoResource
	Invariant
)

// String is the word of RFC 6665 §8.4.
func (s State) String() string {
	switch s {
	case Active:
		return "active"
	case Pending:
		return "pending"
	case Terminated:
		return "terminated"
	}
	return "none"
}

// String is the word of RFC 6665 §8.4; "" for NoReason.
func (r Reason) String() string {
	if int(r) < len(reasonNames) {
		return reasonNames[r]
	}
	return ""
}

var reasonNames = [...]string{"", "deactivated", "probation", "rejected", "timeout", "giveup", "noresource", "invariant"}

// Via is where a watcher sits: node "" is this one; Edge is the name the edge
// registered under; Handle is the edge's own (dialog id, full JID).
type Via struct{ Node, Edge, Handle string }

// Subscription is a watcher's standing with one presentity.
type Subscription struct {
	ID      string // unique per presentity; chosen by the edge
	Watcher Entity
	Via     Via
	State   State
	Event   WatcherEvent // what brought it into its state
	Durable bool         // saved, and restored after a restart
	Private bool         // as in Watch
	Expires time.Time    // zero: as long as the session
	Opaque  []byte       // the edge's own state (SIP dialog), saved with it
	Shown   *View        // what the watcher was last told
	Created time.Time
	Package string // event package; "": presence
}

// Sum stands for an edge's state of a subscription, where it is asked whether it is still the same; never 0.
func Sum(opaque []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(opaque)
	return max(1, h.Sum64())
}
