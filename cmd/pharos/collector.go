package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strings"
)

// heapFloor is the heap size in bytes below which no collection begins, however
// little of it is live, once the live heap has settled.
//
// The collector's rule, to begin when the heap has doubled, suits large heaps. A
// server with few users has 2 MB live and allocates some kB per request, so that by
// the rule it collects hundreds of times a second, and each cycle costs a few hundred
// microseconds for stopping, waking and sweeping however small the heap is. What the
// floor costs is bounded by itself: at most so much resident memory, and nothing once
// the live heap has grown to half of it, where the rule takes over.
const heapFloor = 64 << 20

// heapSample is after how many octets the heap profile (/debug/pprof/heap) takes a sample. At
// Go's 512 kB a busy server spends nearly a hundredth of its time on walking stacks for it.
// GODEBUG=memprofilerate=N is for who looks for something: then it is N.
const heapSample = 4 << 20

// sampleHeap is to be called first of all: the runtime counts from the last change on.
func sampleHeap() {
	if !strings.Contains(os.Getenv("GODEBUG"), "memprofilerate=") {
		runtime.MemProfileRate = heapSample
	}
}

// growthFloor is the floor while the live heap grows, and after the server was calm. What comes to stay, with
// users who log in, then lies where the garbage of those before them was, and not everywhere in 64 MiB, of which
// nothing could be given back later, since Go moves nothing. It costs little: each such cycle finds an eighth more that lives,
// and three that do not are at heapFloor again.
const growthFloor = 16 << 20

// raiseFloor keeps the collector's percentage such that the next collection is at
// the floor or where the heap has doubled, whichever is later. It looks at each end of
// a cycle, by a finalizer, and does nothing where the operator has set GOGC.
func raiseFloor() {
	if os.Getenv("GOGC") != "" {
		return
	}
	f := newFloor()
	f.adjust()
	f.again()
}

type floor struct {
	samples []metrics.Sample
	percent int
	height
}

func newFloor() *floor {
	return &floor{percent: 100, samples: []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/forced:gc-cycles"}}}
}

// cycle is garbage at once, so that its finalizer runs after the next cycle.
type cycle struct{ floor *floor }

func (f *floor) again() {
	runtime.SetFinalizer(&cycle{f}, func(c *cycle) {
		c.floor.adjust()
		c.floor.again()
	})
}

func (f *floor) adjust() {
	metrics.Read(f.samples)
	live := f.samples[0].Value.Uint64()
	p := percentFor(live, f.after(live, f.samples[1].Value.Uint64()))
	// Setting it stops the world for a moment: not for small differences.
	if d := p - f.percent; d > f.percent/8 || -d > f.percent/8 {
		debug.SetGCPercent(p)
		f.percent = p
	}
}

// height decides where the floor is.
type height struct {
	floor, live, forced uint64
}

// after is the floor after a cycle that has found so much live; forced are those cycles that giveBack has asked for.
func (h *height) after(live, forced uint64) uint64 {
	if live > h.live+h.live/8 || forced != h.forced {
		h.floor = growthFloor
	} else {
		h.floor = min(2*h.floor, heapFloor)
	}
	h.live, h.forced = live, forced
	return h.floor
}

// percentFor is how much may be allocated on top of live octets, in percent of
// them. The runtime has a floor of its own, 4 MB times the percentage, which must
// not be above ours.
func percentFor(live, floor uint64) int {
	const rule = 100
	if live >= floor/2 {
		return rule
	}
	most := floor / (4 << 20) * 100
	return int(min(most, (floor-live)*100/max(live, 1)))
}
