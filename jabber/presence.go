package jabber

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"pharos/load"
	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
	"pharos/xmpp"
)

// presence routes a presence stanza (RFC 6121 §4.7.1).
func (s *session) presence(ctx context.Context, el *markup.Element) {
	typ := el.Attr("type")
	kind, isSub := kinds[typ]
	if typ == "error" {
		return
	}
	if typ != "" && typ != "unavailable" && typ != "probe" && !isSub {
		s.refuse(el, "bad-request")
		return
	}
	if el.Attr("to") == "" {
		switch typ {
		case "":
			s.broadcast(ctx, el)
		case "unavailable":
			s.act.Lock()
			s.depart(ctx, nativeOf(el, s.language(el)))
			s.act.Unlock()
		default:
			s.refuse(el, "bad-request") // nobody is asked
		}
		return
	}
	to, ok := s.destination(el)
	if !ok {
		return
	}
	if !s.edge.local(to.Domain) {
		if typ != "unavailable" {
			s.refuse(el, "remote-server-not-found")
		}
		return
	}
	// What ends something passes: who blocks a contact may still take the
	// subscription back.
	if s.user.blocked(entityOf(to), to.Resource) && (typ == "" || typ == "subscribe" || typ == "subscribed") {
		s.refuseBlocked(el)
		return
	}
	switch {
	case isSub:
		s.subscription(ctx, el, to, kind)
	case to.Local == "":
		// The server itself takes no interest.
	case typ == "probe":
		s.probe(ctx, to)
	default:
		s.sendDirect(ctx, el, to, typ == "")
	}
}

// nativeOf is the content of a presence stanza as it will be carried on. The
// stanza's language goes to each status without one (RFC 6120 §8.1.5), since
// only the content is carried.
func nativeOf(el *markup.Element, l string) presence.Payload {
	b := make([]byte, 0, el.Inner[1]-el.Inner[0])
	if l == "" || !hasBareStatus(el) {
		return presence.Payload{Type: nsClient, Bytes: el.AppendInner(b, nsClient)}
	}
	for c := range el.Children() {
		if !isBareStatus(c) {
			b = c.Append(b, nsClient)
			continue
		}
		b = markup.AppendAttr(append(b, "<status"...), "xml:lang", l)
		b = markup.AppendText(append(b, '>'), c.Text())
		b = append(b, "</status>"...)
	}
	return presence.Payload{Type: nsClient, Bytes: b}
}

func isBareStatus(el *markup.Element) bool { return el.Is(nsClient, "status") && lang(el) == "" }

func hasBareStatus(el *markup.Element) bool {
	for c := range el.Children() {
		if isBareStatus(c) {
			return true
		}
	}
	return false
}

// priorityOf reads <priority/> (RFC 6121 §4.7.2.3): -128 to 127, 0 when absent.
func priorityOf(el *markup.Element) (int, bool) {
	c := el.Child(nsClient, "priority")
	if c == nil {
		return 0, true
	}
	n, err := strconv.ParseInt(strings.TrimSpace(c.Text()), 10, 8)
	return int(n), err == nil
}

// broadcast is presence without to (RFC 6121 §4.2, §4.4): the source is
// published, and initial presence starts the watches.
func (s *session) broadcast(ctx context.Context, el *markup.Element) {
	prio, ok := priorityOf(el)
	if !ok {
		s.refuse(el, "bad-request")
		return
	}
	// No client says its presence again because an error came back: a refusal
	// would leave it offline to everybody for as long as it is here.
	if !s.edge.await(ctx, load.Publish) {
		s.refuse(el, "resource-constraint")
		return
	}
	l := s.language(el)
	hash := s.photo(ctx)
	at := time.Now().UTC().Round(0) // so that it is the same when it has come from another node
	in := presence.Publish{
		ID: s.source(), Native: nativeOf(el, l), From: s.from(), Since: s.since, Said: at,
		Doc: documentOf(readStanza(el, l), s.user.entity, s.resource, at),
	}
	noPhoto := saysNoPhoto(el)
	if hash != "" && !noPhoto {
		in.Native = withPhoto(in.Native, hash)
	}
	s.act.Lock()
	s.noPhoto = noPhoto
	s.act.Unlock()
	was := s.prio.Load()
	if was != unavailable {
		s.prio.Store(int32(prio))
		s.act.Lock()
		s.publish(ctx, el, in)
		s.act.Unlock()
	} else if !s.arrive(ctx, el, in, prio) {
		return
	}
	s.learn(ctx, el)
	if was != unavailable && was < 0 && prio >= 0 {
		s.mu.Lock()
		wanted := s.caps
		s.sendLast(wanted)
		s.mu.Unlock()
		s.ownItems(ctx, wanted)
	}
	if now := s.photo(ctx); now != hash { // changed in between
		if err := s.sayAgain(ctx, now); err != nil {
			s.log().Error("presence not told again", "err", err)
		}
	}
	if prio >= 0 && was < 0 {
		s.takeStored(ctx) // XEP-0160 §3
	}
}

