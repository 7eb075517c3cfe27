package engine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

var alice, bob, carol = user("alice"), user("bob"), user("carol")

// TestSavedThenAnsweredThenTold: the order that design promises.
func TestSavedThenAnsweredThenTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk(t)
		d.delay = func(int) time.Duration { return 100 * time.Millisecond }
		inHouse(t, Config{Save: d, Policies: &rules{}}, nil, func(h *house) {
			h.must(alice, watch("s", bob))
			h.expect(h.sip, "offline")
			start := time.Now()
			var answered atomic.Pointer[time.Time]
			h.sip.onNotice = func(*presence.Notice) {
				if answered.Load() == nil {
					t.Error("told before the caller was answered")
				}
			}
			err := h.Submit(alice, publish("k", "tag", time.Hour, "busy"), func(out presence.Outcome, err error) {
				now := time.Now()
				answered.Store(&now)
				if err != nil || out.Tag != "tag" || d.source(alice, "k") == nil {
					t.Errorf("answered with %v, %v before it was saved", out.Tag, err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(50 * time.Millisecond)
			synctest.Wait()
			if answered.Load() != nil || len(h.sip.told()) > 0 {
				t.Error("answered or told before the save")
			}
			time.Sleep(100 * time.Millisecond)
			h.expect(h.sip, "busy")
			if w := answered.Load().Sub(start); w != 100*time.Millisecond {
				t.Errorf("answered after %v", w)
			}
		})
	})
}

// TestOrder: under random inputs, delays and failures, answers come in the
// order of the inputs, and what watchers are told never goes back.
func TestOrder(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { randomOrder(t, rand.New(rand.NewPCG(seed, 1))) })
		})
	}
}

