package simple

import (
	"testing"
	"time"

	"pharos/xdm"
)

// A list's dialog that its owner takes to be here, and of which nobody knows here, is told everything when the list changes, and
// then what changes of its members: they do not speak to who has asked for it, and nobody else ever would.
func TestListRecovered(t *testing.T) {
	inWorldOf(t, Config{}, newHomes(), func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		tag := bob.publish("open", "here", "")
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob")))
		l := alice.watchList("sip:alice/buddies@example.com", "", "", 600)
		l.told()
		l.shows("sip:bob@example.com", "here")

		w.edge.dialogs.drop(w.edge.dialogs.get(l.sub.tag)) // at the word of another node, which did not take it after all
		tag = bob.publish("open", "lunch", tag)
		alice.none()
		w.putDocument("alice", xdm.ResourceLists, resourceLists(entriesXML("bob", "carol")))
		l.table.version = cseqBlock - 1 // above all that can have been told
		if doc := rootOf(t, l.told()); !doc.Full || len(doc.Resources) != 2 {
			t.Errorf("%+v", doc)
		}
		l.shows("sip:bob@example.com", "lunch")
		time.Sleep(time.Second)
		bob.publish("open", "back", tag)
		l.told()
		l.shows("sip:bob@example.com", "back")
	})
}
