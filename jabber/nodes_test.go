package jabber

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Who watches on one node sees who is on another, and so do phones' sources go there.
func TestPresenceAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "c", "bob": "c"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice := ns.arrive("a", "alice", "one")
		bob := ns.arrive("b", "bob", "two")
		settle()
		alice.has(t, "arrival", "from='bob@localhost/two'")
		bob.has(t, "arrival", "from='alice@localhost/one'")
		bob.send("<presence><show>away</show></presence>")
		settle()
		alice.has(t, "change", "<show>away</show>")
		bob.conn.Close()
		settle()
		alice.has(t, "departure", "from='bob@localhost/two' to='alice@localhost' type='unavailable'")
	})
}

// A message to a user with sessions on two nodes: the one of the highest priority gets it,
// and the other a copy.
func TestMessageAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"bob": "c"}, func(ns *nodes) {
		alice := ns.arrive("a", "alice", "one")
		alice2 := ns.arrive("c", "alice", "two")
		high, low := ns.arrive("a", "bob", "high"), ns.arrive("b", "bob", "low")
		high.send("<presence><priority>5</priority></presence>")
		for _, c := range []*client{alice, alice2, high, low} {
			c.send("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
		}
		settle()
		for _, c := range []*client{alice, alice2, high, low} {
			c.drop()
		}
		alice.send("<message to='bob@localhost' type='chat' id='bare'><body>hi</body></message>")
		settle()
		high.has(t, "bare", "id='bare'", "!<received")
		low.has(t, "bare", "<received", "id='bare'")
		alice2.has(t, "bare", "<sent", "id='bare'")
		alice.has(t, "bare", "!id='bare'")
		alice.send("<message to='bob@localhost/low' type='chat' id='full'><body>hi</body></message>")
		settle()
		low.has(t, "full", "id='full'", "!<received")
		high.has(t, "full", "<received", "id='full'")
		alice.send("<message to='bob@localhost/nobody' type='chat' id='gone'><body>hi</body></message>" +
			"<message to='bob@localhost/nobody' type='normal' id='normal'><body>hi</body></message>" +
			"<message to='bob@localhost' type='headline' id='news'><body>hi</body></message>")
		settle()
		high.has(t, "gone", "id='gone'", "!id='normal'", "id='news'")
		low.has(t, "gone", "<received", "id='gone'", "id='news'")
		alice.has(t, "gone", "id='normal'", "service-unavailable")
		low.send("<presence><priority>5</priority></presence>")
		settle()
		high.drop()
		low.drop()
		alice.send("<message to='bob@localhost' type='chat' id='both'><body>hi</body></message>")
		settle()
		high.has(t, "both", "id='both'", "!<received")
		low.has(t, "both", "id='both'", "!<received")
		if n := ns.worlds["a"].mail.count("bob"); n != 0 {
			t.Errorf("%d messages stored", n)
		}
	})
}

// An IQ for a resource on another node, and its answer; and one for nobody.
func TestIQAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob", "eve"}, map[string]string{"alice": "b", "bob": "a"}, func(ns *nodes) {
		alice, bob := ns.arrive("a", "alice", "one"), ns.arrive("b", "bob", "two")
		settle()
		alice.drop()
		bob.drop()
		alice.send("<iq type='get' to='bob@localhost/two' id='q'><query xmlns='x:y'/></iq>" +
			"<iq type='get' to='bob@localhost/three' id='none'><query xmlns='x:y'/></iq>")
		settle()
		bob.has(t, "request", "from='alice@localhost/one'", "id='q'", "!id='none'")
		alice.has(t, "request", "id='none'", "service-unavailable")
		bob.send("<iq type='result' to='alice@localhost/one' id='q'><query xmlns='x:z'/></iq>")
		settle()
		alice.has(t, "answer", "id='q'", "x:z")
		// Blocked, there is no such resource.
		bob.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='alice@localhost'/></block></iq>")
		settle()
		bob.drop()
		alice.send("<iq type='get' to='bob@localhost/two' id='q2'><query xmlns='x:y'/></iq>" +
			"<message to='bob@localhost/two' type='chat' id='m1'><body>x</body></message>" +
			"<message to='bob@localhost' type='chat' id='m2'><body>x</body></message>")
		settle()
		bob.has(t, "blocked", "!id='q2'", "!id='m1'", "!id='m2'")
		alice.has(t, "blocked", "id='q2'", "id='m1'", "id='m2'", "service-unavailable")
	})
}

