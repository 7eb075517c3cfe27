package presence

import "time"

// Input is one of the inputs below; nothing else reaches a Presentity.
type Input interface{ input() }

// Publish sets a source. With IfMatch the publication that has this tag is
// refreshed (Doc nil) or modified, else ErrNoMatch. NewTag is the entity-tag it
// gets; the caller chooses it, since the domain has no randomness.
type Publish struct {
	ID       SourceID // ignored with IfMatch
	IfMatch  string
	NewTag   string
	Doc      *Document
	Native   Payload
	Lifetime time.Duration // 0: lives until Retract (sessions)
	From     string
}

// Retract removes a source, by tag (publication, ErrNoMatch) or by ID.
type Retract struct {
	ID      SourceID
	IfMatch string
	Native  Payload // XMPP: children of the unavailable presence, told to those who saw the source
}

// Direct is XMPP directed presence (RFC 6121 §4.6): shows one source to one
// watcher until the source goes or is retracted from it. Available false ends it.
type Direct struct {
	Source    *Source
	Watcher   Entity
	Via       Via // of the watcher's edge; Handle may be "" for all its sessions
	Available bool
}

// Watch makes or refreshes a subscription. Lifetime 0 with Fetch asks once.
// Every Watch is answered by a Notice to this subscription, changed or not.
type Watch struct {
	ID       string
	Watcher  Entity
	Via      Via
	Lifetime time.Duration // 0 without Fetch: until Unwatch
	Fetch    bool
	Durable  bool
	Opaque   []byte
}

// Unwatch ends a subscription. Silent: no notice to it (session gone).
type Unwatch struct {
	ID     string
	Reason Reason
	Silent bool
}

// Keep replaces the saved opaque state of a durable subscription.
type Keep struct {
	ID     string
	Opaque []byte
}

// SetPolicy replaces the policy; an older Revision is ignored.
type SetPolicy struct{ Policy *Policy }

// Restore loads what was saved, before any other input; it tells nobody.
type Restore struct {
	Sources       []*Source
	Subscriptions []*Subscription
}

// Tick lets time pass: sources and subscriptions expire.
type Tick struct{}

func (Publish) input()   {}
func (Retract) input()   {}
func (Direct) input()    {}
func (Watch) input()     {}
func (Unwatch) input()   {}
func (Keep) input()      {}
func (SetPolicy) input() {}
func (Restore) input()   {}
func (Tick) input()      {}
