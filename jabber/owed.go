package jabber

import (
	"strings"

	"pharos/presence"
	"pharos/store"
)

// What a document that was changed by XCAP means for contacts is done by the
// worker, after the change was acknowledged. So that a crash in between loses
// nothing it is in the journal until it is done. To do it twice does no harm. Of several
// nodes it is the one that has made the change, and when that dies its heir.

// kindOwed is the kind of these records in the journal.
const kindOwed = 'o'

// key names a change that a node owes; "" is the only one.
func (c *change) key(node string) string {
	k := string('a'+byte(c.what)) + c.u.String() + "\x00" + c.contact.String()
	if node != "" {
		k += "\x00" + node
	}
	return k
}

func changeOf(key string) (c change, node string, ok bool) {
	if key == "" {
		return c, "", false
	}
	u, contact, ok := strings.Cut(key[1:], "\x00")
	contact, node, _ = strings.Cut(contact, "\x00")
	c = change{what: what(key[0] - 'a'), u: entityFrom(u), contact: entityFrom(contact)}
	return c, node, ok && c.u.User != "" && c.what <= reconciling
}

// entityFrom reads what Entity.String has written.
func entityFrom(s string) presence.Entity {
	i := strings.LastIndexByte(s, '@')
	return presence.Entity{User: s[:max(i, 0)], Domain: s[i+1:]}
}

// owe makes changes durable; it waits for one sync, while the user is held and the
// XCAP client not yet answered.
func (e *Edge) owe(cs []change) {
	if len(cs) == 0 {
		return
	}
	recs := make([]store.Record, len(cs))
	for i := range cs {
		recs[i] = store.Record{Kind: kindOwed, Key: cs[i].key(e.c.Engine.Self()), Value: []byte{1}}
	}
	done := make(chan error, 1)
	e.c.Store.Put(recs, func(err error) { done <- err })
	if err := <-done; err != nil {
		e.log.Error("what contacts are to be told is not durable", "entity", cs[0].u.String(), "err", err)
	}
}

// paid takes a change that is done out of the journal.
func (e *Edge) paid(c change) {
	if c.what == asked {
		return // the subscription that waits is durable itself
	}
	e.c.Store.Put([]store.Record{{Kind: kindOwed, Key: c.key(e.c.Engine.Self())}}, func(error) {})
}

// owed goes on with what the last process of this node left; one that was alone has
// left it to nobody in particular.
func (e *Edge) owed() error {
	self := e.c.Engine.Self()
	err := e.c.Store.Range(kindOwed, func(key string, _ []byte) error {
		if c, node, ok := changeOf(key); ok && node == self {
			e.enqueue(c)
		}
		return nil
	})
	if err == nil && self != "" {
		err = e.inherit("")
	}
	return err
}

// Inherit goes on with what a node that has died still owed to contacts. Should several
// nodes do so, no harm is done. It blocks.
func (e *Edge) Inherit(node string) error {
	if !e.many || node == "" || node == e.c.Engine.Self() {
		return nil
	}
	return e.inherit(node)
}

func (e *Edge) inherit(node string) error {
	var left []change
	err := e.c.Store.Range(kindOwed, func(key string, _ []byte) error {
		if c, of, ok := changeOf(key); ok && of == node {
			left = append(left, c)
		}
		return nil
	})
	for _, c := range left {
		e.takeOver(c, node)
	}
	return err
}

// takeOver owes what another node did.
func (e *Edge) takeOver(c change, from string) {
	e.c.Store.Put([]store.Record{
		{Kind: kindOwed, Key: c.key(e.c.Engine.Self()), Value: []byte{1}},
		{Kind: kindOwed, Key: c.key(from)},
	}, func(err error) {
		if err != nil {
			e.log.Error("what contacts are to be told is not taken over", "entity", c.u.String(), "err", err)
		}
	})
	e.enqueue(c)
}
