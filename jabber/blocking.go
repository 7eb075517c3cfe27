package jabber

import (
	"context"
	"errors"
	"slices"

	"pharos/markup"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
	"pharos/xmpp"
)

// blocklist is what a user blocks (XEP-0191). Immutable.
type blocklist struct {
	names []string // sorted
	set   map[string]struct{}
}

func newBlocklist(names []string) *blocklist {
	if len(names) == 0 {
		return nil
	}
	b := &blocklist{names: slices.Clone(names), set: make(map[string]struct{}, len(names))}
	slices.Sort(b.names)
	for _, n := range b.names {
		b.set[n] = struct{}{}
	}
	return b
}

// has matches by XEP-0191 §2: user@domain/resource, user@domain,
// domain/resource, domain. Nil-safe.
func (b *blocklist) has(e presence.Entity, resource string) bool {
	if b == nil {
		return false
	}
	for _, n := range [...]string{e.String(), e.Domain} {
		if _, ok := b.set[n]; ok {
			return true
		}
		if resource == "" {
			continue
		}
		if _, ok := b.set[n+"/"+resource]; ok {
			return true
		}
	}
	return false
}

// blocks tells whether a user blocks somebody. It may block.
func (e *Edge) blocks(ctx context.Context, u, who presence.Entity, resource string) bool {
	if rec := e.reg.user(u); rec != nil { // true to what this node has heard of
		return rec.blocked(who, resource)
	}
	names, err := e.c.Store.Blocks(ctx, u)
	if err != nil {
		// Privacy goes first: what cannot be decided is not delivered.
		e.log.Error("block list not read", "entity", u.String(), "err", err)
		return true
	}
	return newBlocklist(names).has(who, resource)
}

// blocklist answers XEP-0191 §3.2.
func (r *request) blocklist(ctx context.Context) {
	if !r.own() || r.set {
		r.refuse("not-allowed")
		return
	}
	// A push comes before the answer and is in it, or after.
	_, release := r.edge.hold(ctx, r.user.entity)
	defer release()
	r.mu.Lock()
	r.wantsBlocks = true
	r.mu.Unlock()
	r.result(func(b []byte) []byte {
		b = append(b, "<blocklist xmlns='"+nsBlocking+"'>"...)
		if l := r.user.blocks.Load(); l != nil {
			b = appendBlockItems(b, l.names)
		}
		return append(b, "</blocklist>"...)
	})
}

func appendBlockItems(b []byte, names []string) []byte {
	for _, n := range names {
		b = markup.AppendAttr(append(b, "<item"...), "jid", n)
		b = append(b, "/>"...)
	}
	return b
}

// readBlocks reads the addresses of a request.
func (r *request) readBlocks() (jids []xmpp.JID, names []string, ok bool) {
	for c := range r.child.Children() {
		if !c.Is(nsBlocking, "item") {
			continue
		}
		j, err := xmpp.ParseJID(c.Attr("jid"))
		if err != nil {
			r.refuse("jid-malformed")
			return nil, nil, false
		}
		if n := j.String(); !slices.Contains(names, n) {
			jids, names = append(jids, j), append(names, n)
		}
	}
	return jids, names, true
}

// block answers XEP-0191 §3.3. Whoever is blocked sees the user go, here and
// over SIP; the user sees nothing of them any more.
func (r *request) block(ctx context.Context) {
	if !r.own() || !r.set {
		r.refuse("not-allowed")
		return
	}
	jids, names, ok := r.readBlocks()
	if !ok {
		return
	}
	if len(names) == 0 {
		r.refuse("bad-request") // XEP-0191 §3.3
		return
	}
	ctx, release := r.edge.hold(ctx, r.user.entity)
	defer release()
	if !r.setBlocks(ctx, names, nil, false) {
		return
	}
	r.edge.unwatchBlocked(ctx, r.user)
	r.edge.c.Engine.PolicyChanged(r.user.entity)
	r.result(nil)
	r.edge.pushBlocks(r.user, "block", names)
	r.edge.othersBlocks(ctx, r.user)
	for _, j := range jids {
		if j.Local != "" && j.Resource == "" {
			r.edge.cancelled(ctx, r.user.entity, entityOf(j))
		}
	}
}

// unblock answers XEP-0191 §3.4; without items everybody is unblocked.
func (r *request) unblock(ctx context.Context) {
	if !r.own() || !r.set {
		r.refuse("not-allowed")
		return
	}
	_, names, ok := r.readBlocks()
	if !ok {
		return
	}
	ctx, release := r.edge.hold(ctx, r.user.entity)
	defer release()
	if !r.setBlocks(ctx, nil, names, len(names) == 0) {
		return
	}
	r.edge.c.Engine.PolicyChanged(r.user.entity)
	r.result(nil)
	r.edge.pushBlocks(r.user, "unblock", names)
	r.edge.othersBlocks(ctx, r.user)
	r.edge.unblocked(ctx, r.user)
}

