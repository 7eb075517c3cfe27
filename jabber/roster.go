package jabber

import (
	"context"
	"strconv"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
	"pharos/xmpp"
)

// roster answers RFC 6121 §2.
func (r *request) roster(ctx context.Context) {
	switch {
	case !r.own():
		r.refuse("forbidden") // RFC 6121 §2.3.3: only the owner
	case r.set:
		r.rosterSet(ctx)
	default:
		r.rosterGet(ctx)
	}
}

// rosterGet answers with the roster, or (RFC 6121 §2.6) with what has changed
// since the version that the client has.
func (r *request) rosterGet(ctx context.Context) {
	s := r.session
	ctx, release := s.edge.hold(ctx, s.user.entity)
	defer release()
	if s.far != nil && s.far.version > 0 {
		// Asked again: what it has not been told of yet, it is told with the answer, but its watches would not follow.
		s.edge.catchUp(ctx, s.user, nil).now(presence.Entity{})
	}
	has, versioned := r.child.LookupAttr("", "ver")
	since, err := strconv.ParseUint(has, 10, 64)
	if versioned && err == nil {
		newer, version, full, err := s.edge.c.Store.RosterSince(ctx, s.user.entity, since)
		switch {
		case err != nil:
			r.failed("roster not read", err)
		case full:
			r.rosterWhole(newer, version)
		default:
			r.rosterNewer(newer, version)
		}
		return
	}
	items, version, err := s.edge.c.Store.Roster(ctx, s.user.entity)
	if err != nil {
		r.failed("roster not read", err)
		return
	}
	r.rosterWhole(items, version)
}

// rosterWhole answers with all items; the user is held.
func (r *request) rosterWhole(items []store.Item, version uint64) {
	s := r.session
	s.user.size = countRows(items)
	s.told(version)
	s.mu.Lock()
	s.interested = true
	if !s.available() {
		s.loaded = &loadedRoster{items}
	}
	s.mu.Unlock()
	r.result(func(b []byte) []byte {
		b = append(make([]byte, 0, len(b)+96+len(items)*112), b...)
		b = appendVersion(append(b, "<query xmlns='"+nsRoster+"'"...), version)
		b = append(b, '>')
		for i := range items {
			if shown(&items[i]) {
				b = appendItem(b, &items[i])
			}
		}
		return append(b, "</query>"...)
	})
}

// rosterNewer answers with an empty result, and pushes what is newer in the
// order of versions, so that a stream which breaks in between leaves the client
// with a version that tells the truth (RFC 6121 §2.6.3).
func (r *request) rosterNewer(newer []store.Item, version uint64) {
	r.told(version)
	r.mu.Lock()
	r.interested = true
	r.mu.Unlock()
	r.result(nil)
	for i := range newer {
		r.session.push(&newer[i]) // of one that is not shown: that it is not
	}
}

// rosterSet adds, changes or removes one item; the result is sent after the
// commit (RFC 6121 §2.3 to §2.5).
func (r *request) rosterSet(ctx context.Context) {
	var item *markup.Element
	n := 0
	for c := range r.child.Children() {
		if n++; c.Is(nsRoster, "item") {
			item = c
		}
	}
	if n != 1 || item == nil {
		r.refuse("bad-request") // RFC 6121 §2.3.3
		return
	}
	jid, err := xmpp.ParseJID(item.Attr("jid"))
	if err != nil {
		r.refuse("bad-request")
		return
	}
	contact := entityOf(jid)
	if item.Attr("subscription") == "remove" {
		r.rosterRemove(ctx, contact)
		return
	}
	title := item.Attr("name")
	groups, condition := readGroups(item)
	if len(title) > MaxNameBytes {
		condition = "not-acceptable"
	}
	if condition != "" {
		r.refuse(condition)
		return
	}
	_, err = r.edge.change(ctx, r.user.entity, contact, func(it *store.Item) bool {
		it.Name, it.Groups = title, groups
		it.Visible, it.Removed = true, false
		return true
	})
	switch err {
	case nil:
		r.result(nil)
	case errRosterFull:
		r.refuse("resource-constraint")
	default:
		r.failed("roster item not written", err)
	}
}

