package simple

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// above has a phone take no NOTIFY up to a CSeq, as one that has got that from another node (RFC 3261 §12.2.2).
func above(most uint32) func(*sip.Message) (int, string) {
	return func(m *sip.Message) (int, string) {
		if m.CSeq() <= most {
			return 500, ""
		}
		return 200, ""
	}
}

// A watcher who has got higher numbers from another node is told nevertheless, and soon.
func TestPassed(t *testing.T) {
	for _, c := range []struct {
		most   uint32
		within time.Duration
	}{{900, time.Second}, {1500, 15 * time.Second}, {3004, 80 * time.Second}} {
		inWorldOf(t, Config{}, newHomes(), func(w *world) {
			alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
			bob.subscribe("alice", 3600)
			bob.one()
			bob.setAnswer(above(c.most))
			alice.publish("open", "news", "")
			time.Sleep(c.within)
			ms := bob.got()
			if len(ms) == 0 || !strings.Contains(ms[len(ms)-1].Body, "news") || ms[len(ms)-1].CSeq() <= c.most {
				t.Fatalf("with numbers up to %d used: %v", c.most, texts(ms))
			}
			if n := len(ms); n > 5 {
				t.Errorf("%d NOTIFYs", n)
			}
			time.Sleep(time.Minute)
			bob.none()
		})
	}
}

// A dialog that another node had meanwhile goes on above what that one has used, whoever speaks of it first.
func TestOvertaken(t *testing.T) {
	for _, how := range []string{"told", "adopted"} {
		inWorldOf(t, Config{}, newHomes(), func(w *world) {
			alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
			s, _ := bob.subscribe("alice", 3600)
			bob.one()
			d := w.edge.dialogs.get(s.tag)
			st := d.load()
			st.ceiling += 3 * cseqBlock // reserved by the other
			if err := w.engine.Submit(aliceHere, presence.Keep{ID: s.tag, Opaque: st.encode()}, nil); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if how == "told" {
				d.mu.Lock()
				d.era-- // it stood still, and could not ask
				d.mu.Unlock()
			} else {
				sub := &presence.Subscription{ID: s.tag, Watcher: d.watcher, Package: d.pkg.key, Via: presence.Via{Node: "n1", Edge: Name}, Opaque: st.encode()}
				w.edge.Adopt(aliceHere, []*presence.Subscription{sub})
			}
			bob.none()
			alice.publish("open", "news", "")
			synctest.Wait()
			ms := bob.got()
			if len(ms) != 1 || !strings.Contains(ms[0].Body, "news") || ms[0].CSeq() <= st.ceiling {
				t.Fatalf("%s: with numbers up to %d reserved: %v", how, st.ceiling, texts(ms))
			}
		})
	}
}

// Whoever is told that a dialog is over is told so once, however often its owner is asked about it: what waits to be said while it is
// asked about is said then, though it is the last word itself.
func TestOverWhileAsked(t *testing.T) {
	inWorldOf(t, Config{}, newHomes(), func(w *world) {
		bob := w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 3600)
		bob.one()
		d := w.edge.dialogs.get(s.tag)
		if err := w.engine.Submit(aliceHere, presence.Unwatch{ID: s.tag, Silent: true}, nil); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		d.mu.Lock()
		d.era-- // this node stood still
		d.mu.Unlock()
		w.edge.over(d)
		synctest.Wait()
		if m := bob.one(); state(m) != "terminated;reason=timeout" {
			t.Error(state(m))
		}
		if w.edge.dialogs.get(s.tag) != nil {
			t.Error("the dialog is still there")
		}
	})
}

// A watcher does not take what a dialog says of which its owner knows nothing any more: then he is told that it is over.
func TestPassedNobodys(t *testing.T) {
	inWorldOf(t, Config{}, newHomes(), func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 3600)
		bob.one()
		bob.setAnswer(func(m *sip.Message) (int, string) {
			if w.edge.dialogs.get(s.tag) != nil {
				_ = w.engine.Submit(aliceHere, presence.Unwatch{ID: s.tag, Silent: true}, nil)
			}
			return 500, ""
		})
		alice.publish("open", "news", "")
		time.Sleep(time.Second)
		synctest.Wait()
		ms := texts(bob.got())
		if len(ms) != 2 || !strings.Contains(ms[0], "news") || !strings.Contains(ms[1], "Subscription-State: terminated;reason=timeout") {
			t.Errorf("%q", ms)
		}
		if w.edge.dialogs.get(s.tag) != nil {
			t.Error("the dialog is still there")
		}
	})
}
