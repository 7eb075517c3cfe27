// Package policy reads and writes what a user allows - the pres-rules document,
// and where there is none yet, roster approvals and blocks - and compiles it into
// the one presence.Policy that decides for every watcher.
package policy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/store"
)

// Loader implements engine.Policies over the store.
type Loader struct {
	Store   *store.Store
	Default presence.Handling // for watchers nobody has spoken of
}

// Policy loads and compiles the policy of one user: of the pres-rules document
// where there is one, else of roster and block list. Its revision rises with every
// change of any of them; the rules may be newer than the revision when they are changed
// at the same time, never older.
func (l *Loader) Policy(ctx context.Context, e presence.Entity) (*presence.Policy, error) {
	ctx = store.AsOf(ctx, time.Now()) // one look for all that follows
	revision, err := l.Store.Revision(ctx, e)
	if err != nil {
		return nil, err
	}
	items, _, err := l.Store.Roster(ctx, e)
	if err != nil {
		return nil, err
	}
	doc, err := l.Store.Document(ctx, e, "pres-rules", "index")
	switch {
	case errors.Is(err, store.ErrNotFound):
		blocks, err := l.Store.Blocks(ctx, e)
		if err != nil {
			return nil, err
		}
		return Compile(revision, l.Default, items, blocks), nil
	case err != nil:
		return nil, err
	}
	lists := anchors{user: e, read: func(path string) ([]byte, error) {
		d, err := l.Store.Document(ctx, e, "resource-lists", path)
		return d.Body, err
	}}
	rules, err := read(doc.Body, lists.members)
	if lists.err != nil {
		return nil, lists.err
	}
	if err != nil {
		// It was refused when it came, so it is damaged, or from a version that
		// knows more: what it forbids is not known, so everything is forbidden.
		return &presence.Policy{Revision: revision, Default: presence.Block,
			Unreadable: fmt.Sprintf("The user's rules (%s) cannot be read, so nobody is let in: %v", Document, err)}, nil
	}
	return CompileRules(revision, l.Default, rules, items), nil
}

func read(body []byte, members func(string) []presence.Entity) (*Rules, error) {
	root, err := markup.Parse(body, markup.File)
	if err != nil {
		return nil, err
	}
	return Parse(root, body, members)
}

// Compile makes the policy of roster rows and blocked addresses. A block wins
// over an approval, that of a domain over everybody in it (XEP-0191 §3).
func Compile(revision uint64, def presence.Handling, items []store.Item, blocks []string) *presence.Policy {
	c := compiler{p: &presence.Policy{Revision: revision, Default: def}, size: len(items)}
	for i := range items {
		it := &items[i]
		rule := "roster:" + it.Contact.String()
		switch {
		case it.From:
			c.grant(it.Contact, presence.Grant{Handling: presence.Allow, Rule: rule,
				Reason: "The user has approved this watcher in the contact list."})
		case it.Approved: // RFC 6121 §3.4; a SIP watcher's SUBSCRIBE counts as asking
			c.grant(it.Contact, presence.Grant{Handling: presence.Allow, Rule: rule,
				Reason: "The user has approved this watcher in advance."})
		}
	}
	c.asked(items)
	for _, b := range blocks {
		c.block(b, presence.Grant{Handling: presence.Block, Rule: "block:" + b, Reason: "The user has blocked this address."})
	}
	return c.done()
}

// CompileRules makes the policy of a document. Of the roster rows only the
// requests that wait for an answer count: what was answered is in the document.
func CompileRules(revision uint64, def presence.Handling, rs *Rules, items []store.Item) *presence.Policy {
	c := compiler{p: &presence.Policy{Revision: revision, Default: def, Rules: rs.Rules, Document: Document},
		size: len(rs.Approved) + len(rs.Blocked) + len(rs.Cancelled)}
	of := func(kind int, does string) presence.Grant {
		at := rs.places[kind]
		return presence.Grant{Handling: kinds[kind].handling, Rule: at.id,
			Reason: fmt.Sprintf("Rule %q (%s line %d) %s.", at.id, Document, at.line, does)}
	}
	approved, blocked := of(0, "allows it: the user has approved this watcher"), of(1, "blocks it")
	cancelled := of(2, "has the user asked again, who has taken an approval back")
	for _, w := range rs.Approved {
		c.grant(w, approved)
	}
	for _, w := range rs.Cancelled {
		c.grant(w, cancelled)
	}
	c.asked(items)
	for _, b := range rs.Blocked {
		c.block(b, blocked)
	}
	return c.done()
}

// compiler fills a policy in the order in which grants win: the last counts.
type compiler struct {
	p    *presence.Policy
	size int
}

func (c *compiler) grant(w presence.Entity, g presence.Grant) {
	if c.p.Watchers == nil {
		c.p.Watchers = make(map[presence.Entity]presence.Grant, c.size)
	}
	c.p.Watchers[w] = g
}

// asked lists who waits for an answer. An explicit refusal leaves no trace in
// XMPP: the next request is asked about again.
func (c *compiler) asked(items []store.Item) {
	for i := range items {
		it := &items[i]
		if !it.PendingIn || it.Removed {
			continue
		}
		name := it.Contact.String()
		c.p.Waiting = append(c.p.Waiting, presence.Watcher{ID: "asked:" + name, Watcher: it.Contact,
			State: presence.Pending, Waiting: true, Event: presence.EventTimeout}) // RFC 3857 §4.7.1: nothing else leads to waiting
		if _, there := c.p.Watchers[it.Contact]; !there {
			c.grant(it.Contact, presence.Grant{Handling: presence.Confirm, Asked: true, Rule: "roster:" + name,
				Reason: "The watcher has asked, and the user has not answered yet."})
		}
	}
}

// block adds one blocked address. A full address (with a resource) concerns only
// one session of the contact, which is the edge's matter.
func (c *compiler) block(address string, g presence.Grant) {
	if address == "" || strings.Contains(address, "/") {
		return
	}
	if user, domain, ok := strings.Cut(address, "@"); ok {
		c.grant(presence.Entity{User: user, Domain: domain}, g)
		return
	}
	if c.p.Domains == nil {
		c.p.Domains = make(map[string]presence.Grant)
	}
	c.p.Domains[address] = g
}

// done lets the block of a domain win over what was said of those in it.
func (c *compiler) done() *presence.Policy {
	if len(c.p.Domains) > 0 {
		for w, was := range c.p.Watchers {
			if g, ok := c.p.Domains[w.Domain]; ok && was.Handling != presence.Block {
				c.p.Watchers[w] = g
			}
		}
	}
	return c.p
}
