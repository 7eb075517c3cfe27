package simple

import (
	"testing"
	"time"

	"pharos/presence"
	"pharos/xdm"
)

// A member's refusal is on its way to the list when the member's policy changes once more:
// nobody tells the list of that change afterwards, and still it has to have its effect.
func TestListRefusedMeanwhile(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.publish("open", "here", "")
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob")))
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		l.told()
		l.shows("sip:bob@example.com", "here")
		time.Sleep(time.Second)
		w.rule("alice", "bob", presence.Block)
		l.told()
		l.shows("sip:bob@example.com", "rejected")
		w.rule("alice", "bob", presence.Allow) // as if heard before the refusal was
		time.Sleep(listAgain)
		l.told()
		l.shows("sip:bob@example.com", "here")

		// Who refuses and stays with it is asked no more.
		time.Sleep(time.Second)
		w.rule("alice", "bob", presence.Confirm)
		l.told()
		l.shows("sip:bob@example.com", "pending")
		time.Sleep(time.Second)
		w.rule("alice", "bob", presence.Block)
		l.told()
		w.rule("alice", "bob", presence.Confirm)
		time.Sleep(2 * time.Second)
		alice.none()
		l.shows("sip:bob@example.com", "rejected")
		l.sub.again(200, 0)
		l.told()
	})
}
