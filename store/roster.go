package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pharos/fields"
	"pharos/presence"
)

// Item is one roster row (RFC 6121 §2.1.2) with the states of its appendix A.
type Item struct {
	Contact   presence.Entity
	Name      string
	Groups    []string
	To, From  bool // subscription: to, from, both
	Ask       bool // pending out
	PendingIn bool // pending in; kept even when the contact is not in the visible roster
	Approved  bool // pre-approved (RFC 6121 §3.4)
	Visible   bool // shown in the roster (false: only PendingIn or Approved is known)
	Removed   bool // tombstone, for versioned pushes
	Version   uint64
	Stanza    []byte // children of the pending subscribe stanza, told again at login
}

// maxTombstones bounds the removed rows that are kept per user.
const maxTombstones = 256

const (
	flagTo int64 = 1 << iota
	flagFrom
	flagAsk
	flagPendingIn
	flagApproved
	flagVisible
	flagRemoved
)

func (i *Item) flags() int64 {
	var f int64
	for _, b := range []struct {
		set bool
		bit int64
	}{
		{i.To, flagTo}, {i.From, flagFrom}, {i.Ask, flagAsk}, {i.PendingIn, flagPendingIn},
		{i.Approved, flagApproved}, {i.Visible, flagVisible}, {i.Removed, flagRemoved},
	} {
		if b.set {
			f |= b.bit
		}
	}
	return f
}

func (i *Item) setFlags(f int64) {
	i.To, i.From, i.Ask = f&flagTo != 0, f&flagFrom != 0, f&flagAsk != 0
	i.PendingIn, i.Approved = f&flagPendingIn != 0, f&flagApproved != 0
	i.Visible, i.Removed = f&flagVisible != 0, f&flagRemoved != 0
}

// Roster returns all rows, tombstones included, ordered by contact, and the
// roster's version. The slice is the caller's, Groups and Stanza in it are shared:
// do not change them. A row may be newer than the version when it is changed at
// the same time; its push follows.
func (s *Store) Roster(ctx context.Context, u presence.Entity) (items []Item, version uint64, err error) {
	st, err := s.user(ctx, u)
	if err != nil {
		return nil, 0, err
	}
	return slices.Clone(st.items), st.version, nil
}

// RosterSince returns the rows changed after version since, in the order of
// their change, for a versioned push (RFC 6121 §2.6.3). full: since is unknown or
// too old (tombstones are gone), and items are all rows, as Roster gives them.
func (s *Store) RosterSince(ctx context.Context, u presence.Entity, since uint64) (items []Item, version uint64, full bool, err error) {
	st, err := s.user(ctx, u)
	if err != nil {
		return nil, 0, false, err
	}
	if since < st.floor || since > st.version {
		return slices.Clone(st.items), st.version, true, nil
	}
	for i := range st.items {
		if st.items[i].Version > since {
			items = append(items, st.items[i])
		}
	}
	slices.SortFunc(items, func(a, b Item) int { return cmp.Compare(a.Version, b.Version) })
	return items, st.version, false, nil
}

