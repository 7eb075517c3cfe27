// Package cluster makes one service of several nodes: membership with leases, homes
// of presentities, the leader, the moves, and the links that carry frames between
// engines, with NATS as the bus.
//
// Truth about who may act is in the store, not on the bus. A node has a lease; when its own
// clock says that it has run out, it stops acting before others take over. What it
// saves carries its epoch, and fails once the node was declared dead.
package cluster

import (
	"context"
	"time"

	"pharos/presence"
	"pharos/store"
)

// MaxDatagram is how many bytes a Bus carries at once. NATS takes 1 MB unless it is
// told otherwise; there is room left for what seals a datagram.
const MaxDatagram = 512 << 10

// Bus carries datagrams between nodes: at most once, in any order, to those who are
// there. Everything else is made on top of it (link.go). The implementations are NATS,
// embedded or external, and Memory for tests.
type Bus interface {
	// Send hands bytes to a node; an error is only for what can never work: more than
	// MaxDatagram, or this node itself. The bytes are the caller's again afterwards.
	Send(node string, b []byte) error
	// Broadcast hands bytes to all other nodes.
	Broadcast(b []byte) error
	// Receive sets who takes what comes; before Run. It must not block for long, and
	// the bytes are the callee's.
	Receive(func(from string, b []byte))
	// Reached tells whether a node is connected at present, as far as the bus knows.
	Reached(node string) bool
	// Run serves until ctx ends.
	Run(ctx context.Context) error
}

// Member is one row of the table of nodes, Address where clients and servers find it,
// Home where a presentity lives.
type (
	Member  = store.Member
	Address = store.Address
	Home    = store.Home
)

var _ Registry = (*store.Store)(nil)

// Registry is the truth about nodes and homes; store.Store implements it. Each call
// is one transaction.
type Registry interface {
	// Enter takes the node's row under a new epoch and makes its lease.
	Enter(ctx context.Context, m Member, lease time.Duration) (epoch uint64, err error)
	// Renew prolongs the lease and writes what the node says of itself; store.ErrFenced
	// when the epoch is not the node's any more, or the lease had run out and the
	// node has been declared dead.
	Renew(ctx context.Context, m Member, lease time.Duration) error
	// Leave gives the lease back; the epoch rises, so that nothing is saved under it any more.
	Leave(ctx context.Context, name string, epoch uint64) error
	// Members are all nodes, as of the database's clock: Expires is translated to
	// this process's.
	Members(ctx context.Context) ([]Member, error)
	// Lead takes or keeps the leader's lease; leader is who has it.
	Lead(ctx context.Context, name string, epoch uint64, lease time.Duration) (leader string, term uint64, err error)
	// Bury declares a node dead whose lease has run out: its epoch rises, so that its
	// saves fail from now on. False: it is alive, or was buried by another.
	Bury(ctx context.Context, name string, epoch uint64) (bool, error)
	// Inherit gives homes of a dead node to others, by the given shares, and returns how many each
	// has got. It is called until it gives none: a call gives no more than some.
	Inherit(ctx context.Context, dead string, heirs map[string]int) (map[string]int, error)
	// Homes looks homes up; those without one are missing.
	Homes(ctx context.Context, of []presence.Entity) (map[presence.Entity]Home, error)
	// Settle takes homes for those who have none, or one at a node that is dead (compare-and-set): the answer is
	// who has them now, the wish or what was there already.
	Settle(ctx context.Context, wish map[presence.Entity]string) (map[presence.Entity]Home, error)
	// Move changes homes of one node to another, those only that are still at from with the epoch
	// given; moved are those which did.
	Move(ctx context.Context, from, to string, of map[presence.Entity]uint64) (moved map[presence.Entity]Home, err error)
	// Release deletes homes at a node that nobody needs any more, those only that are still there
	// with the epoch given: a release that nobody has heard the end of must not hit a later home.
	Release(ctx context.Context, node string, of map[presence.Entity]uint64) error
	// HomesOf lists the homes at a node; with durable only those which hold soft state.
	HomesOf(ctx context.Context, node string, durable bool) ([]presence.Entity, error)
}
