// Package policy compiles what a user has said - roster approvals, blocks and,
// later, pres-rules - into the one presence.Policy that decides for every watcher.
package policy

import (
	"context"
	"strings"

	"pharos/presence"
	"pharos/store"
)

// Loader implements engine.Policies over the store.
type Loader struct {
	Store   *store.Store
	Default presence.Handling // for watchers nobody has spoken of
}

// Policy loads and compiles the policy of one user. Its revision rises with every
// change of roster or blocks; the rules may be newer than the revision when they
// are changed at the same time, never older.
func (l *Loader) Policy(ctx context.Context, e presence.Entity) (*presence.Policy, error) {
	revision, err := l.Store.Revision(ctx, e)
	if err != nil {
		return nil, err
	}
	items, _, err := l.Store.Roster(ctx, e)
	if err != nil {
		return nil, err
	}
	blocks, err := l.Store.Blocks(ctx, e)
	if err != nil {
		return nil, err
	}
	return Compile(revision, l.Default, items, blocks), nil
}

// Compile makes the policy of roster rows and blocked addresses. A block wins
// over an approval, that of a domain over everybody in it (XEP-0191 §3).
func Compile(revision uint64, def presence.Handling, items []store.Item, blocks []string) *presence.Policy {
	p := &presence.Policy{Revision: revision, Default: def}
	for i := range items {
		if g, ok := rosterGrant(&items[i]); ok {
			if p.Watchers == nil {
				p.Watchers = make(map[presence.Entity]presence.Grant, len(items))
			}
			p.Watchers[items[i].Contact] = g
		}
	}
	for _, b := range blocks {
		block(p, b)
	}
	if len(p.Domains) > 0 {
		for w := range p.Watchers {
			if g, ok := p.Domains[w.Domain]; ok && p.Watchers[w].Handling != presence.Block {
				p.Watchers[w] = g
			}
		}
	}
	return p
}

// rosterGrant is what a roster row says of its contact as a watcher. An explicit
// refusal leaves no trace in XMPP: the next request is asked about again.
func rosterGrant(i *store.Item) (presence.Grant, bool) {
	if !i.From && !i.Approved && !i.PendingIn {
		return presence.Grant{}, false
	}
	rule := "roster:" + i.Contact.String()
	switch {
	case i.From:
		return presence.Grant{Handling: presence.Allow, Rule: rule,
			Reason: "The user has approved this watcher in the contact list."}, true
	case i.Approved: // RFC 6121 §3.4; a SIP watcher's SUBSCRIBE counts as asking
		return presence.Grant{Handling: presence.Allow, Rule: rule,
			Reason: "The user has approved this watcher in advance."}, true
	}
	return presence.Grant{Handling: presence.Confirm, Rule: rule,
		Reason: "The watcher has asked, and the user has not answered yet."}, true
}

// block adds one blocked address. A full address (with a resource) concerns only
// one session of the contact, which is the edge's matter.
func block(p *presence.Policy, address string) {
	if address == "" || strings.Contains(address, "/") {
		return
	}
	g := presence.Grant{Handling: presence.Block, Rule: "block:" + address,
		Reason: "The user has blocked this address."}
	user, domain, ok := strings.Cut(address, "@")
	if !ok {
		if p.Domains == nil {
			p.Domains = make(map[string]presence.Grant)
		}
		p.Domains[address] = g
		return
	}
	if p.Watchers == nil {
		p.Watchers = make(map[presence.Entity]presence.Grant)
	}
	p.Watchers[presence.Entity{User: user, Domain: domain}] = g
}
