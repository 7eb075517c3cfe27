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
	"cmp"
	"errors"
	"time"

	"pharos/presence"
	"pharos/store"
)

// Application usages whose documents have another face, and their one document.
const (
	ResourceLists = "resource-lists"
	PresRules     = "pres-rules"
	// OMAPresRules has another name of the same document, OMAPath.
	OMAPresRules = "org.openmobilealliance.pres-rules"
	RLSServices  = "rls-services"
	Manipulation = "pidf-manipulation"
	PresContent  = "org.openmobilealliance.pres-content"
	Index        = "index"
	OMAPath      = "pres-rules" // of OMAPresRules
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
	Size     int    // of Body
	ETag     string // without quotes; changes when Body does and never comes back
	Modified time.Time
}

// Limits of one user's documents. A zero field means its default.
type Limits struct {
	Documents int // how many documents one user may have, those of other packages' own included; 200
	Bytes     int // of all documents of a user together; 4MiB
	Body      int // bytes of one document; 512KiB
}

// Config of Documents.
type Config struct {
	Store   *store.Store
	Limits  Limits
	Default presence.Handling // for watchers nobody has spoken of
	// Tell, where there are several nodes, has the others hear of a change (Heard). It is called
	// after the commit and the listeners, with the user held, and must not block. Nil:
	// there are no others, and nobody else writes to the store.
	Tell func(*Change)
}

// Documents is safe for concurrent use.
type Documents struct {
	c         Config
	locks     locks
	listeners []func(*Change)
	hearing   hearing
	doubts    doubts
}

// New makes one; the listeners are told in the order in which they were added, before use.
func New(c Config) *Documents {
	l := &c.Limits
	l.Documents = cmp.Or(l.Documents, 200)
	l.Bytes = cmp.Or(l.Bytes, 4<<20)
	l.Body = cmp.Or(l.Body, 512<<10)
	d := &Documents{c: c}
	d.locks.init()
	return d
}

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
	Remote    bool // made on another node, which does what is to be done once; documents come without their bodies. Without User: see Missed
	Doubtful  bool // with Remote: of the user something may have changed, what is not known
	ByXCAP    bool // by Update, or by the first look at a document; false: by UpdateItems or SetBlocks, whose caller knows of it
}

// Missed tells that whatever there is of the user may have changed, or, without User, of all users: changes
// of other nodes may have been lost, or it is not known what was committed.
func (c *Change) Missed() bool { return c.Remote && (c.Doubtful || c.User == presence.Entity{}) }

// DocumentChange is one document's. Before nil: it was not there; After nil: it is gone.
type DocumentChange struct{ Before, After *Document }

// RowChange is one roster row's, each as store.Item has it; a row that is not there is zero but for Contact.
// Theirs is as in ItemChange, of the last of several changes.
type RowChange struct {
	Before, After store.Item
	Theirs        bool
}
