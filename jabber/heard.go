package jabber

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
)

// What another node has changed of a user is heard of once it is committed, in no order
// with what is changed here, and perhaps not at all. So a session knows up to which version
// of the roster it was told, and is told from there on.

// heard follows a change that was made on another node, as far as sessions here are
// concerned. The user is held; so the work is left to others.
func (e *Edge) heard(c *xdm.Change) {
	if c.User.Domain == "" {
		e.calls.spawn(e.missed)
		return
	}
	if c.User.User == "" || e.reg.user(c.User) == nil {
		return
	}
	for i := range c.Documents {
		d := cmp.Or(c.Documents[i].After, c.Documents[i].Before)
		if d.AUID == pepUsage && d.Path == nodePath(nodeAvatar) && !e.photos.put(c.User) {
			e.log.Warn("picture not read again: too many wait", "entity", c.User.String())
		}
	}
	if c.Doubtful && e.many {
		e.photos.put(c.User)
	} else if len(c.Items)+len(c.Blocked)+len(c.Unblocked) == 0 {
		return
	}
	known := c.Items
	if !e.calls.put(e.lockIndex(c.User), func() { e.refresh(context.Background(), c.User, known) }) {
		e.log.Warn("change of another node not followed: too many wait", "entity", c.User.String())
		e.calls.spawn(e.missed)
	}
}

// missed reads everything again of all who are here.
func (e *Edge) missed() {
	seen := make(map[presence.Entity]bool)
	for _, s := range e.reg.all() {
		u := s.user.entity
		if seen[u] || e.closing.Load() {
			continue
		}
		seen[u] = true
		e.photos.put(u)
		e.refresh(context.Background(), u, nil)
	}
}

// refresh tells a user's sessions here what is true now of roster and block list, as far
// as they were told otherwise. It blocks.
func (e *Edge) refresh(ctx context.Context, u presence.Entity, known []xdm.RowChange) {
	ctx, release := e.hold(ctx, u)
	defer release()
	rec := e.reg.user(u)
	if rec == nil {
		return
	}
	e.followLater(rec, e.catchUp(ctx, rec, known))
	if err := e.refreshBlocks(ctx, rec); err != nil {
		e.log.Error("block list not read", "entity", rec.bare, "err", err)
	}
}

// following is what follows from changed rows of a user: watches that begin and end.
type following struct {
	ctx      context.Context
	rows     []store.Item
	known    []xdm.RowChange
	sessions []*session
}

// now is the time for it. Where it is not known whose word has changed the row of by, it is by's. The user is held.
func (f *following) now(by presence.Entity) {
	for i := range f.rows {
		k := rowOf(f.known, &f.rows[i])
		for _, s := range f.sessions {
			s.followRow(f.ctx, &f.rows[i], k >= 0 && f.known[k].Theirs || k < 0 && f.rows[i].Contact == by)
		}
	}
}

// overtaken tells what waits of rows that have changed again meanwhile: what follows from them now, the
// newer change does. The user is held.
func (u *user) overtaken(newer []store.Item) {
	for _, f := range u.later {
		f.rows = slices.DeleteFunc(f.rows, func(it store.Item) bool {
			return slices.ContainsFunc(newer, func(n store.Item) bool { return n.Contact == it.Contact })
		})
	}
}

// followLater has something follow with the next subscription stanza, which most often comes with it and goes before the
// presence (RFC 6121 §3.1.6), or after StanzaTime. The user is held.
func (e *Edge) followLater(rec *user, f *following) {
	if len(f.rows) == 0 {
		return
	}
	if rec.later = append(rec.later, f); len(rec.later) > 1 {
		return
	}
	u := rec.entity
	time.AfterFunc(StanzaTime, func() {
		e.calls.put(e.lockIndex(u), func() {
			_, release := e.hold(context.Background(), u)
			defer release()
			rec.followNow(presence.Entity{})
		})
	})
}

// followNow is the time for it. The user is held.
func (u *user) followNow(by presence.Entity) {
	later := u.later
	u.later = nil
	for _, f := range later {
		f.now(by)
	}
}

