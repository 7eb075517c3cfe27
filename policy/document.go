package policy

import (
	"pharos/markup"
	"pharos/presence"
	"pharos/store"
)

// The reserved rules of a pres-rules document, which XMPP clients write. All
// others are those of XCAP clients, and are never touched. What XMPP says with them:
const (
	// Approved allows the contacts to whom the user has said yes (RFC 6121
	// §3.1, §3.4). One rule more by RFC 4745.
	Approved = "xmpp-approved"
	// Blocked blocks addresses and domains (XEP-0191). It wins over all other rules.
	Blocked = "xmpp-blocked"
	// Cancelled has the user asked again about contacts from whom the user has
	// taken the approval back (RFC 6121 §3.2) and whom other rules still allow. It
	// wins over all but Blocked.
	Cancelled = "xmpp-cancelled"
)

// Rules is a parsed pres-rules document.
type Rules struct {
	Rules     []presence.Rule
	Approved  []presence.Entity
	Blocked   []string // addresses as in the block list: user@domain or domain
	Cancelled []presence.Entity

	// External are the URIs of external lists that the rules name, whose members
	// come in by Parse's lookup. The documents that hold these lists are part of
	// the policy: when one changes, the policy has changed.
	External []string
}

// Parse reads a pres-rules document (RFC 5025, RFC 4745, OMA's extensions). members
// gives the members of an external list by its URI (an XCAP URI or path within this server); nil: none.
// The error names the line.
func Parse(doc *markup.Element, source []byte, members func(uri string) []presence.Entity) (*Rules, error) {
	panic("contract")
}

// Generate makes the document of a user who has none, from roster rows and
// blocked addresses: Compile(Parse(Generate(...))) decides as Compile did before.
func Generate(items []store.Item, blocks []string) []byte { panic("contract") }

// Change is what XMPP says of the policy at one time.
type Change struct {
	Approve, Withdraw []presence.Entity // into Approved; out of it (and, where the other rules still allow, into Cancelled)
	Block, Unblock    []string          // block list addresses
}

// Splice writes a change into the reserved rules, which are made when they are
// missing. Everything else stays byte for byte. doc is not changed; the same slice
// comes back when nothing is to be changed.
func Splice(doc []byte, c Change) ([]byte, error) { panic("contract") }
