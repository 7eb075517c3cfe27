package presence

import (
	"errors"
	"time"
)

// ErrNoMatch: no publication has this entity-tag (RFC 3903 §6: 412).
var ErrNoMatch = errors.New("presence: no publication with this entity-tag")

// ErrNoSubscription: no such subscription (RFC 6665 §4.2.1: 481).
var ErrNoSubscription = errors.New("presence: no such subscription")

// ErrOvertaken: another has saved a state of the subscription since the one that was to be replaced (Watch.Was).
var ErrOvertaken = errors.New("presence: the subscription was changed by another")

// ErrTooMany: the bound on sources or subscriptions of one user is reached.
var ErrTooMany = errors.New("presence: too many publications or subscriptions")

// Outcome of a step: save, then acknowledge, then announce. The notices are in
// the order in which things happened.
type Outcome struct {
	Tag      string        // entity-tag of the publication
	Lifetime time.Duration // granted
	State    State         // of the subscription that Watch made
	Saves    []Save
	Notices  []*Notice
	Watchers []WatcherChange
	Adopted  []*Subscription // copies of the durable ones that Depart has moved, in no order
}

// Save is one record to make durable before the acknowledgement. Exactly one
// of Source and Subscription is set, or for Delete neither.
type Save struct {
	Presentity   Entity
	Kind         SaveKind
	Key          string // source key or subscription id
	Delete       bool
	Source       *Source
	Subscription *Subscription // a copy, made for the save

	before *Source // what Undo puts back; nil when the source is new
	fresh  bool    // the save made a source or subscription that was not there
}

// SaveKind tells the two kinds of records apart.
type SaveKind uint8

const (
	SavedSource SaveKind = iota + 1
	SavedSubscription
)

// Notice tells a group of watchers on one edge the same thing: all Targets have
// the same class, and were all shown the same before.
type Notice struct {
	Presentity Entity
	Node       string // where the edge is; "" is this node
	Edge       string
	Package    string // event package; "": presence
	State      State
	Reason     Reason
	View       *View      // nil when pending or refused; whoever was shown something (Target.Shown) no longer is
	LastWords  []LastWord // of sources that went away with this change, where they left one
	Answer     bool       // answers a Watch, or a Renotify: must be sent even if nothing changed
	Direct     *Direct    // set for directed presence instead of View; the Source may be one that went
	Targets    []Target
}

// LastWord is what a source said when it went (the children of an unavailable
// presence).
type LastWord struct {
	ID     SourceID
	Native Payload
}

// Target is one subscription of a Notice.
type Target struct {
	Sub     string
	Watcher Entity
	Handle  string
	Expires time.Time
	Shown   *View // what this watcher was told before; nil at first
}

// WatcherChange reports a change of a subscription's state, for watcher
// information and for asking the user (RFC 3857 §4.7.1). Without Sub it is about
// somebody who waits without one (Policy.Waiting), and whom a rule's time or sphere
// has let in.
type WatcherChange struct {
	Presentity Entity
	Watcher    Entity
	Sub        string
	Edge       string
	State      State
	Reason     Reason
	At         time.Time
	Package    string
}
