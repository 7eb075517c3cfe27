package jabber

import (
	"encoding/binary"
	"time"

	"pharos/fields"
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

// packer writes what calls and moving sessions consist of.
type packer []byte

func newCall(kind byte) packer { return packer{callVersion, kind} }

func (p packer) num(n uint64) packer { return binary.AppendUvarint(p, n) }

func (p packer) bool(b bool) packer { return fields.AppendBool(p, b) }

func (p packer) str(s string) packer { return fields.AppendText(p, s) }

func (p packer) bytes(b []byte) packer { return fields.AppendBytes(p, b) }

func (p packer) entity(e presence.Entity) packer { return fields.AppendEntity(p, e) }

// time keeps nanoseconds; the zero time stays so.
func (p packer) time(t time.Time) packer {
	if t.IsZero() {
		return p.num(0)
	}
	return p.num(uint64(t.UnixNano()))
}

// unpacker reads it.
type unpacker struct{ fields.Reader }

func newUnpacker(b []byte) *unpacker { return &unpacker{fields.Of(b)} }

// openCall reads the head of a call; of one that this version does not know everything is zero.
func openCall(b []byte) (kind byte, u *unpacker) {
	if len(b) < 2 || b[0] != callVersion {
		u = newUnpacker(nil)
		u.Fail()
		return 0, u
	}
	return b[1], newUnpacker(b[2:])
}

func (u *unpacker) time() time.Time {
	n := u.Uint()
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, int64(n)).UTC()
}
