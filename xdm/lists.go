package xdm

import (
	"bytes"
	"context"
	"slices"
	"strings"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
	"pharos/store"
)

// maxContacts bounds the roster rows that a document may bring a user to
// (ErrTooMany); a roster has the same bound.
const maxContacts = 5000

// shown tells whether a row is in the visible roster, and so in the buddy list.
func shown(it *store.Item) bool { return it.Visible && !it.Removed }

// expressible tells whether an address is one that documents can name. One that is
// not (an IP address, a name that SIP has no host for) is left out of them, and no
// document takes it out of anything.
func expressible(e presence.Entity) bool {
	back, ok := roster.EntityOf(roster.URIOf(e))
	return ok && back == e
}

// hide takes a row out of the visible roster. What the contact may see stays.
func hide(it *store.Item) {
	it.Visible, it.To, it.Ask, it.Name, it.Groups = false, false, false, "", nil
	// Else the tombstone tells clients that come back (RFC 6121 §2.6).
	it.Removed = !it.From && !it.Approved && !it.PendingIn
}

// generateLists makes the buddy list out of the visible roster; nil if that is empty.
func generateLists(s *state) []byte {
	var cs []roster.Contact
	for i := range s.items {
		if it := &s.items[i]; shown(it) && expressible(it.Contact) {
			cs = append(cs, roster.Contact{Entity: it.Contact, Name: it.Name, Groups: it.Groups})
		}
	}
	if len(cs) == 0 {
		return nil
	}
	return roster.Generate(cs)
}

// followLists has the roster rows follow a new buddy list; nil: it goes.
func (d *Documents) followLists(p *plan, body []byte) error {
	contacts, err := contactsOf(body)
	if err != nil {
		return err
	}
	listed := make(map[presence.Entity]bool, len(contacts))
	more := 0
	for i := range contacts {
		c := &contacts[i]
		listed[c.Entity] = true
		it := p.state.item(c.Entity)
		if shown(&it) && sameContact(&it, c) {
			continue
		}
		if it.Removed || it.Version == 0 {
			more++
		}
		it.Visible, it.Removed, it.Name, it.Groups = true, false, c.Name, c.Groups
		p.put(it)
	}
	for i := range p.state.items {
		if it := p.state.items[i]; shown(&it) && !listed[it.Contact] && expressible(it.Contact) {
			hide(&it)
			p.put(it)
		}
	}
	return p.bound(more)
}

// bound refuses what brings the roster beyond its bound by so many new rows.
func (p *plan) bound(more int) error {
	if more == 0 {
		return nil
	}
	rows := more
	for i := range p.state.items {
		if !p.state.items[i].Removed {
			rows++
		}
	}
	if rows > maxContacts {
		return ErrTooMany
	}
	return nil
}

// contactsOf reads a buddy list; a document that is not there has nobody in it.
func contactsOf(body []byte) ([]roster.Contact, error) {
	if body == nil {
		return nil, nil
	}
	el, err := markup.Parse(body, markup.File)
	if err != nil {
		return nil, err
	}
	return roster.Contacts(el), nil
}

// sameContact: the order of groups means nothing in a roster (RFC 6121 §2.1.2.6).
func sameContact(it *store.Item, c *roster.Contact) bool {
	if it.Name != c.Name || len(it.Groups) != len(c.Groups) {
		return false
	}
	for _, g := range c.Groups {
		if !slices.Contains(it.Groups, g) {
			return false
		}
	}
	return true
}

// plain tells whether a list says name and groups as the roster does: it has no line
// breaks and no names of blanks.
func plain(c *roster.Contact) bool {
	odd := func(s string) bool {
		return strings.ContainsAny(s, "\n\r\t") || s != "" && strings.Trim(s, " ") == ""
	}
	return !odd(c.Name) && !slices.ContainsFunc(c.Groups, odd)
}

// spliceLists has the buddy list, if there is one, follow the rows of a plan, and
// the rows what can be read in it then.
func (d *Documents) spliceLists(ctx context.Context, p *plan) error {
	was, err := d.document(ctx, Name{ResourceLists, p.state.user, Index})
	if err != nil || was == nil {
		return err
	}
	last := map[presence.Entity]*store.Item{}
	body := was.Body
	for _, it := range p.items {
		last[it.Contact] = it
	}
	odd := false
	for _, it := range p.items {
		if last[it.Contact] != it || !expressible(it.Contact) {
			continue
		}
		before := p.state.item(it.Contact)
		c := roster.Contact{Entity: it.Contact, Name: it.Name, Groups: it.Groups}
		switch {
		case shown(it) && !(shown(&before) && sameContact(&before, &c)):
			odd = odd || !plain(&c)
			body, err = roster.Splice(body, c)
		case !shown(it) && shown(&before):
			body, err = roster.Remove(body, it.Contact)
		}
		if err != nil {
			return err
		}
	}
	if len(body) > maxGenerated {
		return ErrTooLarge
	}
	if !bytes.Equal(body, was.Body) {
		p.write(was.Name, was, body)
	}
	if !odd {
		return nil
	}
	// As the list says it now.
	contacts, err := contactsOf(body)
	if err != nil {
		return err
	}
	for i := range contacts {
		c := &contacts[i]
		if it := last[c.Entity]; it != nil && shown(it) && !sameContact(it, c) {
			it.Name, it.Groups = c.Name, c.Groups
		}
	}
	return nil
}
