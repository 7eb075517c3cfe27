package cluster

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"pharos/presence"
)

func entity(i int) presence.Entity {
	return presence.Entity{User: fmt.Sprintf("user%d", i), Domain: "example.com"}
}

// What is remembered is right as long as there is room, and forgotten for good.
func TestHints(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := newHints(1 << 12)
		want := map[int][2]int{}
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			i := rapid.IntRange(0, 30).Draw(t, "entity")
			x := h.hash(entity(i))
			if rapid.Bool().Draw(t, "put") {
				node, since := rapid.IntRange(1, MaxPeers).Draw(t, "node"), rapid.IntRange(0, 1<<sinceBits-1).Draw(t, "since")
				h.put(x, node, uint32(since))
				want[i] = [2]int{node, since}
			} else {
				h.forget(x)
				delete(want, i)
			}
		}
		for i := range 30 {
			node, since := h.get(h.hash(entity(i)))
			if w := want[i]; node != w[0] || int(since) != w[1] {
				t.Fatalf("%s: node %d since %d, want %v", entity(i), node, since, w)
			}
		}
		h.clear()
		for i := range 30 {
			if node, _ := h.get(h.hash(entity(i))); node != 0 {
				t.Fatalf("%s is known after all was forgotten", entity(i))
			}
		}
	})
}

// A table that is too small forgets, but what it says of those it knows is right.
func TestHintsFull(t *testing.T) {
	h := newHints(1 << 10)
	const n = 10_000
	for i := range n {
		h.put(h.hash(entity(i)), i%MaxPeers+1, uint32(i))
	}
	known := 0
	for i := range n {
		switch node, since := h.get(h.hash(entity(i))); {
		case node == 0:
		case node != i%MaxPeers+1 || int(since) != i:
			t.Fatalf("%s: node %d since %d", entity(i), node, since)
		default:
			known++
		}
	}
	if known < 1000 || known > 1<<10 {
		t.Errorf("%d are known of %d", known, n)
	}
	if node, _ := h.get(h.hash(entity(n - 1))); node != (n-1)%MaxPeers+1 {
		t.Error("the newest was forgotten")
	}
}

func BenchmarkHints(b *testing.B) {
	h := newHints(MaxHints)
	var of []presence.Entity
	for i := range 100_000 {
		of = append(of, entity(i))
		h.put(h.hash(of[i]), i%3+1, 0)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if n, _ := h.get(h.hash(of[i%len(of)])); n == 0 {
			b.Fatal("forgotten")
		}
		i++
	}
}
