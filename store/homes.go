package store

import (
	"context"

	"pharos/presence"
)

// Home is where a presentity lives.
type Home struct {
	Node  string
	Epoch uint64 // rises with each change
}

// Inherit gives the homes of a dead node to others, by the given shares.
func (s *Store) Inherit(ctx context.Context, dead string, heirs map[string]int) (map[string]int, error) {
	panic("contract")
}

// Homes looks homes up; those without one are missing.
func (s *Store) Homes(ctx context.Context, of []presence.Entity) (map[presence.Entity]Home, error) {
	panic("contract")
}

// Settle takes homes for those who have none.
func (s *Store) Settle(ctx context.Context, wish map[presence.Entity]string) (map[presence.Entity]Home, error) {
	panic("contract")
}

// Move changes homes of one node to another.
func (s *Store) Move(ctx context.Context, from, to string, of map[presence.Entity]uint64) (moved map[presence.Entity]Home, err error) {
	panic("contract")
}

// Release deletes homes at a node that nobody needs any more.
func (s *Store) Release(ctx context.Context, node string, of []presence.Entity) error {
	panic("contract")
}

// HomesOf lists the homes at a node; with durable only those which hold soft state.
func (s *Store) HomesOf(ctx context.Context, node string, durable bool) ([]presence.Entity, error) {
	panic("contract")
}
