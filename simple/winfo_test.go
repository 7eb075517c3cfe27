package simple

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"pharos/presence"
	"pharos/sip"
	"pharos/watcherinfo"
)

// watchers writes a document as "full 0: bob active subscribe, ...".
func watchers(t testing.TB, m *sip.Message) string {
	t.Helper()
	i := winfo(t, m)
	state := "full"
	if i.Partial {
		state = "partial"
	}
	var ws []string
	for _, w := range i.Watchers {
		ws = append(ws, strings.TrimSuffix(strings.TrimPrefix(w.URI, "sip:"), "@example.com")+" "+w.Status+" "+w.Event)
	}
	return fmt.Sprintf("%s %d: %s", state, i.Version, strings.Join(ws, ", "))
}

// The example of RFC 3857 §5: a professor is asked, answers later, and is told of
// each step; and what is not a step he is not told.
func TestWatcherInfo(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob, carol := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060"), w.phone("carol", "192.0.2.12:5060")
		want := func(text string) *sip.Message {
			t.Helper()
			m := alice.one()
			if got := watchers(t, m); got != text {
				t.Errorf("told %s, want %s", got, text)
			}
			return m
		}
		winfo := alice.watchEvent("presence.winfo", "alice", 600, "")
		m := want("full 0: ")
		if ct := get(m, sip.HContentType); ct != watcherinfo.Type || get(m, sip.HEvent) != "presence.winfo" {
			t.Errorf("got %s", m.Append(nil))
		}
		w.rule("bob", "alice", presence.Confirm)
		asked, _ := bob.subscribe("alice", 600)
		want("partial 1: bob pending subscribe")
		bob.got()
		w.rule("bob", "alice", presence.Allow)
		m = want("partial 2: bob active approved")
		first, _ := watcherinfo.Parse([]byte(m.Body))
		time.Sleep(100 * time.Second)
		asked.again(200, 300) // no transition
		alice.none()
		winfo.send(200, "presence.winfo", 600, "")
		m = want("full 3: bob active approved")
		i, _ := watcherinfo.Parse([]byte(m.Body))
		if x := i.Watchers[0]; x.ID != first.Watchers[0].ID || x.Duration.Round(10*time.Second) != 100*time.Second ||
			x.Expiration > 300*time.Second || x.Expiration < 290*time.Second || i.Resource != "sip:alice@example.com" || i.Package != "presence" {
			t.Errorf("got %+v", i)
		}
		// Carol may see nothing, and does not know.
		w.rule("carol", "alice", presence.PoliteBlock)
		carol.subscribe("alice", 600)
		want("partial 4: carol active subscribe")
		w.rule("carol", "alice", presence.Block)
		want("partial 5: carol terminated rejected")
		asked.again(200, 0)
		want("partial 6: bob terminated timeout")
		winfo.send(200, "presence.winfo", 0, "")
		m = want("full 7: ")
		if state(m) != "terminated;reason=timeout" {
			t.Errorf("ended with %s", state(m))
		}
		bob.got()
		asked, _ = bob.subscribe("alice", 60)
		alice.none()
		_ = asked
	})
}

// A subscription that runs out is told.
func TestWatcherInfoExpiry(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.subscribe("alice", 60)
		alice.watchEvent("presence.winfo", "alice", 600, "")
		if got := watchers(t, alice.one()); got != "full 0: bob active subscribe" {
			t.Errorf("told %s", got)
		}
		time.Sleep(61 * time.Second)
		if got := watchers(t, alice.one()); got != "partial 1: bob terminated timeout" {
			t.Errorf("told %s", got)
		}
	})
}

// While a phone does not answer transitions wait in their order; beyond the bound
// and after a failure everything is told.
func TestWatcherInfoQueue(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		alice.watchEvent("presence.winfo", "alice", 6000, "")
		alice.one()
		release := alice.hold()
		a, _ := bob.subscribe("alice", 600)
		b, _ := bob.subscribe("alice", 600)
		a.again(200, 0)
		release()
		var got []string
		for _, m := range alice.got() {
			got = append(got, watchers(t, m))
		}
		want := []string{"partial 2: bob active subscribe", "partial 3: bob terminated timeout"}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("told %q, want %q", got, want)
		}
		// Too many to wait.
		release = alice.hold()
		for range maxQueued + 5 {
			bob.subscribe("alice", 600)
		}
		release()
		ms := alice.got()
		if len(ms) == 0 || len(ms) > maxQueued+1 {
			t.Fatalf("%d NOTIFYs", len(ms))
		}
		if i := winfo(t, ms[0]); i.Partial || i.Version != 5 {
			t.Errorf("after the overflow %s", watchers(t, ms[0]))
		}
		if n := listed(t, ms); n != maxQueued+5+1 {
			t.Errorf("%d watchers listed after all", n)
		}
		// A failure: nobody knows what has come through.
		alice.got()
		alice.setAnswer(answerWith(503, ""))
		b.again(200, 0)
		alice.got()
		alice.setAnswer(nil)
		time.Sleep(firstBackoff + time.Second)
		if i := winfo(t, alice.one()); i.Partial || len(i.Watchers) != maxQueued+5 {
			t.Errorf("after a failure %+v", i)
		}
	})
}

