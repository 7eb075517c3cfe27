package store

import (
	"context"
	"errors"

	"pharos/presence"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver for PostgreSQL
)

// ErrFenced: this node has been declared dead, or its row was taken by another
// process; nothing was written.
var ErrFenced = errors.New("store: fenced: this node's lease is not its own any more")

// OpenPostgres opens a database that several nodes share, at a URL
// (postgres://user@host/name). The schema is made when it is missing. Soft state is
// in rows; dir keeps what is the process's own.
func OpenPostgres(ctx context.Context, url, dir string, opts ...Option) (*Store, error) {
	panic("contract")
}

// Node is the same store as another node of the service sees it: with caches and
// a fence of its own. It is for several nodes in one process.
func (s *Store) Node() *Store { panic("contract") }

// Fence has every save from now on carry the node's epoch: it fails with ErrFenced
// once the node was declared dead. It also has what is cached of users checked
// against their revision when it is read, since others write too.
func (s *Store) Fence(node string, epoch uint64) { panic("contract") }

// Load reads what Save has kept of one presentity, as Saved does for all.
func (s *Store) Load(ctx context.Context, of presence.Entity) (sources []*presence.Source, subs []*presence.Subscription, err error) {
	panic("contract")
}
