package cluster

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// heard keeps what a node of a Bus has received.
type heard struct {
	bus  Bus
	mu   sync.Mutex
	got  []string
	when []time.Time
}

func listen(ctx context.Context, t *testing.T, b Bus) *heard {
	t.Helper()
	h := &heard{bus: b}
	b.Receive(func(from string, d []byte) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.got = append(h.got, from+":"+string(d))
		h.when = append(h.when, time.Now())
	})
	go func() {
		if err := b.Run(ctx); err != nil {
			t.Error(err)
		}
	}()
	return h
}

func (h *heard) take() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	got := h.got
	h.got, h.when = nil, nil
	return got
}

func memories(ctx context.Context, t *testing.T, m *Memory, names ...string) map[string]*heard {
	nodes := map[string]*heard{}
	for _, n := range names {
		nodes[n] = listen(ctx, t, m.Join(n))
	}
	synctest.Wait()
	return nodes
}

func send(t *testing.T, b Bus, to, s string) {
	t.Helper()
	if err := b.Send(to, []byte(s)); err != nil {
		t.Fatal(err)
	}
}

func wantHeard(t *testing.T, h *heard, want ...string) {
	t.Helper()
	synctest.Wait()
	if got := h.take(); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

func TestMemoryCarries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		m := NewMemory()
		n := memories(ctx, t, m, "a", "b", "c")
		b := []byte("1")
		if err := n["a"].bus.Send("b", b); err != nil {
			t.Fatal(err)
		}
		b[0] = 'x' // the caller's again
		send(t, n["a"].bus, "b", "2")
		send(t, n["a"].bus, "nobody", "3")
		if err := n["c"].bus.Broadcast([]byte("all")); err != nil {
			t.Fatal(err)
		}
		wantHeard(t, n["b"], "a:1", "a:2", "c:all")
		wantHeard(t, n["a"], "c:all")
		wantHeard(t, n["c"])
		if n["a"].bus.Send("a", nil) == nil || n["a"].bus.Send("b", make([]byte, MaxDatagram+1)) == nil ||
			n["a"].bus.Broadcast(make([]byte, MaxDatagram+1)) == nil {
			t.Error("what can never work has worked")
		}
		if !n["a"].bus.Reached("b") || n["a"].bus.Reached("nobody") || n["a"].bus.Reached("a") {
			t.Error("Reached")
		}
		stop()
		synctest.Wait()
		if n["a"].bus.Reached("b") {
			t.Error("a node is reached that does not run")
		}
	})
}

func TestMemoryFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		m := NewMemory()
		n := memories(ctx, t, m, "a", "b", "c")
		a, b := n["a"].bus, n["b"]

		m.Between("a", "b", Faults{Delay: 200 * time.Millisecond})
		began := time.Now()
		send(t, a, "b", "1")
		send(t, a, "b", "2")
		time.Sleep(199 * time.Millisecond)
		wantHeard(t, b)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		if len(b.when) != 2 || b.when[1].Sub(began) != 200*time.Millisecond {
			t.Errorf("delayed until %v", b.when)
		}
		wantHeard(t, b, "a:1", "a:2")

		m.Faults(Faults{Loss: 1}) // not between a and b
		send(t, a, "c", "lost")
		wantHeard(t, n["c"])
		m.Heal()

		m.Faults(Faults{Duplicate: 1})
		send(t, a, "b", "twice")
		wantHeard(t, b, "a:twice", "a:twice")

		m.Faults(Faults{Jitter: 50 * time.Millisecond})
		var sent []string
		for i := range 50 {
			sent = append(sent, fmt.Sprintf("a:%02d", i))
			send(t, a, "b", sent[i][2:])
		}
		time.Sleep(time.Second)
		synctest.Wait()
		got := b.take()
		if slices.Equal(got, sent) {
			t.Error("nothing was reordered")
		}
		if slices.Sort(got); !slices.Equal(got, sent) {
			t.Errorf("got %q", got)
		}

		m.Faults(Faults{Loss: 0.3})
		for range 1000 {
			send(t, a, "b", "x")
		}
		synctest.Wait()
		if k := len(b.take()); k < 600 || k > 800 {
			t.Errorf("%d of 1000 came with a loss of 0.3", k)
		}
	})
}

func TestMemoryCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		m := NewMemory()
		n := memories(ctx, t, m, "a", "b", "c")
		a, b, c := n["a"], n["b"], n["c"]
		m.Faults(Faults{Delay: time.Second})
		send(t, a.bus, "b", "under way")
		m.Cut("a", "b")
		send(t, a.bus, "b", "cut")
		send(t, b.bus, "a", "cut")
		send(t, a.bus, "c", "1")
		time.Sleep(time.Second)
		wantHeard(t, b)
		wantHeard(t, a)
		wantHeard(t, c, "a:1")
		if a.bus.Reached("b") || !a.bus.Reached("c") {
			t.Error("Reached")
		}
		m.Heal()
		send(t, a.bus, "b", "healed")
		wantHeard(t, b, "a:healed")
		m.CutOneWay("a", "b")
		send(t, a.bus, "b", "x")
		send(t, b.bus, "a", "y")
		wantHeard(t, b)
		wantHeard(t, a, "b:y")
		m.Heal()
		m.Isolate("c")
		send(t, a.bus, "c", "x")
		send(t, c.bus, "b", "x")
		send(t, a.bus, "b", "2")
		wantHeard(t, c)
		wantHeard(t, b, "a:2")
	})
}

func TestMemoryFreezeAndStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		m := NewMemory()
		n := memories(ctx, t, m, "a", "b")
		a, b := n["a"], n["b"]
		m.Freeze("b")
		send(t, a.bus, "b", "1")
		send(t, b.bus, "a", "2")
		time.Sleep(10 * time.Second)
		wantHeard(t, b)
		wantHeard(t, a)
		if a.bus.Reached("b") || b.bus.Reached("a") {
			t.Error("a frozen node is reached")
		}
		m.Thaw("b")
		wantHeard(t, b, "a:1")
		wantHeard(t, a, "b:2")

		m.Stop("b")
		send(t, a.bus, "b", "x")
		send(t, b.bus, "a", "x")
		wantHeard(t, b)
		wantHeard(t, a)
		again := listen(ctx, t, m.Join("b"))
		send(t, b.bus, "a", "old")
		send(t, again.bus, "a", "new")
		send(t, a.bus, "b", "3")
		wantHeard(t, a, "b:new")
		wantHeard(t, again, "a:3")
		wantHeard(t, b)
	})
}
