package presence

import "time"

// Input is one of the inputs below; nothing else reaches a Presentity.
type Input interface{ input() }

// Publish sets a source of a package. With IfMatch the publication of this
// package that has this tag is refreshed (Doc nil, and for packages other than
// presence no Native either) or modified, else ErrNoMatch. NewTag is the entity-tag it
// gets; the caller chooses it, since the domain has no randomness. A publication
// modified with the same bytes (Native) counts as refreshed and tells nobody; what a
// session says again is told again (RFC 6121 §4.4.2), but for Again.
//
// Of another package only Native is told to its watchers. With a Doc the
// persons in it take part in the composition of presence as well.
type Publish struct {
	ID       SourceID // ignored with IfMatch; an existing source is replaced
	IfMatch  string
	NewTag   string
	Doc      *Document
	Native   Payload
	Lifetime time.Duration // 0: lives until Retract (sessions)
	From     string
	Package  string // event package whose state this is, in lower case; "": presence
	Node     string // of a session: where its stream is; the engine sets it

	// Since is when a session began, by the clock of the node where it did; zero: unknown. What it says is let go if one at
	// another Node that began later, by ClockSkew at least, has spoken with the same resource (RFC 6120 §7.7.2.2: the newer one stays).
	Since time.Time

	// Again: it is the edge that says it once more, since the owner may have lost it, and
	// not the client. Where it differs from what is there, it is as ever. Said is when the
	// client said it; zero: now. What a session says again is let go if one at another Node has
	// said something later with the same resource.
	Again bool
	Said  time.Time
}

// Retract removes a source of a package, by tag (publication, ErrNoMatch) or by ID. A
// session's that says that it is of another Node stays: somebody has come back there with the
// same resource.
type Retract struct {
	ID      SourceID
	IfMatch string
	Native  Payload // XMPP: children of the unavailable presence, told to those who saw the source
	Package string  // event package, in lower case; "": presence
	Node    string  // of a session: as in Publish; "": any
}

// Direct is XMPP directed presence (RFC 6121 §4.6): shows one source to one
// watcher until the source goes or is retracted from it. Available false ends it.
// The source need not be published (a session without initial presence).
//
// The user has addressed this watcher himself, so of the policy only a block
// counts: then nobody is told and Outcome.State is Terminated. When the source goes, the
// watcher is told by a Direct notice with its last words, unless a subscription
// of his on the same edge shows him the source and so tells him anyway.
type Direct struct {
	Source    *Source
	Watcher   Entity
	Via       Via // of the watcher's edge; Handle may be "" for all its sessions
	Available bool

	// Again: it is the edge that says it once more, since the owner may have lost it or the
	// session has moved. Nobody is told.
	Again bool
}

// Watch makes or refreshes a subscription. Lifetime 0 with Fetch asks once.
// Every Watch is answered by a Notice to this subscription, changed or not.
// Outcome.State says how it stands; the Notice to a fetch that is not refused is
// Terminated with Timeout (RFC 6665 §4.4.3), with a View if the watcher may have one.
//
// A refresh may come from elsewhere: the subscription is then where its last Via says.
// Of Reach there are no notices; its Outcome.State is the only answer.
//
// With Was it replaces the Opaque of a living subscription only if Was is Sum of that, else ErrOvertaken: of two
// who take it over at the same time one comes second, and has to look again. What is saved already may come again.
type Watch struct {
	ID       string
	Watcher  Entity
	Via      Via
	Lifetime time.Duration // 0 without Fetch: until Unwatch
	Fetch    bool
	Durable  bool
	Opaque   []byte
	Was      uint64 // Sum of the Opaque that it replaces; 0: whatever there is
	Package  string // event package, in lower case; "": presence
	Private  bool   // the package is for the presentity itself: others are refused
}

// Unwatch ends a subscription. Silent: no notice to it (session gone). The last
// notice of an active one brings the View, save with Rejected and NoResource.
//
// Leaving: it is the watcher's own word, whatever the Reason that he is told, and
// others hear so (RFC 3857 §4.7.1: timeout).
type Unwatch struct {
	ID      string
	Reason  Reason
	Silent  bool
	Leaving bool
}

// Keep replaces the saved opaque state of a durable subscription. It counts from the node at which the
// watcher's edge is by the owner's word; from any other it is ErrNoSubscription. Was is as in Watch.
type Keep struct {
	ID     string
	Node   string // of the edge; filled in by the engine
	Opaque []byte
	Was    uint64
}

// SetPolicy replaces the policy; an older Revision is ignored. All living
// subscriptions and directed presence are decided again.
type SetPolicy struct{ Policy *Policy }

// Restore loads what was saved, before any other input; it tells nobody. The
// subscriptions are told nothing until a SetPolicy has decided them, since the
// policy may have changed meanwhile; then they learn of the next change, or at
// once by Renotify.
type Restore struct {
	Sources       []*Source
	Subscriptions []*Subscription
}

// Renotify tells every subscription its present state once more. After a
// restart the watchers' phones still show what sessions said that died with the
// process; restored subscriptions learn the truth by this.
type Renotify struct{}

// Remove ends everything: the user is no more. Subscriptions end with
// NoResource (RFC 6665 §4.1.3).
type Remove struct{}

// Touch tells the watchers of an event package that what they are shown has
// changed, where that is not a source of the presentity (its XCAP documents, the
// members of a list). Their next View has a new Version and nothing else new.
type Touch struct{ Package string }

// Undo takes back what the saves of an outcome stood for, since they failed and
// the caller was told so: a new source or subscription goes, a modified source
// is again what it was, with its old entity-tag. What has been replaced since, and
// what was deleted, stays as it is.
type Undo struct{ Saves []Save }

// Depart says that a node has gone: sources of its sessions, published or not, and its
// subscriptions that are not durable end (Unwatch with Leaving and Silent); its durable
// subscriptions go on at the node To, are saved so and in Outcome.Adopted, and are answered
// there with everything, since nobody knows what has reached the watcher. With To ""
// they stay.
type Depart struct{ Node, To string }

// Assume puts a whole presentity in place, as Export gave it on another node, before
// any other input. Nobody is told, since nothing has changed.
type Assume struct{ Holding *Holding }

// Tick lets time pass: sources and subscriptions expire. Every other input does
// so too, before it is looked at.
type Tick struct{}

func (Publish) input()   {}
func (Retract) input()   {}
func (Direct) input()    {}
func (Watch) input()     {}
func (Unwatch) input()   {}
func (Keep) input()      {}
func (SetPolicy) input() {}
func (Restore) input()   {}
func (Renotify) input()  {}
func (Remove) input()    {}
func (Touch) input()     {}
func (Undo) input()      {}
func (Depart) input()    {}
func (Assume) input()    {}
func (Tick) input()      {}
