package xdm

import (
	"bytes"
	"context"
	"errors"
	"strconv"

	"pharos/presence"
	"pharos/store"
)

// tries of a change while others are faster. The users' locks keep all out who
// write on this node; of several nodes, one has been faster each time.
const tries = 16

// maxGenerated bounds a document that we write for the other face, in bytes: it is what
// a parser of ours takes. A roster that needs more has no document.
const maxGenerated = 1 << 20

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

// named is a stored document under a name.
func named(n Name, d *store.Document) *Document {
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
	return *named(n, &doc), nil
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
		list = append(list, *named(n, &all[i]))
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
		before, after, err = d.update(ctx, k, fn)
		if !errors.Is(err, errFaster) {
			break
		}
	}
	return renamed(before, n), renamed(after, n), err
}

func (d *Documents) update(ctx context.Context, k Name, fn func(old *Document) ([]byte, error)) (before, after *Document, err error) {
	s, err := d.read(ctx, k.User)
	if err != nil {
		return nil, nil, err
	}
	if before, err = d.document(ctx, k); err != nil {
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
	p := &plan{state: s, byXCAP: true}
	p.write(k, before, body)
	switch {
	case !hasFace(k):
	case k.AUID == ResourceLists:
		err = d.followLists(p, body)
	default:
		err = d.followRules(p, body)
	}
	if err == nil && k.AUID == ResourceLists {
		err = d.followExternal(ctx, p)
	}
	if err == nil {
		err = d.commit(ctx, p)
	}
	if err != nil {
		return before, before, err
	}
	return before, p.writtenDocument[0].After, nil
}

// renamed is a document under the name that was asked for.
func renamed(d *Document, n Name) *Document {
	if d == nil || d.Name == n {
		return d
	}
	c := *d
	c.Name = n
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

// tell calls the listeners, with the user held, and has other nodes hear of it.
func (d *Documents) tell(c *Change) {
	d.listened(c)
	d.tellOthers(c)
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

func (d *Documents) materialiseHeld(ctx context.Context, k Name) error {
	for range tries {
		if has, err := d.has(ctx, k); err != nil || has {
			return err
		}
		s, err := d.read(ctx, k.User)
		if err != nil {
			return err
		}
		var body []byte
		if k.AUID == ResourceLists {
			body = generateLists(s)
		} else {
			body = generateRules(s)
		}
		if body == nil {
			return nil
		}
		if len(body) > maxGenerated {
			return ErrTooLarge
		}
		p := &plan{state: s, byXCAP: true}
		p.write(k, nil, body)
		if k.AUID == ResourceLists {
			// A row may have a name that no list can have.
			if err := d.followLists(p, body); err != nil {
				return err
			}
		}
		if err := d.commit(ctx, p); !errors.Is(err, errFaster) {
			return err
		}
	}
	return errFaster
}

// Exists tells whether there is a document by now; one that could be generated
// is not. It costs next to nothing.
func (d *Documents) Exists(ctx context.Context, n Name) (bool, error) {
	return d.has(ctx, Canonical(n))
}

func (d *Documents) has(ctx context.Context, k Name) (bool, error) {
	return d.c.Store.HasDocument(ctx, k.User, k.AUID, k.Path)
}