// setBlocks writes, and keeps the record of the user true to the store. The user is held.
func (r *request) setBlocks(ctx context.Context, add, remove []string, all bool) bool {
	err := r.edge.c.Documents.SetBlocks(ctx, r.user.entity, add, remove, all)
	switch {
	case errors.Is(err, store.ErrFull) || errors.Is(err, xdm.ErrTooLarge):
		r.refuse("resource-constraint")
	case err != nil:
		r.failed("block list not written", err)
	default:
		if all {
			remove = r.user.blocks.Load().all()
		}
		if err = r.edge.tookBlocks(ctx, r.user, add, remove); err != nil {
			r.failed("block list not read", err)
		}
	}
	return err == nil
}

// all are the names; nil-safe.
func (b *blocklist) all() []string {
	if b == nil {
		return nil
	}
	return b.names
}

// tookBlocks brings a change that was made here into the record of a user. Of several nodes the record is what the sessions here
// have been told, or are told next: the store may have something else already, which othersBlocks tells after that.
// The user is held.
func (e *Edge) tookBlocks(ctx context.Context, u *user, add, remove []string) error {
	if !e.many {
		return e.readBlocks(ctx, u)
	}
	names := slices.DeleteFunc(slices.Clone(u.blocks.Load().all()), func(n string) bool {
		return slices.Contains(remove, n) || slices.Contains(add, n)
	})
	u.blocks.Store(newBlocklist(append(names, add...)))
	return nil
}

// othersBlocks tells what others have made meanwhile of a block list of which a change that was made here has been told. The
// user is held.
func (e *Edge) othersBlocks(ctx context.Context, u *user) {
	if !e.many {
		return
	}
	if err := e.refreshBlocks(ctx, u); err != nil {
		e.log.Error("block list not read", "entity", u.bare, "err", err)
	}
}

// readBlocks makes the record of a user true to the store. The user is held.
func (e *Edge) readBlocks(ctx context.Context, u *user) error {
	names, err := e.c.Store.Blocks(ctx, u.entity)
	if err == nil {
		u.blocks.Store(newBlocklist(names))
	}
	return err
}

// unwatchBlocked has the user see nothing of who is blocked now.
func (e *Edge) unwatchBlocked(ctx context.Context, u *user) {
	for _, s := range u.list() {
		for _, contact := range s.watched() {
			if u.blocked(contact, "") && contact != u.entity {
				s.unwatch(ctx, contact, true)
			}
		}
	}
}

// pushBlocks tells the sessions that have asked for the list (XEP-0191 §3.3).
func (e *Edge) pushBlocks(u *user, what string, names []string) {
	for _, s := range u.list() {
		s.mu.Lock()
		if s.wantsBlocks {
			b := append([]byte("<iq type='set' id='push"), pushID(e)...)
			b = markup.AppendAttr(append(b, '\''), "to", s.full)
			b = append(append(b, "><"...), what...)
			b = append(b, " xmlns='"+nsBlocking+"'>"...)
			b = appendBlockItems(b, names)
			b = append(append(b, "</"...), what...)
			s.flush()
			s.put(nil, append(b, "></iq>"...))
		}
		s.mu.Unlock()
	}
}

// watched lists the contacts that a session watches.
func (s *session) watched() []presence.Entity {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]presence.Entity, 0, len(s.watches))
	for c := range s.watches {
		out = append(out, c)
	}
	return out
}

// unblocked starts the watches again that a block had ended: the user's own,
// and those of contacts who are here. The user is held.
func (e *Edge) unblocked(ctx context.Context, u *user) {
	items, _, err := e.c.Store.Roster(ctx, u.entity)
	if err != nil {
		e.log.Error("roster not read", "entity", u.bare, "err", err)
		return
	}
	for i := range items {
		it := &items[i]
		if it.Removed {
			continue
		}
		if it.To {
			for _, s := range u.list() {
				s.watch(ctx, it.Contact)
			}
		}
		if it.From {
			for _, s := range e.reg.user(it.Contact).list() { // others: seeElsewhere
				s.rewatch(ctx, u.entity)
			}
		}
	}
	e.seeElsewhere(ctx, u.entity, true)
}

// rewatch asks again for a contact whose block had ended the watch.
func (s *session) rewatch(ctx context.Context, contact presence.Entity) {
	s.mu.Lock()
	_, ok := s.watches[contact]
	s.mu.Unlock()
	if ok {
		s.watch(ctx, contact)
	}
}

// revive asks again for a contact of whom nothing is shown.
func (s *session) revive(ctx context.Context, contact presence.Entity) {
	s.mu.Lock()
	view, ok := s.watches[contact]
	s.mu.Unlock()
	if ok && view == nil {
		s.watch(ctx, contact)
	}
}
