package loadcontrol

import (
	"net/netip"
	"strings"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// System takes a request that is for the load control, and tells whether it was: what is
// in one of its dialogs, what servers of the service send, and what is addressed to the
// system's presentity. It is asked before anything else is done with a request.
func (e *Edge) System(tx *sip.ServerTx, m *sip.Message) bool {
	server, p := "", unproven
	if v, has := m.Get(sip.HAuthorization); has && strings.Contains(v, realm) {
		server, p = e.verify(m, time.Now().Add(e.skew))
	}
	if m.To().Tag() != "" {
		return e.inDialog(tx, m, server, p)
	}
	if p == unproven && !e.addressed(m) {
		return false
	}
	switch m.Method {
	case "INVITE", "SUBSCRIBE":
	case "OPTIONS":
		return false
	default:
		if p == proven {
			return false
		}
		refuse(tx, 403, "")
		return true
	}
	if unknown := m.Unsupported(sip.HRequire); unknown != nil { // RFC 3261 §8.2.2.3
		tx.Respond(sip.Response{Status: 420, Header: sip.AppendList(nil, sip.HUnsupported, unknown...)})
		return true
	}
	switch {
	case p == stale:
		e.challenge(tx, true)
	case p == wrong:
		e.log.Warn("loadcontrol: a server with another secret", "from", tx.Flow().RemoteAddr().String(), "method", m.Method)
		refuse(tx, 403, "")
	case p == proven && m.Method == "INVITE":
		e.invited(tx, m, server)
	case p == proven:
		e.taken(tx, m, server, presence.Entity{})
	case m.Method == "SUBSCRIBE":
		e.observer(tx, m)
	default:
		refuse(tx, 403, "")
	}
	return true
}

// addressed tells whether a request is for the system's presentity.
func (e *Edge) addressed(m *sip.Message) bool {
	u, err := sip.ParseURI(m.URI)
	return err == nil && strings.EqualFold(u.User, "service") && strings.EqualFold(u.Host, e.c.Domain)
}

// inDialog takes a request with a To tag, if the tag is ours.
func (e *Edge) inDialog(tx *sip.ServerTx, m *sip.Message, server string, p proof) bool {
	tag := m.To().Tag()
	e.mu.Lock()
	s, w, i := e.subs[tag], e.watches[tag], e.invites[tag]
	var d *dialog
	switch {
	case s != nil:
		d = &s.dialog
	case w != nil:
		d = &w.dialog
	case i != nil:
		d = &i.dialog
	}
	// The first NOTIFY may be faster than the answer to the SUBSCRIBE (RFC 6665 §4.1.2.4).
	ours := d != nil && d.callID == m.CallID() && (d.remote == m.From().Tag() || d.remote == "" && m.Method == "NOTIFY")
	signed := ours && d.sign
	e.mu.Unlock()
	switch {
	case !ours && p == unproven:
		return false
	case !ours: // another server's, of before a restart (RFC 3261 §12.2.2)
		refuse(tx, 481, "")
		return true
	case signed && p == stale:
		e.challenge(tx, true)
		return true
	case signed && p != proven:
		refuse(tx, 403, "")
		return true
	}
	switch {
	case s != nil && m.Method == "SUBSCRIBE" && signed:
		e.taken(tx, m, server, presence.Entity{})
	case s != nil && m.Method == "SUBSCRIBE":
		e.observer(tx, m)
	case w != nil && m.Method == "NOTIFY":
		e.notifiedOf(tx, m, w)
	case i != nil && m.Method == "BYE":
		e.hungUp(tx, m, i)
	case i != nil && m.Method == "INVITE":
		refuse(tx, 488, "") // there is nothing to be changed
	default:
		refuse(tx, 481, "")
	}
	return true
}

// taken goes on with a SUBSCRIBE of a sender that is known.
func (e *Edge) taken(tx *sip.ServerTx, m *sip.Message, server string, who presence.Entity) {
	tag := m.To().Tag()
	if tag == "" {
		e.subscribed(tx, m, server, who)
		return
	}
	e.mu.Lock()
	s := e.subs[tag]
	e.mu.Unlock()
	if s == nil || s.server != server || s.who != who {
		refuse(tx, 481, "")
		return
	}
	e.resubscribed(tx, m, s)
}

// refuse answers without further ado.
func refuse(tx *sip.ServerTx, status int, reason string) {
	tx.Respond(sip.Response{Status: status, Reason: reason})
}

// contact is the URI that the sender of a request reaches us at.
func (e *Edge) contact(tx *sip.ServerTx, server bool) string {
	if server {
		return e.c.Contact
	}
	uri := "sip:" + tx.Flow().LocalAddr().String()
	switch t := tx.Flow().Transport(); t {
	case "UDP":
	case "WSS":
		uri += ";transport=ws" // RFC 7118 §5.2
	default:
		uri += ";transport=" + strings.ToLower(t)
	}
	return uri
}

// digestFor tells whether a digest was made for this request (RFC 7616 §3.4.6). sipp makes
// it for the address that it was pointed at.
func digestFor(m *sip.Message, uri string) bool {
	if uri == m.URI {
		return true
	}
	u, err := sip.ParseURI(uri)
	if err != nil || u.User != "" {
		return false
	}
	_, err = netip.ParseAddr(strings.Trim(u.Host, "[]"))
	return err == nil
}
