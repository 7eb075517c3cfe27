package loadcontrol

import (
	"strings"
	"time"

	"pharos/account"
	"pharos/loaddoc"
	"pharos/presence"
	"pharos/sip"
)

// subscription is somebody's to the presentity of the system: the notifier of RFC 6665.
type subscription struct {
	dialog
	server  string // who it is; "" for an observer
	who     presence.Entity
	event   string // value of our Event header
	own     bool   // scope=server: only this server is told of
	users   users
	expires time.Time
	invite  string // tag of the INVITE dialog that it comes from

	told    *loaddoc.Document // nil: the next NOTIFY is a full one
	version uint64            // of the next
	sent    time.Time         // when the last NOTIFY was
	busy    bool
	again   bool // a full one is owed while one is under way
	fails   int
}

// maxFails is the number of NOTIFYs in a row without an answer that ends a
// subscription.
const maxFails = 3

// subscribed takes a SUBSCRIBE for the system that begins a dialog; the sender is known.
func (e *Edge) subscribed(tx *sip.ServerTx, m *sip.Message, server string, who presence.Entity) {
	event, ok, err := m.Event()
	switch {
	case err != nil || !ok:
		refuse(tx, 400, "Malformed Or Missing Event")
		return
	case !strings.EqualFold(event.Package, "presence"):
		tx.Respond(sip.Response{Status: 489, Header: sip.AppendList(nil, sip.HAllowEvents, "presence")}) // RFC 6665 §7.3.2
		return
	case !accepts(m):
		tx.Respond(sip.Response{Status: 406, Header: sip.AppendList(nil, sip.HAccept, loaddoc.Type)})
		return
	}
	expires, ok := e.lifetime(tx, m, server != "")
	if !ok {
		return
	}
	s := &subscription{server: server, who: who, event: event.Package, expires: time.Now().Add(expires)}
	if event.ID != "" {
		s.event += ";id=" + event.ID
	}
	if v, _ := event.Params.Get("scope"); v == "server" {
		s.own = true
	}
	switch v, _ := event.Params.Get("users"); v {
	case "all":
		s.users = usersAll
	case "none":
		s.users = usersNone
	}
	tag := newTag()
	if s.dialog, ok = asked(m, tag, e.contact(tx, server != "")); !ok || !kept(s.event) {
		refuse(tx, 400, "Missing Or Malformed Contact")
		return
	}
	s.sign = server != ""
	s.flow = tx.Flow() // a phone may be behind a NAT; and so the NOTIFY comes after the 200
	e.mu.Lock()
	if e.closed || len(e.subs) >= MaxSubscriptions {
		e.mu.Unlock()
		tx.Respond(sip.Response{Status: 503, Header: sip.AppendNumber(nil, sip.HRetryAfter, 30)})
		return
	}
	if v, has := m.Get(sip.HTargetDialog); has && s.sign {
		s.invite = e.invitedBy(v)
	}
	e.subs[tag] = s
	e.mu.Unlock()
	e.accept(tx, s, expires)
	e.mu.Lock()
	if expires == 0 { // RFC 6665 §4.4.3: asks once
		e.end(s, "timeout")
	} else {
		e.notify(s, time.Now())
	}
	e.mu.Unlock()
}

// resubscribed takes a SUBSCRIBE in a dialog.
func (e *Edge) resubscribed(tx *sip.ServerTx, m *sip.Message, s *subscription) {
	expires, ok := e.lifetime(tx, m, s.server != "")
	if !ok {
		return
	}
	e.mu.Lock()
	switch {
	case e.subs[s.local] != s:
		e.mu.Unlock()
		refuse(tx, 481, "")
		return
	case !s.refreshed(m):
		e.mu.Unlock()
		refuse(tx, 500, "CSeq Out Of Order") // RFC 3261 §12.2.2
		return
	}
	s.flow = tx.Flow()
	s.expires = time.Now().Add(expires)
	e.mu.Unlock()
	e.accept(tx, s, expires)
	e.mu.Lock()
	defer e.mu.Unlock()
	if expires == 0 {
		e.end(s, "timeout")
		return
	}
	s.told = nil // RFC 6665 §4.2.1.2: the whole state in answer to each
	e.notify(s, time.Now())
}

