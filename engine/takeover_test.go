package engine

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

func durable(id string, w presence.Entity) presence.Watch {
	in := watch(id, w)
	in.Durable = true
	return in
}

// TestOwnerDies: the new owner has what was saved, the edges say the rest, and watchers see
// neither a gap nor anything twice.
func TestOwnerDies(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(string, string) time.Duration { return time.Millisecond }
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.must(alice, publish("k", "tag", time.Hour, "busy"))
		b.xmpp.say(alice, session("pad", "away"))
		c.must(alice, durable("d", carol))
		b.sip.say(alice, watch("s", bob))
		a.must(alice, durable("mine", user("dave")))
		time.Sleep(time.Second)
		synctest.Wait()
		b.sip.told()
		c.sip.told()
		w.kill("a", "b", 3*time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if b.Stats().Sources != 2 || b.Stats().Subscriptions != 3 {
			t.Errorf("%+v", b.Stats())
		}
		// Both sources at once: nobody was away in between.
		for _, d := range []*desk{b.sip, c.sip} {
			for _, n := range d.told() {
				if len(n.View.Sources) != 2 {
					t.Errorf("%s: told of %d sources", d.n.name, len(n.View.Sources))
				}
			}
		}
		b.sip.mu.Lock()
		if !slices.Equal(b.sip.adopted, []string{"alice/mine@b"}) {
			t.Errorf("adopted %q", b.sip.adopted)
		}
		b.sip.mu.Unlock()
		c.must(alice, publish("k", "tag2", time.Hour, "meeting"))
		w.expect(c.sip, "meeting")
		if got := b.sip.saw(); len(got) != 2 { // bob's and the adopted one, in one notice or two
			if len(got) != 1 || got[0] != "meeting" {
				t.Errorf("b saw %q", got)
			}
		}
	})
}

