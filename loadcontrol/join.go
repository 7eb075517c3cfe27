package loadcontrol

import (
	"fmt"
	"strings"
	"time"

	"pharos/loaddoc"
	"pharos/sip"
)

// invite is an INVITE dialog between two servers: it lasts from the question whether the
// other one joins until it has the document. It is guarded by the edge's lock.
type invite struct {
	dialog
	deadline time.Time

	// Where we have asked.
	ours   bool
	done   func(server string, err error)
	cancel func()
	up     bool   // answered with 200
	in     string // who has fetched the document

	// Where we were asked.
	joined func(d *loaddoc.Document, err error) // until it was called
}

// Join asks the server at uri to take part (Fig. 5 of the paper): INVITE with the head of the
// document. When it has accepted it subscribes to the system's presence, and once it
// has the whole document it is in: done gets its name. done is called once, on another
// goroutine, with one of the errors above otherwise, and must not block.
func (e *Edge) Join(uri string, done func(server string, err error)) {
	i := &invite{ours: true, done: done, deadline: time.Now().Add(JoinTime)}
	i.dialog = dialog{callID: newTag(), local: newTag(), localURI: "sip:" + e.c.Name + "@" + e.c.Domain, peerURI: uri,
		target: uri, contact: e.c.Contact, sign: true}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		go done("", ErrNoAnswer)
		return
	}
	e.invites[i.local] = i
	head := e.part(e.current(time.Now()), false, usersNone)
	e.invite(i, loaddoc.Append(nil, head), "")
}

// invite sends the INVITE. The edge is locked.
func (e *Edge) invite(i *invite, body []byte, nonce string) {
	more := sip.AppendHeader(nil, sip.HContentType, loaddoc.Type)
	more = sip.AppendHeader(more, sip.HContentDisposition, "render;handling=optional")
	more = append(more, "Allow: INVITE, ACK, BYE, CANCEL, SUBSCRIBE, NOTIFY\r\nSupported: tdialog\r\n"...)
	out := i.request("INVITE", "", more)
	out.Body = body
	out, err := e.sign(out, nonce)
	if err != nil {
		e.finish(i, "", fmt.Errorf("%w: %w", ErrNoAnswer, err))
		return
	}
	i.cancel = e.stack.Invite(out, func(m *sip.Message, err error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.invites[i.local] != i {
			if err == nil && m.Status/100 == 2 { // too late
				i.answered(m)
				e.bye(i)
			}
			return
		}
		again, ok := challenged(m)
		switch {
		case err != nil:
			e.finish(i, "", fmt.Errorf("%w: %w", ErrNoAnswer, err))
		case ok && nonce == "":
			e.invite(i, body, again)
		case m.Status/100 == 2:
			i.answered(m)
			i.up = true
			if i.in != "" {
				e.finish(i, i.in, nil)
			}
		case m.Status == 401 || m.Status == 403:
			e.finish(i, "", fmt.Errorf("%w: %d", ErrStranger, m.Status))
		default:
			e.finish(i, "", fmt.Errorf("%w: %d %s", ErrRefused, m.Status, m.Reason))
		}
	})
}

// finish ends an INVITE dialog of ours. The edge is locked.
func (e *Edge) finish(i *invite, server string, err error) {
	delete(e.invites, i.local)
	if i.up {
		e.bye(i)
	} else if i.cancel != nil && err != nil {
		i.cancel()
	}
	go i.done(server, err)
}

// bye ends a dialog (RFC 3261 §15). The edge is locked.
func (e *Edge) bye(i *invite) {
	e.send(&i.dialog, i.request("BYE", ""), nil, func(*sip.Message, error) {})
}

// invitedBy finds the INVITE of ours that a subscriber names in Target-Dialog (RFC 4538 §7: by
// the tags as he has them). The edge is locked.
func (e *Edge) invitedBy(value string) string {
	callID, params, _ := strings.Cut(value, ";")
	remote, _ := sip.Params(";" + params).Get("remote-tag")
	if i := e.invites[remote]; i != nil && i.ours && i.callID == strings.TrimSpace(callID) {
		return remote
	}
	return ""
}

