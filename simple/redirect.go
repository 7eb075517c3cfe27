package simple

import (
	"strconv"
	"strings"
	"time"

	"pharos/presence"
	"pharos/redirect"
	"pharos/sip"
)

// Redirect has clients that are known to follow 302 go to the node at which their user
// lives; all others are served where they are.
type Redirect struct {
	Clients *redirect.Redirects
	// Owner is the node at which a user lives, as far as that is known here; Locate finds
	// it, and chooses one for a newcomer (engine.Peers).
	Owner  func(presence.Entity) (node string, ok bool)
	Locate func(presence.Entity, func(node string, err error))
	// Address is the URI at which SIP clients reach a node, "" where there is none.
	Address func(node string) string
}

// redirectFor is how long a client may go on with what a 302 has told it, in seconds: users
// move.
const redirectFor = 60

// atHome goes on with a request whose sender is known; or answers 302 (RFC 3261 §8.3) where he
// lives elsewhere and his client follows.
func (r *request) atHome(next func(*request)) {
	d := r.edge.redirect
	if d == nil || r.trusted || !r.begins() {
		next(r) // what comes from a proxy has a way that is none of the client's
		return
	}
	agent, _ := r.msg.Get(sip.HUserAgent)
	c := redirect.Client{User: r.who.String(), Device: r.instance(), Agent: agent}
	if node, ok := d.Owner(r.who); ok {
		r.send302(c, node, next)
		return
	}
	if !d.Clients.Listed(c, r.msg.Method) {
		next(r)
		return
	}
	d.Locate(r.who, func(node string, err error) {
		if err != nil {
			node = ""
		}
		r.send302(c, node, next)
	})
}

// begins tells requests that may go elsewhere from those that belong to something that is
// here: a dialog, a publication that is refreshed, a registration that ends.
func (r *request) begins() bool {
	if r.msg.To().Tag() != "" {
		return false
	}
	if sec, has, err := r.msg.Seconds(sip.HExpires); err == nil && has && sec == 0 {
		return false
	}
	switch r.msg.Method {
	case "SUBSCRIBE", "MESSAGE", "REGISTER":
		return true
	case "PUBLISH":
		_, has := r.msg.Get(sip.HSIPIfMatch)
		return !has
	}
	return false
}

func (r *request) instance() string {
	c, has, err := r.msg.Contact()
	if !has || err != nil {
		return ""
	}
	return c.Instance()
}

func (r *request) send302(c redirect.Client, node string, next func(*request)) {
	d := r.edge.redirect
	now := time.Now()
	if r.sentHere {
		d.Clients.Came(now, c) // wherever he lives by now
	}
	if node == "" || node == r.edge.engine.Self() {
		if !r.sentHere {
			d.Clients.Here(now, c)
		}
		next(r)
		return
	}
	// What has been sent here by another node is not sent on: he may have moved meanwhile.
	contact := r.elsewhereAt(d.Address(node))
	if contact == "" || r.sentHere || !d.Clients.SIP(now, c, r.msg.Method, node) {
		next(r)
		return
	}
	b := append([]byte("Contact: <"), contact...)
	b = append(b, ">;q=1.0;expires="...)
	b = strconv.AppendUint(b, redirectFor, 10)
	r.reply(302, "", append(b, "\r\n"...))
}

// elsewhereAt is the request-URI at another node: the address of that node, with the user
// whom the request is for; "" when there is none that the client could use.
func (r *request) elsewhereAt(address string) string {
	u, err := sip.ParseURI(address)
	if err != nil || !u.IsSIP() {
		return ""
	}
	if r.secure() && u.Scheme != "sips" {
		return "" // RFC 3261 §8.1.3.4: a sips URI is not given up for less
	}
	if r.msg.Method != "REGISTER" {
		u.User = r.uri.User
	}
	return u.String()
}

// forwarded finds whom a request is for that a client has sent to the address of this node, as a
// 302 said: its To is what it was (RFC 3261 §8.1.3.4).
func (r *request) forwarded() (presence.Entity, bool) {
	if r.edge.redirect == nil || !r.edge.here(r.uri.Host, r.flow) {
		return presence.Entity{}, false
	}
	to, ok := entityIn(r.msg.To().URI)
	u, uerr := sip.ParseURI(r.msg.To().URI)
	if !ok || uerr != nil || !r.edge.ours(to.Domain) || !strings.EqualFold(u.User, r.uri.User) {
		return presence.Entity{}, false
	}
	r.sentHere = true
	return to, true
}
