package jabber

import (
	"context"
	"slices"
	"time"

	"pharos/presence"
	"pharos/roster"
	"pharos/store"
	"pharos/xdm"
)

// documentsChanged does what follows from a change of a user's documents by XCAP,
// whose rows and block list have changed with them: at once what the user's own
// sessions see, and by the worker what concerns contacts. The user is held.
func (e *Edge) documentsChanged(c *xdm.Change) {
	if c.Remote {
		e.heard(c)
		return
	}
	if !c.ByXCAP || c.User.User == "" {
		return
	}
	ctx := context.Background()
	items := byVersion(c.Items)
	rec := e.reg.user(c.User)
	if rec != nil && e.many {
		e.catchUp(ctx, rec, items).now(presence.Entity{})
	}
	for i := range items {
		b, a := &items[i].Before, &items[i].After
		if b.Version == 0 {
			b.Removed = true // no row is as good as a tombstone
		}
		if rec != nil && !e.many {
			e.count(rec, b, a)
			e.push(rec, b, a)
			e.follow(ctx, rec, b, a, false)
		}
	}
	if rec != nil && len(c.Blocked)+len(c.Unblocked) > 0 {
		e.blocksChanged(ctx, rec, c)
	}
	var follow []change
	for i := range items {
		for _, w := range whatFollows(&items[i].Before, &items[i].After) {
			follow = append(follow, change{w, c.User, items[i].After.Contact})
		}
	}
	if c.Policy {
		follow = append(follow, change{what: reconciling, u: c.User})
	}
	e.owe(follow)
	for _, f := range follow {
		e.enqueue(f)
	}
}

// whatFollows tells what a row that a document has changed means for the contact.
func whatFollows(before, after *store.Item) (ws []what) {
	if shown(after) && !shown(before) && !after.To && !after.Ask {
		ws = append(ws, listed)
	}
	if !shown(after) && shown(before) && (before.To || before.Ask) {
		ws = append(ws, unlisted)
	}
	if before.From && !after.From {
		ws = append(ws, refused)
	}
	return ws
}

func (e *Edge) enqueue(c change) {
	if !e.changes.put(c) {
		e.log.Warn("contact not told of a changed document: too many wait", "entity", c.u.String(), "contact", c.contact.String())
	}
}

// blocksChanged is block and unblock (XEP-0191 §3.3, §3.4) without a request.
func (e *Edge) blocksChanged(ctx context.Context, u *user, c *xdm.Change) {
	if err := e.tookBlocks(ctx, u, c.Blocked, c.Unblocked); err != nil {
		e.log.Error("block list not read", "entity", u.bare, "err", err)
		return
	}
	if len(c.Blocked) > 0 {
		e.unwatchBlocked(ctx, u)
		e.pushBlocks(u, "block", c.Blocked)
	}
	if len(c.Unblocked) > 0 {
		e.pushBlocks(u, "unblock", c.Unblocked)
	}
	e.othersBlocks(ctx, u)
	if len(c.Unblocked) > 0 {
		e.unblocked(ctx, u)
	}
}

// subscribeListed asks for the presence of a contact who has come to the user's
// buddy list, as an XMPP client does that adds one.
func (e *Edge) subscribeListed(ctx context.Context, u, contact presence.Entity) error {
	if contact == u || !e.local(contact.Domain) || e.blocks(ctx, u, contact, "") {
		return nil
	}
	_, err := e.outbound(ctx, u, contact, roster.Subscribe, outbound{when: func(it *store.Item) bool {
		return shown(it) && !it.To && !it.Ask
	}})
	return err
}

// unsubscribeUnlisted tells a contact who has gone from the user's buddy list.
func (e *Edge) unsubscribeUnlisted(ctx context.Context, u, contact presence.Entity) error {
	return e.tellContact(ctx, u, contact, roster.Unsubscribe, func(it *store.Item) bool { return !it.To && !it.Ask })
}

// refuseContact tells a contact who may not watch the user any more.
func (e *Edge) refuseContact(ctx context.Context, u, contact presence.Entity) error {
	return e.tellContact(ctx, u, contact, roster.Unsubscribed, func(it *store.Item) bool { return !it.From })
}

