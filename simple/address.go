package simple

import (
	"net"
	"net/netip"
	"strings"

	"golang.org/x/text/secure/precis"

	"pharos/presence"
	"pharos/sip"
)

// entity is whom a sip:, sips:, pres: or im: URI names, perhaps in the memory of
// its message, see own. The user is folded as XMPP does with a
// localpart, since both address one user (RFC 7247 §3, RFC 7622 §3.3), though
// SIP alone would compare with regard to case. ok is false for other schemes
// and for a user that XMPP's rules forbid.
func entity(u sip.URI) (who presence.Entity, ok bool) {
	switch u.Scheme {
	case "sip", "sips", "pres", "im":
	default:
		return who, false
	}
	user := u.User
	ascii, lower := true, true
	for i := 0; i < len(user); i++ {
		c := user[i]
		ascii = ascii && c < 0x80
		lower = lower && (c < 'A' || c > 'Z')
	}
	if !ascii {
		folded, err := precis.UsernameCaseMapped.String(user)
		if err != nil {
			return who, false
		}
		user, lower = folded, true
	}
	if !lower {
		user = strings.ToLower(user)
	}
	return presence.Entity{User: user, Domain: u.Host}, true
}

// entityIn is entity of a URI in text.
func entityIn(uri string) (presence.Entity, bool) {
	u, err := sip.ParseURI(uri)
	if err != nil {
		return presence.Entity{}, false
	}
	return entity(u)
}

// entityOf is entityIn in memory of its own: an entity outlives the message.
func entityOf(uri string) (presence.Entity, bool) {
	who, ok := entityIn(uri)
	return ownText(who), ok
}

func ownText(who presence.Entity) presence.Entity {
	n := len(who.User)
	b := make([]byte, 0, n+len(who.Domain))
	b = append(b, who.User...)
	b = append(b, who.Domain...)
	both := string(b)
	return presence.Entity{User: both[:n], Domain: both[n:]}
}

// own is an entity in the memory that the accounts have for it, else in its own. All that is kept
// of a user then has one text, which takes no memory each time. known tells whether the
// user has an account, as far as that is at hand.
func (e *Edge) own(who presence.Entity) (own presence.Entity, known bool) {
	own, known, ok := e.accounts.Find(who)
	if !ok {
		own = ownText(who)
	}
	return own, known
}

// appendAOR appends the sip: URI of a user, as watchers know it.
func appendAOR(b []byte, who presence.Entity) []byte {
	return sip.AppendURI(b, sip.URI{Scheme: "sip", User: who.User, Host: who.Domain})
}

func aor(who presence.Entity) string { return string(appendAOR(nil, who)) }

// ours reports whether we serve this domain.
func (e *Edge) ours(domain string) bool { return e.domains[domain] }

// here reports whether host is this server itself, by the address that the
// peer used or the one that we give to it.
func (e *Edge) here(host string, f *sip.Flow) bool {
	if a, err := netip.ParseAddr(host); err == nil {
		return a.Unmap() == f.Local().Addr().Unmap()
	}
	name := e.contact(f)
	if h, _, err := net.SplitHostPort(name); err == nil {
		name = h
	}
	return strings.EqualFold(host, name)
}

// believed reports whether the peer is one whose word on identities counts
// (RFC 3325 §5).
func (e *Edge) believed(f *sip.Flow) bool {
	if len(e.trusted) == 0 {
		return false
	}
	a := f.Remote().Addr().Unmap()
	for _, p := range e.trusted {
		if a.IsValid() && p.Contains(a) {
			return true
		}
	}
	return false
}

// unreachable reports whether a host name was made up by a client that can
// only be reached over its flow (RFC 7118 §5.1: browsers use .invalid).
func unreachable(host string) bool {
	return host == "invalid" || strings.HasSuffix(host, ".invalid")
}

// wayBack is the flow over which the sender's contact is reached, with its token:
// the one that the request came over, whose connection or NAT binding leads to
// clients whose Contact is no use. A client on UDP that no NAT hides, since it
// sends from the address that its own Via names, may mean another address by its
// Contact (RFC 3261 §8.1.1.8, §10.2): there is no flow to that yet.
func (r *request) wayBack(contact string) (*sip.Flow, string) {
	if r.flow.Transport() == "UDP" && r.elsewhere(contact) {
		return nil, ""
	}
	return r.flow, r.flow.Token()
}

func (r *request) elsewhere(contact string) bool {
	source := r.flow.Remote()
	source = netip.AddrPortFrom(source.Addr().Unmap(), source.Port())
	via := r.msg.Via()
	if sentBy, ok := numericPort(via.Host, via.Port); !ok || sentBy != source || r.vias() > 1 {
		return false
	}
	u, err := sip.ParseURI(contact)
	if err != nil {
		return false
	}
	target, ok := numericPort(u.Host, u.Port)
	return ok && target != source
}

// vias counts the hops that a request has come over.
func (r *request) vias() (n int) {
	for range r.msg.All(sip.HVia) {
		n++
	}
	return n
}

// numericPort is an IP address and port, 5060 when that is 0; ok is false for
// names.
func numericPort(host string, port int) (netip.AddrPort, bool) {
	if port == 0 {
		port = 5060
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), err == nil
}