// refreshBlocks reads the block list again and tells of what others have changed. The user is held.
func (e *Edge) refreshBlocks(ctx context.Context, rec *user) error {
	was := rec.blocks.Load()
	if err := e.readBlocks(ctx, rec); err != nil {
		return err
	}
	is := rec.blocks.Load()
	if blocked := is.without(was); len(blocked) > 0 {
		e.unwatchBlocked(ctx, rec)
		e.pushBlocks(rec, "block", blocked)
	}
	if unblocked := was.without(is); len(unblocked) > 0 {
		e.pushBlocks(rec, "unblock", unblocked)
		e.watchUnblocked(ctx, rec)
	}
	return nil
}

// without are the names that are not in o. Nil-safe.
func (b *blocklist) without(o *blocklist) (names []string) {
	if b == nil {
		return nil
	}
	for _, n := range b.names {
		if o != nil {
			if _, ok := o.set[n]; ok {
				continue
			}
		}
		names = append(names, n)
	}
	return names
}

// watchUnblocked starts the user's own watches again that a block had ended. The user
// is held.
func (e *Edge) watchUnblocked(ctx context.Context, rec *user) {
	items, _, err := e.c.Store.Roster(ctx, rec.entity)
	if err != nil {
		e.log.Error("roster not read", "entity", rec.bare, "err", err)
		return
	}
	for i := range items {
		if it := &items[i]; it.To && !it.Removed {
			for _, s := range rec.list() {
				s.watch(ctx, it.Contact)
			}
		}
	}
}

// told notes up to which version of the roster a session knows; 0 is none at all. The user is held.
func (s *session) told(version uint64) {
	if s.far != nil {
		s.far.version = version + 1
	}
}

// behind tells whether a session has not been told of a version of the roster. The user is held.
func (u *user) behind(version uint64) bool {
	return slices.ContainsFunc(u.list(), func(s *session) bool { return s.far.version > 0 && s.far.version <= version })
}

// catchUp pushes to sessions what has changed of the roster since they were told last.
// known are rows of which the caller knows what they were before, in the order of their versions. What
// follows comes afterwards, with the user still held or again.
func (e *Edge) catchUp(ctx context.Context, rec *user, known []xdm.RowChange) *following {
	var behind []*session
	since := uint64(0)
	for _, s := range rec.list() {
		if s.far.version == 0 {
			continue // has not asked for it yet, nor watches anybody
		}
		if behind = append(behind, s); len(behind) == 1 || s.far.version < since {
			since = s.far.version
		}
	}
	if len(behind) == 0 {
		rec.size = -1
		return &following{}
	}
	newer, version, err := e.newer(ctx, rec, since-1, known)
	if err != nil {
		e.log.Error("roster not read", "entity", rec.bare, "err", err)
		return &following{}
	}
	for i := range newer {
		after := &newer[i]
		var before *store.Item
		if k := rowOf(known, after); k >= 0 {
			b := known[k].Before
			b.Removed = b.Removed || b.Version == 0
			before = &b
		}
		for _, s := range behind {
			s.mu.Lock()
			s.loaded = nil
			interested := s.interested
			s.mu.Unlock()
			// What the row was before says nothing to one who has not been told of that either.
			push := before == nil || before.Version >= s.far.version || shown(before) != shown(after) || shown(after) && !sameItem(before, after)
			if push && interested && after.Version >= s.far.version {
				s.push(after)
			}
		}
	}
	for _, s := range behind {
		s.far.version = max(s.far.version, version+1)
	}
	rec.overtaken(newer)
	return &following{context.WithoutCancel(ctx), newer, known, behind}
}

// rowOf finds a row among changes: the change that made it what it is, or one of its contact.
func rowOf(known []xdm.RowChange, it *store.Item) int {
	if k := slices.IndexFunc(known, func(r xdm.RowChange) bool { return r.After.Version == it.Version }); k >= 0 {
		return k
	}
	return slices.IndexFunc(known, func(r xdm.RowChange) bool { return r.After.Contact == it.Contact })
}