// readGroups checks the groups of an item (RFC 6121 §2.3.3).
func readGroups(item *markup.Element) (groups []string, condition string) {
	for c := range item.Children() {
		if !c.Is(nsRoster, "group") {
			continue
		}
		g := c.Text()
		if g == "" || len(g) > MaxGroupBytes || len(groups) == MaxGroups {
			return nil, "not-acceptable"
		}
		for _, o := range groups {
			if o == g {
				return nil, "bad-request"
			}
		}
		groups = append(groups, g)
	}
	return groups, ""
}

// rosterRemove removes an item; both subscriptions end, and the contact is told
// (RFC 6121 §2.5.2).
func (r *request) rosterRemove(ctx context.Context, contact presence.Entity) {
	u, e := r.user.entity, r.edge
	lock := e.pairLock(u, contact)
	lock.Lock()
	defer lock.Unlock()
	known := false
	own := &row{u: u, contact: contact, fn: func(it *store.Item) bool {
		if known = shown(it); !known {
			return false
		}
		*it = store.Item{Contact: it.Contact, Version: it.Version, Removed: true}
		return true
	}}
	was := &own.before
	rows := []*row{own}
	var told []*exchange
	if contact != u {
		out := e.newExchange(ctx, contact, u, roster.Unsubscribe, nil)
		out.passes = func() bool { return known && (was.To || was.Ask) }
		in := e.newExchange(ctx, contact, u, roster.Unsubscribed, nil)
		in.passes = func() bool { return known && (was.From || was.PendingIn) }
		told = []*exchange{out, in}
		rows = append(append(rows, out.rows()...), in.rows()...)
	}
	say := func() {
		if known {
			r.result(nil)
		}
		for _, x := range told {
			x.tell()
		}
	}
	err := e.transact(ctx, say, rows...)
	switch {
	case err != nil:
		r.failed("roster item not removed", err)
	case !known:
		r.refuse("item-not-found") // RFC 6121 §2.5.3
	}
}

// push tells one client of an item (RFC 6121 §2.1.6).
func (s *session) push(it *store.Item) { s.send(appendPush(nil, s, it)) }

func appendPush(b []byte, s *session, it *store.Item) []byte {
	b = append(b, "<iq type='set' id='push"...)
	b = append(b, pushID(s.edge)...)
	b = append(b, '\'')
	b = markup.AppendAttr(b, "to", s.full)
	b = append(b, "><query xmlns='"+nsRoster+"'"...)
	b = appendVersion(b, it.Version)
	b = append(b, '>')
	b = appendItem(b, it)
	return append(b, "</query></iq>"...)
}

func pushID(e *Edge) string { return strconv.FormatUint(e.seq.Add(1), 36) }

func appendVersion(b []byte, v uint64) []byte {
	b = append(b, " ver='"...)
	b = strconv.AppendUint(b, v, 10)
	return append(b, '\'')
}

func appendItem(b []byte, it *store.Item) []byte {
	b = append(b, "<item"...)
	b = markup.AppendAttr(b, "jid", it.Contact.String())
	if !shown(it) {
		return append(b, " subscription='remove'/>"...)
	}
	b = attr(b, "name", it.Name)
	switch {
	case it.To && it.From:
		b = append(b, " subscription='both'"...)
	case it.To:
		b = append(b, " subscription='to'"...)
	case it.From:
		b = append(b, " subscription='from'"...)
	default:
		b = append(b, " subscription='none'"...)
	}
	if it.Ask {
		b = append(b, " ask='subscribe'"...)
	}
	if it.Approved {
		b = append(b, " approved='true'"...)
	}
	if len(it.Groups) == 0 {
		return append(b, "/>"...)
	}
	b = append(b, '>')
	for _, g := range it.Groups {
		b = append(b, "<group>"...)
		b = markup.AppendText(b, g)
		b = append(b, "</group>"...)
	}
	return append(b, "</item>"...)
}

// countRows counts what a roster's bound counts.
func countRows(items []store.Item) int {
	n := 0
	for i := range items {
		if !items[i].Removed {
			n++
		}
	}
	return n
}
