package engine

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// calling makes calls and keeps what comes of them.
type calling struct {
	answers []string
	errs    []error
}

func (c *calling) done(answer []byte, err error) {
	c.answers, c.errs = append(c.answers, string(answer)), append(c.errs, err)
}

// TestCallEdge: the same edge on another node answers, or its end is heard of.
func TestCallEdge(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(string, string) time.Duration { return time.Millisecond }
		a, b := w.nodes["a"], w.nodes["b"]
		var c calling
		if err := a.CallEdge("b", "sip", []byte("hello"), c.done); err != nil {
			t.Fatal(err)
		}
		if err := a.CallEdge("b", "none", []byte("hello"), c.done); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if !slices.Equal(c.answers, []string{"b/sip heard hello of a", ""}) || c.errs[0] != nil || c.errs[1] == nil {
			t.Errorf("%q, %v", c.answers, c.errs)
		}
		if err := a.CallEdge("nobody", "sip", nil, c.done); !errors.Is(err, ErrGone) {
			t.Errorf("nobody: %v", err)
		}
		b.sip.mute = true
		var gone, late calling
		if err := a.CallEdge("b", "sip", []byte("hello"), late.done); err != nil {
			t.Fatal(err)
		}
		time.Sleep(CallTime + 2*callCheck)
		synctest.Wait()
		if len(late.errs) != 1 || !errors.Is(late.errs[0], ErrGone) {
			t.Errorf("no answer: %v", late.errs)
		}
		if err := a.CallEdge("b", "sip", []byte("hello"), gone.done); err != nil {
			t.Fatal(err)
		}
		w.kill("b", "a", time.Second)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(gone.errs) != 1 || !errors.Is(gone.errs[0], ErrGone) {
			t.Errorf("gone: %v", gone.errs)
		}
		if len(a.calls.under) != 0 {
			t.Errorf("%d calls are left", len(a.calls.under))
		}
	})
}

// TestMaxCalls: their number is bounded.
func TestMaxCalls(t *testing.T) {
	inTown(t, func(w *town) {
		a := w.nodes["a"]
		w.nodes["b"].sip.mute = true
		n := 0
		var ended atomic.Int64
		for {
			err := a.CallEdge("b", "sip", nil, func([]byte, error) { ended.Add(1) })
			if errors.Is(err, ErrOverload) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != MaxCalls {
			t.Errorf("%d calls", n)
		}
		time.Sleep(CallTime + 2*callCheck)
		synctest.Wait()
		if ended.Load() != MaxCalls {
			t.Errorf("%d calls have ended", ended.Load())
		}
	})
}

// TestCallOwner: wherever the owner is, and also when it is another meanwhile.
func TestCallOwner(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(string, string) time.Duration { return time.Millisecond }
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		var got calling
		call := func(n *townNode) {
			t.Helper()
			if err := n.CallOwner(alice, "sip", []byte("x"), got.done); err != nil {
				t.Fatal(err)
			}
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
		}
		call(a) // who has no home yet gets one
		call(b) // knows nothing
		if err := w.move(alice, "c"); err != nil {
			t.Fatal(err)
		}
		call(b) // knows it wrongly
		call(c)
		// It dies while it is asked.
		c.sip.mu.Lock()
		c.sip.mute = true
		c.sip.mu.Unlock()
		call(b)
		w.kill("c", "a", time.Second)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		want := []string{"a/sip heard x of a", "a/sip heard x of b", "c/sip heard x of b", "c/sip heard x of c", "a/sip heard x of b"}
		if !slices.Equal(got.answers, want) {
			t.Errorf("answers %q, %v", got.answers, got.errs)
		}
	})
}

// TestReach: a call to all other nodes at which a user has sessions.
func TestReach(t *testing.T) {
	inTown(t, func(w *town) {
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		c.must(alice, presence.Touch{Package: "x"})
		for _, n := range []*townNode{a, b} {
			for i := range 2 {
				n.must(alice, presence.Watch{ID: fmt.Sprint(n.name, i), Watcher: alice, Package: presence.Reach, Private: true,
					Via: presence.Via{Edge: "xmpp", Handle: fmt.Sprint(i)}})
			}
		}
		reach := func(n *townNode, edge string) (got []string) {
			t.Helper()
			err := n.Reach(alice, edge, []byte("x"), func(answers [][]byte, err error) {
				if err != nil {
					t.Error(err)
				}
				got = []string{}
				for _, b := range answers {
					got = append(got, string(b))
				}
			})
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			slices.Sort(got)
			return got
		}
		for _, tt := range []struct {
			n    *townNode
			edge string
			want []string
		}{
			{a, "xmpp", []string{"b/xmpp heard x of a"}},
			{b, "xmpp", []string{"a/xmpp heard x of b"}},
			{c, "xmpp", []string{"a/xmpp heard x of c", "b/xmpp heard x of c"}},
			{c, "sip", []string{}},
		} {
			if got := reach(tt.n, tt.edge); !slices.Equal(got, tt.want) || got == nil {
				t.Errorf("from %s to %s: %q", tt.n.name, tt.edge, got)
			}
		}
		// When a node has just gone, nobody knows, and all are asked.
		w.kill("c", "b", time.Second)
		if got := reach(a, "xmpp"); !slices.Equal(got, []string{"b/xmpp heard x of a"}) {
			t.Errorf("after a death: %q", got)
		}
	})
}

// TestFarDirect: directed presence finds the watcher's sessions on whichever node.
func TestFarDirect(t *testing.T) {
	inTown(t, func(w *town) {
		w.delay = func(string, string) time.Duration { return time.Millisecond }
		a, b, c := w.nodes["a"], w.nodes["b"], w.nodes["c"]
		a.must(alice, presence.Touch{Package: "x"})
		b.must(bob, presence.Touch{Package: "x"})
		for _, n := range []*townNode{b, c} {
			n.must(bob, presence.Watch{ID: n.name, Watcher: bob, Package: presence.Reach, Private: true, Via: presence.Via{Edge: "xmpp", Handle: n.name}})
		}
		src := &presence.Source{ID: presence.SourceID{Kind: presence.Session, Key: "pad"}, Native: presence.Payload{Type: "jabber:client", Bytes: []byte("<show/>")}}
		c.must(alice, presence.Direct{Source: src, Watcher: bob, Via: presence.Via{Edge: "xmpp"}, Available: true})
		time.Sleep(time.Second)
		synctest.Wait()
		for _, n := range w.nodes {
			ns := n.xmpp.told()
			if n == a && len(ns) != 0 || n != a && len(ns) != 1 {
				t.Errorf("%s: %d notices", n.name, len(ns))
				continue
			}
			if n != a && (ns[0].Direct == nil || !ns[0].Direct.Available || string(ns[0].Direct.Source.Native.Bytes) != "<show/>" || ns[0].Presentity != alice) {
				t.Errorf("%s: %+v", n.name, ns[0])
			}
		}
		// The session dies with its node, and the watchers hear of it.
		w.kill("c", "b", time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		if ns := b.xmpp.told(); len(ns) != 1 || ns[0].Direct == nil || ns[0].Direct.Available {
			t.Errorf("at its end: %v", ns)
		}
	})
}
