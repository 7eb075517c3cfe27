package jabber

import (
	"context"
	"errors"
	"slices"

	"pharos/presence"
	"pharos/roster"
	"pharos/store"
	"pharos/xdm"
)

var errRosterFull = errors.New("jabber: roster is full")

// row is a change of one roster row, one of several that are made together.
type row struct {
	u, contact presence.Entity
	fn         func(*store.Item) bool // as of store.UpdateItem
	theirs     bool                   // not the user's own word: see xdm.ItemChange
	withdraw   bool                   // see xdm.ItemChange
	byRules    bool                   // the rules say so already, and the engine has acted by them
	ready      func(context.Context)  // called before fn with the users held; may be nil

	rec           *user // nil: the user has no session
	full          bool
	before, after store.Item
	written       bool
	ruled         bool // of withdraw: the user has rules, and they have
	allowed       bool // let the contact watch
	refused       bool // a new row for a full roster
}

// change writes one row, as transact does, and returns it as it was.
func (e *Edge) change(ctx context.Context, u, contact presence.Entity, fn func(*store.Item) bool) (store.Item, error) {
	r := &row{u: u, contact: contact, fn: fn}
	if err := e.transact(ctx, nil, r); err != nil {
		return r.before, err
	}
	if r.refused {
		return r.before, errRosterFull
	}
	return r.before, nil
}

// transact writes rows in one commit, in order, and does at once what follows from
// each: the push to interested resources, the watches of the user's own
// sessions, the policy for those who watch the user. It blocks until the commit,
// and must not be called with a user held.
//
// say, which may be nil, tells the stanzas that go with the change. What belongs
// together comes in its order: the pushes first (RFC 6121 §3.1.6), then the
// stanzas, then the presence that the new watches bring.
func (e *Edge) transact(ctx context.Context, say func(), rows ...*row) error {
	users := make([]presence.Entity, len(rows))
	for i, r := range rows {
		users[i] = r.u
	}
	ctx, release := e.c.Documents.Hold(ctx, users...)
	defer release()
	changes := make([]xdm.ItemChange, len(rows))
	for i, r := range rows {
		if err := e.prepare(ctx, r); err != nil {
			return err
		}
		changes[i] = xdm.ItemChange{ItemChange: store.ItemChange{User: r.u, Contact: r.contact, Change: r.change}, Theirs: r.theirs, Withdraw: r.withdraw}
		if e.many && r.ready != nil {
			changes[i].Ready = func(revision uint64) { r.ready(atRevision(ctx, r.u, revision)) }
		}
	}
	err := e.c.Documents.UpdateItems(ctx, changes)
	if errors.Is(err, xdm.ErrTooLarge) {
		return errRosterFull
	}
	if err != nil {
		return err
	}
	for i, r := range rows {
		r.after = changes[i].Item
	}
	var told telling
	for _, r := range rows {
		if !r.written {
			if r.withdraw {
				e.withdrawn(ctx, r)
			}
			continue
		}
		e.decided(ctx, r)
		switch {
		case r.rec == nil:
		case e.many:
			told.tell(ctx, e, r.rec, rows)
		default:
			e.count(r.rec, &r.before, &r.after)
			e.push(r.rec, &r.before, &r.after)
		}
	}
	if say != nil {
		say()
	}
	for _, r := range rows {
		if r.written && r.rec != nil {
			e.follow(ctx, r.rec, &r.before, &r.after, r.theirs)
		}
	}
	for _, f := range told.follow {
		f.now(presence.Entity{})
	}
	return nil
}

// telling is what transact has told of users of whom other nodes may have changed something, too.
type telling struct {
	users  []*user
	follow []*following
}

// tell tells the sessions of a user what has changed since they were told last. The users are held.
func (t *telling) tell(ctx context.Context, e *Edge, u *user, rows []*row) {
	if slices.Contains(t.users, u) {
		return
	}
	t.users = append(t.users, u)
	var known []xdm.RowChange
	for _, r := range rows {
		if r.rec == u && r.written {
			known = append(known, xdm.RowChange{Before: r.before, After: r.after, Theirs: r.theirs})
		}
	}
	t.follow = append(t.follow, e.catchUp(ctx, u, byVersion(known)))
}

// decided has those who watch the user decided anew, where a row has changed what
// decides.
func (e *Edge) decided(ctx context.Context, r *row) {
	b, a := &r.before, &r.after
	if spokenOf(b) && !spokenOf(a) && !r.byRules && !(r.theirs && e.othersAllow(ctx, r.u, r.contact)) {
		// Before the policy: by that they would wait again for a word.
		e.cancelled(ctx, r.u, r.contact)
	}
	changed := b.From != a.From || b.Approved != a.Approved || b.PendingIn != a.PendingIn
	if !changed && (shown(b) != shown(a) || !slices.Equal(b.Groups, a.Groups)) {
		// Rules may name a list of the user's.
		changed = e.has(ctx, xdm.Name{AUID: xdm.PresRules, User: r.u, Path: xdm.Index})
	}
	if changed {
		e.c.Engine.PolicyChanged(r.u)
	}
}

