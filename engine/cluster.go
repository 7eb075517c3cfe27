package engine

import (
	"context"

	"pharos/presence"
)

// What follows is for an engine that has Peers. A single node never calls it.

// Loader reads what was saved of one presentity, when it comes to life on a node
// that has not had it since its home came here. It may block; the inputs wait.
// Sources come with their documents.
type Loader interface {
	Load(ctx context.Context, of presence.Entity) (sources []*presence.Source, subs []*presence.Subscription, err error)
}

// Loaded is what was saved of one presentity.
type Loaded struct {
	Sources       []*presence.Source
	Subscriptions []*presence.Subscription
}

// ManyLoader is a Loader that reads many at once, at little more than the price of one.
// Those of whom nothing was saved may be missing.
type ManyLoader interface {
	Loader
	LoadMany(ctx context.Context, of []presence.Entity) (map[presence.Entity]Loaded, error)
}

// Preparer is an Edge that may have to read something before Deliver can tell whether a user is there,
// since the user's home has come to this node only now. Prepare does so; it may block.
type Preparer interface {
	Prepare(ctx context.Context, of presence.Entity)
}

// Term is Peers.Term: not 0 while this node owns the entity.
func (e *Engine) Term(of presence.Entity) uint64 { return e.peers.Term(of) }

// Left says that a subscription of an edge here goes on at another node: what it was told is forgotten.
func (e *Engine) Left(of presence.Entity, sub string) {
	if e.mirror != nil {
		e.mirror.Forget(of, sub)
	}
}

// Self is Peers.Self.
func (e *Engine) Self() string { return e.peers.Self() }

// Nodes are the other nodes that are alive.
func (e *Engine) Nodes() []string { return e.peers.Nodes() }

// Era is Peers.Era. Whatever an edge holds from an earlier era may have been taken over by
// others meanwhile.
func (e *Engine) Era() uint64 { return e.peers.Era() }
