package jabber

import (
	"encoding/binary"
	"errors"
	"time"

	"pharos/presence"
)

// callVersion begins every call from one edge to another. A node that runs another
// version of the program answers nothing to what it does not know, which
// counts as nobody there.
const callVersion = 1

// What an edge asks of the same edge on other nodes.
const (
	callMessage      = 'm' // a message for sessions of a user; answers taken
	callCopy         = 'c' // of a message, for those with carbons
	callIQ           = 'q' // an IQ for a resource; answers taken
	callSubscription = 's' // a subscription stanza
	callEvent        = 'e' // of a node of a user's own that is no source
	callFind         = 'f' // the handle of a resource
	callConflict     = 'b' // a resource is bound elsewhere
	callEnd          = 'x' // all sessions of a user end
	callSee          = 'v' // a user's policy shows something again to those it did not
	callMail         = 'o' // messages wait for a user
	callCaps         = 'k' // capabilities that were verified; of no user
	callTurn         = 't' // who hands over a user's stored messages; asked of the owner
	callTurnOver     = 'u'
	callTake         = 'r' // a session is resumed elsewhere; answers its state
	callTaken        = 'n' // it lives there now; answers what has come meanwhile
)

var errCall = errors.New("jabber: a call that this version does not know")

// packer writes what calls and moving sessions consist of.
type packer []byte

func newCall(kind byte) packer { return packer{callVersion, kind} }

func (p packer) num(n uint64) packer { return binary.AppendUvarint(p, n) }

func (p packer) bool(b bool) packer {
	if b {
		return append(p, 1)
	}
	return append(p, 0)
}

func (p packer) str(s string) packer { return append(p.num(uint64(len(s))), s...) }

func (p packer) bytes(b []byte) packer { return append(p.num(uint64(len(b))), b...) }

func (p packer) entity(e presence.Entity) packer { return p.str(e.User).str(e.Domain) }

// time keeps nanoseconds; the zero time stays so.
func (p packer) time(t time.Time) packer {
	if t.IsZero() {
		return p.num(0)
	}
	return p.num(uint64(t.UnixNano()))
}

// unpacker reads it. After an error everything is zero, and err says so.
type unpacker struct {
	b   []byte
	err error
}

// openCall reads the head of a call.
func openCall(b []byte) (kind byte, u *unpacker) {
	if len(b) < 2 || b[0] != callVersion {
		return 0, &unpacker{err: errCall}
	}
	return b[1], &unpacker{b: b[2:]}
}

func (u *unpacker) fail() { u.b, u.err = nil, errCall }

func (u *unpacker) num() uint64 {
	n, l := binary.Uvarint(u.b)
	if l <= 0 {
		u.fail()
		return 0
	}
	u.b = u.b[l:]
	return n
}

// count reads a number of things that each take a byte at least.
func (u *unpacker) count() int {
	n := u.num()
	if n > uint64(len(u.b)) {
		u.fail()
		return 0
	}
	return int(n)
}

func (u *unpacker) bool() bool {
	if len(u.b) == 0 || u.b[0] > 1 {
		u.fail()
		return false
	}
	v := u.b[0] == 1
	u.b = u.b[1:]
	return v
}

// bytes are part of what is read; nil for none.
func (u *unpacker) bytes() []byte {
	n := u.count()
	if n == 0 {
		return nil
	}
	b := u.b[:n:n]
	u.b = u.b[n:]
	return b
}

func (u *unpacker) str() string { return string(u.bytes()) }

func (u *unpacker) entity() presence.Entity {
	return presence.Entity{User: u.str(), Domain: u.str()}
}

func (u *unpacker) time() time.Time {
	n := u.num()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)).UTC()
}

// done is the error of all that was read, or of what is left over.
func (u *unpacker) done() error {
	if u.err == nil && len(u.b) > 0 {
		u.fail()
	}
	return u.err
}
