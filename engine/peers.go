package engine

import "pharos/presence"

// Peers tells where presentities live and carries frames to the same engine on
// other nodes. None of its methods may block.
//
// How the nodes share the work: each presentity has one owner, the node at which
// its home is. Sources, subscriptions and versions are the owner's. Transports
// stay where the client has connected: an XMPP session and a SIP dialog live on the
// node of their connection and die with it. An edge submits to the engine of its own node,
// which takes the input to the owner; notices come back to the node of the
// watcher (Via.Node). Whatever an owner holds is either in the store or can be
// said again by the edges, so that any node may be lost: see Edge.Lost.
type Peers interface {
	// Self is this node's name, which Via.Node and Source.Node have; "" when there
	// are no others. It is the same always.
	Self() string
	// Owner names the node that owns e, as far as it is known here; ok is false where it
	// is not. Of others it may be out of date. This node it names only if e is owned here
	// and may be worked on: not before Import, when e is moved here, and not any more once
	// it has been moved away.
	Owner(e presence.Entity) (node string, ok bool)
	// Term is the epoch of the home of e, which rises with each change, while this node
	// has it; else 0. An edge that keeps something of a user at his owner knows by it
	// whether it is still the newest.
	Term(e presence.Entity) uint64
	// Era is the number of this node's lease: another one when it had to stop and has begun
	// anew, 0 while it may not act.
	Era() uint64
	// Locate asks the truth for the owner, since Owner knew none or a wrong one, and has one
	// chosen for a presentity that has none. done is called once, on another goroutine.
	Locate(e presence.Entity, done func(node string, err error))
	// Send carries a frame to another node. Frames of one node to another come in
	// order and once, as long as neither has gone (Gone is called then, when the last one
	// that is taken from it has been handed over). ErrOverload: the
	// queue to it is full, and this frame has not been taken. The frame is the callee's.
	Send(node string, frame []byte) error
	// Nodes are the others that are alive.
	Nodes() []string
	// Valid tells whether this node may act as an owner now: its lease has not run
	// out. It is asked for each round of a shard, and must be cheap.
	Valid() bool
}

// Alone is Peers of a single node: everybody lives here.
type Alone struct{}

// Self is nobody in particular.
func (Alone) Self() string { return "" }

// Owner is always this node.
func (Alone) Owner(presence.Entity) (string, bool) { return "", true }

// Term is always the first.
func (Alone) Term(presence.Entity) uint64 { return 1 }

// Era is always the first.
func (Alone) Era() uint64 { return 1 }

// Locate finds this node.
func (Alone) Locate(_ presence.Entity, done func(string, error)) { go done("", nil) }

// Send finds no other node.
func (Alone) Send(string, []byte) error { return ErrStopped }

// Nodes are none.
func (Alone) Nodes() []string { return nil }

// Valid is always true.
func (Alone) Valid() bool { return true }
