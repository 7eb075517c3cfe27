package simple

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// Of two that go on from the same saved state one gets the block of CSeq, whatever they believe; the other looks again, and goes on
// above it.
func TestReserve(t *testing.T) {
	inWorldOf(t, Config{}, newHomes(), func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 3600)
		bob.one()
		found := func() (sub *presence.Subscription) {
			t.Helper()
			w.edge.find(aliceHere, s.tag, func(x *presence.Subscription, err error) {
				if sub = x; err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
			return sub
		}
		// Another dialog of the same subscription, as another node makes it.
		was := found()
		other := w.edge.revive(was)
		st := other.load()
		opaque, before := w.edge.reserve(other, &st)
		if err := w.engine.Submit(aliceHere, presence.Keep{ID: s.tag, Opaque: opaque, Was: before}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		d := w.edge.dialogs.get(s.tag)
		d.mu.Lock()
		d.cseq = d.ceiling // its block is used up
		d.mu.Unlock()
		alice.publish("open", "news", "")
		time.Sleep(time.Second)
		ms := bob.got()
		if len(ms) != 1 || ms[0].CSeq() <= st.ceiling {
			t.Fatalf("with numbers up to %d another's: %v", st.ceiling, texts(ms))
		}
		now := found()
		var saved dialogState
		if err := saved.decode(now.Opaque); err != nil || saved.ceiling != st.ceiling+cseqBlock {
			t.Errorf("%d is reserved, %v", saved.ceiling, err)
		}
		// The other is late.
		opaque, before = w.edge.reserve(other, &st)
		var late error
		if err := w.engine.Submit(aliceHere, presence.Keep{ID: s.tag, Opaque: opaque, Was: before}, func(_ presence.Outcome, err error) { late = err }); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if late != presence.ErrOvertaken {
			t.Errorf("late: %v", late)
		}
	})
}

// Who takes a dialog over is answered when its watcher has answered what was said last, or does not within a time; one that is newer
// stays.
func TestDropped(t *testing.T) {
	inWorldOf(t, Config{}, newHomes(), func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		for _, c := range []struct {
			name  string
			under bool   // a NOTIFY is
			below uint32 // the ceiling of who takes it over
			stays bool
			after time.Duration
		}{
			{"idle", false, 3000, false, 0},
			{"under way", true, 3000, false, answerWithin},
			{"newer", true, 1000, true, 0},
		} {
			s, _ := bob.subscribe("alice", 3600)
			bob.one()
			d := w.edge.dialogs.get(s.tag)
			if c.under {
				bob.setAnswer(func(*sip.Message) (int, string) { return 0, "" })
				alice.publish("open", c.name, "")
				synctest.Wait()
			}
			begun, took := time.Now(), time.Duration(-1)
			w.edge.dropped(s.tag, c.below, func(had []byte) {
				if took = time.Since(begun); !slices.Equal(had, []byte{droppedSome}) {
					t.Errorf("%s: answered %v", c.name, had)
				}
			})
			time.Sleep(2 * answerWithin)
			synctest.Wait()
			if took != c.after || (w.edge.dialogs.get(s.tag) == d) != c.stays {
				t.Errorf("%s: answered after %v, stays %t", c.name, took, !c.stays)
			}
			bob.setAnswer(nil)
			time.Sleep(time.Minute)
			bob.got()
			if !c.stays {
				w.edge.dropped(s.tag, c.below, func(had []byte) {
					if !slices.Equal(had, []byte{droppedNone}) {
						t.Errorf("%s, once more: answered %v", c.name, had)
					}
				})
			}
		}
	})
}

// mates are homes with other nodes, to which everything is said in vain.
type mates struct {
	*homes
	nodes []string
	mu    sync.Mutex
	said  map[string][]string // by node
}

func (m *mates) Nodes() []string { return m.nodes }

func (m *mates) Send(node string, frame []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.said[node] = append(m.said[node], string(frame))
	return nil
}

// A dialog that is this node's, and that nobody knows here, may be at any other node: all are told to let it go, and the
// watcher does not wait for their answers.
func TestLetGoElsewhere(t *testing.T) {
	for _, how := range []string{"refreshed", "told"} {
		peers := &mates{homes: newHomes(), nodes: []string{"n2", "n3"}, said: map[string][]string{}}
		inWorldOf(t, Config{}, peers, func(w *world) {
			alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
			s, _ := bob.subscribe("alice", 3600)
			bob.one()
			d := w.edge.dialogs.get(s.tag)
			ceiling := d.ceiling
			if w.edge.dialogs.drop(d); how == "refreshed" {
				s.again(200, 3600)
			} else {
				alice.publish("open", "news", "")
			}
			synctest.Wait()
			if m := bob.one(); m.CSeq() <= ceiling {
				t.Errorf("%s: CSeq %d, of a dialog with %d", how, m.CSeq(), ceiling)
			}
			peers.mu.Lock()
			defer peers.mu.Unlock()
			for _, node := range peers.nodes {
				drops := 0
				for _, frame := range peers.said[node] {
					drops += strings.Count(frame, string(appendDrop(nil, s.tag, ceiling)))
				}
				if drops != 1 {
					t.Errorf("%s: %s is told %d times to let go", how, node, drops)
				}
			}
		})
	}
}

// A dialog that this node has taken over itself is let go when it has come here, but only to who has it after that.
func TestHandovers(t *testing.T) {
	var h handovers
	var done []string
	note := func(what string) func() { return func() { done = append(done, what) } }
	first, second := h.begin("a", 1000), h.begin("a", 3000)
	h.after("a", 1000, note("before both"))
	h.after("a", 2000, note("after the first"))
	h.after("a", 4000, note("after both"))
	h.after("b", 4000, note("another"))
	if h.end("a", first) || !h.under("a") {
		t.Error("nothing is waited for any more")
	}
	if !h.end("a", second) || h.under("a") {
		t.Error("something is waited for yet")
	}
	if want := []string{"before both", "another", "after the first", "after both"}; !slices.Equal(done, want) {
		t.Errorf("%q", done)
	}
}
