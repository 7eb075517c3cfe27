package store

import (
	"context"
	"time"
)

// Member is one row of the table of nodes.
type Member struct {
	Name    string
	Epoch   uint64 // rises with each start of the node and each declaration of its death
	State   string // standby, joining, active, draining, dead, left
	Expires time.Time
	Address Address
	Level   float64
	Max     float64
	Users   int
	Version string // of the program
	Leader  bool
}

// Address is where clients and servers find a node.
type Address struct {
	Bus  string // host:port of its bus
	SIP  string // sip:host:port;transport=..., for 302 and between servers
	XMPP string // host:port, for redirects
	HTTP string // https://host:port
}

// Enter takes the node's row under a new epoch and makes its lease.
func (s *Store) Enter(ctx context.Context, m Member, lease time.Duration) (epoch uint64, err error) {
	panic("contract")
}

// Renew prolongs the lease and writes what the node says of itself; ErrFenced
// when the epoch is not the node's any more.
func (s *Store) Renew(ctx context.Context, m Member, lease time.Duration) error { panic("contract") }

// Leave gives the lease back.
func (s *Store) Leave(ctx context.Context, name string, epoch uint64) error { panic("contract") }

// Members are all nodes.
func (s *Store) Members(ctx context.Context) ([]Member, error) { panic("contract") }

// Lead takes or keeps the leader's lease; leader is who has it.
func (s *Store) Lead(ctx context.Context, name string, epoch uint64, lease time.Duration) (leader string, term uint64, err error) {
	panic("contract")
}

// Bury declares a node dead whose lease has run out.
func (s *Store) Bury(ctx context.Context, name string, epoch uint64) (bool, error) {
	panic("contract")
}