// withdrawn ends what a rule alone had allowed a contact: the user has cancelled
// a subscription of which the roster knows nothing.
func (e *Edge) withdrawn(ctx context.Context, r *row) {
	if !r.ruled {
		return
	}
	if r.allowed {
		e.cancelled(ctx, r.u, r.contact)
	}
	e.c.Engine.PolicyChanged(r.u)
}

// ruledBefore looks what the user's rules say of a contact, before they change. The user is held.
func (e *Edge) ruledBefore(ctx context.Context, r *row) {
	r.allowed = false
	if r.ruled = e.has(ctx, xdm.Name{AUID: xdm.PresRules, User: r.u, Path: xdm.Index}); r.ruled {
		r.allowed = allows(e.decision(ctx, r.u, r.contact))
	}
}

// has tells whether a user has a document by now.
func (e *Edge) has(ctx context.Context, n xdm.Name) bool {
	ok, err := e.c.Documents.Exists(ctx, n)
	if err != nil {
		e.log.Error("documents not looked up", "entity", n.User.String(), "err", err)
	}
	return ok
}

// spokenOf tells whether the row lets the contact watch, or wait.
func spokenOf(it *store.Item) bool {
	return !it.Removed && (it.From || it.PendingIn || it.Approved)
}

// prepare looks how many rows the user's roster has, where the user is here. The
// user is held.
func (e *Edge) prepare(ctx context.Context, r *row) error {
	if r.ready != nil && !e.many {
		r.ready(ctx)
	}
	if r.rec = e.reg.user(r.u); r.rec == nil { // perhaps on other nodes, which hear of it
		return nil
	}
	if r.rec.size < 0 {
		items, _, err := e.c.Store.Roster(ctx, r.u)
		if err != nil {
			return err
		}
		r.rec.size = countRows(items)
	}
	r.full = r.rec.size >= MaxRosterItems
	return nil
}

// change is called within the transaction, more than once when it is tried again.
func (r *row) change(it *store.Item) bool {
	r.before = *it
	if r.before.Version == 0 {
		r.before.Removed = true // no row is as good as a tombstone
	}
	r.refused = false
	r.written = r.fn(it)
	if r.written && r.full && r.before.Removed && !it.Removed {
		r.written, r.refused = false, true
	}
	return r.written
}

// count keeps the record of the user's rows. The user is held.
func (e *Edge) count(u *user, before, after *store.Item) {
	switch {
	case u.size < 0:
	case gone(after) && !gone(before):
		u.size--
	case gone(before) && !gone(after):
		u.size++
	}
}

// gone tells whether nothing of a row is left but perhaps a tombstone.
func gone(it *store.Item) bool {
	return it.Removed || !it.Visible && stateOf(it) == roster.State{}
}

// push tells the user's interested resources of a change of a row. The user is held.
func (e *Edge) push(u *user, before, after *store.Item) {
	push := shown(before) != shown(after) || shown(after) && !sameItem(before, after)
	for _, s := range u.list() {
		s.mu.Lock()
		s.loaded = nil
		interested := s.interested
		s.mu.Unlock()
		if push && interested {
			s.push(after)
		}
	}
}

// follow begins and ends the watches of the user's sessions; theirs is as in row.
// The user is held.
func (e *Edge) follow(ctx context.Context, u *user, before, after *store.Item, theirs bool) {
	for _, s := range u.list() {
		switch {
		case after.To && !before.To:
			s.watch(ctx, after.Contact)
		case before.To && !after.To:
			s.unwatch(ctx, after.Contact, !theirs)
		}
	}
}

func shown(it *store.Item) bool { return it.Visible && !it.Removed }

func sameItem(a, b *store.Item) bool {
	return a.Name == b.Name && slices.Equal(a.Groups, b.Groups) && a.To == b.To &&
		a.From == b.From && a.Ask == b.Ask && a.Approved == b.Approved
}

func stateOf(it *store.Item) roster.State {
	if it.Removed {
		return roster.State{}
	}
	return roster.State{To: it.To, From: it.From, Ask: it.Ask, PendingIn: it.PendingIn, Approved: it.Approved}
}

// setState writes a state into a row. A row is shown as soon as there is more to
// it than somebody else's request (RFC 6121 §3.1.3). But where the user keeps the
// buddy list as a document, it is not for others to write into that: then only
// the user's own word puts somebody in, and listed is set for all else.
func setState(it *store.Item, st roster.State, listed bool) {
	it.To, it.From, it.Ask, it.PendingIn, it.Approved = st.To, st.From, st.Ask, st.PendingIn, st.Approved
	if it.Removed {
		it.Removed, it.Visible = false, false
	}
	if it.To || it.Ask || (it.From || it.Approved) && !listed {
		it.Visible = true
	}
	if !it.PendingIn {
		it.Stanza = nil
	}
}