// tellContact brings a stanza to a contact that the user's own row tells of
// already, if it still does.
func (e *Edge) tellContact(ctx context.Context, u, contact presence.Entity, k roster.Kind, still func(*store.Item) bool) error {
	if contact == u {
		return nil
	}
	lock := e.pairLock(u, contact)
	lock.Lock()
	defer lock.Unlock()
	is := false
	own := &row{u: u, contact: contact, fn: func(it *store.Item) bool {
		is = still(it)
		return false
	}}
	x := e.newExchange(ctx, contact, u, k, nil)
	x.passes = func() bool { return is }
	return e.transact(ctx, x.tell, append([]*row{own}, x.rows()...)...)
}

// reconcile brings the subscriptions of contacts to a user in line with the user's
// rules, which have changed: requests that wait are answered, subscriptions that
// the rules do not carry any more end. Who is blocked keeps the subscription and
// sees nothing, as with XEP-0191, and sees the user again afterwards.
func (e *Edge) reconcile(ctx context.Context, u presence.Entity) error {
	items, _, err := e.c.Store.Roster(ctx, u)
	if err != nil {
		return err
	}
	for i := range items {
		if err := e.reconcileRow(ctx, u, &items[i]); err != nil {
			return err
		}
	}
	e.seeElsewhere(ctx, u, false)
	return nil
}

func (e *Edge) reconcileRow(ctx context.Context, u presence.Entity, it *store.Item) (err error) {
	if it.Removed || !it.PendingIn && !it.From || it.Contact == u {
		return nil
	}
	h := e.decision(ctx, u, it.Contact)
	switch {
	case it.PendingIn && allows(h):
		err = e.answer(ctx, u, it.Contact, roster.Subscribed, func(it *store.Item, h presence.Handling) bool { return it.PendingIn && allows(h) })
	case it.PendingIn && h == presence.Block:
		err = e.answer(ctx, u, it.Contact, roster.Unsubscribed, func(it *store.Item, h presence.Handling) bool { return it.PendingIn && h == presence.Block })
	case it.From && h == presence.Confirm && !e.sometimes(ctx, u, it.Contact):
		err = e.answer(ctx, u, it.Contact, roster.Unsubscribed, func(it *store.Item, h presence.Handling) bool { return it.From && h == presence.Confirm })
	case it.From && allows(h):
		for _, s := range e.reg.user(it.Contact).list() {
			s.revive(ctx, u)
		}
	}
	return err
}

// ask asks a user about a contact who waits for an answer. What the rules, which have changed, do not carry any more may not
// have been taken back yet, here or at the node that has changed them: the contact would seem to be let in already.
func (e *Edge) ask(ctx context.Context, u, contact presence.Entity) error {
	items, _, err := e.c.Store.Roster(ctx, u)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(items, func(it store.Item) bool { return it.Contact == contact }); i >= 0 && items[i].From {
		if err := e.reconcileRow(ctx, u, &items[i]); err != nil {
			return err
		}
	}
	e.inbound(ctx, u, contact, roster.Subscribe)
	return nil
}

// answer answers a contact for the user, if what asks for it is still true.
func (e *Edge) answer(ctx context.Context, u, contact presence.Entity, k roster.Kind, still func(*store.Item, presence.Handling) bool) error {
	var h presence.Handling
	_, err := e.outbound(ctx, u, contact, k, outbound{
		byRules: true,
		ready:   func(ctx context.Context) { h = e.decision(ctx, u, contact) },
		when:    func(it *store.Item) bool { return still(it, h) },
	})
	return err
}

// sometimes tells whether the user's rules allow a watcher at another time or in
// another sphere, so that not to be allowed now is no end.
func (e *Edge) sometimes(ctx context.Context, u, watcher presence.Entity) bool {
	p, err := e.c.Engine.Policy(ctx, u)
	if err != nil || !slices.ContainsFunc(p.Rules, func(r presence.Rule) bool { return r.Spheres != nil || r.Validity != nil }) {
		return false
	}
	always := &presence.Policy{Default: p.Default, Watchers: p.Watchers, Domains: p.Domains, Rules: slices.Clone(p.Rules)}
	for i := range always.Rules {
		always.Rules[i].Spheres, always.Rules[i].Validity = nil, nil
	}
	return allows(presence.Decide(always, u, watcher, presence.Circumstances{Now: time.Now()}).Class.Handling)
}