// TestSentBefore: an input that the old owner has done and not answered is not refused by the
// new one for having been done.
func TestSentBefore(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, publish("k", "tag1", time.Hour, "busy"))
		b.must(alice, presence.Touch{Package: "x"})
		w.delay = func(from, _ string) time.Duration {
			if from == "a" {
				return time.Hour // its answers never come
			}
			return 0
		}
		in := publish("", "tag2", time.Hour, "away")
		in.IfMatch = "tag1"
		var tags []string
		for _, x := range []presence.Publish{in, {IfMatch: "tag1", NewTag: "tag9", Lifetime: time.Hour}} {
			if err := b.Submit(alice, x, func(out presence.Outcome, err error) {
				tags = append(tags, out.Tag)
				if err != nil {
					tags[len(tags)-1] = err.Error()
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		if len(tags) > 0 {
			t.Fatal("answered")
		}
		w.delay = nil
		w.kill("a", "b", 3*time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want := []string{"tag2", presence.ErrNoMatch.Error()}
		if !slices.Equal(tags, want) {
			t.Errorf("answers %q, want %q", tags, want)
		}
	})
}

// TestSessionsDie: a node's death takes the sources and subscriptions of its sessions with it,
// and leaves what is durable.
func TestSessionsDie(t *testing.T) {
	inTown(t, func(w *town) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.must(alice, presence.Touch{Package: "x"})
		c.must(alice, session("pad", "busy"))
		c.must(alice, publish("k", "tag", time.Hour, "away"))
		c.must(alice, watch("s", bob))
		c.must(alice, durable("d", bob))
		b.must(alice, watch("t", carol))
		time.Sleep(time.Second)
		synctest.Wait()
		b.sip.told()
		w.kill("c", "b", 3*time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if s := a.Stats(); s.Sources != 1 || s.Subscriptions != 2 {
			t.Errorf("%+v", s)
		}
		w.expect(b.sip, "away")
		if ns := a.sip.told(); len(ns) != 1 || ns[0].Targets[0].Sub != "d" || !ns[0].Answer || seen(ns[0]) != "away" {
			t.Errorf("told the adopted one %v", ns)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		if sv := w.records[saveKey{alice, presence.SavedSubscription, "d"}]; sv.Subscription == nil || sv.Subscription.Via.Node != "a" {
			t.Errorf("saved %+v", sv.Subscription)
		}
	})
}

// TestInvalid: a node whose lease has run out answers, tells and saves nothing; after Disown
// what waits goes to the new owner.
func TestInvalid(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fenced bool // it learns from the store
	}{{"by the clock", false}, {"by the store", true}} {
		t.Run(tt.name, func(t *testing.T) {
			inTown(t, func(w *town) {
				a, b := w.nodes["a"], w.nodes["b"]
				a.must(alice, publish("k", "tag", time.Hour, "busy"))
				a.must(alice, watch("s", bob))
				b.must(alice, watch("t", carol))
				time.Sleep(time.Second)
				synctest.Wait()
				a.sip.told()
				b.sip.told()
				if tt.fenced {
					w.mu.Lock()
					a.fence = a.epoch + 1
					w.mu.Unlock()
				} else {
					a.valid.Store(false)
				}
				var answers atomic.Int64
				var tag string
				if err := a.Submit(alice, publish("k", "tag2", time.Hour, "away"), func(out presence.Outcome, err error) {
					if tag = out.Tag; err != nil {
						t.Error(err)
					}
					answers.Add(1)
				}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if answers.Load() != 0 || len(a.sip.told())+len(b.sip.told()) > 0 {
					t.Fatal("an owner without a lease has acted")
				}
				// It is buried, steps down, and takes part again.
				w.mu.Lock()
				if !tt.fenced {
					a.fence = a.epoch + 1
				}
				w.homes[alice] = home{"b", 2}
				b.hints[alice] = home{"b", 2}
				clear(a.hints)
				w.mu.Unlock()
				a.Disown()
				if s := a.Stats(); s.Presentities+s.Sources+s.Subscriptions != 0 {
					t.Errorf("not dropped: %+v", s)
				}
				b.Gone("a")
				b.Arrive([]presence.Entity{alice})
				time.Sleep(500 * time.Millisecond)
				w.mu.Lock()
				a.epoch = a.fence
				w.mu.Unlock()
				a.valid.Store(true)
				time.Sleep(2 * time.Second)
				synctest.Wait()
				if answers.Load() != 1 || tag != "tag2" {
					t.Errorf("%d answers, %q", answers.Load(), tag)
				}
				x, err := a.Explain(context.Background(), alice, bob)
				if err != nil || len(x.Sources) != 1 || x.Sources[0].Tag != "tag2" {
					t.Errorf("%+v, %v", x.Sources, err)
				}
			})
		})
	}
}

// TestStandsTooLong: clients are told to come again, and the queue does not grow.
func TestStandsTooLong(t *testing.T) {
	inTown(t, func(w *town) {
		a := w.nodes["a"]
		a.must(alice, presence.Touch{Package: "x"})
		a.valid.Store(false)
		start := time.Now()
		_, err := a.Step(context.Background(), alice, publish("k", "tag", time.Hour, "busy"))
		if took := time.Since(start); !errors.Is(err, ErrOverload) || took < WaitTime || took > WaitTime+time.Second {
			t.Errorf("%v after %v", err, took)
		}
		// And so for those of whom nobody knows where they live.
		start = time.Now()
		_, err = a.Step(context.Background(), carol, publish("k", "tag", time.Hour, "busy"))
		if took := time.Since(start); !errors.Is(err, ErrOverload) || took > WaitTime+time.Second {
			t.Errorf("%v after %v", err, took)
		}
		a.valid.Store(true)
	})
}

// TestPatience: what sessions say and take back waits for a long time, whatever is in the
// way, and is done in its order; what a client waits for does not.
func TestPatience(t *testing.T) {
	ways := map[string]func(w *town, on bool){
		"no lease": func(w *town, on bool) { w.nodes["b"].valid.Store(!on) },
		"no owner": func(w *town, on bool) {
			w.lost.Store(on)
			w.mu.Lock()
			defer w.mu.Unlock()
			clear(w.nodes["a"].hints)
		},
		"a silent owner": func(w *town, on bool) { w.nodes["b"].full.Store(on) },
		"a busy owner": func(w *town, on bool) {
			full := w.nodes["b"].queue
			if !on {
				full = -full
			}
			w.nodes["b"].shardOf(alice).open.Add(full)
		},
		"no old state":    func(w *town, on bool) { w.unread.Store(on) },
		"owner stands by": func(w *town, on bool) { w.nodes["b"].valid.Store(!on); w.lost.Store(on) },
	}
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			inTown(t, func(w *town) {
				a, b := w.nodes["a"], w.nodes["b"]
				b.must(alice, presence.Touch{Package: "x"})
				if name != "no old state" {
					a.must(alice, session("old", "busy"))
				}
				way(w, true)
				var order []string
				say := func(what string, in presence.Input) {
					if err := a.Submit(alice, in, func(_ presence.Outcome, err error) {
						if err != nil {
							what = "not " + what
						}
						order = append(order, what)
					}); err != nil {
						t.Fatal(err)
					}
				}
				say("publish", publish("k", "tag", time.Hour, "busy"))
				say("retract", presence.Retract{ID: presence.SourceID{Kind: presence.Session, Key: "old"}})
				say("session", session("new", "away"))
				time.Sleep(60 * time.Second)
				synctest.Wait()
				if !slices.Equal(order, []string{"not publish"}) {
					t.Errorf("within a minute: %q", order)
				}
				way(w, false)
				time.Sleep(AnswerTime + 5*time.Second)
				synctest.Wait()
				if !slices.Equal(order, []string{"not publish", "retract", "session"}) {
					t.Errorf("then: %q", order)
				}
				x, err := a.Explain(context.Background(), alice, alice)
				if err != nil || len(x.Sources) == 0 || x.Sources[len(x.Sources)-1].ID.Key != "new" || slices.ContainsFunc(x.Sources, func(s *presence.Source) bool { return s.ID.Key == "old" }) {
					t.Errorf("%+v, %v", x.Sources, err)
				}
			})
		})
	}
}