// Subscribing across nodes: rosters, stanzas and presence reach all sessions of both.
func TestSubscribeAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "c", "bob": "a"}, func(ns *nodes) {
		alice, alice2 := ns.arrive("a", "alice", "one"), ns.arrive("b", "alice", "two")
		bob, bob2 := ns.arrive("b", "bob", "one"), ns.arrive("c", "bob", "two")
		all := []*client{alice, alice2, bob, bob2}
		forget := func() {
			for _, c := range all {
				c.drop()
			}
		}
		settle()
		forget()
		alice.send("<presence type='subscribe' to='bob@localhost'/>")
		settle()
		for _, c := range []*client{alice, alice2} {
			c.has(t, "subscribe", "ask='subscribe'")
		}
		for _, c := range []*client{bob, bob2} {
			c.has(t, "subscribe", "type='subscribe'", "from='alice@localhost'")
		}
		bob2.send("<presence type='subscribed' to='alice@localhost'/>")
		settle()
		for _, c := range []*client{alice, alice2} {
			c.has(t, "subscribed", "subscription='to'", "type='subscribed'", "from='bob@localhost/one'", "from='bob@localhost/two'")
		}
		for _, c := range []*client{bob, bob2} {
			c.has(t, "subscribed", "subscription='from'")
		}
		bob.send("<presence type='unsubscribed' to='alice@localhost'/>")
		settle()
		for _, c := range []*client{alice, alice2} {
			c.has(t, "cancelled", "subscription='none'", "type='unsubscribed'", "from='bob@localhost/one' to='alice@localhost' type='unavailable'")
		}
	})
}

// A roster set on one node is pushed on the others, in the order of versions, each change
// once; what was not heard of comes with what is.
func TestPushAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, nil, func(ns *nodes) {
		one, two := ns.arrive("a", "alice", "one"), ns.arrive("b", "alice", "two")
		settle()
		one.drop()
		two.drop()
		set := func(c *client, jid, name string) {
			c.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='" + jid + "' name='" + name + "'/></query></iq>")
		}
		set(one, "bob@localhost", "B")
		set(two, "carol@localhost", "C")
		settle()
		for _, c := range []*client{one, two} {
			if c.times("name='B'") != 1 || c.times("name='C'") != 1 {
				t.Errorf("%s got %s", c.name, c.pending())
			}
			c.drop()
		}
		ns.mu.Lock()
		ns.deaf = true
		ns.mu.Unlock()
		set(one, "bob@localhost", "lost")
		settle()
		two.has(t, "deaf", "!lost")
		one.drop()
		ns.mu.Lock()
		ns.deaf = false
		ns.mu.Unlock()
		set(one, "dora@localhost", "D")
		settle()
		if two.times("name='lost'") != 1 || two.times("name='D'") != 1 {
			t.Errorf("after the gap got %s", two.pending())
		}
		two.drop()
		ns.mu.Lock()
		ns.deaf = true
		ns.mu.Unlock()
		set(one, "bob@localhost", "again")
		one.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='eve@localhost'/></block></iq>")
		two.send("<iq type='get' id='bl'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
		settle()
		two.has(t, "deaf", "!name='again'", "!eve@")
		ns.worlds["b"].documents.Missed()
		settle()
		two.has(t, "missed", "name='again'", "<block", "eve@localhost")
	})
}

// The newer of two with one resource stays, wherever they are; of two at once one does.
func TestConflictAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice := ns.arrive("a", "alice", "w")
		old := ns.arrive("a", "bob", "phone")
		settle()
		alice.drop()
		fresh := ns.arrive("b", "bob", "phone")
		settle()
		old.has(t, "conflict", "<conflict")
		alice.has(t, "conflict", "from='bob@localhost/phone' to='alice@localhost'/>")
		fresh.drop()
		alice.send("<message to='bob@localhost/phone' type='chat' id='m'><body>x</body></message>")
		settle()
		fresh.has(t, "after", "id='m'")

		one, two := ns.worlds["a"].dial("one", "bob"), ns.worlds["b"].dial("two", "bob")
		bind := "<iq type='set' id='bind'><bind xmlns='" + nsBind + "'><resource>both</resource></bind></iq>"
		one.send(bind)
		two.send(bind)
		settle()
		if n := one.times("type='result'") + two.times("type='result'"); n != 1 {
			t.Errorf("%d bound: %s %s", n, one.pending(), two.pending())
		}
		n := 0
		ns.each(func(w *world) {
			if w.edge.reg.user(entity("bob")).resource("both") != nil {
				n++
			}
		})
		if n != 1 {
			t.Errorf("%d sessions have the resource", n)
		}
	})
}

