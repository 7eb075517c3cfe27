package jabber

import (
	"strconv"
	"testing"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// The owner dies: what sessions had said is said again, nobody sees anybody go and come, and
// what happens afterwards is told.
func TestOwnerLost(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob", "carol"}, map[string]string{"alice": "c", "bob": "c", "carol": "c"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		ns.friends("alice", "carol")
		alice, alice2 := ns.arrive("a", "alice", "one"), ns.arrive("b", "alice", "two")
		bob := ns.arrive("b", "bob", "w")
		carol := ns.arrive("c", "carol", "w")
		bob.send("<presence><show>dnd</show><status>in a meeting</status></presence>")
		settle()
		alice.has(t, "before", "from='carol@localhost/w'", "in a meeting")
		alice2.has(t, "before", "from='carol@localhost/w'", "in a meeting")
		bob.drop()
		carol.drop()
		ns.kill("c", "b")
		settle()
		// What is true already is told at once.
		bob.send("<presence><show>away</show></presence>")
		time.Sleep(engine.QuietTime)
		settle()
		if alice.times("<show>away</show>") != 1 {
			t.Errorf("change while all is said again: %s", alice.pending())
		}
		time.Sleep(3 * time.Second)
		settle()
		for _, c := range []*client{alice, alice2} {
			if n := c.times("from='carol@localhost/w' to='alice@localhost' type='unavailable'"); n != 1 {
				t.Errorf("%s was told %d times that carol is gone: %s", c.name, n, c.pending())
			}
			c.has(t, "after", "!from='bob@localhost/w' to='alice@localhost' type='unavailable'", "!from='alice")
		}
		bob.has(t, "after", "!alice@localhost")
		// Everything works as before.
		bob.send("<presence><show>xa</show></presence>")
		alice2.send("<message to='bob@localhost' type='chat' id='m'><body>x</body></message>")
		settle()
		alice.has(t, "at last", "<show>xa</show>")
		alice2.has(t, "at last", "<show>xa</show>")
		bob.has(t, "at last", "id='m'")
		alice.send("<presence type='unavailable'/>")
		settle()
		bob.has(t, "at last", "from='alice@localhost/one' to='bob@localhost' type='unavailable'")
	})
}

// A watch that ends while its owner is away: the client is told.
func TestUnwatchWhileOwnerLost(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "a", "bob": "c"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice, bob := ns.arrive("a", "alice", "one"), ns.arrive("b", "bob", "w")
		settle()
		alice.drop()
		bob.drop()
		ns.kill("c", "b")
		alice.send("<presence type='unsubscribe' to='bob@localhost'/>")
		settle()
		time.Sleep(3 * time.Second)
		settle()
		if n := alice.times("from='bob@localhost/w' to='alice@localhost' type='unavailable'"); n != 1 {
			t.Errorf("told %d times: %s", n, alice.pending())
		}
		alice.drop()
		bob.send("<presence><show>away</show></presence>")
		settle()
		alice.has(t, "after", "!away")
	})
}

// Directed presence is known to the new owner, too.
func TestDirectedOutlivesOwner(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "c", "bob": "b"}, func(ns *nodes) {
		alice, bob := ns.arrive("a", "alice", "one"), ns.arrive("b", "bob", "w")
		settle()
		alice.send("<presence to='bob@localhost'><status>psst</status></presence>")
		settle()
		bob.has(t, "directed", "psst")
		ns.kill("c", "b")
		time.Sleep(4 * time.Second)
		settle()
		bob.has(t, "said again", "!alice@localhost")
		alice.conn.Close()
		settle()
		bob.has(t, "gone", "from='alice@localhost/one' to='bob@localhost' type='unavailable'")
	})
}

// What an XCAP client has changed is brought to contacts though the node dies that
// was to do it.
func TestInherit(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"alice": "b", "bob": "b"}, func(ns *nodes) {
		bob := ns.arrive("b", "bob", "w")
		settle()
		bob.drop()
		a, b := ns.worlds["a"].edge, ns.worlds["b"].edge
		a.owe([]change{{what: unlisted, u: entity("alice"), contact: entity("bob")}, {what: reconciling, u: entity("bob")}})
		owed := func(node string) (n int) {
			err := b.c.Store.Range(kindOwed, func(key string, _ []byte) error {
				if _, of, ok := changeOf(key); ok && of == node {
					n++
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
			return n
		}
		if n := owed("a"); n != 2 {
			t.Fatalf("%d owed", n)
		}
		for range 2 {
			if err := b.Inherit("a"); err != nil {
				t.Error(err)
			}
		}
		time.Sleep(2 * UnlistedDelay)
		settle()
		if n, m := owed("a"), owed("b"); n+m != 0 {
			t.Errorf("%d and %d still owed", n, m)
		}
		if err := b.Inherit("b"); err != nil {
			t.Error(err)
		}
	})
}

// Ten thousand watches are said again within seconds, and not all at once.
func TestRenewSpreads(t *testing.T) {
	users := []string{"hub"}
	for i := range 40 {
		users = append(users, "u"+strconv.Itoa(i))
	}
	homes := map[string]string{}
	for _, u := range users {
		homes[u] = "c"
	}
	amongNodes(t, []string{"a", "c"}, users, homes, func(ns *nodes) {
		for i := range 40 {
			for j := range i {
				ns.friends("u"+strconv.Itoa(i), "u"+strconv.Itoa(j))
			}
		}
		var all []*client
		for i := range 40 {
			all = append(all, ns.arrive("a", "u"+strconv.Itoa(i), "r"))
		}
		settle()
		for _, c := range all {
			c.drop()
		}
		begun := time.Now()
		ns.kill("c", "a")
		time.Sleep(4 * time.Second)
		settle()
		for _, c := range all {
			if got := c.pending(); got != "" {
				t.Fatalf("%s was told %s", c.name, got)
			}
		}
		all[0].send("<presence><show>away</show></presence>")
		settle()
		for _, c := range all {
			c.has(t, "after", "<show>away</show>")
		}
		if d := time.Since(begun); d > 10*time.Second {
			t.Errorf("took %v", d)
		}
	})
}

// Held is what is uncertain: presence of who is here again is told, of who may yet come not.
func TestLacks(t *testing.T) {
	session := func(key string) *presence.Source {
		return &presence.Source{ID: presence.SourceID{Kind: presence.Session, Key: key}, Native: presence.Payload{Type: nsClient}}
	}
	sip := &presence.Source{ID: presence.SourceID{Kind: presence.Publication, Key: "x"}, Doc: &presence.Document{}}
	view := func(srcs ...*presence.Source) *presence.View { return &presence.View{Sources: srcs} }
	for _, c := range []struct {
		view, prev *presence.View
		want       bool
	}{
		{view(), view(session("a")), true},
		{view(session("a"), session("b")), view(session("a")), false},
		{view(session("b")), view(session("a"), session("b")), true},
		{view(), view(sip), false},
		{nil, view(session("a")), false},
		{view(), nil, false},
	} {
		if got := lacks(c.view, c.prev); got != c.want {
			t.Errorf("%v after %v: %v", c.view, c.prev, got)
		}
	}
}
