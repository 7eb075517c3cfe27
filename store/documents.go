package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"time"

	"pharos/presence"
)

// Document is one XML document of a user (RFC 4825 §6.2), byte for byte as its
// writers left it. AUID and Path are as in its selector ("resource-lists", "index").
type Document struct {
	AUID, Path string
	Body       []byte // shared: do not change it; nil in lists
	Size       int    // of Body
	Version    uint64 // of the user's counter when it was last changed; what its entity-tag is made of
	Modified   time.Time
}

func byPath(a, b Document) int {
	return cmp.Or(strings.Compare(a.AUID, b.AUID), strings.Compare(a.Path, b.Path))
}

// Document returns one document; ErrNotFound when there is none. User "" of a
// domain is that domain's global tree.
func (s *Store) Document(ctx context.Context, u presence.Entity, auid, path string) (Document, error) {
	st, err := s.user(ctx, u)
	if err != nil {
		return Document{}, err
	}
	known := st.document(auid, path)
	if known == nil {
		return Document{}, ErrNotFound
	}
	if d := *known; s.bodies.get(u, &d) {
		return d, nil
	}
	return read(ctx, s.reader, func() (Document, error) {
		d, err := scanDocument(s.reads.document.QueryRow(u.Domain, u.User, auid, path), auid, path)
		if err == nil {
			s.bodies.put(u, d)
		}
		return d, err
	})
}

// HasDocument tells whether there is a document, without reading it.
func (s *Store) HasDocument(ctx context.Context, u presence.Entity, auid, path string) (bool, error) {
	st, err := s.user(ctx, u)
	if err != nil {
		return false, err
	}
	return st.document(auid, path) != nil, nil
}

// Documents lists all of a user, by AUID and Path, without their bodies.
func (s *Store) Documents(ctx context.Context, u presence.Entity) ([]Document, error) {
	st, err := s.user(ctx, u)
	if err != nil {
		return nil, err
	}
	return slices.Clone(st.docs), nil
}

// Holders lists the users who have a document of this name, the global tree's
// User "" among them. It reads the index of all documents: not for every day.
func (s *Store) Holders(ctx context.Context, auid, path string) ([]presence.Entity, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return read(ctx, s.reader, func() ([]presence.Entity, error) {
		rows, err := s.reads.holders.Query(auid, path)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var list []presence.Entity
		for rows.Next() {
			var u presence.Entity
			if err := rows.Scan(&u.Domain, &u.User); err != nil {
				return nil, err
			}
			list = append(list, u)
		}
		return list, rows.Err()
	})
}

func (s *Store) readDocuments(u presence.Entity) ([]Document, error) {
	rows, err := s.reads.documents.Query(u.Domain, u.User)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return scanDocuments(rows)
}

