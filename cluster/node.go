package cluster

import (
	"context"
	"log/slog"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// States of a node, as its row has them.
const (
	Standby  = "standby"  // runs, takes no users
	Joining  = "joining"  // is being added
	Active   = "active"   // takes users
	Draining = "draining" // its users go to the others
	Dead     = "dead"     // its lease ran out and somebody has said so
	Left     = "left"     // it has given its lease back
)

// Engine is what a Node needs of engine.Engine.
type Engine interface {
	Receive(node string, frame []byte)
	Gone(node string)
	Lost(lost func(presence.Entity) bool)
	Arrive(of []presence.Entity)
	Disown()
	Found(of []presence.Entity)
	Export(of presence.Entity, done func(state []byte, err error)) error
	Forget(of presence.Entity)
	KeepHere(of presence.Entity)
	Import(of presence.Entity, state []byte) error
}

// Control decides about load. Only the leader asks it.
type Control interface {
	// Round is asked once a second with the living nodes; term is the leader's, and a new one means that
	// what was decided before may be forgotten. It does not block.
	Round(now time.Time, term uint64, nodes []Member) Orders
}

// Orders of a round.
type Orders struct {
	// Moves of users from one node to another. None is begun while a node is joining.
	Moves []Order
	// States that nodes are to take, by their names.
	States map[string]string
}

// Order has about so many users move.
type Order struct {
	From, To string
	Users    int
}

// Config of a Node.
type Config struct {
	Name     string
	Registry Registry
	Bus      Bus
	Address  Address
	Version  string  // of the program
	Max      float64 // level that this node may reach
	State    string  // in which it begins: Active (also "") or Standby
	Moves    int     // users moved away a second, at most; 0: 1000
	// Load is this node's level and how many users it has; nil: each home counts one.
	Load func() (level float64, users int)
	// Admit chooses the node for somebody without a home; nil: this one if it is active,
	// else the active one with the most room. It is called by one goroutine at a time.
	Admit func(of presence.Entity) (node string)
	// Seen gets the table of nodes each time that it was read; may be nil.
	Seen func(nodes []Member)
	// Control is the load control; nil: there is none, and a node that drains moves its homes itself.
	Control Control
	// Fence is store.Store's: it is called with each new epoch, before anything is saved under it.
	Fence func(node string, epoch uint64)
	Log   *slog.Logger // nil: discards
}

// Node is this process as one of several that are one service. It is the engine's
// Peers. Its methods are safe for concurrent use, except that Use and Topic come before Run.
type Node struct {
	c      Config
	engine Engine
}

var _ engine.Peers = (*Node)(nil)

// New makes a node that does nothing yet.
func New(c Config) *Node { return &Node{c: c} }

// Use sets the engine, before Run.
func (n *Node) Use(e Engine) { n.engine = e }

// Topic sets who takes what other nodes Tell under a letter of its own, before Run. missed says that
// something of that node's may have been lost. Both must not block for long.
// 'e' and 'n' are taken.
func (n *Node) Topic(letter byte, heard func(from string, b []byte), missed func(from string)) {
	panic("contract")
}

// Tell has the other nodes hear b under a letter: at most once, in order.
func (n *Node) Tell(letter byte, b []byte) error { panic("contract") }

// Run takes part until ctx ends. When it ends, Leave was called or others will bury this node.
func (n *Node) Run(ctx context.Context) error { panic("contract") }

// Drain moves everything that lives here to the others, as fast as they take it, until ctx ends.
// It is for the end: nothing new comes here afterwards.
func (n *Node) Drain(ctx context.Context) error { panic("contract") }

// Leave gives the lease back; after it the node owns nothing, and Run ends.
func (n *Node) Leave(ctx context.Context) error { panic("contract") }

// Members are all nodes, as last seen.
func (n *Node) Members() []Member { panic("contract") }

// Leading tells whether this node is the leader now, and in which term.
func (n *Node) Leading() (term uint64, ok bool) { panic("contract") }

// SetState asks a node, which may be this one, to take a state: Active, Standby, Joining or Draining.
func (n *Node) SetState(node, state string) error { panic("contract") }

// SetMax asks a node, which may be this one, to take another maximum level, until it is started anew.
func (n *Node) SetMax(node string, level float64) error { panic("contract") }

// Move hands presentities that live here over to another node and returns how many have moved.
func (n *Node) Move(ctx context.Context, of []presence.Entity, to string) (int, error) {
	panic("contract")
}

// Self is engine.Peers'.
func (n *Node) Self() string { return n.c.Name }

// Owner is engine.Peers'.
func (n *Node) Owner(presence.Entity) (string, bool) { panic("contract") }

// Term is engine.Peers'.
func (n *Node) Term(presence.Entity) uint64 { panic("contract") }

// Locate is engine.Peers'.
func (n *Node) Locate(presence.Entity, func(string, error)) { panic("contract") }

// Send is engine.Peers'.
func (n *Node) Send(string, []byte) error { panic("contract") }

// Nodes are engine.Peers'.
func (n *Node) Nodes() []string { panic("contract") }

// Valid is engine.Peers'.
func (n *Node) Valid() bool { panic("contract") }

// carrier is what a Node needs of Links. An incarnation is a node's epoch: a frame is delivered only
// between the incarnations for which it was sent, so that nothing that a node has said before
// it was declared dead comes after what its successors say.
type carrier interface {
	// Begin drops everything and starts anew as this incarnation; 0: silent until the next Begin.
	Begin(epoch uint64)
	// Open begins a link with a node in an incarnation; what comes from it before waits
	// at the sender. Open with another one drops what there was.
	Open(node string, epoch uint64)
	// Close ends a link and drops what waits.
	Close(node string)
	// Send is engine.Peers'; engine.ErrGone without a link.
	Send(node string, frame []byte) error
	// Broadcast sends to all: at most once, in order; who misses one is told.
	Broadcast(frame []byte) error
	// RTT is the smoothed time to a node and back; 0: not known.
	RTT(node string) time.Duration
	// Run serves until ctx ends.
	Run(ctx context.Context) error
}
