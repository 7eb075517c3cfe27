package jabber

import (
	"strings"

	"pharos/presence"
	"pharos/store"
)

// What a document that was changed by XCAP means for contacts is done by the
// worker, after the change was acknowledged. So that a crash in between loses
// nothing it is in the journal until it is done. To do it twice does no harm.

// kindOwed is the kind of these records in the journal.
const kindOwed = 'o'

func (c *change) key() string {
	return string('a'+byte(c.what)) + c.u.String() + "\x00" + c.contact.String()
}

func changeOf(key string) (c change, ok bool) {
	if key == "" {
		return c, false
	}
	u, contact, ok := strings.Cut(key[1:], "\x00")
	c = change{what: what(key[0] - 'a'), u: entityFrom(u), contact: entityFrom(contact)}
	return c, ok && c.u.User != "" && c.what <= reconciling
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
		recs[i] = store.Record{Kind: kindOwed, Key: cs[i].key(), Value: []byte{1}}
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
	e.c.Store.Put([]store.Record{{Kind: kindOwed, Key: c.key()}}, func(error) {})
}

// owed goes on with what the last process left.
func (e *Edge) owed() error {
	return e.c.Store.Range(kindOwed, func(key string, _ []byte) error {
		if c, ok := changeOf(key); ok {
			e.enqueue(c)
		}
		return nil
	})
}