func randomOrder(t *testing.T, r *rand.Rand) {
	d := newDisk(t)
	delays, fails := make([]time.Duration, 10000), make([]bool, 10000)
	for i := range delays {
		delays[i] = time.Duration(r.IntN(5)) * time.Millisecond
		fails[i] = r.IntN(10) == 0
	}
	d.delay = func(n int) time.Duration { return delays[n] }
	var healed atomic.Bool
	d.fails = func(n int) bool { return fails[n] && !healed.Load() }
	pol := &rules{delay: 3 * time.Millisecond}
	users := []presence.Entity{alice, bob, carol, user("dave"), user("erin")}
	inHouse(t, Config{Shards: 2, Save: d, Policies: pol}, nil, func(h *house) {
		var mu sync.Mutex
		answered := map[presence.Entity]int{}
		submitted := map[presence.Entity]int{}
		last := map[presence.Entity]map[string]*presence.View{}
		h.sip.onNotice = func(n *presence.Notice) {
			for _, tg := range n.Targets {
				if last[n.Presentity] == nil {
					last[n.Presentity] = map[string]*presence.View{}
				}
				was := last[n.Presentity][tg.Sub]
				if was != nil && n.View != nil && n.View.Version < was.Version {
					t.Errorf("%s of %s is told version %d after %d", tg.Sub, n.Presentity, n.View.Version, was.Version)
				}
				if was != nil && tg.Shown != was && !(n.Answer && tg.Shown == nil) {
					t.Errorf("%s of %s: said to have been shown what it was not told", tg.Sub, n.Presentity)
				}
				last[n.Presentity][tg.Sub] = n.View
				if n.State == presence.Terminated {
					delete(last[n.Presentity], tg.Sub)
				}
			}
		}
		for _, u := range users {
			for i := range 4 {
				// Watchers who stay; their own saves do not count here.
				w := watch(fmt.Sprint("s", i), user(fmt.Sprint("w", i)))
				h.must(u, w)
			}
		}
		for i := range 1500 {
			u := users[r.IntN(len(users))]
			var in presence.Input
			switch r.IntN(6) {
			case 0, 1:
				in = publish(fmt.Sprint("k", r.IntN(3)), fmt.Sprint("tag", i), time.Duration(1+r.IntN(50))*time.Millisecond, fmt.Sprint("a", i))
			case 2, 3:
				in = session("pad", fmt.Sprint("b", i))
			case 4:
				in = presence.Retract{ID: presence.SourceID{Kind: presence.Publication, Key: fmt.Sprint("k", r.IntN(3))}}
			case 5:
				h.PolicyChanged(u)
				continue
			}
			mu.Lock()
			n := submitted[u]
			submitted[u]++
			mu.Unlock()
			err := h.Submit(u, in, func(presence.Outcome, error) {
				mu.Lock()
				defer mu.Unlock()
				if answered[u] != n {
					t.Errorf("%s: answer %d came after %d others", u, n, answered[u])
				}
				answered[u]++
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.IntN(20) == 0 {
				time.Sleep(time.Duration(r.IntN(10)) * time.Millisecond)
			}
		}
		// When failures stop, disk and memory come to agree.
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		healed.Store(true)
		time.Sleep(3 * RetryAfter)
		synctest.Wait()
		if n := h.Stats().Owed; n != 0 {
			t.Errorf("%d records still owed", n)
		}
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, u := range users {
			x, err := h.Explain(context.Background(), u, bob)
			if err != nil {
				t.Fatal(err)
			}
			held := map[string]*presence.Source{}
			for _, s := range x.Sources {
				if s.ID.Kind == presence.Publication {
					held[s.ID.Key] = s
				}
			}
			for i := range 3 {
				k := fmt.Sprint("k", i)
				if on := d.records[saveKey{u, presence.SavedSource, k}].Source; on != held[k] {
					t.Errorf("%s %s: held %v, on disk %v", u, k, held[k], on)
				}
			}
		}
	})
}

// TestNotSaved: the caller learns it, and afterwards all is as it was.
func TestNotSaved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk(t)
		var broken atomic.Bool
		d.fails = func(int) bool { return broken.Load() }
		inHouse(t, Config{Save: d, Policies: &rules{}}, nil, func(h *house) {
			ctx := t.Context()
			h.must(alice, watch("s", bob))
			h.must(alice, publish("k", "one", time.Hour, "busy"))
			h.expect(h.sip, "offline", "busy")

			broken.Store(true)
			modify := publish("k", "two", time.Hour, "away")
			modify.IfMatch = "one"
			if _, err := h.Step(ctx, alice, modify); !errors.Is(err, errDisk) {
				t.Fatalf("modify: %v", err)
			}
			if _, err := h.Step(ctx, alice, publish("new", "three", time.Hour, "meeting")); !errors.Is(err, errDisk) {
				t.Fatalf("publish: %v", err)
			}
			synctest.Wait()
			saw := h.sip.saw()
			if len(saw) == 0 || saw[len(saw)-1] != "busy" {
				t.Errorf("in the end watchers saw %q", saw)
			}
			w := watch("lost", carol)
			w.Durable = true
			if _, err := h.Step(ctx, alice, w); !errors.Is(err, errDisk) {
				t.Fatalf("watch: %v", err)
			}
			synctest.Wait()
			if n := h.sip.told(); len(n) != 0 {
				t.Errorf("a refused watcher was told %q", seen(n[0]))
			}
			if st := h.Stats(); st.Sources != 1 || st.Subscriptions != 1 || st.SaveErrors == 0 || st.Owed == 0 {
				t.Errorf("%+v", st)
			}

			broken.Store(false)
			h.must(alice, presence.Publish{IfMatch: "one", NewTag: "four", Lifetime: time.Hour})
			time.Sleep(2 * RetryAfter)
			synctest.Wait()
			if st := h.Stats(); st.Owed != 0 {
				t.Errorf("still owed: %d", st.Owed)
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			if len(d.records) != 1 {
				t.Errorf("on disk: %v", d.records)
			}
		})
	})
}

