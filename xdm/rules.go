package xdm

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"pharos/markup"
	"pharos/policy"
	"pharos/presence"
	"pharos/store"
)

// generateRules makes the rules out of approvals and blocks; nil if there are none.
func generateRules(s *state) []byte {
	var approved []store.Item
	for _, it := range s.items {
		if (it.From || it.Approved) && expressible(it.Contact) {
			approved = append(approved, it)
		}
	}
	blocks := ofWatchers(s.blocks)
	if len(approved) == 0 && len(blocks) == 0 {
		return nil
	}
	return policy.Generate(approved, blocks)
}

// ofWatchers are the blocked addresses that rules can name: an address with a
// resource says nothing of a watcher.
func ofWatchers(blocks []string) []string {
	return slices.DeleteFunc(slices.Clone(blocks), func(a string) bool {
		user, domain, ok := strings.Cut(a, "@")
		if !ok {
			user, domain = "", a
		}
		return strings.Contains(a, "/") || !expressible(presence.Entity{User: user, Domain: domain})
	})
}

// readRules reads a pres-rules document; one that is not there has no rules.
func readRules(body []byte) (*policy.Rules, error) {
	if body == nil {
		return &policy.Rules{}, nil
	}
	el, err := markup.Parse(body, markup.File)
	if err != nil {
		return nil, err
	}
	return policy.Parse(el, body, nil)
}

// followRules has block list and approvals follow a new pres-rules document; nil:
// it goes.
//
// Approved is as far as a row can say what a rule does. From is the subscription of
// a contact to whom the user has said yes; whether that stands under the new rules, who
// knows all of them looks (the XMPP edge). But when all rules go, approvals
// must not come back to life by the rows, which decide where there is no document.
func (d *Documents) followRules(p *plan, body []byte) error {
	p.policy = true
	rules, err := readRules(body)
	if err != nil {
		return err
	}
	p.followBlocks(rules.Blocked)
	more := 0
	approved := set(rules.Approved)
	for _, e := range rules.Approved {
		it := p.state.item(e)
		if it.Approved || it.From && !it.Removed || e == p.state.user {
			continue
		}
		if it.Removed || it.Version == 0 {
			more++
		}
		it.Approved, it.Removed = true, false
		p.put(it)
	}
	over := body == nil && d.c.Default != presence.Allow
	for i := range p.state.items {
		it := p.state.items[i]
		if approved[it.Contact] || !it.Approved && !(it.From && over) || !expressible(it.Contact) {
			continue
		}
		it.Approved = false
		it.From = it.From && !over
		p.put(it)
	}
	return p.bound(more)
}

func (p *plan) followBlocks(blocked []string) {
	want, have := set(blocked), set(p.state.blocks)
	for _, a := range ofWatchers(p.state.blocks) {
		if !want[a] {
			p.unblock = append(p.unblock, a)
		}
	}
	for _, a := range blocked {
		if !have[a] {
			have[a] = true
			p.block = append(p.block, a)
		}
	}
}

// followExternal: a list that the rules name is a part of them.
func (d *Documents) followExternal(ctx context.Context, p *plan) error {
	rules, err := d.document(ctx, Name{PresRules, p.state.user, Index})
	if err == nil && rules != nil && bytes.Contains(rules.Body, []byte("external-list")) {
		p.policy = true
	}
	return err
}

// spliceRules writes a change into the pres-rules document, if there is one.
func (d *Documents) spliceRules(ctx context.Context, p *plan, c policy.Change) error {
	if c.Empty() { // most roster sets: to parse the rules would be half of their work
		return nil
	}
	was, err := d.document(ctx, Name{PresRules, p.state.user, Index})
	if err != nil || was == nil {
		return err
	}
	body, err := policy.Splice(was.Body, c)
	if err != nil {
		return err
	}
	if bytes.Equal(body, was.Body) {
		return nil
	}
	if len(body) > maxGenerated {
		return ErrTooLarge
	}
	p.write(was.Name, was, body)
	return nil
}