// publish submits the session's source. act is held.
func (s *session) publish(ctx context.Context, el *markup.Element, in presence.Publish) {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended {
		return
	}
	s.remember(in)
	head := headOf(el)
	err := s.edge.submit(ctx, s.user.entity, in, func(_ presence.Outcome, err error) {
		if err != nil {
			s.unpublished(head, err)
		}
	})
	if err != nil {
		s.unpublished(head, err)
	}
}

// remember keeps what the session says, to be said again. act is held.
func (s *session) remember(in presence.Publish) {
	if s.far != nil {
		s.far.said = &in
	}
}

func (s *session) unpublished(head stanzaHead, err error) {
	el := head.element()
	if errors.Is(err, presence.ErrTooMany) {
		s.refuse(el, "resource-constraint")
		return
	}
	s.log().Error("presence not published", "err", err)
	s.refuse(el, conditionOf(err))
}

// arrive is initial presence (RFC 6121 §4.2.2): the roster says whom to watch
// and who has asked meanwhile. The user is held, so that a change of the roster is
// either read here or finds the session available.
func (s *session) arrive(ctx context.Context, el *markup.Element, in presence.Publish, prio int) bool {
	u := s.user.entity
	ctx, release := s.edge.hold(ctx, u)
	defer release()
	s.mu.Lock()
	loaded := s.loaded
	s.loaded = nil
	s.mu.Unlock()
	var items []store.Item
	if loaded != nil {
		items = loaded.items
	} else {
		var version uint64
		var err error
		if items, version, err = s.edge.c.Store.Roster(ctx, u); err != nil {
			s.log().Error("roster not read", "err", err)
			s.refuse(el, conditionOf(err))
			return false
		}
		s.user.size = countRows(items)
		if s.far != nil && s.far.version == 0 {
			s.told(version)
		}
	}
	s.prio.Store(int32(prio))
	s.act.Lock()
	defer s.act.Unlock()
	s.publish(ctx, el, in)
	s.mu.Lock()
	if s.watches == nil && !s.ended {
		s.watches = make(map[presence.Entity]*presence.View, 1+countWatched(items))
	}
	s.mu.Unlock()
	s.startWatch(ctx, u)
	for i := range items {
		if it := &items[i]; it.To && !it.Removed && it.Contact != u {
			s.startWatch(ctx, it.Contact)
		}
	}
	for i := range items {
		// RFC 6121 §3.1.3: told at each login until it is answered.
		if it := &items[i]; it.PendingIn && !it.Removed && !s.user.blocked(it.Contact, "") {
			s.send(appendSubscription(nil, it.Contact, s.user.bare, roster.Subscribe, it.Stanza))
		}
	}
	return true
}

// countWatched is how many contacts of a roster are watched.
func countWatched(items []store.Item) (n int) {
	for i := range items {
		if items[i].To && !items[i].Removed {
			n++
		}
	}
	return n
}

// watch starts to watch a contact if the session is available.
func (s *session) watch(ctx context.Context, contact presence.Entity) {
	if !s.available() {
		return
	}
	s.act.Lock()
	defer s.act.Unlock()
	s.startWatch(ctx, contact)
}

// startWatch is watch with act held.
func (s *session) startWatch(ctx context.Context, contact presence.Entity) {
	if s.user.blocked(contact, "") || !s.edge.local(contact.Domain) {
		return // XEP-0191 §3.1: nothing of the contact is shown
	}
	s.mu.Lock()
	if s.ended || !s.available() {
		s.mu.Unlock()
		return
	}
	if s.watches == nil {
		s.watches = make(map[presence.Entity]*presence.View)
	}
	if _, ok := s.watches[contact]; !ok {
		s.watches[contact] = nil
	}
	s.mu.Unlock()
	if err := s.edge.submit(ctx, contact, s.watchOf(), nil); err != nil {
		s.log().Error("contact not watched", "presentity", contact.String(), "err", err)
	}
}

// watchOf is the session's watch of any contact.
func (s *session) watchOf() presence.Watch {
	return presence.Watch{
		ID: s.handle, Watcher: s.user.entity,
		Via: presence.Via{Edge: EdgeName, Handle: s.handle},
	}
}

