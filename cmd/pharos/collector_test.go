package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, 1600}, {2 << 20, 1600}, {4 << 20, 1500}, {8 << 20, 700}, {heapFloor / 2, 100}, {1 << 30, 100},
	} {
		if got := percentFor(c.live); got != c.want {
			t.Errorf("percentFor(%d) = %d, want %d", c.live, got, c.want)
		}
	}
}

// TestRaiseFloor follows a heap that grows above the floor and shrinks again.
func TestRaiseFloor(t *testing.T) {
	t.Setenv("GOGC", "")
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	f := newFloor()
	settle := func() int {
		runtime.GC()
		f.adjust()
		return f.percent
	}
	if p := settle(); p <= 100 {
		t.Fatalf("small heap: %d %%", p)
	}
	large := make([]byte, 2*heapFloor)
	if p := settle(); p != 100 {
		t.Fatalf("large heap: %d %%", p)
	}
	runtime.KeepAlive(large)
	large = nil
	if p := settle(); p <= 100 {
		t.Fatalf("small heap again: %d %%", p)
	}
}
