package engine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// lines writes what an edge was told, package by package.
func (p *phone) lines() string {
	var b strings.Builder
	for _, n := range p.told() {
		fmt.Fprintf(&b, "%s %s:", n.Package, n.State)
		if n.View != nil {
			for _, s := range n.View.Sources {
				fmt.Fprintf(&b, " %s", s.Native.Bytes)
			}
			for _, w := range n.View.Watchers {
				fmt.Fprintf(&b, " %s=%s", w.Watcher.User, w.State)
			}
			for _, w := range n.View.Ended {
				fmt.Fprintf(&b, " -%s", w.Watcher.User)
			}
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (h *house) expectLines(want string) {
	h.t.Helper()
	synctest.Wait()
	if got := h.sip.lines(); got != want {
		h.t.Fatalf("told\n%swant\n%s", got, want)
	}
}

// TestPackages: what is of a package goes through the engine as presence does,
// and is there again after a restart.
func TestPackages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk(t)
		dialog := func(id string) presence.Watch {
			w := watch(id, bob)
			w.Package, w.Durable = "dialog", true
			return w
		}
		private := watch("x", alice)
		private.Package, private.Private, private.Durable = "xcap-diff", true, true
		call := presence.Publish{ID: presence.SourceID{Kind: presence.Publication, Key: "line"}, NewTag: "one", Lifetime: time.Hour,
			Native: presence.Payload{Type: "application/dialog-info+xml", Bytes: []byte("early")}, Package: "dialog"}
		inHouse(t, Config{Save: d, Policies: &rules{}}, nil, func(h *house) {
			h.must(alice, watch("p", bob))
			h.must(alice, dialog("d"))
			h.must(alice, private)
			h.must(alice, call)
			h.must(alice, presence.Touch{Package: "xcap-diff"})
			h.expectLines(" active:\ndialog active:\nxcap-diff active:\ndialog active: early\nxcap-diff active:\n")
			if _, err := h.Step(t.Context(), alice, presence.Publish{IfMatch: "one", NewTag: "two", Lifetime: time.Hour}); !errors.Is(err, presence.ErrNoMatch) {
				t.Errorf("a tag of another package matched: %v", err)
			}
			h.sip.mu.Lock()
			for i, pkg := range []string{"", "dialog", "xcap-diff"} {
				if c := h.sip.changes[i]; c.Package != pkg || c.State != presence.Active {
					t.Errorf("reported %+v, want %q", c, pkg)
				}
			}
			h.sip.mu.Unlock()
			if st := h.Stats(); st.Sources != 1 || st.Subscriptions != 3 {
				t.Errorf("%+v", st)
			}
			// Nobody holds anything of carol, and nothing comes to be held.
			h.must(carol, presence.Touch{Package: "xcap-diff"})
			synctest.Wait()
			if st := h.Stats(); st.Presentities != 1 {
				t.Errorf("%+v", st)
			}
		})
		var sources []*presence.Source
		var subs []*presence.Subscription
		d.mu.Lock()
		for _, sv := range d.records {
			if sv.Source != nil {
				sources = append(sources, sv.Source)
			} else {
				subs = append(subs, sv.Subscription)
			}
		}
		d.mu.Unlock()
		inHouse(t, Config{Save: d, Policies: &rules{}}, func(h *house) {
			if err := h.Restore(alice, sources, subs); err != nil {
				t.Fatal(err)
			}
		}, func(h *house) {
			time.Sleep(RestoreTime)
			h.expectLines("dialog active: early\nxcap-diff active:\n")
			h.must(alice, presence.Retract{IfMatch: "one", Package: "dialog"})
			h.expectLines("dialog active:\n")
		})
	})
}

// TestValidity: a rule begins and ends to hold while nothing else happens.
func TestValidity(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{of: map[presence.Entity]*presence.Policy{alice: {Default: presence.Confirm, Rules: []presence.Rule{{
			ID: "now", Handling: presence.Allow,
			Validity: []presence.Span{{From: time.Now().Add(10 * time.Minute), Until: time.Now().Add(20 * time.Minute)}},
		}}}}}
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			h.must(alice, session("pad", "busy"))
			h.must(alice, watch("s", bob))
			h.expect(h.sip, "pending ")
			time.Sleep(10 * time.Minute)
			h.expect(h.sip, "busy")
			time.Sleep(10*time.Minute - 1)
			h.expect(h.sip)
			time.Sleep(time.Nanosecond)
			h.expect(h.sip, "pending ")
			if pol.loads != 1 {
				t.Errorf("loaded %d times", pol.loads)
			}
		})
	})
}

// TestWatchers: the owner tells who watches, also the one who only asks.
func TestWatchers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{of: map[presence.Entity]*presence.Policy{alice: {Default: presence.Confirm,
			Waiting: []presence.Watcher{{ID: "w", Watcher: carol, Since: time.Now()}}}}}
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			ws, err := h.Watchers(t.Context(), alice)
			if err != nil || len(ws) != 1 || !ws[0].Waiting {
				t.Errorf("%+v, %v", ws, err)
			}
			if st := h.Stats(); st.Presentities != 0 {
				t.Errorf("asking left %d presentities in memory", st.Presentities)
			}
			w := watch("w", alice)
			w.Package = presence.WatcherInfo
			h.must(alice, w)
			time.Sleep(time.Second)
			h.must(alice, watch("s", bob))
			if ws, err = h.Watchers(t.Context(), alice); err != nil || len(ws) != 2 || ws[1].Watcher != bob || ws[1].State != presence.Pending {
				t.Errorf("%+v, %v", ws, err)
			}
			pol.set(alice, presence.Block, map[presence.Entity]presence.Handling{carol: presence.Allow})
			h.PolicyChanged(alice)
			h.expectLines("presence.winfo active: carol=pending\n pending:\npresence.winfo active: carol=pending bob=pending\n" +
				" terminated:\npresence.winfo active: -bob -carol\n")
			pol.fail(errDisk)
			if _, err := h.Watchers(t.Context(), carol); !errors.Is(err, errDisk) {
				t.Errorf("without a policy: %v", err)
			}
		})
	})
}

// TestPolicy: edges have the compiled policy, the newest one.
func TestPolicy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{}
		pol.set(alice, presence.Block, nil)
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			for range 2 {
				if p, err := h.Policy(t.Context(), alice); err != nil || p.Default != presence.Block {
					t.Errorf("%+v, %v", p, err)
				}
			}
			if pol.loads != 1 {
				t.Errorf("loaded %d times", pol.loads)
			}
			pol.set(alice, presence.Allow, nil)
			h.PolicyChanged(alice)
			if p, err := h.Policy(t.Context(), alice); err != nil || p.Default != presence.Allow {
				t.Errorf("%+v, %v", p, err)
			}
			pol.fail(errDisk)
			if _, err := h.Policy(t.Context(), bob); !errors.Is(err, errDisk) {
				t.Errorf("%v", err)
			}
		})
		inHouse(t, Config{}, nil, func(h *house) {
			if p, err := h.Policy(context.Background(), alice); err != nil || p.Default != presence.Confirm {
				t.Errorf("without policies: %+v, %v", p, err)
			}
		})
	})
}
