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

// Receive takes a frame that another node has sent. It does not block.
func (e *Engine) Receive(node string, frame []byte) { panic("contract") }

// Gone says that a node has died or has begun anew: what it was asked and has not
// answered is asked again of the owner that takes its place; its sessions' sources
// and subscriptions go from all presentities here; its durable subscriptions (SIP
// dialogs) are adopted by this node, and the edges told (ClusterEdge.Adopt). What the edges
// have to say again is told to them by Lost.
func (e *Engine) Gone(node string) { panic("contract") }

// Arrive says that presentities have come here to stay (their node has died): those
// which hold something durable are loaded now, and their watchers told.
func (e *Engine) Arrive(of []presence.Entity) { panic("contract") }

// Disown drops everything that this node owns, without a word to anybody: its lease
// has run out, and others may act already. What is submitted meanwhile waits for
// its owner, bounded in number and time. A Saver that answers Config.Fenced has the same
// effect but for the dropping: the engine stands still until Disown.
func (e *Engine) Disown() { panic("contract") }

// Found says that the owner of presentities is known now, or has changed: what
// waited for them goes there.
func (e *Engine) Found(of []presence.Entity) { panic("contract") }

// Lost has every edge say again what it had said to the owners of presentities for
// which lost is true: see ClusterEdge.Lost.
func (e *Engine) Lost(lost func(presence.Entity) bool) {
	for _, x := range e.edges {
		if c, ok := x.Edge.(ClusterEdge); ok {
			c.Lost(lost)
		}
	}
}

// Export takes a presentity out to be moved: when what it waits for is saved, done
// gets its whole state; nil: nothing is held here, so that the home may as well be given
// back. Inputs that come afterwards wait, until Forget, after which
// they go to the new owner, or KeepHere, after which they are taken here as ever. An error
// ends the Export.
func (e *Engine) Export(of presence.Entity, done func(state []byte, err error)) error {
	panic("contract")
}

// Forget ends an Export: the presentity lives elsewhere now.
func (e *Engine) Forget(of presence.Entity) { panic("contract") }

// KeepHere ends an Export that led nowhere.
func (e *Engine) KeepHere(of presence.Entity) { panic("contract") }

// Import takes over what Export has made on another node, after which Owner may name
// this node; Found has what waits for it taken. The home is here already. An error: the state cannot be
// read; Arrive then, and Lost for it on all nodes.
func (e *Engine) Import(of presence.Entity, state []byte) error { panic("contract") }

// CallEdge asks an edge on another node something: its Called gets the request. done
// is called once, and not before CallEdge has returned: with the answer, or with ErrGone when the
// node goes first or CallTime passes. ErrOverload at once means that done will not be called.
func (e *Engine) CallEdge(node, edge string, request []byte, done func(answer []byte, err error)) error {
	panic("contract")
}

// CallOwner is CallEdge at the owner of an entity, which may be this node; when the
// owner changes meanwhile, the new one is asked. Calls about one entity may overtake each
// other when its owner changes.
func (e *Engine) CallOwner(of presence.Entity, edge string, request []byte, done func(answer []byte, err error)) error {
	panic("contract")
}

// Reach calls an edge on every other node at which the user has a subscription of
// the private package presence.Reach on that edge; done gets the answers of those who
// answered, or an error when the owner cannot be asked. With no other node it is called with none.
func (e *Engine) Reach(of presence.Entity, edge string, request []byte, done func(answers [][]byte, err error)) error {
	panic("contract")
}

// Term is Peers.Term: not 0 while this node owns the entity.
func (e *Engine) Term(of presence.Entity) uint64 { return e.peers.Term(of) }

// Self is Peers.Self.
func (e *Engine) Self() string { return e.peers.Self() }

// Nodes are the other nodes that are alive.
func (e *Engine) Nodes() []string { return e.peers.Nodes() }
