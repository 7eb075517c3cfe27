package jabber

import (
	"time"

	"pharos/presence"
)

// Bounds of what one user, session or stanza may cost. Over a bound the peer
// gets the error that the standard names.
const (
	// MaxResources of one user, hibernating ones included; over it binding
	// fails with resource-constraint (RFC 6120 §7.6.2.1).
	MaxResources = 32
	// MaxResourceBytes of a resourcepart (RFC 6122 §2.4).
	MaxResourceBytes = 1023
	// MaxRosterItems of one user, pending requests of others included; over
	// it a set is answered with resource-constraint.
	MaxRosterItems = 5000
	// MaxNameBytes of an item's name, MaxGroups of an item, MaxGroupBytes of
	// a group's name; over them a set is not-acceptable (RFC 6121 §2.3.3).
	MaxNameBytes  = 1023
	MaxGroups     = 64
	MaxGroupBytes = 255
	// MaxDirected addresses that one session may have sent directed presence to.
	MaxDirected = presence.MaxDirected
	// MaxPendingNative is how much of a subscribe stanza's content is kept.
	MaxPendingNative = 4096
	// MaxUnacked stanzas and bytes wait for an acknowledgement of XEP-0198;
	// over it the session ends, and its messages are stored.
	MaxUnacked      = 2000
	MaxUnackedBytes = 4 << 20
	// MaxHibernate is how long a lost stream may be resumed.
	MaxHibernate = 5 * time.Minute
	// MaxForgotten tokens of ended sessions, kept to tell a late resumption
	// what was handled (XEP-0198 §5).
	MaxForgotten = 1024
	// MaxBehind bytes queued to a client before presence to it is held back.
	MaxBehind = 64 << 10
	// MaxHeldWords of gone sources kept per contact while presence is held back.
	MaxHeldWords = 16
	// MaxWatcherChanges waiting to be written to rosters; beyond, the oldest
	// relation keeps its place and new ones are dropped and logged.
	MaxWatcherChanges = 1 << 16
	// MaxPreBind elements before a resource is bound.
	MaxPreBind = 16
	// MaxSubmitWait is how long an overloaded engine is asked again.
	MaxSubmitWait = 10 * time.Second
)
