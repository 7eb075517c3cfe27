package xdm

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"pharos/presence"
	"pharos/store"
)

// state is what a user has, as it was read with the user held. A commit that was
// worked out from it looks whether the revision is still the same.
type state struct {
	user     presence.Entity
	revision uint64
	version  uint64
	items    []store.Item // ordered by contact
	blocks   []string
}

// read reads what a user has but for documents.
func (d *Documents) read(ctx context.Context, u presence.Entity) (*state, error) {
	s := &state{user: u}
	ctx = store.AsOf(ctx, time.Now()) // one look for all three
	var err error
	// The revision first: what is read after it may be newer, and is then found out.
	if s.revision, err = d.c.Store.Revision(ctx, u); err != nil {
		return nil, err
	}
	if s.items, s.version, err = d.c.Store.Roster(ctx, u); err != nil {
		return nil, err
	}
	if s.blocks, err = d.c.Store.Blocks(ctx, u); err != nil {
		return nil, err
	}
	return s, nil
}

// item is one row; a zero Item with Contact set when absent.
func (s *state) item(contact presence.Entity) store.Item {
	i, ok := slices.BinarySearchFunc(s.items, contact, func(it store.Item, c presence.Entity) int {
		return cmp.Or(strings.Compare(it.Contact.Domain, c.Domain), strings.Compare(it.Contact.User, c.User))
	})
	if ok {
		return s.items[i]
	}
	return store.Item{Contact: contact}
}

// document reads one of the user's documents; nil when there is none.
func (d *Documents) document(ctx context.Context, k Name) (*Document, error) {
	doc, err := d.c.Store.Document(ctx, k.User, k.AUID, k.Path)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return named(k, &doc), nil
}

// plan is what one commit writes of one user. It is worked out outside of the
// transaction, which keeps all others waiting.
type plan struct {
	state *state

	items           []*store.Item // in order; each gets its version
	block, unblock  []string
	unblockAll      bool
	documents       []documentPlan
	policy, byXCAP  bool
	theirs          map[presence.Entity]bool // as in RowChange, by contact
	version         uint64
	written         []RowChange
	writtenDocument []DocumentChange
}

type documentPlan struct {
	name   Name
	before *Document
	body   []byte // nil: it goes
}

// put plans a row, unless it stays as it is.
func (p *plan) put(it store.Item) { p.items = append(p.items, &it) }

// write plans a document.
func (p *plan) write(n Name, before *Document, body []byte) {
	p.documents = append(p.documents, documentPlan{n, before, body})
}

func (p *plan) empty() bool {
	return len(p.items) == 0 && len(p.documents) == 0 && len(p.block) == 0 && len(p.unblock) == 0 && !p.unblockAll
}

// commit writes plans, of different users, and tells of them.
func (d *Documents) commit(ctx context.Context, plans ...*plan) error {
	users := make([]presence.Entity, len(plans))
	for i, p := range plans {
		users[i] = p.state.user
	}
	err := d.c.Store.Transact(ctx, func(tx *store.Tx) error {
		for _, p := range plans {
			if now, err := tx.Revision(p.state.user); err != nil || now != p.state.revision {
				return errors.Join(err, errFaster)
			}
		}
		for _, p := range plans {
			if err := p.run(tx); err != nil {
				return err
			}
		}
		return nil
	}, users...)
	if errors.Is(err, store.ErrFull) && len(plans) == 1 && plans[0].byXCAP {
		return ErrTooMany
	}
	if errors.Is(err, store.ErrUnknown) {
		d.doubt(users)
	}
	if err != nil {
		return err
	}
	for _, p := range plans {
		if !p.empty() {
			d.tell(p.change())
		}
	}
	return nil
}

// run writes the plan; it may be called again.
func (p *plan) run(tx *store.Tx) error {
	u := p.state.user
	if len(p.block)+len(p.unblock) > 0 || p.unblockAll {
		if err := tx.SetBlocks(u, p.block, p.unblock, p.unblockAll); err != nil {
			return err
		}
	}
	at := make(map[presence.Entity]int, len(p.items))
	p.written, p.version = p.written[:0], p.state.version
	for _, it := range p.items {
		if err := tx.PutItem(u, it); err != nil {
			return err
		}
		p.version = max(p.version, it.Version)
		if i, again := at[it.Contact]; again {
			p.written[i].After = *it
			continue
		}
		at[it.Contact] = len(p.written)
		p.written = append(p.written, RowChange{p.state.item(it.Contact), *it, p.theirs[it.Contact]})
	}
	p.writtenDocument = p.writtenDocument[:0]
	for _, w := range p.documents {
		if w.body == nil {
			if err := tx.DropDocument(u, w.name.AUID, w.name.Path); err != nil {
				return err
			}
			p.version++
			p.writtenDocument = append(p.writtenDocument, DocumentChange{w.before, nil})
			continue
		}
		doc, err := tx.PutDocument(u, w.name.AUID, w.name.Path, w.body)
		if err != nil {
			return err
		}
		p.version = max(p.version, doc.Version)
		p.writtenDocument = append(p.writtenDocument, DocumentChange{w.before, named(w.name, &doc)})
	}
	return nil
}

func (p *plan) change() *Change {
	c := &Change{User: p.state.user, Documents: p.writtenDocument, Items: p.written, Version: p.version,
		Unblocked: p.unblock, Policy: p.policy, ByXCAP: p.byXCAP}
	have := set(p.state.blocks)
	if p.unblockAll {
		c.Unblocked = p.state.blocks
	}
	for _, a := range p.block {
		if !have[a] || p.unblockAll {
			c.Blocked = append(c.Blocked, a)
		}
	}
	return c
}

func set[T comparable](list []T) map[T]bool {
	m := make(map[T]bool, len(list))
	for _, x := range list {
		m[x] = true
	}
	return m
}
