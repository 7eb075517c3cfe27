package main

import (
	"runtime"
	"runtime/debug"
	"testing"
)

func TestPercentFor(t *testing.T) {
	for _, c := range []struct {
		live, floor uint64
		want        int
	}{
		{0, heapFloor, 1600}, {2 << 20, heapFloor, 1600}, {4 << 20, heapFloor, 1500}, {8 << 20, heapFloor, 700},
		{heapFloor / 2, heapFloor, 100}, {1 << 30, heapFloor, 100},
		{0, growthFloor, 400}, {4 << 20, growthFloor, 300}, {growthFloor / 2, growthFloor, 100}, {1 << 30, growthFloor, 100},
	} {
		if got := percentFor(c.live, c.floor); got != c.want {
			t.Errorf("percentFor(%d, %d) = %d, want %d", c.live, c.floor, got, c.want)
		}
	}
}

// TestHeight follows a server through users who come, load, and calm.
func TestHeight(t *testing.T) {
	var h height
	for i, c := range []struct {
		live, forced, want uint64 // live in MiB
	}{
		{2, 0, growthFloor}, {4, 0, growthFloor}, {8, 0, growthFloor}, // they come
		{8, 0, 2 * growthFloor}, {9, 0, heapFloor}, {9, 0, heapFloor}, // those who are here do something
		{11, 0, growthFloor},                         // more come
		{11, 0, 2 * growthFloor}, {10, 0, heapFloor}, // some go
		{10, 1, growthFloor}, {10, 2, growthFloor}, // calm
		{10, 2, 2 * growthFloor},
	} {
		if got := h.after(c.live<<20, c.forced); got != c.want {
			t.Errorf("%d: %d MiB live: the floor is at %d MiB, want %d", i, c.live, got>>20, c.want>>20)
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

// TestSampleHeap takes the server's rate, but for the operator's own.
func TestSampleHeap(t *testing.T) {
	before := runtime.MemProfileRate
	defer func() { runtime.MemProfileRate = before }()
	for env, want := range map[string]int{"": heapSample, "gctrace=1": heapSample, "gctrace=0,memprofilerate=7": 7} {
		t.Setenv("GODEBUG", env)
		runtime.MemProfileRate = 7
		if sampleHeap(); runtime.MemProfileRate != want {
			t.Errorf("%q: a sample each %d octets, want %d", env, runtime.MemProfileRate, want)
		}
	}
}