// A list that fits into no datagram comes in several NOTIFYs.
func TestWatcherInfoLong(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		watch := func(i int) {
			id := fmt.Sprintf("w%d", i)
			if _, err := w.engine.Step(context.Background(), aliceHere, presence.Watch{ID: id, Watcher: presence.Entity{User: id, Domain: "example.org"},
				Via: presence.Via{Edge: "other"}, Lifetime: time.Hour}); err != nil {
				t.Fatal(err)
			}
		}
		const n = 2*maxListed + 50
		for i := range n {
			watch(i)
		}
		winfo := alice.watchEvent("presence.winfo", "alice", 600, "")
		sizes := func(ms []*sip.Message) (text string) {
			for _, m := range ms {
				i, err := watcherinfo.Parse([]byte(m.Body))
				if err != nil {
					t.Fatal(err)
				}
				text += fmt.Sprintf("%d:%v:%d ", i.Version, i.Partial, len(i.Watchers))
				if len(m.Body) > 60_000 {
					t.Errorf("%d octets", len(m.Body))
				}
			}
			return text
		}
		ms := alice.got()
		if got := sizes(ms); got != "0:false:200 1:true:200 2:true:50 " || listed(t, ms) != n {
			t.Errorf("told %s", got)
		}
		watch(n)
		if got := sizes(alice.got()); got != "3:true:1 " {
			t.Errorf("told %s", got)
		}
		// The list changes while it is being told.
		release := alice.hold()
		winfo.send(200, "presence.winfo", 600, "")
		watch(n + 1)
		release()
		ms = alice.got()
		if got := sizes(ms); got != "5:true:200 6:false:200 7:true:200 8:true:52 " || listed(t, ms) != n+2 {
			t.Errorf("told %s", got)
		}
		winfo.send(200, "presence.winfo", 0, "")
		if got := sizes(alice.got()); got != "9:true:0 " {
			t.Errorf("told %s", got)
		}
	})
}

// listed counts the watchers that a phone knows after some documents (RFC 3858 §4).
func listed(t testing.TB, ms []*sip.Message) int {
	t.Helper()
	known := map[string]bool{}
	for _, m := range ms {
		i := winfo(t, m)
		if !i.Partial {
			clear(known)
		}
		for _, w := range i.Watchers {
			if known[w.ID] = true; w.Status == "terminated" {
				delete(known, w.ID)
			}
		}
	}
	return len(known)
}

// Ids of other edges' subscriptions become tokens.
func TestToken(t *testing.T) {
	for in, same := range map[string]bool{"abc-7.x": true, "alice@example.com/home": false, "a b": false, "ü": false, "x(1)": false} {
		got := token(in)
		if (got == in) != same || strings.ContainsAny(got, "@/ ()ü") || got != token(in) {
			t.Errorf("%q became %q", in, got)
		}
	}
	if token("a/b") == token("a/c") {
		t.Error("two became one")
	}
}

// What a partial document leaves out a reader of the one before knows already.
func TestWatcherChanges(t *testing.T) {
	w := func(id string, s presence.State, e presence.WatcherEvent) presence.Watcher {
		return presence.Watcher{ID: id, State: s, Event: e}
	}
	before := &presence.View{Watchers: []presence.Watcher{w("a", presence.Active, 1), w("b", presence.Pending, 1), w("c", presence.Active, 1)}}
	v := &presence.View{
		Watchers: []presence.Watcher{w("a", presence.Active, 1), w("b", presence.Active, 2), w("d", presence.Pending, 1)},
		Ended:    []presence.Watcher{w("c", presence.Terminated, presence.EventTimeout)},
	}
	list, complete := watcherChanges(before, v)
	var ids string
	for _, w := range list {
		ids += w.ID
	}
	if ids != "bdc" || !complete {
		t.Errorf("got %s, %v", ids, complete)
	}
	v.Ended = nil // nobody says what became of c
	if list, complete = watcherChanges(before, v); complete || len(list) != 3 {
		t.Errorf("got %v, %v", list, complete)
	}
}
