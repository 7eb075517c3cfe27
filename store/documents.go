package store

import (
	"context"
	"time"

	"pharos/presence"
)

// Document is one XML document of a user (RFC 4825 §6.2), byte for byte as its
// writers left it. AUID and Path are as in its selector ("resource-lists", "index").
type Document struct {
	AUID, Path string
	Body       []byte // shared: do not change it
	Version    uint64 // of the user's counter when it was last changed; what its entity-tag is made of
	Modified   time.Time
}

// Document returns one document; ErrNotFound when there is none. User "" of a
// domain is that domain's global tree.
func (s *Store) Document(ctx context.Context, u presence.Entity, auid, path string) (Document, error) {
	panic("contract")
}

// Documents lists all of a user, by AUID and Path, without their bodies.
func (s *Store) Documents(ctx context.Context, u presence.Entity) ([]Document, error) {
	panic("contract")
}

// Transact calls fn within one serialised transaction, grouped with others of
// other callers; what fn has written is durable when Transact returns nil. fn must
// not block nor call the store but through tx, and may be called again when a
// commit has failed: its last call counts. An error of fn is returned as it is, and
// nothing is written.
func (s *Store) Transact(ctx context.Context, fn func(tx *Tx) error) error { panic("contract") }

// Tx is what a transaction may do. Reads see its own writes.
type Tx struct{ q *statements }

// Items returns all roster rows, as Roster does.
func (tx *Tx) Items(u presence.Entity) ([]Item, error) { panic("contract") }

// Item returns one row; a zero Item with Contact set when absent.
func (tx *Tx) Item(u, contact presence.Entity) (Item, error) { panic("contract") }

// PutItem writes one row under the next version, which it sets. A row in which
// nothing is left (no flag set) is deleted.
func (tx *Tx) PutItem(u presence.Entity, i *Item) error { panic("contract") }

// Blocks lists blocked addresses, as Store.Blocks does.
func (tx *Tx) Blocks(u presence.Entity) ([]string, error) { panic("contract") }

// SetBlocks is Store.SetBlocks.
func (tx *Tx) SetBlocks(u presence.Entity, add, remove []string, all bool) error { panic("contract") }

// Document is Store.Document.
func (tx *Tx) Document(u presence.Entity, auid, path string) (Document, error) { panic("contract") }

// PutDocument writes a document under the next version of the user's counter -
// the one that roster rows use, so that roster version and entity-tag rise together -
// and raises the policy's revision. body is kept.
func (tx *Tx) PutDocument(u presence.Entity, auid, path string, body []byte) (Document, error) {
	panic("contract")
}

// DropDocument deletes a document; ErrNotFound when there is none. The version and revision rise.
func (tx *Tx) DropDocument(u presence.Entity, auid, path string) error { panic("contract") }