// TestStandsWithWork: what had come when a node ceases to act is answered, too: it waits for a save, for a policy, for
// another node, or is a call. What turns out not to have been saved is undone, since that was said.
func TestStandsWithWork(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, publish("k", "tag", time.Hour, "here"))
		a.must(bob, presence.Touch{Package: "x"})
		b.must(carol, presence.Touch{Package: "x"})
		a.slow.Store(int64(20 * time.Second))
		b.slow.Store(int64(20 * time.Second))
		w.pols.mu.Lock()
		w.pols.delay = 20 * time.Second
		w.pols.mu.Unlock()
		start := time.Now()
		type answer struct {
			what string
			err  error
			took time.Duration
		}
		answers := make(chan answer, 10)
		submit := func(what string, n *townNode, of presence.Entity, in presence.Input) {
			if err := n.Submit(of, in, func(_ presence.Outcome, err error) { answers <- answer{what, err, time.Since(start)} }); err != nil {
				t.Fatal(what, err)
			}
		}
		submit("save", a, alice, publish("k2", "tag2", time.Hour, "busy"))
		submit("policy", a, bob, watch("s", alice))
		submit("far", a, carol, publish("k3", "tag3", time.Hour, "busy"))
		submit("from afar", b, alice, publish("k4", "tag4", time.Hour, "busy"))
		time.Sleep(10 * time.Millisecond)
		w.mu.Lock()
		a.broken = true
		w.mu.Unlock()
		a.valid.Store(false)
		b.valid.Store(false)
		if err := a.CallOwner(alice, "sip", nil, func(_ []byte, err error) { answers <- answer{"call", err, time.Since(start)} }); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			x := <-answers
			if !errors.Is(x.err, ErrGone) && !errors.Is(x.err, ErrOverload) || x.took > WaitTime+leaseLook+2*standTime {
				t.Errorf("%s: %v after %v", x.what, x.err, x.took)
			}
		}
		time.Sleep(50 * time.Second)
		a.slow.Store(0)
		b.slow.Store(0)
		w.mu.Lock()
		a.broken = false
		w.mu.Unlock()
		w.pols.mu.Lock()
		w.pols.delay = 0
		w.pols.mu.Unlock()
		a.valid.Store(true)
		b.valid.Store(true)
		time.Sleep(5 * time.Second)
		x, err := a.Explain(context.Background(), alice, bob)
		if err != nil || len(x.Sources) != 1 || x.Sources[0].Tag != "tag" {
			t.Errorf("what failed is there: %+v, %v", x.Sources, err)
		}
	})
}

// TestUnsaved: what is owed counts when a presentity comes to life again.
func TestUnsaved(t *testing.T) {
	inTown(t, func(w *town) {
		a := w.nodes["a"]
		a.must(alice, publish("k", "tag", time.Hour, "busy"))
		s := a.shardOf(alice)
		done := make(chan bool)
		s.put(func() {
			r := s.residents[alice]
			s.owed[saveKey{alice, presence.SavedSource, "k"}] = presence.Save{Presentity: alice, Kind: presence.SavedSource, Key: "k", Delete: true}
			s.owed[saveKey{alice, presence.SavedSource, "l"}] = presence.Save{Presentity: alice, Kind: presence.SavedSource, Key: "l",
				Source: &presence.Source{ID: presence.SourceID{Kind: presence.Publication, Key: "l"}, Tag: "tag2", Doc: &presence.Document{}}}
			s.leave(r)
			close(done)
		}, false)
		<-done
		x, err := a.Explain(context.Background(), alice, alice)
		if err != nil || len(x.Sources) != 1 || x.Sources[0].Tag != "tag2" {
			t.Errorf("%+v, %v", x.Sources, err)
		}
		if a.loads.Load() != 2 {
			t.Errorf("%d loads", a.loads.Load())
		}
	})
}

// TestFullLink: what a full link has dropped is told again when there is room.
func TestFullLink(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, session("pad", "busy"))
		b.must(alice, watch("s", bob))
		w.expect(b.sip, "busy")
		a.full.Store(true)
		a.must(alice, session("pad", "away"))
		a.must(alice, session("pad", "meeting"))
		w.expect(b.sip)
		a.full.Store(false)
		time.Sleep(time.Second)
		w.expect(b.sip, "away", "meeting")
		// Now more than fits.
		a.full.Store(true)
		a.must(alice, session("pad", "vacation"))
		a.outbox.mu.Lock()
		a.outbox.of["b"].bytes = MaxOutbox
		a.outbox.mu.Unlock()
		a.must(alice, session("pad", "meal"))
		a.full.Store(false)
		time.Sleep(time.Second)
		w.expect(b.sip, "vacation", "meal")
	})
}