// Directed presence reaches sessions on all nodes, and ends with the session's node.
func TestDirectedAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "b", "bob": "c"}, func(ns *nodes) {
		alice := ns.arrive("a", "alice", "one")
		bob, bob2 := ns.arrive("b", "bob", "one"), ns.arrive("c", "bob", "two")
		settle()
		bob.drop()
		bob2.drop()
		alice.send("<presence to='bob@localhost'><status>all</status></presence><presence to='bob@localhost/two'><status>two</status></presence>")
		settle()
		bob.has(t, "directed", "all", "!two</status>")
		bob2.has(t, "directed", "all", "two</status>")
		ns.kill("a", "b")
		settle()
		time.Sleep(5 * time.Second)
		settle()
		bob.has(t, "dead", "from='alice@localhost/one' to='bob@localhost' type='unavailable'")
		bob2.has(t, "dead", "from='alice@localhost/one'", "type='unavailable'")
	})
}

// The account goes: all sessions end, wherever they are.
func TestEndAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice"}, nil, func(ns *nodes) {
		one, two := ns.arrive("a", "alice", "one"), ns.arrive("b", "alice", "two")
		settle()
		ns.worlds["a"].edge.End(context.Background(), entity("alice"), "not-authorized")
		settle()
		one.has(t, "end", "not-authorized")
		two.has(t, "end", "not-authorized")
	})
}

// Who is unblocked on one node sees the user again on another.
func TestBlockAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "c", "bob": "b"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice, alice2 := ns.arrive("a", "alice", "one"), ns.arrive("c", "alice", "two")
		bob := ns.arrive("b", "bob", "w")
		alice2.send("<iq type='get' id='bl'><blocklist xmlns='urn:xmpp:blocking'/></iq>")
		settle()
		for _, c := range []*client{alice, alice2, bob} {
			c.drop()
		}
		alice.send("<iq type='set' id='b'><block xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></block></iq>")
		settle()
		bob.has(t, "block", "from='alice@localhost/one' to='bob@localhost' type='unavailable'", "from='alice@localhost/two' to='bob@localhost' type='unavailable'")
		alice.has(t, "block", "from='bob@localhost/w' to='alice@localhost' type='unavailable'")
		alice2.has(t, "block", "<block", "from='bob@localhost/w' to='alice@localhost' type='unavailable'")
		alice2.send("<iq type='set' id='b'><unblock xmlns='urn:xmpp:blocking'><item jid='bob@localhost'/></unblock></iq>")
		settle()
		bob.has(t, "unblock", "from='alice@localhost/one' to='bob@localhost'/>", "from='alice@localhost/two' to='bob@localhost'/>")
		alice.has(t, "unblock", "from='bob@localhost/w' to='alice@localhost'/>")
		alice2.has(t, "unblock", "<unblock", "from='bob@localhost/w' to='alice@localhost'/>")
	})
}

// Two sessions come on two nodes at once: each stored message is handed over once.
func TestOfflineAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"bob": "a"}, func(ns *nodes) {
		alice := ns.arrive("a", "alice", "one")
		settle()
		alice.send("<message to='bob@localhost' type='chat' id='m'><body>x</body></message>")
		settle()
		if n := ns.worlds["a"].mail.count("bob"); n != 1 {
			t.Fatalf("%d stored", n)
		}
		one, two := ns.login("a", "bob", "one"), ns.login("b", "bob", "two")
		one.send("<presence/>")
		two.send("<presence/>")
		settle()
		if n := one.times("id='m'") + two.times("id='m'"); n != 1 {
			t.Errorf("handed over %d times: %s %s", n, one.pending(), two.pending())
		}
	})
}