func TestExpiryToTheSecond(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk(t)
		inHouse(t, Config{Save: d, Policies: &rules{}}, nil, func(h *house) {
			h.must(alice, watch("s", bob))
			h.must(alice, publish("k", "one", time.Minute, "busy"))
			time.Sleep(30 * time.Second)
			h.must(alice, presence.Publish{IfMatch: "one", NewTag: "two", Lifetime: time.Minute})
			h.expect(h.sip, "offline", "busy")
			time.Sleep(time.Minute - time.Millisecond)
			h.expect(h.sip)
			time.Sleep(time.Millisecond)
			h.expect(h.sip, "offline")
			if d.source(alice, "k") != nil {
				t.Error("still on disk")
			}
			time.Sleep(time.Hour)
			h.expect(h.sip, "offline") // the subscription's last
			if st := h.Stats(); st.Presentities != 0 || st.Sources != 0 || st.Subscriptions != 0 {
				t.Errorf("still in memory: %+v", st)
			}
		})
	})
}

// TestOverload: inputs that wait, wherever they wait, are bounded.
func TestOverload(t *testing.T) {
	for _, where := range []string{"saves", "policy"} {
		t.Run(where, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d, pol := newDisk(t), &rules{}
				if where == "saves" {
					d.delay = func(int) time.Duration { return time.Second }
				} else {
					pol.delay = time.Second
				}
				inHouse(t, Config{Shards: 1, Queue: 10, Save: d, Policies: pol}, nil, func(h *house) {
					taken, answers := 0, 0
					for i := range 30 {
						var in presence.Input = publish(fmt.Sprint(i), fmt.Sprint(i), time.Hour, "busy")
						if where == "policy" {
							in = watch(fmt.Sprint(i), bob)
						}
						err := h.Submit(alice, in, func(_ presence.Outcome, err error) {
							if err != nil {
								t.Error(err)
							}
							answers++
						})
						switch {
						case err == nil:
							taken++
						case !errors.Is(err, ErrOverload):
							t.Fatal(err)
						}
						synctest.Wait()
					}
					if taken != 10 || h.Stats().Overloads != 20 || h.Depth() != 1 {
						t.Errorf("%d taken, depth %v, %+v", taken, h.Depth(), h.Stats())
					}
					time.Sleep(11 * time.Second)
					synctest.Wait()
					if answers != taken || h.Depth() != 0 {
						t.Errorf("%d of %d answered, depth %v", answers, taken, h.Depth())
					}
				})
			})
		})
	}
}

func TestDrain(t *testing.T) {
	tests := []struct {
		name  string
		delay time.Duration
		want  error
		took  time.Duration
	}{
		{"in time", time.Second, nil, time.Second},
		{"too slow", time.Minute, ErrStopped, DrainTime},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				d := newDisk(t)
				d.delay = func(int) time.Duration { return tt.delay }
				inHouse(t, Config{Save: d, Policies: &rules{delay: 100 * time.Millisecond}}, nil, func(h *house) {
					var saved, watched error = errors.New("no answer"), errors.New("no answer")
					if err := h.Submit(alice, publish("k", "t", time.Hour, "busy"), func(_ presence.Outcome, err error) { saved = err }); err != nil {
						t.Fatal(err)
					}
					if err := h.Submit(carol, watch("s", bob), func(_ presence.Outcome, err error) { watched = err }); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					start := time.Now()
					if err := h.stop(); err != tt.want {
						t.Errorf("Run: %v", err)
					}
					if took := time.Since(start); took != tt.took {
						t.Errorf("took %v", took)
					}
					if !errors.Is(saved, tt.want) || watched != nil {
						t.Errorf("answers: %v, %v", saved, watched)
					}
					if err := h.Submit(alice, presence.Tick{}, nil); !errors.Is(err, ErrStopped) {
						t.Errorf("after the end: %v", err)
					}
				})
			})
		})
	}
}

