package presence

import (
	"strings"
	"unique"
)

// Entity is a presentity or watcher: sip:, xmpp and pres: addresses of one user
// all become this one value. User is case-folded by whoever parses the address
// (RFC 7247 §3). User "" is the domain itself.
type Entity struct{ User, Domain string }

// Clone is e with strings of its own: it does not keep alive what its text was cut out of. All
// clones share one copy of a domain.
func (e Entity) Clone() Entity { return Entity{strings.Clone(e.User), unique.Make(e.Domain).Value()} }

// String is user@domain, without escaping; for logs, keys and people.
func (e Entity) String() string {
	if e.User == "" {
		return e.Domain
	}
	return e.User + "@" + e.Domain
}