// user reads what we know of a user, from the cache if it is there.
func (s *Store) user(ctx context.Context, u presence.Entity) (*userState, error) {
	st, checked, turn := s.cache.get(u)
	if st != nil {
		if !s.others.Load() {
			return st, nil
		}
		ok, err := s.valid(ctx, u, st, checked)
		if ok || err != nil {
			return st, err
		}
		turn = s.cache.expire(u, st)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.rows != nil {
		st, _, err := s.users.get(ctx, u) // with others who are asked for at the moment
		return st, err
	}
	return read(ctx, s.reader, func() (*userState, error) { return s.readUser(u, turn) })
}

func (s *Store) readUser(u presence.Entity, turn uint64) (*userState, error) {
	now := time.Now()
	for n := 1; ; n++ {
		st, err := s.readStatements(u)
		if err != nil {
			return nil, err
		}
		if s.others.Load() && n < maxAttempts {
			// What others write is in the answer whole or not at all.
			if after, err := s.revisionRow(u); err != nil || after != st.revision {
				if err != nil {
					return nil, err
				}
				continue
			}
		}
		s.cache.put(u, st, turn, now)
		return st, nil
	}
}

// readStatements reads a user piece by piece.
func (s *Store) readStatements(u presence.Entity) (*userState, error) {
	// The counters first: rows newer than their version do no harm, older ones would.
	st := new(userState)
	var documents, mail int64
	blocks := true
	err := s.reads.counters.QueryRow(u.Domain, u.User).Scan(&st.version, &st.floor, &st.revision, &documents, &mail, &blocks)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	st.mailed = mail > 0
	if documents > 0 {
		if st.docs, err = s.readDocuments(u); err != nil {
			return nil, err
		}
	}
	if st.items, err = readItems(s.reads.roster.Query(u.Domain, u.User)); err != nil {
		return nil, err
	}
	if blocks {
		if st.blocks, err = readBlocks(s.reads.blocks.Query(u.Domain, u.User)); err != nil {
			return nil, err
		}
	}
	return st, nil
}

func readItems(rows *sql.Rows, err error) ([]Item, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return scanItems(rows)
}

// rowsRead are *sql.Rows and pgx.Rows.
type rowsRead interface {
	scannable
	Next() bool
	Err() error
}

func scanItems(rows rowsRead) ([]Item, error) {
	var items []Item
	for rows.Next() {
		var i Item
		if err := scanItem(rows, &i); err != nil {
			return nil, err
		}
		items = append(items, i)
	}
	// Not every database orders text by its bytes.
	slices.SortFunc(items, func(a, b Item) int { return byContact(a, b.Contact) })
	return items, rows.Err()
}

func scanItem(row scannable, i *Item) error {
	var flags int64
	var groups []byte
	if err := row.Scan(&i.Contact.Domain, &i.Contact.User, &i.Name, &groups, &flags, &i.Version, &i.Stanza); err != nil {
		return err
	}
	i.setFlags(flags)
	if len(i.Stanza) == 0 {
		i.Stanza = nil
	}
	d := newDecoder(groups)
	for d.Len() > 0 {
		i.Groups = append(i.Groups, d.Text())
	}
	if err := d.err(); err != nil {
		return fmt.Errorf("store: roster row of %s: %w", i.Contact, err)
	}
	return nil
}

// UpdateItem reads the row (a zero Item with Contact set when absent), lets fn change
// it, and writes it with the next version, in one serialised transaction, grouped
// with others. fn returning false writes nothing. fn must not block nor call the
// store, and may be called again when a commit has failed: its last call counts.
// A row in which nothing is left (no flag set) is deleted.
//
// The item returned is as written, or, when fn returned false, as read.
func (s *Store) UpdateItem(ctx context.Context, u, contact presence.Entity, fn func(*Item) bool) (Item, error) {
	c := ItemChange{User: u, Contact: contact, Change: fn}
	err := s.do(ctx, func(q *statements) error { return s.updateItem(q, &c) }, u)
	return c.Item, err
}

// ItemChange is one of several rows that UpdateItems changes.
type ItemChange struct {
	User, Contact presence.Entity
	Change        func(*Item) bool // as for UpdateItem
	Item          Item             // as UpdateItem returns it
}

// UpdateItems is UpdateItem for several rows, also of several users, in one
// transaction and in order: a later Change may go by what an earlier one has found.
func (s *Store) UpdateItems(ctx context.Context, cs []ItemChange) error {
	users := make([]presence.Entity, len(cs))
	for i := range cs {
		users[i] = cs[i].User
	}
	return s.do(ctx, func(q *statements) error {
		for i := range cs {
			if err := s.updateItem(q, &cs[i]); err != nil {
				return err
			}
		}
		return nil
	}, users...)
}

func (s *Store) updateItem(q *statements, c *ItemChange) error {
	var absent bool
	var err error
	if c.Item, absent, err = s.currentItem(q, c.User, c.Contact); err != nil {
		return err
	}
	next := c.Item
	if !c.Change(&next) {
		return nil
	}
	c.Item = next
	c.Item.Contact = c.Contact
	return s.putItem(q, c.User, &c.Item, absent)
}

// PutItems writes many rows of one user in one transaction, whatever they were
// before, each under its own version; for imports. All or nothing.
func (s *Store) PutItems(ctx context.Context, u presence.Entity, items []Item) error {
	return s.do(ctx, func(q *statements) error {
		for i := range items {
			row := items[i]
			_, absent, err := s.currentItem(q, u, row.Contact)
			if err != nil {
				return err
			}
			if err := s.putItem(q, u, &row, absent); err != nil {
				return err
			}
		}
		return nil
	}, u)
}

// currentItem reads a row as of now, within the transaction.
func (s *Store) currentItem(q *statements, u, contact presence.Entity) (i Item, absent bool, err error) {
	st, err := s.current(q, u)
	if err != nil {
		return i, false, err
	}
	if st != nil {
		i, found := st.item(contact)
		i.Contact = contact
		i.Groups, i.Stanza = slices.Clone(i.Groups), slices.Clone(i.Stanza) // fn may change them in place
		return i, !found, nil
	}
	i.Contact = contact
	err = scanItem(q.item.QueryRow(u.Domain, u.User, contact.Domain, contact.User), &i)
	if errors.Is(err, sql.ErrNoRows) {
		return i, true, nil
	}
	return i, false, err
}

// putItem writes a row and bounds the tombstones.
func (s *Store) putItem(q *statements, u presence.Entity, i *Item, absent bool) error {
	if err := s.writeItem(q, u, i, absent); err != nil || i.flags() != flagRemoved {
		return err
	}
	return s.bury(q, u)
}

func (s *Store) writeItem(q *statements, u presence.Entity, i *Item, absent bool) error {
	flags := i.flags()
	if flags == 0 && absent {
		return nil
	}
	if err := s.hold(q, u); err != nil {
		return err
	}
	version, revision, err := q.next(u)
	if err != nil {
		return err
	}
	i.Version = version
	if flags == 0 {
		if _, err := q.dropItem.Exec(u.Domain, u.User, i.Contact.Domain, i.Contact.User); err != nil {
			return err
		}
	} else {
		var groups []byte
		for _, g := range i.Groups {
			groups = fields.AppendText(groups, g)
		}
		_, err := q.putItem.Exec(u.Domain, u.User, i.Contact.Domain, i.Contact.User,
			i.Name, nonNil(groups), flags, int64(i.Version), nonNil(i.Stanza))
		if err != nil {
			return err
		}
	}
	n := q.rows[u]
	q.rows[u]++
	if n >= copyUpTo {
		// Each change copies what is cached of the user; many are read again at once.
		if n == copyUpTo {
			q.after(u, func() { s.cache.drop(u) })
		}
		return nil
	}
	row := *i // with nothing of the caller's in it
	row.Contact, row.Name, row.Stanza = i.Contact.Clone(), strings.Clone(i.Name), slices.Clone(i.Stanza)
	row.Groups = make([]string, len(i.Groups))
	for n, g := range i.Groups {
		row.Groups[n] = strings.Clone(g)
	}
	q.after(u, func() {
		s.cache.update(u, func(st *userState) *userState { return st.with(row, row.Version, revision) })
	})
	return nil
}

// bury bounds the tombstones to the newest; who last asked before the oldest of
// them gets a full roster.
func (s *Store) bury(q *statements, u presence.Entity) error {
	var v int64
	err := q.tombstones.QueryRow(u.Domain, u.User, flagRemoved, maxTombstones).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	if _, err := q.pruneTombstones.Exec(u.Domain, u.User, flagRemoved, v); err != nil {
		return err
	}
	q.after(u, func() { s.cache.drop(u) })
	_, err = q.raiseFloor.Exec(v, u.Domain, u.User)
	return err
}
