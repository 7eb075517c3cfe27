package jabber

import (
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// One after the other, also when one never comes back, and past those who have given up.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ts turns
		u := entity("alice")
		var mu sync.Mutex
		var got []string
		take := func(who string) {
			ts.take(u, who, func() {
				mu.Lock()
				defer mu.Unlock()
				got = append(got, who)
			})
		}
		is := func(want ...string) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(got, want) {
				t.Errorf("turns of %v, want %v", got, want)
			}
		}
		take("a")
		take("b")
		take("c")
		take("d")
		is("a")
		ts.next(u, "c") // has given up; its call is answered
		is("a", "c")
		ts.next(u, "nobody")
		ts.next(u, "a")
		is("a", "c", "b")
		time.Sleep(TurnTime + time.Second)
		synctest.Wait()
		is("a", "c", "b", "d")
		ts.next(u, "b") // late
		is("a", "c", "b", "d")
		ts.next(u, "d")
		take("e")
		is("a", "c", "b", "d", "e")
		ts.stop()
		if len(ts.m) != 1 {
			t.Errorf("%d users", len(ts.m))
		}
		ts.next(u, "e")
		if len(ts.m) != 0 {
			t.Errorf("%d users", len(ts.m))
		}
	})
}