func scanDocuments(rows rowsRead) ([]Document, error) {
	var list []Document
	for rows.Next() {
		var d Document
		if err := scanDocumentHead(rows, &d); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	slices.SortFunc(list, byPath) // not every database orders text by its bytes
	return list, rows.Err()
}

// scanDocumentHead reads a row without its body.
func scanDocumentHead(row scannable, d *Document) error {
	var at int64
	err := row.Scan(&d.AUID, &d.Path, &d.Version, &at, &d.Size)
	d.Modified = fromUnix(at)
	return err
}

// scanDocument reads a row; ErrNotFound when there is none.
func scanDocument(row scannable, auid, path string) (Document, error) {
	d := Document{AUID: auid, Path: path}
	var at int64
	err := row.Scan(&d.Version, &at, &d.Body)
	if errors.Is(err, sql.ErrNoRows) {
		return d, ErrNotFound
	}
	d.Body = nonNil(d.Body)
	d.Modified, d.Size = fromUnix(at), len(d.Body)
	return d, err
}

// document finds what is known of a document without its body; nil when there is none.
func (s *userState) document(auid, path string) *Document {
	for i := range s.docs { // a few dozen at most, and none for most users
		if d := &s.docs[i]; d.AUID == auid && d.Path == path {
			return d
		}
	}
	return nil
}

// withDocument returns the state after a document was written or, with gone,
// dropped.
func (s *userState) withDocument(d Document, gone bool, version, revision uint64) *userState {
	if done, next := s.follows(version, revision); done {
		return next
	}
	next := &userState{items: s.items, blocks: s.blocks, version: version, floor: s.floor, revision: revision, mailed: s.mailed}
	i, found := slices.BinarySearchFunc(s.docs, d, byPath)
	if gone {
		next.docs = spliced(s.docs, i, found)
	} else {
		d.Body = nil
		next.docs = spliced(s.docs, i, found, d)
	}
	return next
}

// Transact calls fn within one serialised transaction, grouped with others of
// other callers; what fn has written is durable when Transact returns nil. fn must
// not block nor call the store but through tx, and may be called again when a
// commit has failed: its last call counts. An error of fn is returned as it is, and
// nothing is written.
//
// Where other processes write too, those of users are locked whom fn may touch, in an order
// in which nobody waits for each other; others are when they are first met.
func (s *Store) Transact(ctx context.Context, fn func(tx *Tx) error, users ...presence.Entity) error {
	var failed error
	err := s.do(ctx, func(q *statements) error {
		tx := &Tx{s: s, q: q}
		failed = fn(tx)
		for u := range tx.buried {
			if failed == nil {
				failed = s.bury(q, u)
			}
		}
		if failed != nil && !tx.wrote {
			return refusal{failed} // the others of the group need not wait
		}
		return failed
	}, users...)
	if failed != nil && errors.Is(err, failed) {
		return failed // and not, say, that the fence was down when it was tried again
	}
	return err
}

// Tx is what a transaction may do. Reads see its own writes.
type Tx struct {
	s      *Store
	q      *statements
	wrote  bool
	buried map[presence.Entity]bool // users with new tombstones, which are bounded at the end
}

// Revision is Store.Revision.
func (tx *Tx) Revision(u presence.Entity) (uint64, error) {
	st, err := tx.s.current(tx.q, u)
	if err != nil {
		return 0, err
	}
	if st != nil {
		return st.revision, nil
	}
	var r uint64
	err = tx.q.revision.QueryRow(u.Domain, u.User).Scan(&r)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return r, err
}

// Items returns all roster rows, as Roster does.
func (tx *Tx) Items(u presence.Entity) ([]Item, error) {
	st, err := tx.s.current(tx.q, u)
	if err != nil {
		return nil, err
	}
	if st != nil {
		return slices.Clone(st.items), nil
	}
	return readItems(tx.q.roster.Query(u.Domain, u.User))
}

// Item returns one row; a zero Item with Contact set when absent.
func (tx *Tx) Item(u, contact presence.Entity) (Item, error) {
	i, _, err := tx.s.currentItem(tx.q, u, contact)
	return i, err
}

// PutItem writes one row under the next version, which it sets. A row in which
// nothing is left (no flag set) is deleted.
func (tx *Tx) PutItem(u presence.Entity, i *Item) error {
	absent := false
	if i.flags() == 0 {
		var err error
		if _, absent, err = tx.s.currentItem(tx.q, u, i.Contact); err != nil {
			return err
		}
	}
	tx.wrote = true
	if i.flags() == flagRemoved {
		if tx.buried == nil {
			tx.buried = map[presence.Entity]bool{}
		}
		tx.buried[u] = true
	}
	return tx.s.writeItem(tx.q, u, i, absent)
}

// Blocks lists blocked addresses, as Store.Blocks does.
func (tx *Tx) Blocks(u presence.Entity) ([]string, error) {
	st, err := tx.s.current(tx.q, u)
	if err != nil {
		return nil, err
	}
	if st != nil {
		return slices.Clone(st.blocks), nil
	}
	return readBlocks(tx.q.blocks.Query(u.Domain, u.User))
}

// SetBlocks is Store.SetBlocks.
func (tx *Tx) SetBlocks(u presence.Entity, add, remove []string, all bool) error {
	err := tx.s.setBlocks(tx.q, u, add, remove, all)
	var r refusal
	if errors.As(err, &r) {
		return r.error
	}
	tx.wrote = true
	return err
}

// Document is Store.Document.
func (tx *Tx) Document(u presence.Entity, auid, path string) (Document, error) {
	st, err := tx.s.current(tx.q, u)
	if err != nil {
		return Document{}, err
	}
	if st != nil {
		known := st.document(auid, path)
		if known == nil {
			return Document{}, ErrNotFound
		}
		if d := *known; tx.s.bodies.get(u, &d) {
			return d, nil
		}
	}
	return scanDocument(tx.q.document.QueryRow(u.Domain, u.User, auid, path), auid, path)
}

// PutDocument writes a document under the next version of the user's counter -
// the one that roster rows use, so that roster version and entity-tag rise together -
// and raises the policy's revision. body is kept.
func (tx *Tx) PutDocument(u presence.Entity, auid, path string, body []byte) (Document, error) {
	tx.wrote = true
	d := Document{AUID: strings.Clone(auid), Path: strings.Clone(path), Body: nonNil(body), Size: len(body), Modified: fromUnix(unix(time.Now()))}
	if err := tx.s.hold(tx.q, u); err != nil {
		return d, err
	}
	version, revision, err := tx.q.next(u)
	if err != nil {
		return d, err
	}
	d.Version = version
	r, err := tx.q.setDocument.Exec(int64(version), unix(d.Modified), d.Body, u.Domain, u.User, auid, path)
	if err != nil {
		return d, err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return d, err
	}
	if n == 0 {
		if _, err = tx.q.addDocument.Exec(int64(version), unix(d.Modified), d.Body, u.Domain, u.User, auid, path); err != nil {
			return d, err
		}
		if _, err = tx.q.countDocuments.Exec(1, u.Domain, u.User); err != nil {
			return d, err
		}
	}
	tx.q.after(u, func() {
		tx.s.bodies.put(u, d)
		tx.s.cache.update(u, func(st *userState) *userState { return st.withDocument(d, false, version, revision) })
	})
	return d, nil
}

// DropDocument deletes a document; ErrNotFound when there is none. The version
// and revision rise.
func (tx *Tx) DropDocument(u presence.Entity, auid, path string) error {
	if err := tx.s.hold(tx.q, u); err != nil {
		return err
	}
	r, err := tx.q.dropDocument.Exec(u.Domain, u.User, auid, path)
	if err != nil {
		return err
	}
	n, err := r.RowsAffected()
	if err != nil {
		return err
	}
	if n == 0 {
		return ErrNotFound
	}
	tx.wrote = true
	if _, err := tx.q.countDocuments.Exec(-1, u.Domain, u.User); err != nil {
		return err
	}
	version, revision, err := tx.q.next(u)
	if err != nil {
		return err
	}
	d := Document{AUID: auid, Path: path}
	tx.q.after(u, func() {
		tx.s.cache.update(u, func(st *userState) *userState { return st.withDocument(d, true, version, revision) })
	})
	return nil
}
