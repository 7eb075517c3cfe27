package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// stray makes a notice of somebody's presence, as another owner might tell it.
func stray(of presence.Entity, sub string, term uint64, activity string) []byte {
	p := presence.New(of)
	now := time.Now()
	_, _ = p.Step(now, presence.SetPolicy{Policy: &presence.Policy{Default: presence.Allow}})
	_, _ = p.Step(now, session("pad", activity))
	w := watch(sub, bob)
	w.Via.Node = "b"
	out, err := p.Step(now, w)
	if err != nil {
		panic(err)
	}
	m := transfer.AppendUint(transfer.AppendEntity(message(saysNotice), of), term)
	m, _ = transfer.AppendNotice(m, out.Notices[0], 0, noticeBytes)
	return frameOf(m)
}

// TestFormerOwner: what a former owner has said, and what comes late, is not told any more; and who
// begins his terms anew is asked, and believed.
func TestFormerOwner(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, session("pad", "busy"))
		b.must(alice, watch("s", bob))
		w.expect(b.sip, "busy")
		for range 2 {
			if err := w.move(alice, "c"); err != nil {
				t.Fatal(err)
			}
			if err := w.move(alice, "a"); err != nil {
				t.Fatal(err)
			}
		}
		a.must(alice, session("pad", "away"))
		time.Sleep(time.Second)
		w.expect(b.sip, "away")
		b.Receive("c", stray(alice, "s", 2, "vacation"))
		time.Sleep(time.Second)
		w.expect(b.sip, "away") // once more, since the owner was asked
		// The home was given back, and is a new one.
		w.mu.Lock()
		for _, n := range w.nodes {
			n.hints[alice] = home{"a", 1}
		}
		w.homes[alice] = home{"a", 1}
		w.mu.Unlock()
		a.must(alice, session("pad", "meal"))
		time.Sleep(time.Second)
		w.expect(b.sip, "meal")
		a.must(alice, session("pad", "meeting"))
		time.Sleep(time.Second)
		w.expect(b.sip, "meeting")
		// A life that nobody knows of says nothing that could be read.
		b.Receive("a", frameOf(append(stray(alice, "s", 9, "vacation")[1:20], 0xff)))
		b.Receive("a", []byte{9})
		b.Receive("a", nil)
		time.Sleep(time.Second)
		synctest.Wait()
		for _, got := range b.sip.saw() {
			if got != "meeting" {
				t.Errorf("told %q", got)
			}
		}
	})
}

// TestOwnerOvertakes: what a former owner has said is still under way when the presentity has come to live where its
// watcher is. It is held to have been told, and has not been.
func TestOwnerOvertakes(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, session("pad", "busy"))
		b.must(alice, watch("s", bob))
		w.expect(b.sip, "busy")
		w.delay = func(from, to string) time.Duration { return 100 * time.Millisecond }
		a.must(alice, session("pad", "away"))
		synctest.Wait()
		w.delay = nil
		if err := w.move(alice, "b"); err != nil {
			t.Fatal(err)
		}
		w.expect(b.sip, "away") // by the one who has it now
		time.Sleep(time.Second)
		w.expect(b.sip)
	})
}

// TestFormerEnd: when a former owner says that a subscription has ended, the edges are to look for themselves: it may have
// been begun again since, or be the last that is heard of it.
func TestFormerEnd(t *testing.T) {
	inTown(t, func(w *town) {
		b := w.nodes["b"]
		b.must(alice, watch("s", bob))
		if err := w.move(alice, "c"); err != nil {
			t.Fatal(err)
		}
		b.must(alice, session("pad", "busy"))
		b.Receive("a", stray(alice, "s", 1, "away"))
		time.Sleep(time.Second)
		b.sip.mu.Lock()
		before := b.sip.losses
		b.sip.mu.Unlock()
		b.sip.told()
		m := transfer.AppendUint(transfer.AppendEntity(message(saysNotice), alice), 1)
		m, _ = transfer.AppendNotice(m, &presence.Notice{Presentity: alice, Node: "b", Edge: "sip", State: presence.Terminated, Reason: presence.Rejected,
			Targets: []presence.Target{{Sub: "s", Watcher: bob}}}, 0, noticeBytes)
		b.Receive("a", frameOf(m))
		time.Sleep(time.Second)
		synctest.Wait()
		b.sip.mu.Lock()
		if before != 0 || b.sip.losses != 1 {
			t.Errorf("edges were to look %d times, then %d", before, b.sip.losses)
		}
		b.sip.mu.Unlock()
		w.expect(b.sip, "busy") // it has not ended
	})
}

// TestTooMuchHeard: a node that cannot follow drops what it hears, and asks for the last word when
// it can again.
func TestTooMuchHeard(t *testing.T) {
	inTown(t, func(w *town) {
		a, b := w.nodes["a"], w.nodes["b"]
		s, other := b.shardOf(alice), carol
		for i := 0; b.shardOf(other) != s; i++ {
			other = user(fmt.Sprint("u", i))
		}
		a.must(alice, session("pad", "busy"))
		a.must(other, session("pad", "busy"))
		b.must(alice, watch("s", bob))
		b.must(other, watch("s", bob))
		w.expect(b.sip, "busy", "busy")
		s.heard.Add(MaxHeard)
		for i := range 10 {
			a.must(alice, session("pad", fmt.Sprint("act", i)))
		}
		time.Sleep(time.Second)
		w.expect(b.sip)
		s.heard.Add(-MaxHeard / 2)
		a.must(other, session("pad", "away"))
		time.Sleep(time.Second)
		w.expect(b.sip, "away", "act9")
		s.heard.Add(-MaxHeard / 2)
	})
}

// TestFarPolicy: who changes a policy tells the owner, and what is submitted afterwards is
// decided by the new one.
func TestFarPolicy(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(string, string) time.Duration { return 5 * time.Millisecond }
		a, b := w.nodes["a"], w.nodes["b"]
		a.must(alice, session("pad", "busy"))
		a.must(alice, watch("s", bob))
		b.must(alice, presence.Touch{Package: "x"})
		w.expect(a.sip, "busy")
		w.pols.set(alice, presence.Allow, map[presence.Entity]presence.Handling{bob: presence.Block})
		b.PolicyChanged(alice)
		out := b.must(alice, watch("t", bob))
		if out.State != presence.Terminated {
			t.Errorf("%v", out.State)
		}
		time.Sleep(time.Second)
		w.expect(a.sip, "terminated rejected")
	})
}

// FuzzReceive: whatever another node says, this one stands.
func FuzzReceive(f *testing.F) {
	f.Add(stray(alice, "s", 1, "busy"))
	for kind := range uint64(12) {
		m := transfer.AppendUint(transfer.AppendEntity(message(kind), alice), 1)
		f.Add(frameOf(transfer.AppendString(m, "sip")))
	}
	in, err := appendItem(transfer.AppendUint(transfer.AppendUint(transfer.AppendEntity(message(saysRequest), alice), 7), 1), &item{in: session("pad", "busy")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(frameOf(in))
	f.Add(frameOf((&question{kind: asksExplain, watcher: bob}).append(append(transfer.AppendUint(transfer.AppendUint(transfer.AppendEntity(message(saysRequest), alice), 7), 1), 1, 0))))
	f.Fuzz(func(t *testing.T, frame []byte) {
		inTown(t, func(w *town) {
			w.nodes["a"].Receive("b", frame)
			time.Sleep(time.Second)
		}, "a", "b")
	})
}