// unwatch stops watching; the client is told that the contact is gone. leaving: by
// the user's own word, not the contact's.
func (s *session) unwatch(ctx context.Context, contact presence.Entity, leaving bool) {
	s.act.Lock()
	defer s.act.Unlock()
	s.mu.Lock()
	told, ok := s.watches[contact]
	delete(s.watches, contact)
	if ok && s.far != nil {
		// The owner may not know the watch at present, and then would not answer.
		s.farewells(contact, told)
	}
	s.mu.Unlock()
	if !ok {
		return
	}
	in := presence.Unwatch{ID: s.handle, Reason: presence.Rejected, Leaving: leaving, Silent: s.far != nil}
	if err := s.edge.submit(ctx, contact, in, nil); err != nil {
		s.log().Error("watch not ended", "presentity", contact.String(), "err", err)
	}
}

// farewells tells the client that a contact is gone, told being what it was told before, or
// holds. mu is held.
func (s *session) farewells(contact presence.Entity, told *presence.View) {
	if h := s.held[contact]; h != nil || s.holding() {
		if h == nil {
			h = s.hold(contact, told)
		}
		h.view, h.doubtful = nil, 0
		if !s.holding() {
			s.release(contact, h)
		}
		return
	}
	var w wording
	s.tell(contact, w.of(contact, told, nil, nil))
}

// probe answers a client that asks once (RFC 6121 §4.3).
func (s *session) probe(ctx context.Context, to xmpp.JID) {
	contact := entityOf(to)
	s.act.Lock()
	defer s.act.Unlock()
	id := s.handle + fetchMark + strconv.FormatUint(s.edge.seq.Add(1), 36)
	err := s.edge.submit(ctx, contact, presence.Watch{
		ID: id, Watcher: s.user.entity, Fetch: true,
		Via: presence.Via{Edge: EdgeName, Handle: s.handle},
	}, func(out presence.Outcome, err error) {
		if err != nil || out.State != presence.Active {
			// RFC 6121 §4.3.2: the same for one who may not and for nobody.
			s.send(appendSubscription(nil, contact, s.full, roster.Unsubscribed, nil))
		}
	})
	if err != nil {
		s.log().Error("probe not answered", "presentity", contact.String(), "err", err)
	}
}

// fetchMark is in the subscription ids of probes.
const fetchMark = "?"

// sendDirect is directed presence (RFC 6121 §4.6).
func (s *session) sendDirect(ctx context.Context, el *markup.Element, to xmpp.JID, available bool) {
	hash := s.photo(ctx)
	handle, there := "", true
	if to.Resource != "" {
		handle = s.edge.find(ctx, entityOf(to), to.Resource)
		there = handle != ""
	}
	s.act.Lock()
	defer s.act.Unlock()
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	if available {
		if _, ok := s.directed[to]; !ok && len(s.directed) >= MaxDirected {
			s.mu.Unlock()
			s.refuse(el, "resource-constraint")
			return
		}
		if s.directed == nil {
			s.directed = make(map[xmpp.JID]*presence.Direct)
		}
		s.directed[to] = nil
	} else {
		delete(s.directed, to)
	}
	s.mu.Unlock()
	native := nativeOf(el, s.language(el))
	if available && hash != "" && !saysNoPhoto(el) {
		native = withPhoto(native, hash)
	}
	if !available {
		native.Type = farewellType
	}
	if there { // RFC 6121 §8.5.3.2.2: else silently ignored
		s.direct(ctx, el, to, handle, native, available)
	}
}

// farewellType marks the content of an unavailable directed presence, since the
// notice of a source that went carries the source as it was.
const farewellType = nsClient + "#unavailable"

// direct shows the session, or its going, to one address; handle is that of its
// resource, "" for a bare one. act is held.
func (s *session) direct(ctx context.Context, el *markup.Element, to xmpp.JID, handle string, native presence.Payload, available bool) {
	in := presence.Direct{
		Source:  &presence.Source{ID: s.source(), Native: native, Updated: time.Now(), From: s.from(), Node: s.edge.c.Engine.Self()},
		Watcher: entityOf(to), Available: available,
		Via: presence.Via{Edge: EdgeName, Handle: handle},
	}
	if s.far != nil && available {
		s.mu.Lock()
		s.directed[to] = &in
		s.mu.Unlock()
	}
	head := headOf(el)
	err := s.edge.submit(ctx, s.user.entity, in, func(_ presence.Outcome, err error) {
		if err != nil {
			s.unpublished(head, err)
		}
	})
	if err != nil {
		s.unpublished(head, err)
	}
}

// originOf names where a stream comes from.
func originOf(st *xmpp.Stream) string { return "xmpp " + st.RemoteAddr().String() }

// from is the origin of the session's stream.
func (s *session) from() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.origin
}
