package engine

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// goes moves alice from a to b as far as homes are concerned, with a state that was exported.
func goes(w *town, state []byte) {
	w.t.Helper()
	a, b := w.nodes["a"], w.nodes["b"]
	w.mu.Lock()
	w.homes[alice] = home{"b", 2}
	a.hints[alice] = home{"b", 2}
	w.mu.Unlock()
	if err := b.Import(alice, state); err != nil {
		w.t.Fatal(err)
	}
	w.mu.Lock()
	b.hints[alice] = home{"b", 2}
	w.mu.Unlock()
	a.Forget(alice)
}

// TestStranger: a session at a node of which the new owner has not heard yet stays; one at a node of which he
// does not hear goes.
func TestStranger(t *testing.T) {
	for name, comes := range map[string]bool{"comes": true, "does not come": false} {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(w *town) {
				a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
				a.must(alice, presence.Touch{Package: "x"})
				c.xmpp.say(alice, session("desk", "away"))
				w.mu.Lock()
				link := b.links["c"]
				delete(b.links, "c")
				w.mu.Unlock()
				time.Sleep(time.Second)
				var state []byte
				if err := a.Export(alice, func(s []byte, err error) { state = s }); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				goes(w, state)
				sources := func() int {
					synctest.Wait()
					x, err := b.Explain(context.Background(), alice, bob)
					if err != nil {
						t.Fatal(err)
					}
					return len(x.Sources)
				}
				time.Sleep(time.Second)
				if n := sources(); n != 1 {
					t.Errorf("a second later there are %d sessions", n)
				}
				want := 0
				w.mu.Lock()
				b.links["c"] = link // for the end of the town, too
				if !comes {
					delete(b.links, "c")
				} else {
					want = 1
				}
				w.mu.Unlock()
				time.Sleep(StrangeTime)
				if n := sources(); n != want {
					t.Errorf("then there are %d, not %d", n, want)
				}
				w.mu.Lock()
				b.links["c"] = link
				w.mu.Unlock()
			})
		})
	}
}

// watchedFromC has alice live at a, and a dialog at c watch her for bob.
func watchedFromC(w *town) (a, b, c *townNode) {
	a, b, c = w.nodes["a"], w.nodes["b"], w.nodes["c"]
	a.must(alice, presence.Touch{Package: "x"})
	sub := watch("s", bob)
	sub.Durable, sub.Via = true, presence.Via{Edge: "sip"}
	c.must(alice, sub)
	return a, b, c
}

// decideSlowly has alice's policy be read anew, in two seconds.
func decideSlowly(w *town, at *townNode) {
	w.pols.mu.Lock()
	w.pols.delay = 2 * time.Second
	w.pols.mu.Unlock()
	at.PolicyChanged(alice)
}

// TestGoneWhileSaved: a node goes while an export waits for a save, and comes back before the state is elsewhere: what it had
// before does not go there.
func TestGoneWhileSaved(t *testing.T) {
	inTown(t, func(w *town) {
		a, b, c := watchedFromC(w)
		c.must(alice, session("desk", "away"))
		a.slow.Store(int64(2 * time.Second))
		if err := a.Submit(alice, publish("k", "tag", time.Hour, "busy"), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		var state []byte
		if err := a.Export(alice, func(s []byte, err error) {
			if state = s; err != nil {
				t.Error(err)
			}
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(100 * time.Millisecond)
		w.cut(c)
		c.valid.Store(false)
		w.mu.Lock()
		c.alive = false
		w.mu.Unlock()
		w.wg.Go(func() { _ = c.stop() })
		a.Gone("c")
		b.Gone("c")
		w.start("c")
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if state == nil {
			t.Fatal("not exported")
		}
		goes(w, state)
		time.Sleep(2 * StrangeTime)
		x, err := b.Explain(context.Background(), alice, bob)
		if err != nil || len(x.Sources) != 1 || x.Sources[0].ID.Kind != presence.Publication {
			t.Errorf("%+v, %v", x.Sources, err)
		}
		if len(x.Subscriptions) != 1 || x.Subscriptions[0].Via.Node != "a" {
			t.Errorf("%+v", x.Subscriptions)
		}
	})
}

// TestGoneWhileDecided: the same while a policy is waited for. The export is refused, and may be tried again.
func TestGoneWhileDecided(t *testing.T) {
	inTown(t, func(w *town) {
		a, b, c := watchedFromC(w)
		decideSlowly(w, a)
		time.Sleep(time.Second)
		w.cut(c)
		a.Gone("c")
		b.Gone("c")
		export := func() (state []byte, err error) {
			done := make(chan struct{})
			if e := a.Export(alice, func(s []byte, e error) { state, err = s, e; close(done) }); e != nil {
				t.Fatal(e)
			}
			<-done
			return state, err
		}
		if _, err := export(); err == nil {
			t.Error("exported with what lived at a node that has gone")
		}
		time.Sleep(3 * time.Second)
		state, err := export()
		if err != nil {
			t.Fatal(err)
		}
		goes(w, state)
		time.Sleep(time.Second)
		x, err := b.Explain(context.Background(), alice, bob)
		if err != nil || len(x.Subscriptions) != 1 || x.Subscriptions[0].Via.Node != "a" {
			t.Errorf("%+v, %v", x.Subscriptions, err)
		}
	})
}

// TestImportTooLate: what comes when the era that was to have it has ended is not taken in the next: somebody else owns it.
func TestImportTooLate(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, session("pad", "busy"))
		var state []byte
		if err := a.Export(alice, func(s []byte, err error) { state = s }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.valid.Store(false)
		if err := b.Import(alice, state); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		b.eras.Add(1)
		b.Disown()
		b.valid.Store(true)
		a.KeepHere(alice)
		time.Sleep(time.Second)
		if n := b.Stats().Presentities; n != 0 {
			t.Errorf("%d are at a node that owns none", n)
		}
		if out := b.must(alice, publish("k", "tag", time.Hour, "away")); out.Tag != "tag" {
			t.Errorf("%+v", out)
		}
		if x, err := a.Explain(context.Background(), alice, bob); err != nil || len(x.Sources) != 2 {
			t.Errorf("the owner has not heard of it: %+v, %v", x.Sources, err)
		}
	})
}

// TestGoneWhileDecidedAndSaved: the policy comes while a save is waited for. What lived at the node still waits for its turn then.
func TestGoneWhileDecidedAndSaved(t *testing.T) {
	inTown(t, func(w *town) {
		a, b, c := watchedFromC(w)
		a.slow.Store(int64(4 * time.Second))
		if err := a.Submit(alice, publish("k", "tag", time.Hour, "busy"), nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
		decideSlowly(w, a)
		time.Sleep(time.Second)
		w.cut(c)
		a.Gone("c")
		b.Gone("c")
		time.Sleep(100 * time.Millisecond)
		done := make(chan error, 1)
		if err := a.Export(alice, func(_ []byte, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-done:
			if err == nil {
				t.Error("exported with what lived at a node that has gone")
			}
		case <-time.After(time.Minute):
			t.Error("neither exported nor refused")
		}
		time.Sleep(5 * time.Second)
		x, err := a.Explain(context.Background(), alice, bob)
		if err != nil || len(x.Subscriptions) != 1 || x.Subscriptions[0].Via.Node != "a" {
			t.Errorf("%+v, %v", x.Subscriptions, err)
		}
	})
}