// fetched says that a subscriber has the document.
func (e *Edge) fetched(s *subscription) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if i := e.invites[s.invite]; i != nil && i.ours {
		i.in = s.server
		if i.up { // else the answer to the INVITE is slower than what follows from it
			e.finish(i, s.server, nil)
		}
	}
}

// document is the body of another server's request, nil where there is none; not ok: it has been refused.
func (e *Edge) document(tx *sip.ServerTx, m *sip.Message, of string) (d *loaddoc.Document, ok bool) {
	if m.Body == "" {
		return nil, true
	}
	kind, _ := m.Get(sip.HContentType)
	kind, _, _ = strings.Cut(kind, ";")
	if !strings.EqualFold(strings.TrimSpace(kind), loaddoc.Type) {
		tx.Respond(sip.Response{Status: 415, Header: sip.AppendList(nil, sip.HAccept, loaddoc.Type)})
		return nil, false
	}
	d, err := loaddoc.Parse([]byte(m.Body))
	if err != nil {
		refuse(tx, 400, "Malformed Document")
		e.log.Warn("loadcontrol: a document that makes no sense", "server", of, "err", err)
		return nil, false
	}
	return d, true
}

// invited takes an INVITE of another server.
func (e *Edge) invited(tx *sip.ServerTx, m *sip.Message, by string) {
	head, ok := e.document(tx, m, by)
	if !ok {
		return
	}
	i := &invite{joined: e.c.Joined, deadline: time.Now().Add(JoinTime)}
	if i.dialog, ok = asked(m, newTag(), e.c.Contact); !ok {
		refuse(tx, 400, "Missing Or Malformed Contact")
		return
	}
	i.sign = true
	if e.c.Join == nil {
		refuse(tx, 603, "")
		return
	}
	if status := e.c.Join(by, head); status != 200 {
		refuse(tx, status, "")
		return
	}
	e.mu.Lock()
	e.invites[i.local] = i
	e.mu.Unlock()
	tx.Accept(sip.Response{Status: 200, ToTag: i.local, Header: append(sip.AppendAddressHeader(nil, sip.HContact, sip.Address{URI: e.c.Contact}),
		"Allow: INVITE, ACK, BYE, CANCEL, SUBSCRIBE, NOTIFY\r\nSupported: tdialog\r\n"...)},
		func(err error) {
			e.mu.Lock()
			defer e.mu.Unlock()
			if e.invites[i.local] != i {
				return
			}
			if err != nil {
				e.abandon(i, fmt.Errorf("%w: no ACK: %w", ErrNotJoined, err))
				return
			}
			e.subscribe(&watch{Peer: Peer{Name: by, URI: i.target}, invite: i.local, joined: i.joined}, time.Now())
		})
}

// abandon ends an INVITE dialog in which we were asked, without having joined if that has
// not happened. The edge is locked.
func (e *Edge) abandon(i *invite, err error) {
	delete(e.invites, i.local)
	e.bye(i)
	e.gaveUp(i, err)
}

// gaveUp tells that it has come to nothing. The edge is locked.
func (e *Edge) gaveUp(i *invite, err error) {
	if i.joined == nil {
		return
	}
	joined := i.joined
	i.joined = nil
	for _, w := range e.watches {
		if w.invite == i.local {
			w.joined = nil
			e.unsubscribe(w)
		}
	}
	if joined != nil {
		go joined(nil, err)
	}
}

// hungUp takes a BYE.
func (e *Edge) hungUp(tx *sip.ServerTx, m *sip.Message, i *invite) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.invites[i.local] != i || !i.refreshed(m) {
		refuse(tx, 481, "")
		return
	}
	refuse(tx, 200, "")
	if i.ours {
		i.up = false // it is over already
		e.finish(i, "", ErrNotJoined)
		return
	}
	delete(e.invites, i.local)
	e.gaveUp(i, ErrNotJoined)
}

// expire ends what has taken too long.
func (e *Edge) expire(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, i := range e.invites {
		if now.Before(i.deadline) {
			continue
		}
		switch {
		case !i.ours && i.joined == nil: // joined, and no BYE has come
			delete(e.invites, i.local)
			e.bye(i)
		case !i.ours:
			e.abandon(i, fmt.Errorf("%w: no document", ErrNotJoined))
		case i.up:
			e.finish(i, "", ErrNotJoined)
		default:
			e.finish(i, "", ErrNoAnswer)
		}
	}
}
