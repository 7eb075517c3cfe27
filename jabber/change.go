package jabber

import (
	"context"
	"errors"
	"slices"

	"pharos/presence"
	"pharos/roster"
	"pharos/store"
)

var errRosterFull = errors.New("jabber: roster is full")

// change writes one roster row and does at once what follows from it: the push
// to interested resources, the watches of the user's own sessions, the policy
// for those who watch the user. It returns the row as it was. It blocks until
// the commit, and must not be called with the roster lock held.
func (e *Edge) change(ctx context.Context, u, contact presence.Entity, fn func(*store.Item) bool) (store.Item, error) {
	before, after, err := e.changeLocked(ctx, u, contact, fn)
	if err == nil && (before.From != after.From || before.Approved != after.Approved || before.PendingIn != after.PendingIn) {
		e.c.Engine.PolicyChanged(u)
	}
	return before, err
}

func (e *Edge) changeLocked(ctx context.Context, u, contact presence.Entity, fn func(*store.Item) bool) (before, after store.Item, err error) {
	lock := e.rosterLock(u)
	lock.Lock()
	defer lock.Unlock()
	rec := e.reg.user(u)
	full := false
	if rec != nil {
		if rec.size < 0 {
			items, _, err := e.c.Store.Roster(ctx, u)
			if err != nil {
				return before, after, err
			}
			rec.size = countRows(items)
		}
		full = rec.size >= MaxRosterItems
	}
	written, refused := false, false
	after, err = e.c.Store.UpdateItem(ctx, u, contact, func(it *store.Item) bool {
		before = *it
		if before.Version == 0 {
			before.Removed = true // no row is as good as a tombstone
		}
		written = fn(it)
		if refused = written && full && before.Removed && !it.Removed; refused {
			*it = before
			written = false
		}
		return written
	})
	switch {
	case err != nil:
		return before, after, err
	case refused:
		return before, before, errRosterFull
	case !written:
		return before, before, nil
	}
	if rec == nil {
		return before, after, nil
	}
	if before.Removed != after.Removed {
		if after.Removed {
			rec.size--
		} else {
			rec.size++
		}
	}
	e.follow(ctx, rec, &before, &after)
	return before, after, nil
}

// follow brings the user's sessions up to a change of a row. The roster lock is held.
func (e *Edge) follow(ctx context.Context, u *user, before, after *store.Item) {
	push := shown(before) != shown(after) || shown(after) && !sameItem(before, after)
	for _, s := range u.list() {
		s.mu.Lock()
		s.loaded = nil
		interested := s.interested
		s.mu.Unlock()
		if push && interested {
			s.push(after)
		}
		switch {
		case after.To && !before.To:
			s.watch(ctx, after.Contact)
		case before.To && !after.To:
			s.unwatch(ctx, after.Contact)
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
// it than somebody else's request (RFC 6121 §3.1.3).
func setState(it *store.Item, st roster.State) {
	it.To, it.From, it.Ask, it.PendingIn, it.Approved = st.To, st.From, st.Ask, st.PendingIn, st.Approved
	if it.Removed {
		it.Removed, it.Visible = false, false
	}
	if it.To || it.From || it.Ask || it.Approved {
		it.Visible = true
	}
	if !it.PendingIn {
		it.Stanza = nil
	}
}

// shows tells whether a user shows presence to a watcher: its roster says from.
func (e *Edge) shows(ctx context.Context, u, watcher presence.Entity) bool {
	from := false
	_, err := e.c.Store.UpdateItem(ctx, u, watcher, func(it *store.Item) bool {
		from = it.From && !it.Removed
		return false
	})
	return err == nil && from
}
