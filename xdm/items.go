package xdm

import (
	"context"
	"errors"
	"slices"

	"pharos/policy"
	"pharos/presence"
	"pharos/store"
)

// ItemChange is a change of one roster row.
type ItemChange struct {
	store.ItemChange

	// Theirs tells that the change is not the user's own word, but the contact's, or
	// the server's by the rules that there are. The user's own is written into the
	// rules: an approval, and one taken back.
	Theirs bool

	// Withdraw tells that the user takes back what lets the contact watch, also where
	// the row says nothing of it because a rule does.
	Withdraw bool

	// Ready, where there are several nodes (Config.Tell), is called before Change, and again with each
	// try, with the user's revision from which the change is worked out: when the rows are written
	// it is still that. May be nil.
	Ready func(revision uint64)
}

// UpdateItems is store.UpdateItems, with the documents of the users changed in
// the same commit. The rows are as Change leaves them, except that names and groups are
// as the buddy list can say them.
func (d *Documents) UpdateItems(ctx context.Context, cs []ItemChange) error {
	users := make([]presence.Entity, 0, len(cs))
	for i := range cs {
		if !slices.Contains(users, cs[i].User) {
			users = append(users, cs[i].User)
		}
	}
	release, err := d.enter(ctx, users...)
	if err != nil {
		return err
	}
	defer release()
	documents := false
	for _, u := range users {
		for _, n := range []Name{{ResourceLists, u, Index}, {PresRules, u, Index}} {
			has, err := d.has(ctx, n)
			if err != nil {
				return err
			}
			documents = documents || has
		}
	}
	if !documents && d.c.Tell == nil {
		// On another node a document might come into being meanwhile.
		return d.updateRows(ctx, cs)
	}
	for range tries {
		if err = d.updateItems(ctx, users, cs); !errors.Is(err, errFaster) {
			break
		}
	}
	return err
}

// updateRows is UpdateItems where there are no documents.
func (d *Documents) updateRows(ctx context.Context, cs []ItemChange) error {
	rows := make([]store.ItemChange, len(cs))
	before := make([]store.Item, len(cs))
	wrote := make([]bool, len(cs))
	for i := range cs {
		rows[i] = cs[i].ItemChange
		rows[i].Change = func(it *store.Item) bool {
			before[i] = *it
			wrote[i] = cs[i].Change(it)
			return wrote[i]
		}
	}
	err := d.c.Store.UpdateItems(ctx, rows)
	for i := range rows {
		cs[i].Item = rows[i].Item
	}
	if errors.Is(err, store.ErrUnknown) {
		users := make([]presence.Entity, len(cs))
		for i := range cs {
			users[i] = cs[i].User
		}
		d.doubt(users)
	}
	if err != nil || len(d.listeners) == 0 {
		return err
	}
	var changes []*Change
	for i := range cs {
		if wrote[i] {
			changes = note(changes, cs[i].User, before[i], cs[i].Item, cs[i].Theirs)
		}
	}
	for _, c := range changes {
		d.tell(c)
	}
	return nil
}

// note adds a written row to what is told of its user.
func note(changes []*Change, u presence.Entity, before, after store.Item, theirs bool) []*Change {
	i := slices.IndexFunc(changes, func(c *Change) bool { return c.User == u })
	if i < 0 {
		i = len(changes)
		changes = append(changes, &Change{User: u})
	}
	c := changes[i]
	c.Version = max(c.Version, after.Version)
	n := slices.IndexFunc(c.Items, func(r RowChange) bool { return r.After.Contact == after.Contact })
	if n < 0 {
		n = len(c.Items)
		c.Items = append(c.Items, RowChange{Before: before})
	}
	c.Items[n].After, c.Items[n].Theirs = after, theirs
	b := &c.Items[n].Before
	c.Policy = c.Policy || b.From != after.From || b.Approved != after.Approved || b.PendingIn != after.PendingIn
	return changes
}

