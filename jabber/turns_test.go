package jabber

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A turn is one session's until it ends, its time is up, or its node is gone; who has asked
// meanwhile is told once.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts turns
		u, dead := entity("alice"), ""
		var told atomic.Int32
		take := func(who, node string, number uint64, want bool) {
			t.Helper()
			got := ts.take(u, who, node, number, func(n string) bool { return n != dead }, func() { told.Add(1) })
			if got != want {
				t.Errorf("%s's turn %d: %v", who, number, got)
			}
		}
		end := func(who string, number uint64, want bool) {
			t.Helper()
			if got := ts.end(u, who, number); got != want {
				t.Errorf("%s's turn %d ends: %v", who, number, got)
			}
		}
		take("a", "one", 1, true)
		end("b", 1, false)
		end("a", 1, false) // nobody has asked
		take("a", "one", 2, true)
		take("b", "two", 1, false)
		take("a", "one", 3, true) // goes on
		end("a", 2, false)        // late
		take("b", "two", 2, false)
		end("a", 3, true)
		end("a", 3, false)

		take("b", "two", 3, true)
		take("a", "one", 4, false)
		dead = "two"
		take("a", "one", 5, true)
		end("b", 3, false)
		dead = ""
		take("c", "one", 1, false)
		time.Sleep(TurnTime + time.Second)
		synctest.Wait()
		if n := told.Load(); n != 1 || len(ts.m) != 0 {
			t.Errorf("told %d times, %d users", n, len(ts.m))
		}
		take("c", "one", 2, true)
		time.Sleep(TurnTime + time.Second)
		synctest.Wait()
		if n := told.Load(); n != 1 || len(ts.m) != 0 {
			t.Errorf("told %d times, %d users", n, len(ts.m))
		}
		take("c", "one", 3, true)
		take("d", "one", 1, false)
		ts.stop()
		time.Sleep(TurnTime + time.Second)
		if n := told.Load(); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}
