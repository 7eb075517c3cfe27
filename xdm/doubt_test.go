package xdm

import (
	"testing"
	"time"

	"pharos/presence"
)

// Of a commit whose end nobody knows all are told to look for themselves, here and on other nodes: who tries
// again finds it done, and has nothing to tell.
func TestDoubt(t *testing.T) {
	a, b := nodes(t)
	var here, there []*Change
	a.Listen(func(c *Change) { here = append(here, c) })
	b.Listen(func(c *Change) { there = append(there, c) })
	defer a.Close()
	a.doubt([]presence.Entity{alice, bob})
	a.doubts.wg.Wait()
	a.Settle()
	b.Settle()
	for name, cs := range map[string][]*Change{"here": here, "there": there} {
		seen := map[presence.Entity]bool{}
		for _, c := range cs {
			if !c.Remote || !c.Policy || !c.Missed() {
				t.Errorf("%s: %+v", name, c)
			}
			seen[c.User] = true
		}
		if len(cs) != 2 || !seen[alice] || !seen[bob] {
			t.Errorf("%s: %d changes of %v", name, len(cs), seen)
		}
	}
	// Beyond what is kept everybody is looked at.
	here = nil
	many := make([]presence.Entity, maxDoubtful+1)
	for i := range many {
		many[i] = presence.Entity{User: time.Duration(i).String(), Domain: alice.Domain}
	}
	a.doubt(many)
	a.doubts.wg.Wait()
	a.Settle()
	if len(here) != 1 || here[0].User != (presence.Entity{}) || !here[0].Missed() {
		t.Errorf("%d changes", len(here))
	}
}
