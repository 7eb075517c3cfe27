package engine

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// TestBlockBeforePublish: what is submitted after PolicyChanged is decided by
// the new policy, however long it takes to load.
func TestBlockBeforePublish(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{delay: time.Second}
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			h.must(alice, watch("s", bob))
			h.expect(h.sip, "offline")
			pol.set(alice, presence.Allow, map[presence.Entity]presence.Handling{bob: presence.Block})
			h.PolicyChanged(alice)
			h.must(alice, session("pad", "busy"))
			h.expect(h.sip, "terminated rejected")
		})
	})
}

// TestChangedWhileLoading: a policy that changes while it is being read is read again.
func TestChangedWhileLoading(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{delay: time.Second}
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			if err := h.Submit(alice, watch("s", bob), nil); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
			pol.set(alice, presence.Block, nil)
			h.PolicyChanged(alice)
			time.Sleep(time.Second)
			h.expect(h.sip)
			time.Sleep(time.Second)
			h.expect(h.sip, "terminated rejected")
			if pol.loads != 2 {
				t.Errorf("loaded %d times", pol.loads)
			}
		})
	})
}

// TestApproved: pending becomes active when the policy says so.
func TestApproved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{}
		pol.set(alice, presence.Confirm, nil)
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			h.must(alice, session("pad", "busy"))
			if out := h.must(alice, watch("s", bob)); out.State != presence.Pending {
				t.Errorf("%v", out.State)
			}
			h.expect(h.sip, "pending ")
			pol.set(alice, presence.Confirm, map[presence.Entity]presence.Handling{bob: presence.Allow})
			h.PolicyChanged(alice)
			h.expect(h.sip, "busy")
			if n := len(h.xmpp.changes); n != 2 || h.xmpp.changes[1].State != presence.Active {
				t.Errorf("the other edge learned of %v", h.xmpp.changes)
			}
			loads := pol.loads
			h.PolicyChanged(carol) // is not in memory: nothing to load
			synctest.Wait()
			if pol.loads != loads {
				t.Error("loaded for nobody")
			}
		})
	})
}

// TestNoPolicy: while the store fails nobody is shown anything new, but what
// goes is let go; later all is made good.
func TestNoPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{}
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			pol.fail(errDisk)
			if _, err := h.Step(t.Context(), alice, watch("s", bob)); !errors.Is(err, errDisk) {
				t.Errorf("first watch: %v", err)
			}
			pol.fail(nil)
			h.must(alice, watch("s", bob))
			h.must(alice, session("pad", "busy"))
			h.expect(h.sip, "offline", "busy")

			pol.fail(errDisk)
			pol.set(alice, presence.Block, nil)
			h.PolicyChanged(alice)
			synctest.Wait()
			if _, err := h.Step(t.Context(), alice, session("pad", "away")); !errors.Is(err, errDisk) {
				t.Errorf("publish: %v", err)
			}
			h.expect(h.sip)
			h.must(alice, presence.Retract{ID: presence.SourceID{Kind: presence.Session, Key: "pad"}})
			h.expect(h.sip, "offline")
			if h.Stats().PolicyErrors == 0 {
				t.Error("not counted")
			}
			pol.fail(nil)
			time.Sleep(2 * RetryAfter)
			h.expect(h.sip, "terminated rejected")
		})
	})
}

// TestExpiryWaitsForPolicy: a deadline that falls into the loading of a policy
// is met when it has come.
func TestExpiryWaitsForPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{}
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			h.must(alice, watch("s", bob))
			h.must(alice, publish("k", "t", time.Second, "busy"))
			h.expect(h.sip, "offline", "busy")
			pol.delay = 2 * time.Second
			pol.set(alice, presence.Confirm, nil)
			h.PolicyChanged(alice)
			time.Sleep(1500 * time.Millisecond)
			h.expect(h.sip)
			time.Sleep(time.Second)
			synctest.Wait()
			ns := h.sip.told()
			if len(ns) == 0 || seen(ns[len(ns)-1]) != "pending " {
				t.Fatalf("%d notices", len(ns))
			}
			if st := h.Stats(); st.Sources != 0 {
				t.Errorf("%+v", st)
			}
		})
	})
}

// TestRemembered: who comes back into memory does so with the policy that was
// known, unless it has changed.
func TestRemembered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{delay: time.Second}
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			for range 3 {
				h.must(alice, watch("s", bob))
				h.must(alice, presence.Unwatch{ID: "s", Silent: true})
			}
			if st := h.Stats(); pol.loads != 1 || st.Presentities != 0 {
				t.Errorf("loaded %d times, %d in memory", pol.loads, st.Presentities)
			}
			h.expect(h.sip, "offline", "offline", "offline")
			pol.set(alice, presence.Block, nil)
			h.PolicyChanged(alice)
			if out := h.must(alice, watch("s", bob)); out.State != presence.Terminated {
				t.Errorf("by the old policy: %s", out.State)
			}
		})
	})
}

// TestStaleCache: a policy that was being read when it changed is not remembered.
func TestStaleCache(t *testing.T) {
	var c policyCache
	old, recent := &presence.Policy{Revision: 1}, &presence.Policy{Revision: 2}
	g := c.generation(alice)
	c.forget(alice)
	c.put(alice, old, g)
	if c.get(alice) != nil {
		t.Error("remembered what was read before the change")
	}
	c.put(alice, recent, c.generation(alice))
	if c.get(alice) != recent {
		t.Error("not remembered")
	}
	for i := range MaxPolicies + 10 {
		u := user(fmt.Sprint(i))
		c.put(u, old, c.generation(u))
	}
	if len(c.m) > MaxPolicies {
		t.Errorf("%d remembered", len(c.m))
	}
}

// TestPoliciesMissed: all that may be too old is read again.
func TestPoliciesMissed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{}
		pol.set(alice, presence.Allow, nil)
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			h.must(alice, watch("s", bob))
			h.expect(h.sip, "offline")
			pol.set(alice, presence.Block, nil) // and nobody says so
			h.PoliciesMissed()
			synctest.Wait()
			h.expect(h.sip, "terminated rejected")
			if p, err := h.Policy(t.Context(), alice); err != nil || p.Default != presence.Block {
				t.Errorf("%+v, %v", p, err)
			}
		})
	})
}