// A node that was cut off comes back: of two sessions with one resource the newer stays, and what
// the older one's end says harms nobody; what changed meanwhile is told.
func TestHealedAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob", "carol"}, map[string]string{"alice": "c", "bob": "a", "carol": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		ns.friends("carol", "bob")
		alice, carol := ns.arrive("c", "alice", "one"), ns.arrive("a", "carol", "one")
		old, other := ns.arrive("a", "bob", "phone"), ns.arrive("a", "bob", "desk")
		old.send("<presence><show>xa</show></presence>")
		other.send("<presence><show>dnd</show></presence>")
		settle()
		for _, c := range []*client{alice, carol, old, other} {
			c.drop()
		}
		ns.isolate("a", "b")
		time.Sleep(5 * time.Second)
		alice.has(t, "cut", "from='bob@localhost/phone' to='alice@localhost' type='unavailable'", "from='bob@localhost/desk' to='alice@localhost' type='unavailable'")
		fresh := ns.arrive("b", "bob", "phone")
		fresh.send("<presence><show>chat</show></presence>")
		settle()
		alice.has(t, "cut", "<show>chat</show>")
		alice.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='carol@localhost' name='C'/></query></iq>")
		ns.heal("a")
		time.Sleep(5 * time.Second)
		settle()
		old.has(t, "healed", "<conflict")
		alice.has(t, "healed", "<show>dnd</show>", "!from='bob@localhost/phone'")
		carol.has(t, "healed", "<show>chat</show>", "!unavailable")
		fresh.has(t, "healed", "<show>dnd</show>", "!conflict")
		other.has(t, "healed", "<show>chat</show>", "!conflict")
		alice.send("<message to='bob@localhost/phone' type='chat' id='m'><body>x</body></message>")
		settle()
		fresh.has(t, "healed", "id='m'")
	})
}

// Two sessions on two nodes are handed a message; one acknowledges it, the other is never
// heard of again. Nobody gets it twice, nor is it stored.
func TestRedeliveryAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"bob": "c"}, func(ns *nodes) {
		alice := ns.arrive("c", "alice", "one")
		one, two := ns.login("a", "bob", "one"), ns.login("b", "bob", "two")
		one.manage(t)
		two.manage(t)
		for _, c := range []*client{one, two} {
			c.send("<presence/>")
		}
		settle()
		two.drop()
		one.conn.Close()
		settle()
		two.drop()
		alice.send("<message to='bob@localhost' type='chat' id='bare'><body>x</body></message><message to='bob@localhost/one' type='chat' id='full'><body>x</body></message>")
		settle()
		two.has(t, "at first", "id='bare'", "!id='full'")
		two.mu.Lock()
		h := two.n
		two.mu.Unlock()
		two.send("<a xmlns='urn:xmpp:sm:3' h='" + strconv.Itoa(int(h)) + "'/>")
		time.Sleep(MaxHibernate)
		settle()
		two.has(t, "in the end", "!id='bare'", "id='full'")
		if n := ns.worlds["a"].mail.count("bob"); n != 0 {
			t.Errorf("%d stored", n)
		}
	})
}

// Two nodes write to one node of a user's at once: what its watchers are told in the end
// is what it says.
func TestItemsAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "c", "bob": "b"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		bob := ns.arrive("b", "bob", "w")
		one, two := ns.arrive("a", "alice", "one"), ns.arrive("c", "alice", "two")
		settle()
		bob.drop()
		for i := range 20 {
			for _, c := range []*client{one, two} {
				id := c.name[len("alice/"):] + string(rune('a'+i))
				c.send("<iq type='set' id='p'><pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='http://jabber.org/protocol/tune'><item id='" + id +
					"'><tune xmlns='http://jabber.org/protocol/tune'><title>" + id + "</title></tune></item></publish></pubsub></iq>")
			}
		}
		settle()
		n, err := ns.worlds["a"].edge.node(context.Background(), entity("alice"), "http://jabber.org/protocol/tune")
		if err != nil {
			t.Fatal(err)
		}
		v, err := ns.worlds["b"].edge.look(context.Background(), entity("alice"), entity("bob"))
		if err != nil {
			t.Fatal(err)
		}
		told := find(toldBy(v), "http://jabber.org/protocol/tune")
		if told == nil || !strings.Contains(string(told.bytes), n.last().Payload) {
			t.Errorf("the node has %s, told is %s", n.last().Payload, told.bytes)
		}
	})
}

// A picture that is set on one node is in the presence of sessions on others.
func TestPhotoAmongNodes(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "c", "bob": "b"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		bob := ns.arrive("b", "bob", "w")
		one, two := ns.arrive("a", "alice", "one"), ns.arrive("c", "alice", "two")
		settle()
		bob.drop()
		one.send("<iq type='set' id='v'><vCard xmlns='vcard-temp'><PHOTO><TYPE>image/png</TYPE><BINVAL>AAAA</BINVAL></PHOTO></vCard></iq>")
		settle()
		got := bob.pending()
		for _, from := range []string{"from='alice@localhost/one'", "from='alice@localhost/two'"} {
			if !strings.Contains(got, from) || strings.Count(got, "<photo>") != 2 {
				t.Errorf("bob got %s", got)
			}
		}
		two.drop()
	})
}
