package simple

import (
	"context"
	"testing"
	"testing/synctest"

	"pharos/presence"
	"pharos/xdm"
)

// What another node has changed and could not tell of, who watches documents here is told all the same, once
// it is known that something was missed.
func TestDocumentsMissed(t *testing.T) {
	inWorld(t, Config{XCAP: xcapHere}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		alice.watchDiff("xcap-diff")
		alice.wantDiff("")
		a := w.put(xdm.ResourceLists, "index", named("bob"))
		alice.wantDiff("resource-lists/users/ALICE/index >" + a)
		other := xdm.New(xdm.Config{Store: w.store, Default: presence.Allow})
		change := func(names ...string) string {
			_, after, err := other.Update(context.Background(), xdm.Name{AUID: xdm.ResourceLists, User: aliceHere, Path: "index"},
				func(*xdm.Document) ([]byte, error) { return []byte(named(names...)), nil })
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return after.ETag
		}
		b := change("bob", "carol")
		alice.none()
		w.docs.Missed()
		synctest.Wait()
		alice.wantDiff("resource-lists/users/ALICE/index " + a + ">" + b)
		c := change("carol")
		w.docs.Heard(&xdm.Change{User: aliceHere, Policy: true, Doubtful: true})
		synctest.Wait()
		alice.wantDiff("resource-lists/users/ALICE/index " + b + ">" + c)
		w.docs.Missed() // nothing was
		synctest.Wait()
		alice.none()
	})
}
