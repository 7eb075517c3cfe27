package loadcontrol

import (
	"pharos/sip"
)

// dialog is our side of one (RFC 3261 §12). It is guarded by the edge's lock.
type dialog struct {
	callID            string
	local, remote     string // tags
	localURI, peerURI string // with display name and parameters but the tag, as they go into From and To
	target            string // their Contact
	routes            []string
	cseq              uint32 // last sent
	heard             uint32 // last received
	contact           string // ours
	flow              *sip.Flow
	sign              bool // a server is at the other end
}

// bounds on what is kept of a peer's message
const (
	maxField  = 1024
	maxRoutes = 16
)

// asked makes the dialog of a request that we accept with a tag (RFC 3261 §12.1.1); ok
// is false when it has no Contact to go back to, or one that is too long.
func asked(m *sip.Message, tag, contact string) (d dialog, ok bool) {
	c, has, err := m.Contact()
	if err != nil || !has || !kept(c.URI, m.CallID(), m.From().Tag(), m.From().URI, m.To().URI) {
		return d, false
	}
	d = dialog{callID: m.CallID(), local: tag, remote: m.From().Tag(), localURI: m.To().URI, peerURI: m.From().URI,
		target: c.URI, heard: m.CSeq(), contact: contact}
	for v := range m.All(sip.HRecordRoute) {
		if d.routes = append(d.routes, v); len(d.routes) > maxRoutes || !kept(v) {
			return d, false
		}
	}
	return d, true
}

func kept(fields ...string) bool {
	for _, f := range fields {
		if len(f) > maxField {
			return false
		}
	}
	return true
}

// answered completes the dialog of a request of ours with its 2xx (§12.1.2).
func (d *dialog) answered(m *sip.Message) {
	d.remote = m.To().Tag()
	if c, has, err := m.Contact(); err == nil && has && kept(c.URI) {
		d.target = c.URI
	}
	d.routes = nil
	routes := m.Values(sip.HRecordRoute)
	for i := len(routes) - 1; i >= 0 && len(d.routes) < maxRoutes; i-- {
		d.routes = append(d.routes, routes[i])
	}
}

// refreshed takes what a request in the dialog changes (§12.2.2, RFC 6665 §4.4.1); ok is
// false when it came out of order, and is to be answered 500.
func (d *dialog) refreshed(m *sip.Message) (ok bool) {
	if m.CSeq() <= d.heard && d.heard != 0 {
		return false
	}
	d.heard = m.CSeq()
	if c, has, err := m.Contact(); err == nil && has && kept(c.URI) {
		d.target = c.URI
	}
	return true
}

// request makes the next request in the dialog (§12.2.1.1). nextHop is where it goes
// when there is no route set; "": to the remote target.
func (d *dialog) request(method, nextHop string, more ...[]byte) sip.OutRequest {
	d.cseq++
	out := sip.OutRequest{Method: method, URI: d.target, NextHop: nextHop, Flow: d.flow}
	if nextHop == "" {
		out.NextHop = d.target
	}
	var b []byte
	for i, r := range d.routes {
		if a, ok := sip.ParseAddress(r); ok && i == 0 {
			out.NextHop = a.URI
		}
		b = sip.AppendHeader(b, sip.HRoute, r)
	}
	b = sip.AppendAddressHeader(b, sip.HFrom, sip.Address{URI: d.localURI, Params: sip.Params(";tag=" + d.local)})
	to := sip.Address{URI: d.peerURI}
	if d.remote != "" {
		to.Params = sip.Params(";tag=" + d.remote)
	}
	b = sip.AppendAddressHeader(b, sip.HTo, to)
	b = sip.AppendHeader(b, sip.HCallID, d.callID)
	b = sip.AppendCSeq(b, d.cseq, method)
	if method != "BYE" {
		b = sip.AppendAddressHeader(b, sip.HContact, sip.Address{URI: d.contact})
	}
	for _, m := range more {
		b = append(b, m...)
	}
	out.Header = b
	return out
}

// send sends a request, with our proof where a server is at the other end. A 401 that says
// only that our clocks differ is answered once, by again. It may be called with the edge
// locked: done is called on another goroutine.
func (e *Edge) send(d *dialog, out sip.OutRequest, again func(nonce string) sip.OutRequest, done func(*sip.Message, error)) {
	if !d.sign {
		e.stack.Request(out, done)
		return
	}
	signed, err := e.sign(out, "")
	if err != nil {
		go done(nil, sip.ErrRequest)
		return
	}
	e.stack.Request(signed, func(m *sip.Message, err error) {
		nonce, ok := challenged(m)
		if !ok || again == nil {
			done(m, err)
			return
		}
		if signed, err := e.sign(again(nonce), nonce); err == nil {
			e.stack.Request(signed, done)
		} else {
			done(m, err)
		}
	})
}
