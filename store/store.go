// Package store keeps what must outlive the process. Hard state (accounts,
// rosters, blocks, offline messages) is in SQL; soft state (publications,
// subscriptions with their dialogs, registrations) is in an append-only
// journal beside it, since it changes with every request.
package store

import (
	"context"
	"errors"
	"time"

	"pharos/presence"
)

// ErrNotFound: no such row.
var ErrNotFound = errors.New("store: not found")

// Store is safe for concurrent use.
type Store struct{}

// Open opens or creates the store in dir.
func Open(ctx context.Context, dir string) (*Store, error) { panic("contract") }
func (s *Store) Close() error                              { panic("contract") }

// Scram holds the keys of RFC 5802 for one hash.
type Scram struct {
	Salt                 []byte
	Iterations           int
	StoredKey, ServerKey []byte
}

// Account is a user with derived keys only; the password is never stored.
type Account struct {
	User                   presence.Entity
	MD5, SHA256, SHA512256 string // HA1 in hex, realm = domain (RFC 7616 §3.4.2)
	Sha1, Sha256           Scram
	Created                time.Time
}

func (s *Store) Account(ctx context.Context, u presence.Entity) (Account, error) { panic("contract") }

// PutAccounts inserts or replaces, all or nothing.
func (s *Store) PutAccounts(ctx context.Context, as []Account) error { panic("contract") }

// RemoveAccount removes the user and all that belongs to it.
func (s *Store) RemoveAccount(ctx context.Context, u presence.Entity) error { panic("contract") }

// Accounts lists users in order, from after (exclusive), at most n.
func (s *Store) Accounts(ctx context.Context, after presence.Entity, n int) ([]Account, error) {
	panic("contract")
}

// Item is one roster row (RFC 6121 §2.1.2) with the states of its appendix A.
type Item struct {
	Contact   presence.Entity
	Name      string
	Groups    []string
	To, From  bool // subscription: to, from, both
	Ask       bool // pending out
	PendingIn bool // pending in; kept even when the contact is not in the visible roster
	Approved  bool // pre-approved (RFC 6121 §3.4)
	Visible   bool // shown in the roster (false: only PendingIn or Approved is known)
	Removed   bool // tombstone, for versioned pushes
	Version   uint64
	Stanza    []byte // children of the pending subscribe stanza, told again at login
}

// Roster returns all rows, tombstones included, and the roster's version.
func (s *Store) Roster(ctx context.Context, u presence.Entity) (items []Item, version uint64, err error) {
	panic("contract")
}

// UpdateItem reads the row (a zero Item with Contact set when absent), lets fn change
// it, and writes it with the next version, in one serialised transaction, grouped
// with others. fn returning false writes nothing.
func (s *Store) UpdateItem(ctx context.Context, u, contact presence.Entity, fn func(*Item) bool) (Item, error) {
	panic("contract")
}

// Blocks lists blocked addresses (XEP-0191); a JID string: user@domain, domain, with or without resource.
func (s *Store) Blocks(ctx context.Context, u presence.Entity) ([]string, error) { panic("contract") }
func (s *Store) SetBlocks(ctx context.Context, u presence.Entity, add, remove []string, removeAll bool) error {
	panic("contract")
}

// Record is one soft-state entry; a nil Value deletes.
type Record struct {
	Kind  byte // 'p' publication, 's' subscription, 'r' registration
	Key   string
	Value []byte
}

// Put appends records to the journal; done is called after the group's fdatasync,
// in order, on the journal's goroutine.
func (s *Store) Put(recs []Record, done func(error)) { panic("contract") }

// Range calls fn for every live record of a kind.
func (s *Store) Range(kind byte, fn func(key string, value []byte) error) error { panic("contract") }

// Save implements engine.Saver over Put.
func (s *Store) Save(saves []presence.Save, done func(error)) { panic("contract") }

// Saved reads back what Save kept, per presentity. Sources have Native but no Doc.
func (s *Store) Saved(fn func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error) error {
	panic("contract")
}

// Offline is one stored message; the blob is the caller's encoding.
type Offline struct {
	ID   int64
	Blob []byte
	At   time.Time
}

// PutOffline keeps a message; max bounds the number per user (ErrFull).
func (s *Store) PutOffline(ctx context.Context, to presence.Entity, blob []byte, max int) error {
	panic("contract")
}
func (s *Store) Offline(ctx context.Context, to presence.Entity) ([]Offline, error) {
	panic("contract")
}
func (s *Store) RemoveOffline(ctx context.Context, to presence.Entity, ids []int64) error {
	panic("contract")
}

// ErrFull: the bound on stored messages is reached.
var ErrFull = errors.New("store: full")