func (e *Edge) accept(tx *sip.ServerTx, s *subscription, expires time.Duration) {
	b := sip.AppendNumber(nil, sip.HExpires, uint32(expires/time.Second))
	b = sip.AppendAddressHeader(b, sip.HContact, sip.Address{URI: s.contact})
	tx.Respond(sip.Response{Status: 200, ToTag: s.local, Header: b})
}

// lifetime reads Expires; 423 for less than a second can be kept up with.
func (e *Edge) lifetime(tx *sip.ServerTx, m *sip.Message, server bool) (time.Duration, bool) {
	sec, has, err := m.Seconds(sip.HExpires)
	if err != nil {
		refuse(tx, 400, "Malformed Expires")
		return 0, false
	}
	limit := MaxExpires
	if server {
		limit = 2 * PeerExpires
	}
	d := limit
	if has {
		d = min(limit, time.Duration(sec)*time.Second)
	}
	if least := 5 * time.Second; d > 0 && d < least {
		tx.Respond(sip.Response{Status: 423, Header: sip.AppendNumber(nil, sip.HMinExpires, uint32(least/time.Second))})
		return 0, false
	}
	return d, true
}

// accepts tells whether the subscriber takes what we have; without Accept PIDF is meant
// (RFC 3856 §6.5).
func accepts(m *sip.Message) bool {
	any := false
	for v := range m.All(sip.HAccept) {
		kind, _, _ := strings.Cut(v, ";")
		switch strings.ToLower(strings.TrimSpace(kind)) {
		case loaddoc.Type, "application/*", "*/*":
			return true
		}
		any = true
	}
	return !any
}

// tellAll sends what has changed to everybody who has not heard within an interval.
func (e *Edge) tellAll(now time.Time) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, s := range e.subs {
		switch {
		case !now.Before(s.expires):
			e.end(s, "timeout")
		case now.Sub(s.sent) >= Interval-Interval/20: // a ticker is not that exact
			e.notify(s, now)
		}
	}
}

// notify sends what s has not been told, if anything. The edge is locked.
func (e *Edge) notify(s *subscription, now time.Time) {
	if s.busy {
		s.again = s.again || s.told == nil
		return
	}
	d := e.part(e.current(now), s.own, s.users)
	var doc *loaddoc.Document
	if s.told == nil {
		doc = loaddoc.Cut(d, room(d))
		doc.Version = s.version
		s.told = doc
	} else if doc, s.told = loaddoc.Diff(s.told, d, room(d)); doc == nil {
		return
	}
	s.version = doc.Version + 1
	s.sent, s.busy = now, true
	left := max(0, s.expires.Sub(now))
	e.sendNotify(s, sip.SubscriptionState{State: "active", Expires: uint32((left + time.Second - 1) / time.Second), HasExpires: true},
		loaddoc.Append(nil, doc), func(m *sip.Message, err error) { e.notified(s, m, err) })
}

func (e *Edge) sendNotify(s *subscription, state sip.SubscriptionState, body []byte, done func(*sip.Message, error)) {
	more := sip.AppendNamed(nil, "Event", s.event)
	more = sip.AppendSubscriptionState(more, state)
	if body != nil {
		more = sip.AppendHeader(more, sip.HContentType, loaddoc.Type)
	}
	make := func() sip.OutRequest {
		out := s.request("NOTIFY", "", more)
		out.Body = body
		return out
	}
	e.send(&s.dialog, make(), func(string) sip.OutRequest {
		e.mu.Lock()
		defer e.mu.Unlock()
		return make()
	}, done)
}

