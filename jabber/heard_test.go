package jabber

import (
	"context"
	"strings"
	"testing"
	"time"

	"pharos/store"
	"pharos/xdm"
)

// changes a row of a user's on a node; unless heard, the others do not hear of it.
func (ns *nodes) changes(node, user, contact string, heard bool, fn func(*store.Item)) {
	ns.t.Helper()
	ns.mu.Lock()
	ns.deaf = !heard
	ns.mu.Unlock()
	err := ns.worlds[node].documents.UpdateItems(context.Background(), []xdm.ItemChange{{ItemChange: store.ItemChange{
		User: entity(user), Contact: entity(contact), Change: func(it *store.Item) bool { fn(it); return true }}}})
	if err != nil {
		ns.t.Fatal(err)
	}
	ns.mu.Lock()
	ns.deaf = false
	ns.mu.Unlock()
}

// watching counts the watches of a client's session.
func (ns *nodes) watching(user string, who *client) (n int) {
	name, _, _ := strings.Cut(who.name, "/")
	x, err := ns.worlds[who.host.name].engine.Explain(context.Background(), entity(user), entity(name))
	if err != nil {
		ns.t.Error(err)
	}
	for i := range x.Subscriptions {
		if x.Subscriptions[i].Package == "" && x.Subscriptions[i].Via.Node == who.host.name {
			n++
		}
	}
	return n
}

// What follows from a change of another node waits for the stanza that comes with it. When the row has
// changed again by then, what follows is what the row says now.
func TestOvertakenAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice := ns.arrive("b", "alice", "one")
		settle()
		if n := ns.watching("bob", alice); n != 1 {
			t.Errorf("watches bob %d times", n)
		}
		ns.changes("a", "alice", "bob", true, func(it *store.Item) { it.Name = "B" })
		time.Sleep(StanzaTime / 2)
		alice.has(t, "change", "name='B'", "subscription='both'")
		alice.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' subscription='remove'/></query></iq>")
		settle()
		if n := ns.watching("bob", alice); n != 0 {
			t.Errorf("watches bob %d times, who is not in the roster any more", n)
		}
	})
}

// A change of a row comes to one who has not heard of the change before it, and which has changed nothing
// else of what a client is shown.
func TestMissedRowAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice := ns.arrive("b", "alice", "one")
		settle()
		alice.drop()
		ns.changes("a", "alice", "bob", false, func(it *store.Item) { it.From = false })
		ns.changes("a", "alice", "bob", true, func(it *store.Item) { it.PendingIn = true })
		settle()
		alice.has(t, "second change", "subscription='to'")
		ns.changes("a", "alice", "bob", true, func(it *store.Item) { it.PendingIn = false })
		settle()
		alice.has(t, "third change", "!subscription=")
	})
}

// Who asks for the roster again is answered what it has not been told of yet, and
// watches whom that says.
func TestRosterAgainAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		ns.changes("a", "alice", "bob", true, func(it *store.Item) { it.To = false })
		alice, bob := ns.arrive("b", "alice", "one"), ns.arrive("a", "bob", "two")
		settle()
		alice.has(t, "before", "!bob@localhost/two")
		ns.changes("a", "alice", "bob", false, func(it *store.Item) { it.To = true })
		alice.send("<iq type='get' id='again'><query xmlns='jabber:iq:roster'/></iq>")
		settle()
		alice.has(t, "after", "from='bob@localhost/two'", "id='again'")
		bob.drop()
	})
}

// What is told of the block list on one node, while another one changes it, comes to what it is in the end.
func TestBlocksAtOnceAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, nil, func(ns *nodes) {
		block := "<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block></iq>"
		unblock := "<iq type='set' id='u'><unblock xmlns='urn:xmpp:blocking'/></iq>"
		one, two := ns.arrive("a", "alice", "one"), ns.arrive("b", "alice", "two")
		for _, c := range []*client{one, two} {
			c.send("<iq type='get' id='l'><blocklist xmlns='urn:xmpp:blocking'/></iq>" + block)
		}
		settle()
		for range 20 {
			one.drop()
			two.drop()
			one.send(unblock)
			two.send(block)
			settle()
			list, err := ns.store.Blocks(context.Background(), entity("alice"))
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []*client{one, two} {
				got := c.pending()
				blocked := strings.LastIndex(got, "<block ") > strings.LastIndex(got, "<unblock ")
				if blocked != (len(list) == 1) {
					t.Errorf("blocked are %v, and %s got %s", list, c.name, got)
				}
			}
			two.send(block)
			settle()
		}
	})
}

// Who becomes unavailable is not told any more what owners elsewhere have just said.
func TestUnavailableAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"alice": "b", "bob": "b"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		bob, other := ns.arrive("b", "bob", "two"), ns.arrive("b", "alice", "other")
		settle()
		alice := ns.login("a", "alice", "one")
		alice.send("<presence/><presence type='unavailable'/>")
		settle()
		alice.has(t, "unavailable", "!from='bob@localhost/two'", "!from='alice@localhost/other'")
		alice.send("<presence/>")
		settle()
		alice.has(t, "available", "from='bob@localhost/two'", "from='alice@localhost/other'")
		alice.send("<presence type='unavailable'/>")
		settle()
		alice.has(t, "unavailable again", "from='alice@localhost/one' to='alice@localhost' type='unavailable'")
		bob.drop()
		other.drop()
	})
}
