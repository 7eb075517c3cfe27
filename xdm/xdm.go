// Package xdm is XML document management: the documents of users, and their
// other faces. A user's resource-lists document and roster are one list, the
// pres-rules document, roster approvals and block list are one policy; this
// package is the only one that writes either, both in one commit, and tells
// those who listen what has changed.
//
// The documents are the truth once they are there. Until the first XCAP access of
// a user they are not: the rows are, and the documents are generated from them then.
package xdm

import (
	"context"
	"errors"
	"time"

	"pharos/presence"
	"pharos/store"
)

// Application usages whose documents have another face, and their one document.
const (
	ResourceLists = "resource-lists"
	PresRules     = "pres-rules"
	// OMAPresRules is another name of the same document (its path is "pres-rules").
	OMAPresRules = "org.openmobilealliance.pres-rules"
	RLSServices  = "rls-services"
	Manipulation = "pidf-manipulation"
	PresContent  = "org.openmobilealliance.pres-content"
	Index        = "index"
)

// Errors.
var (
	// ErrNotFound: there is no such document.
	ErrNotFound = errors.New("xdm: no such document")
	// ErrTooMany: the user's bound on documents is reached. ErrTooLarge: on their size.
	ErrTooMany  = errors.New("xdm: too many documents")
	ErrTooLarge = errors.New("xdm: documents are too large")
)

// Name of a document. User "" of a domain is the global tree.
type Name struct {
	AUID string
	User presence.Entity
	Path string // "index"; may have slashes
}

// Document is one document at one time. Body is shared: do not change it.
type Document struct {
	Name
	Body     []byte // nil in lists
	ETag     string // without quotes; changes when Body does and never comes back
	Modified time.Time
}

// Limits of one user's documents. A zero field means its default.
type Limits struct {
	Documents int // 200
	Bytes     int // of all bodies together; 4 MiB
	Body      int // of one; 512 KiB
}

// Config of Documents.
type Config struct {
	Store   *store.Store
	Limits  Limits
	Default presence.Handling // for watchers nobody has spoken of
}

// Documents is safe for concurrent use.
type Documents struct {
	c         Config
	listeners []func(*Change)
}

// New makes one; the listeners are told in the order in which they were added, before use.
func New(c Config) *Documents { return &Documents{c: c} }

// Listen adds a listener. It is called after the commit, with the user's lock held,
// so in the order of commits; it must not block for long, and must not change
// anything of a user's itself.
func (d *Documents) Listen(f func(*Change)) { d.listeners = append(d.listeners, f) }

// Change is what one commit has changed of one user.
type Change struct {
	User      presence.Entity
	Documents []DocumentChange
	Items     []RowChange // roster rows
	Version   uint64      // of the roster, afterwards
	Blocked   []string    // addresses that have come to the block list
	Unblocked []string
	Policy    bool // what decides about watchers may have changed
	ByXCAP    bool // false: by UpdateItems or SetBlocks, whose caller knows of it
}

// DocumentChange is one document's. Before nil: it was not there; After nil: it is gone.
type DocumentChange struct{ Before, After *Document }

// RowChange is one roster row's, each as store.Item has it; a row that is not there is zero but for Contact.
type RowChange struct{ Before, After store.Item }

// Hold locks what users have, for the caller to read, change and tell in one
// piece; UpdateItems, SetBlocks and Update for them are called with it held, by ctx of
// the context that it returns. Nobody holds twice.
func (d *Documents) Hold(ctx context.Context, users ...presence.Entity) (held context.Context, release func()) {
	panic("contract")
}

// Get returns a document; one that has another face is generated when the user
// has none yet, and stays from then on. ErrNotFound.
func (d *Documents) Get(ctx context.Context, n Name) (Document, error) { panic("contract") }

// List returns the documents of a user without bodies, by AUID and path. With auid "" all.
func (d *Documents) List(ctx context.Context, u presence.Entity, auid string) ([]Document, error) {
	panic("contract")
}

// Update changes one document. fn gets the document (nil: there is none) and returns
// the new body; nil deletes it, and the same slice changes nothing. fn checks
// conditions and validates: its error is returned and nothing is changed. It may be
// called again when somebody else was faster, and is called without locks that
// keep other users waiting.
func (d *Documents) Update(ctx context.Context, n Name, fn func(old *Document) (body []byte, err error)) (before, after *Document, err error) {
	panic("contract")
}

// UpdateItems is store.UpdateItems, with the documents of the users changed in the same commit.
func (d *Documents) UpdateItems(ctx context.Context, cs []store.ItemChange) error {
	panic("contract")
}

// SetBlocks is store.SetBlocks, with the pres-rules document changed in the same commit.
func (d *Documents) SetBlocks(ctx context.Context, u presence.Entity, add, remove []string, all bool) error {
	panic("contract")
}