// notified takes the answer to a NOTIFY.
func (e *Edge) notified(s *subscription, m *sip.Message, err error) {
	e.mu.Lock()
	s.busy = false
	switch {
	case e.subs[s.local] != s:
		e.mu.Unlock()
		return
	case err == nil && m.Status/100 == 2:
		s.fails = 0
		if s.again {
			s.again = false
			e.notify(s, time.Now())
		}
	case err == nil && (m.Status == 481 || m.Status == 404 || m.Status == 403 || m.Status == 401 || m.Status == 489):
		delete(e.subs, s.local) // RFC 6665 §4.2.2
		e.mu.Unlock()
		return
	default:
		s.told = nil // who knows what has been heard of it
		if s.fails++; s.fails >= maxFails {
			delete(e.subs, s.local)
			if s.server != "" {
				e.log.Info("loadcontrol: a server does not answer: it is told nothing more until it subscribes again", "server", s.server)
			} else {
				e.log.Info("loadcontrol: an observer does not answer, and is told nothing more", "observer", s.who.String())
			}
		}
		e.mu.Unlock()
		return
	}
	e.mu.Unlock()
	if s.invite != "" {
		e.fetched(s)
	}
}

// end tells s that it is over, with the last state (RFC 6665 §4.4.3: also of a fetch). The
// edge is locked.
func (e *Edge) end(s *subscription, reason string) {
	if e.subs[s.local] != s {
		return
	}
	delete(e.subs, s.local)
	d := e.part(e.current(time.Now()), s.own, s.users)
	doc := loaddoc.Cut(d, room(d))
	doc.Version = s.version
	e.sendNotify(s, sip.SubscriptionState{State: "terminated", Reason: reason}, loaddoc.Append(nil, doc), func(*sip.Message, error) {})
}

// observer verifies who subscribes from outside: with the digest of his account, and only
// those whom the configuration names. To all others the service is no presentity.
func (e *Edge) observer(tx *sip.ServerTx, m *sip.Message) {
	who := presence.Entity{}
	if u, err := m.From().ParseURI(); err == nil {
		who = presence.Entity{User: strings.ToLower(u.User), Domain: strings.ToLower(u.Host)}
	}
	known := false
	for _, o := range e.c.Observers {
		known = known || o == who
	}
	if !known || e.c.Accounts == nil {
		refuse(tx, 403, "")
		return
	}
	for _, c := range m.Credentials(sip.HAuthorization) {
		if !c.IsDigest() || !strings.EqualFold(c.Realm, who.Domain) {
			continue
		}
		if !digestFor(m, c.URI) {
			refuse(tx, 400, "Digest URI Is Not The Request-URI")
			return
		}
		e.c.Accounts.Verify(account.Digest{
			Method: m.Method, Username: c.Username, Realm: who.Domain, Nonce: c.Nonce, URI: c.URI, Response: c.Response,
			Algorithm: c.Algorithm, QOP: c.QOP, CNonce: c.CNonce, NC: c.NCValue, Remote: tx.Flow().Remote().Addr().Unmap(),
		}, func(v account.Verdict) {
			switch {
			case v.Err == nil && !v.Stale && v.User == who:
				e.taken(tx, m, "", who)
			case v.Err == nil && !v.Stale:
				refuse(tx, 403, "From Is Not Who You Are")
			default:
				e.challengeUser(tx, who.Domain, v.Stale)
			}
		})
		return
	}
	e.challengeUser(tx, who.Domain, false)
}

func (e *Edge) challengeUser(tx *sip.ServerTx, domain string, again bool) {
	c := sip.Challenge{Realm: domain, Nonce: e.c.Accounts.Nonce(), QOP: "auth", Stale: again}
	var b []byte
	for _, c.Algorithm = range []string{sip.MD5, sip.SHA256} { // the order of simple: many look at the first only
		b = sip.AppendChallenge(b, sip.HWWWAuthenticate, c)
	}
	tx.Respond(sip.Response{Status: 401, Header: b})
}
