package jabber

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// A client leaves one node and comes back at another at once. What the first still has to say to the user's
// owner is slow to come, and must not be taken for what the second says.
func TestComeBackElsewhere(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "a", "bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice := ns.arrive("a", "alice", "w")
		bob := ns.arrive("b", "bob", "phone")
		settle()
		ns.mu.Lock()
		ns.slow["b>a"] = 500 * time.Millisecond // there are several frames, one after another
		ns.mu.Unlock()
		bob.send("<presence><status>leaving</status></presence>")
		synctest.Wait()
		bob.conn.Close()
		synctest.Wait()
		alice.drop()
		fresh := ns.arrive("c", "bob", "phone")
		fresh.send("<presence><status>back</status></presence>")
		time.Sleep(10 * time.Second)
		settle()
		told := alice.pending()
		if back := strings.LastIndex(told, "<status>back</status>"); back < 0 || strings.LastIndex(told, "type='unavailable'") > back || strings.LastIndex(told, "leaving") > back {
			t.Errorf("alice does not see bob: %s", told)
		}
	})
}

// TestWakesUp: a node is cut off for so long that nobody waits for it any more, and then its session says what its client had still
// written, and goes. The one that has come elsewhere with the same resource is not taken for gone.
func TestWakesUp(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "a", "bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice := ns.arrive("a", "alice", "w")
		bob := ns.arrive("b", "bob", "phone")
		settle()
		time.Sleep(2 * presence.ClockSkew)
		ns.mu.Lock()
		ns.slow["b>a"], ns.slow["b>c"] = 4*CallTime, 4*CallTime
		ns.mu.Unlock()
		bob.send("<presence><status>leaving</status></presence>")
		synctest.Wait()
		bob.conn.Close()
		synctest.Wait()
		alice.drop()
		fresh := ns.arrive("c", "bob", "phone")
		fresh.send("<presence><status>back</status></presence>")
		time.Sleep(20 * CallTime)
		settle()
		told := alice.pending()
		if back := strings.LastIndex(told, "<status>back</status>"); back < 0 || strings.LastIndex(told, "type='unavailable'") > back || strings.Contains(told, "leaving") {
			t.Errorf("alice does not see bob: %s", told)
		}
	})
}

// Who binds a resource waits until the last session there has said that it goes.
func TestBindWaits(t *testing.T) {
	inWorlds(t, []string{"bob"}, func(t *testing.T, w *world) {
		host := w
		v := host.edge.leaving.begin(seat{entity("bob"), "phone"})
		c := w.dial("bob", "bob")
		if c.host != host {
			t.Fatal("elsewhere")
		}
		c.send("<iq type='set' id='bind'><bind xmlns='" + nsBind + "'><resource>phone</resource></bind></iq>")
		time.Sleep(time.Second)
		synctest.Wait()
		if c.times("id='bind'") != 0 {
			t.Error("bound before the last session had said that it goes")
		}
		close(v.said)
		synctest.Wait()
		host.edge.leaving.over(seat{entity("bob"), "phone"}, v)
		settle()
		if c.times("id='bind'") != 1 {
			t.Errorf("not bound: %s", c.pending())
		}
		if len(host.edge.leaving.of) != 0 {
			t.Error("something is left")
		}
	})
}
