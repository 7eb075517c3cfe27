package engine

import "pharos/presence"

// Peers tells where presentities live and reaches other nodes. None of its
// methods may block.
type Peers interface {
	// Owner names the node that owns the entity; "" is this one.
	Owner(e presence.Entity) string
	// Step is Submit on another node.
	Step(node string, to presence.Entity, in presence.Input, done func(presence.Outcome, error)) error
	// Notify hands a notice to an edge on another node.
	Notify(node string, n *presence.Notice)
}

// Alone is Peers of a single node: everybody lives here.
type Alone struct{}

// Owner is always this node.
func (Alone) Owner(presence.Entity) string { return "" }

// Step finds no other node.
func (Alone) Step(string, presence.Entity, presence.Input, func(presence.Outcome, error)) error {
	return ErrStopped
}

// Notify finds no other node: the watcher's node is gone, and so is he.
func (Alone) Notify(string, *presence.Notice) {}
