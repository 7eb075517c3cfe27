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
	// MaxWatcherChanges waiting to be written to rosters: watchers who ask, and
	// contacts whom a document has added or taken away; beyond, the oldest keep
	// their place and new ones are dropped and logged.
	MaxWatcherChanges = 1 << 16
	// UnlistedDelay is the time from a contact's going from a buddy list to the end of
	// the subscription: XCAP has no move, so clients delete an entry and put it
	// elsewhere, and the contact need not be asked again for that.
	UnlistedDelay = 800 * time.Millisecond
	// MaxPreBind elements before a resource is bound.
	MaxPreBind = 16
	// MaxPEPItems of a node (XEP-0163), which "max" means in its configuration.
	MaxPEPItems = 256
	// MaxPEPNode bytes of a node with all its items; over it a publication is
	// not-acceptable with payload-too-big (XEP-0060 §7.1.3.4) when the item alone is, else
	// resource-constraint. How many nodes there may be is the bound on a user's documents.
	MaxPEPNode = 400 << 10
	// MaxNodeName bytes of a node's name, and MaxItemID of an item's id.
	MaxNodeName = 512
	MaxItemID   = 512
	// MaxPEPSource bytes of an item that contacts are notified of. Larger ones
	// (pictures, key bundles) are for those who ask.
	MaxPEPSource = 16 << 10
	// MaxPEPSources nodes whose items contacts are notified of, besides those that
	// also mean something to SIP; of further ones only the user's own clients are told.
	MaxPEPSources = 24
	// MaxCaps sets of entity capabilities (XEP-0115) that are known at once,
	// MaxCapsKey bytes of what names one, and MaxNotify nodes that one client wants events of.
	MaxCaps    = 8192
	MaxCapsKey = 256
	MaxNotify  = 128
	// MaxVCard bytes of a vCard (XEP-0054) without its photo, which is bounded as the
	// item of a node is; over it a set is not-acceptable.
	MaxVCard = 64 << 10
	// MaxPrivate elements in one set of private storage (XEP-0049).
	MaxPrivate = 32
	// MaxIcons of users whose status icons wait to be taken over from XCAP; beyond,
	// they are not, and logged.
	MaxIcons = 1 << 12
	// MaxForm fields and values of one data form (XEP-0004).
	MaxForm = 64
	// MaxRecent messages handed to sessions are known, where there are several nodes, so that
	// none is handed over twice when a session elsewhere gives it back.
	MaxRecent = 1 << 14
	// TurnTime is how long one session may take to be handed the stored messages and to prove that its
	// client has them, before another one of the user's is handed them too.
	TurnTime = 10 * time.Second
	// MaxHanded stored messages, and about MaxHandedBytes of them, are handed to a session before
	// its client has proved that it has them; then come the next ones.
	MaxHanded      = 256
	MaxHandedBytes = 256 << 10
	// ProofTime is how long before the orderly end of a stream without stream management a stored message
	// was sent that counts as arrived although no ping was answered.
	ProofTime = 5 * time.Second
	// RenewRate inputs a second at most say again what a lost owner knew, and MaxLost losses
	// are told apart until then; beyond, everything is said again.
	RenewRate = 50_000
	MaxLost   = 64
	// DoubtTime from then on a contact's session that is missing may only not have been said
	// again yet; only afterwards it counts as gone. A contact of whom nothing is heard at
	// all stays as it was for DoubtRounds of it.
	DoubtTime   = 800 * time.Millisecond
	DoubtRounds = 10
	// MoveTime is how long a session that was handed over to another node is kept, in case
	// that node dies before it has taken it.
	MoveTime = 15 * time.Second
	// MaxNewcomers wait in line when the gate is closed to them, for AdmitTime at most; others are
	// told resource-constraint.
	MaxNewcomers = 1 << 12
	AdmitTime    = 8 * time.Second
	// StanzaTime is how long the presence that a change on another node brings waits for the
	// subscription stanza that may come with it.
	StanzaTime = 40 * time.Millisecond
	// MaxCalls of other nodes that wait for one another, for each sixty-fourth of the
	// users; beyond, they are answered as if nobody were here.
	MaxCalls = 1 << 12
	// CallTime is how long the answer of another node is waited for.
	CallTime = 5 * time.Second
	// MaxSubmitWait is how long an overloaded engine is asked again.
	MaxSubmitWait = 10 * time.Second
)
