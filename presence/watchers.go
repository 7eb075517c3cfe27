package presence

import "time"

// WatcherInfo is the event package of RFC 3857 for presence: a View of it holds
// the watchers, and changes when a subscription to presence comes, changes its state
// or goes. It is private.
const WatcherInfo = "presence.winfo"

// Watcher is one subscription to presence as its presentity may know it (RFC
// 3858 §3.3). It is a value; unchanged ones are equal.
type Watcher struct {
	ID      string // of the subscription; stable
	Watcher Entity
	State   State
	Waiting bool // asked, is gone, and is to be told when the user has answered (RFC 3857 §4.7.1); State is Pending
	Event   WatcherEvent
	Since   time.Time // when the subscription was made
	Expires time.Time // zero: as long as its session
}

// WatcherEvent is what brought a watcher into its state (RFC 3858 §3.3).
type WatcherEvent uint8

const (
	EventSubscribe WatcherEvent = iota + 1
	EventApproved
	EventDeactivated
	EventProbation
	EventRejected
	EventTimeout
	EventGiveup
	EventNoResource
)
