package jabber

import (
	"maps"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// comesBack has bob leave b and come back at c at once, after a while, when it takes so long from b to other nodes; patience is how long
// to wait then. It returns what alice is told, who has to see him.
func comesBack(t *testing.T, after time.Duration, slow map[string]time.Duration, patience time.Duration) (told string) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "a", "bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		alice := ns.arrive("a", "alice", "w")
		bob := ns.arrive("b", "bob", "phone")
		settle()
		time.Sleep(after)
		ns.mu.Lock()
		maps.Copy(ns.slow, slow)
		ns.mu.Unlock()
		bob.send("<presence><status>leaving</status></presence>")
		synctest.Wait()
		bob.conn.Close()
		synctest.Wait()
		alice.drop()
		fresh := ns.arrive("c", "bob", "phone")
		fresh.send("<presence><status>back</status></presence>")
		time.Sleep(patience)
		settle()
		told = alice.pending()
		if back := strings.LastIndex(told, "<status>back</status>"); back < 0 || strings.LastIndex(told, "type='unavailable'") > back || strings.LastIndex(told, "leaving") > back {
			t.Errorf("alice does not see bob: %s", told)
		}
	})
	return told
}

// A client leaves one node and comes back at another at once. What the first still has to say to the user's
// owner is slow to come, and must not be taken for what the second says.
func TestComeBackElsewhere(t *testing.T) {
	comesBack(t, 0, map[string]time.Duration{"b>a": 500 * time.Millisecond}, 10*time.Second) // there are several frames, one after another
}

// TestWakesUp: a node is cut off for so long that nobody waits for it any more, and then its session says what its client had still
// written, and goes. The one that has come elsewhere with the same resource is not taken for gone.
func TestWakesUp(t *testing.T) {
	told := comesBack(t, 2*presence.ClockSkew, map[string]time.Duration{"b>a": 4 * CallTime, "b>c": 4 * CallTime}, 20*CallTime)
	if strings.Contains(told, "leaving") {
		t.Errorf("alice is told what the older session says: %s", told)
	}
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
