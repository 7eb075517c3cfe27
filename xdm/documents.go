package xdm

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"pharos/presence"
	"pharos/store"
)

// tries of a change while others are faster. The users' locks keep all out
// who write by this package, so hardly anybody ever is.
const tries = 5

// errFaster: what a change was worked out from is not what is there any more.
var errFaster = errors.New("xdm: somebody else was faster")

// Canonical is the name under which a document is kept; others are aliases of it.
func Canonical(n Name) Name {
	// OMA's presence rules (OMA Presence SIMPLE XDM) live in a document of another
	// name, but are the same rules.
	if n.AUID == OMAPresRules && n.Path == OMAPath {
		n.AUID, n.Path = PresRules, Index
	}
	return n
}

// etag is short, since each version of whatever document of a user has its own number.
func etag(version uint64) string { return strconv.FormatUint(version, 36) }

func document(n Name, d *store.Document) *Document {
	return &Document{Name: n, Body: d.Body, Size: d.Size, ETag: etag(d.Version), Modified: d.Modified}
}

// Get returns a document. ErrNotFound.
//
// One that has another face is generated when the user has none yet, but
// something to put into it; it stays from then on.
func (d *Documents) Get(ctx context.Context, n Name) (Document, error) {
	k := Canonical(n)
	doc, err := d.c.Store.Document(ctx, k.User, k.AUID, k.Path)
	if errors.Is(err, store.ErrNotFound) && hasFace(k) {
		if err := d.materialise(ctx, k); err != nil {
			return Document{}, err
		}
		doc, err = d.c.Store.Document(ctx, k.User, k.AUID, k.Path)
	}
	if errors.Is(err, store.ErrNotFound) {
		return Document{}, ErrNotFound
	}
	if err != nil {
		return Document{}, err
	}
	return *document(n, &doc), nil
}

// List returns the documents of a user without bodies, by AUID and path, each
// under one name (see Canonical) unless auid asks for another. With auid "" all.
func (d *Documents) List(ctx context.Context, u presence.Entity, auid string) ([]Document, error) {
	want := auid
	if auid == OMAPresRules {
		want = PresRules
	}
	for _, n := range []Name{{ResourceLists, u, Index}, {PresRules, u, Index}} {
		if want == "" || want == n.AUID {
			if err := d.materialise(ctx, n); err != nil {
				return nil, err
			}
		}
	}
	all, err := d.c.Store.Documents(ctx, u)
	if err != nil {
		return nil, err
	}
	list := make([]Document, 0, len(all))
	for i := range all {
		n := Name{all[i].AUID, u, all[i].Path}
		switch {
		case auid == OMAPresRules && n == Name{PresRules, u, Index}:
			n.AUID, n.Path = OMAPresRules, OMAPath
		case auid != "" && auid != n.AUID:
			continue
		}
		list = append(list, *document(n, &all[i]))
	}
	return list, nil
}

// Update changes one document. fn gets the document (nil: there is none) and returns
// the new body; nil deletes it, and what it was changes nothing. fn checks
// conditions and validates: its error is returned and nothing is changed. It may be
// called again when somebody else was faster, and is called without locks that
// keep other users waiting. Before and after are nil for no document.
func (d *Documents) Update(ctx context.Context, n Name, fn func(old *Document) (body []byte, err error)) (before, after *Document, err error) {
	k := Canonical(n)
	release, err := d.enter(ctx, k.User)
	if err != nil {
		return nil, nil, err
	}
	defer release()
	if hasFace(k) {
		if err := d.materialiseHeld(ctx, k); err != nil {
			return nil, nil, err
		}
	}
	for range tries {
		before, after, err = d.update(ctx, n, k, fn)
		if !errors.Is(err, errFaster) {
			break
		}
	}
	return before, after, err
}

func (d *Documents) update(ctx context.Context, n, k Name, fn func(old *Document) ([]byte, error)) (before, after *Document, err error) {
	// First: what is read after it may be newer, and is then found out.
	revision, err := d.c.Store.Revision(ctx, k.User)
	if err != nil {
		return nil, nil, err
	}
	old, err := d.c.Store.Document(ctx, k.User, k.AUID, k.Path)
	switch {
	case err == nil:
		before = document(n, &old)
	case !errors.Is(err, store.ErrNotFound):
		return nil, nil, err
	}
	body, err := fn(before)
	if err != nil {
		return before, before, err
	}
	if before == nil && body == nil || before != nil && body != nil && bytes.Equal(before.Body, body) {
		return before, before, nil
	}
	if err := d.bound(ctx, k, before, body); err != nil {
		return before, before, err
	}
	c := &Change{User: k.User, ByXCAP: true, Policy: hasFace(k) && k.AUID == PresRules}
	err = d.c.Store.Transact(ctx, func(tx *store.Tx) error {
		if now, err := tx.Revision(k.User); err != nil || now != revision {
			return errors.Join(err, errFaster)
		}
		if body == nil {
			return tx.DropDocument(k.User, k.AUID, k.Path)
		}
		now, err := tx.PutDocument(k.User, k.AUID, k.Path, body)
		after = document(n, &now)
		return err
	})
	if err != nil {
		return before, before, err
	}
	c.Documents = []DocumentChange{{renamed(before, k), renamed(after, k)}}
	d.tell(c)
	return before, after, nil
}

// renamed is a document under its canonical name, for listeners.
func renamed(d *Document, k Name) *Document {
	if d == nil || d.Name == k {
		return d
	}
	c := *d
	c.Name = k
	return &c
}

// bound checks the user's limits for a document's new body.
func (d *Documents) bound(ctx context.Context, k Name, before *Document, body []byte) error {
	if body == nil {
		return nil
	}
	if len(body) > d.c.Limits.Body {
		return ErrTooLarge
	}
	all, err := d.c.Store.Documents(ctx, k.User)
	if err != nil {
		return err
	}
	if before == nil && len(all) >= d.c.Limits.Documents {
		return ErrTooMany
	}
	sum := len(body)
	for i := range all {
		sum += all[i].Size
	}
	if before != nil {
		sum -= len(before.Body)
		if len(body) <= len(before.Body) {
			return nil // who is over a bound may still go below it
		}
	}
	if sum > d.c.Limits.Bytes {
		return ErrTooLarge
	}
	return nil
}

// tell calls the listeners, with the user held.
func (d *Documents) tell(c *Change) {
	for _, f := range d.listeners {
		f(c)
	}
}

// hasFace tells whether a document has another face.
func hasFace(k Name) bool {
	return k.User.User != "" && k.Path == Index && (k.AUID == ResourceLists || k.AUID == PresRules)
}

// materialise generates a document that has another face, if there is none yet.
func (d *Documents) materialise(ctx context.Context, k Name) error {
	release, err := d.enter(ctx, k.User)
	if err != nil {
		return err
	}
	defer release()
	return d.materialiseHeld(ctx, k)
}

func (d *Documents) materialiseHeld(ctx context.Context, k Name) error { return nil }