func TestRestore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d, pol := newDisk(t), &rules{delay: 50 * time.Millisecond}
		pol.set(alice, presence.Confirm, map[presence.Entity]presence.Handling{bob: presence.Allow})
		sub := func(id string, w presence.Entity, st presence.State) *presence.Subscription {
			return &presence.Subscription{ID: id, Watcher: w, Via: presence.Via{Edge: "sip", Handle: id}, State: st, Durable: true, Expires: time.Now().Add(time.Hour)}
		}
		p := publish("k", "tag", time.Hour, "busy")
		src := func(key string, end time.Duration) *presence.Source {
			return &presence.Source{ID: presence.SourceID{Kind: presence.Publication, Key: key}, Tag: "tag-" + key, Doc: p.Doc, Expires: time.Now().Add(end)}
		}
		inHouse(t, Config{Save: d, Policies: pol}, func(h *house) {
			err := h.Restore(alice, []*presence.Source{src("k", time.Hour), src("over", -time.Second)},
				[]*presence.Subscription{sub("s1", bob, presence.Active), sub("s2", carol, presence.Pending)})
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Restore(carol, []*presence.Source{src("k", time.Minute)}, nil); err != nil {
				t.Fatal(err)
			}
		}, func(h *house) {
			// What comes before the policy is there shows nobody anything by the old one.
			h.must(alice, session("pad", "away"))
			h.must(alice, presence.Publish{IfMatch: "tag-k", NewTag: "n", Lifetime: time.Hour})
			time.Sleep(RestoreTime)
			h.expect(h.sip)
			time.Sleep(pol.delay)
			h.expect(h.sip, "busy", "pending ") // who waits is told, too
			h.must(alice, presence.Retract{ID: presence.SourceID{Kind: presence.Session, Key: "pad"}})
			h.expect(h.sip, "busy")
			if st := h.Stats(); st.Sources != 2 || st.Subscriptions != 2 || st.Pending != 1 {
				t.Errorf("%+v", st)
			}
			h.must(alice, presence.Retract{IfMatch: "n"})
			h.expect(h.sip, "offline")
			time.Sleep(time.Minute)
			synctest.Wait()
			if st := h.Stats(); st.Sources != 0 || st.Presentities != 1 {
				t.Errorf("a restored source did not expire: %+v", st)
			}
		})
	})
}

func TestExplain(t *testing.T) {
	bubble(t, func(t *testing.T) {
		pol := &rules{}
		pol.set(alice, presence.Block, map[presence.Entity]presence.Handling{bob: presence.PoliteBlock})
		inHouse(t, Config{Policies: pol}, nil, func(h *house) {
			x, err := h.Explain(t.Context(), alice, carol)
			if err != nil || x.Decision.Class.Handling != presence.Block || x.View != nil {
				t.Errorf("%+v, %v", x, err)
			}
			x, err = h.Explain(t.Context(), alice, bob)
			if err != nil || x.Handling != "polite-block" || x.View == nil {
				t.Errorf("%+v, %v", x, err)
			}
			if st := h.Stats(); st.Presentities != 0 {
				t.Errorf("asking left %d presentities in memory", st.Presentities)
			}
			pol.fail(errDisk)
			if _, err := h.Explain(t.Context(), carol, bob); !errors.Is(err, errDisk) {
				t.Errorf("without a policy: %v", err)
			}
		})
	})
}

// TestStepGivesUp: the caller goes, the input stays, and nobody else gets its answer.
func TestStepGivesUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk(t)
		d.delay = func(int) time.Duration { return time.Second }
		inHouse(t, Config{Save: d, Policies: &rules{}}, nil, func(h *house) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if _, err := h.Step(ctx, alice, publish("k", "one", time.Hour, "busy")); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%v", err)
			}
			if out := h.must(alice, publish("l", "two", time.Hour, "busy")); out.Tag != "two" {
				t.Errorf("got the answer %q", out.Tag)
			}
			if d.source(alice, "k") == nil {
				t.Error("the input was lost")
			}
		})
	})
}