// newer are the rows that have changed after a version, in the order of their changes. Where
// known goes on from that, it is not looked for more.
func (e *Edge) newer(ctx context.Context, rec *user, since uint64, known []xdm.RowChange) (items []store.Item, version uint64, err error) {
	version = since
	for i := range known {
		if known[i].After.Version <= since {
			continue
		}
		if known[i].After.Version != version+1 {
			version = since
			break
		}
		version++
		before := known[i].Before
		before.Removed = before.Removed || before.Version == 0
		e.count(rec, &before, &known[i].After)
		items = append(items, known[i].After)
	}
	if version > since || len(known) > 0 && known[len(known)-1].After.Version <= since {
		return items, version, nil
	}
	rec.size = -1
	items, version, _, err = e.c.Store.RosterSince(ctx, rec.entity, since)
	if len(known) > 0 {
		// What is newer yet will be heard of by itself, and what was in between is told, too.
		version = known[len(known)-1].After.Version
		items = slices.DeleteFunc(items, func(it store.Item) bool {
			return it.Version > version || slices.ContainsFunc(known, func(r xdm.RowChange) bool { return r.After.Contact == it.Contact })
		})
		for i := range known {
			if known[i].After.Version > since {
				items = append(items, known[i].After)
			}
		}
	}
	slices.SortFunc(items, func(a, b store.Item) int { return cmp.Compare(a.Version, b.Version) })
	return items, version, err
}

// followRow begins or ends the watch of a contact; theirs is as in xdm.ItemChange.
func (s *session) followRow(ctx context.Context, it *store.Item, theirs bool) {
	s.mu.Lock()
	_, watches := s.watches[it.Contact]
	s.mu.Unlock()
	to := it.To && !it.Removed
	switch {
	case to && !watches:
		s.watch(ctx, it.Contact)
	case !to && watches && it.Contact != s.user.entity:
		s.unwatch(ctx, it.Contact, !theirs)
	}
}

// byVersion are changed rows in the order of their versions.
func byVersion(items []xdm.RowChange) []xdm.RowChange {
	items = slices.Clone(items)
	slices.SortFunc(items, func(a, b xdm.RowChange) int { return cmp.Compare(a.After.Version, b.After.Version) })
	return items
}

// takePhoto says the presence of a user's sessions here again when the picture has changed
// on another node.
func (e *Edge) takePhoto(ctx context.Context, u presence.Entity) {
	if e.reg.user(u) == nil {
		return
	}
	release := e.pepLock(u)
	defer release()
	a, err := e.avatar(ctx, u)
	if err != nil {
		e.log.Error("avatar not read", "entity", u.String(), "err", err)
		return
	}
	e.photoChanged(ctx, u, a.hash)
}

// align has the source of a node say what the node says now, if that is not what it was when
// the source was published: another node of the service may have changed it at the same time,
// and of two sources that go to the owner on two ways the older might come last. was is
// nil where there was none. The user's nodes are locked.
func (e *Edge) align(ctx context.Context, u presence.Entity, name string, was *node) error {
	if !e.many {
		return nil
	}
	for range 3 {
		is, err := e.node(ctx, u, name)
		if errors.Is(err, xdm.ErrNotFound) {
			is, err = nil, nil
		}
		if err != nil || is.same(was) {
			return err
		}
		if is != nil {
			err = e.published(ctx, u, was, is, nil)
		} else {
			_, err = e.step(ctx, u, presence.Retract{ID: sourceID(name)})
		}
		if err != nil {
			return err
		}
		was = is
	}
	return nil
}

// same is nil-safe.
func (n *node) same(o *node) bool {
	if n == nil || o == nil {
		return n == o
	}
	return bytes.Equal(appendNode(nil, n), appendNode(nil, o))
}

// parsed is a payload of ours as an element; nil when it is none.
func parsed(native presence.Payload) *markup.Element {
	el, err := markup.ParseIn(append(append([]byte("<presence>"), native.Bytes...), "</presence>"...),
		[]markup.Decl{{Space: nsClient}}, storedOptions)
	if err != nil {
		return nil
	}
	return el
}
