package simple

import (
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// A dialog that nobody ends is asked about when its time is over, and not before; one that goes on is left alone.
func TestOverdue(t *testing.T) {
	for _, fetch := range []bool{false, true} {
		for _, goesOn := range []bool{false, true} {
			inWorldOf(t, Config{}, newHomes(), func(w *world) {
				bob := w.phone("bob", "192.0.2.11:5060")
				s, _ := bob.subscribe("alice", 600)
				bob.one()
				d := w.edge.dialogs.get(s.tag)
				d.mu.Lock()
				d.fetch = fetch // it would have been over long ago
				d.mu.Unlock()
				if !goesOn {
					if err := w.engine.Submit(aliceHere, presence.Unwatch{ID: s.tag, Silent: true}, nil); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(10*time.Minute - time.Second)
				if goesOn && !fetch {
					s.again(200, 600)
					bob.one()
				}
				bob.none()
				time.Sleep(time.Second + overdueAfter + 2*overdueLook)
				synctest.Wait()
				there := w.edge.dialogs.get(s.tag) != nil
				switch {
				case goesOn && !fetch:
					bob.none()
					if !there {
						t.Error("what goes on has been ended")
					}
				case there:
					t.Errorf("fetch %t: the dialog is still there", fetch)
				default:
					if m := bob.one(); state(m) != "terminated;reason=timeout" {
						t.Errorf("fetch %t: %s", fetch, state(m))
					}
				}
			})
		}
	}
}

// Nothing is looked for where there is nothing.
func TestOverdueIdle(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		bob := w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 600)
		if bob.one(); !w.edge.awaited.looking.Load() {
			t.Error("it is not looked for")
		}
		s.again(200, 0)
		bob.one()
		time.Sleep(2 * overdueLook)
		synctest.Wait()
		if w.edge.awaited.looking.Load() {
			t.Error("it is looked for without end")
		}
	})
}