// updateItems works out what the changes come to, with the documents, and commits it.
func (d *Documents) updateItems(ctx context.Context, users []presence.Entity, cs []ItemChange) error {
	plans := make([]*plan, len(users))
	for i, u := range users {
		s, err := d.read(ctx, u)
		if err != nil {
			return err
		}
		plans[i] = &plan{state: s}
	}
	for i := range cs {
		if c := &cs[i]; c.Ready != nil {
			c.Ready(plans[slices.Index(users, c.User)].state.revision)
		}
	}
	said := make([]policy.Change, len(users))
	for i := range cs {
		c := &cs[i]
		at := slices.Index(users, c.User)
		p := plans[at]
		before := p.item(c.Contact)
		c.Item = before
		next := before
		next.Groups, next.Stanza = slices.Clone(next.Groups), slices.Clone(next.Stanza) // Change may write into them
		if !c.Change(&next) {
			if c.Withdraw && expressible(c.Contact) {
				said[at].Withdraw = append(said[at].Withdraw, c.Contact)
				p.policy = true
			}
			continue
		}
		next.Contact = c.Contact
		c.Item = next
		p.items = append(p.items, &c.Item)
		if c.Theirs || p.theirs != nil {
			if p.theirs == nil {
				p.theirs = make(map[presence.Entity]bool)
			}
			p.theirs[c.Contact] = c.Theirs
		}
		say(&said[at], &before, &next, c.Theirs)
		p.policy = p.policy || before.From != next.From || before.Approved != next.Approved || before.PendingIn != next.PendingIn
	}
	for i, p := range plans {
		if err := d.spliceLists(ctx, p); err != nil {
			return err
		}
		if len(p.documents) > 0 {
			if err := d.followExternal(ctx, p); err != nil {
				return err
			}
		}
		if err := d.spliceRules(ctx, p, said[i]); err != nil {
			return err
		}
	}
	return d.commit(ctx, plans...)
}

// item is a row as the plan has it so far.
func (p *plan) item(contact presence.Entity) store.Item {
	for i := len(p.items) - 1; i >= 0; i-- {
		if it := p.items[i]; it.Contact == contact {
			was := *it
			was.Version = p.state.version + uint64(i) + 1 // there is a row now
			return was
		}
	}
	return p.state.item(contact)
}

// say notes what a changed row says of the policy.
func say(c *policy.Change, before, after *store.Item, theirs bool) {
	e := after.Contact
	if !expressible(e) {
		return
	}
	was, is := before.From || before.Approved, after.From || after.Approved
	switch {
	case !was && is && !theirs, after.Approved && !before.Approved:
		c.Approve = append(c.Approve, e)
	case was && !is && theirs:
		c.Forget = append(c.Forget, e)
	case was && !is:
		c.Withdraw = append(c.Withdraw, e)
	}
}

// SetBlocks is store.SetBlocks, with the pres-rules document changed in the same commit.
func (d *Documents) SetBlocks(ctx context.Context, u presence.Entity, add, remove []string, all bool) error {
	release, err := d.enter(ctx, u)
	if err != nil {
		return err
	}
	defer release()
	for range tries {
		if err = d.setBlocks(ctx, u, add, remove, all); !errors.Is(err, errFaster) {
			break
		}
	}
	return err
}

func (d *Documents) setBlocks(ctx context.Context, u presence.Entity, add, remove []string, all bool) error {
	s, err := d.read(ctx, u)
	if err != nil {
		return err
	}
	p := &plan{state: s, block: add, unblock: remove, unblockAll: all, policy: true}
	if all {
		remove = s.blocks
	}
	c := policy.Change{Block: ofWatchers(add)}
	for _, a := range ofWatchers(remove) {
		if !slices.Contains(add, a) {
			c.Unblock = append(c.Unblock, a)
		}
	}
	if err := d.spliceRules(ctx, p, c); err != nil {
		return err
	}
	return d.commit(ctx, p)
}
