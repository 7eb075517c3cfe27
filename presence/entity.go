package presence

// Entity is a presentity or watcher: sip:, xmpp and pres: addresses of one user
// all become this one value. User is case-folded by whoever parses the address
// (RFC 7247 §3). User "" is the domain itself.
type Entity struct{ User, Domain string }

// String is user@domain, without escaping; for logs, keys and people.
func (e Entity) String() string {
	if e.User == "" {
		return e.Domain
	}
	return e.User + "@" + e.Domain
}
