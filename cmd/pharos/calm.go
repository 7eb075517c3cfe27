package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// The collector begins when enough was allocated. A server in which nothing happens any more
// allocates nothing, so what its busy time has left stays resident for as long as it is calm: garbage up to
// the next collection, free memory, stacks that were needed once, and what pools hold. So when it
// has been calm for a while, it collects of itself and gives back what is free, once.
const (
	calmLook  = time.Second // between two looks
	calmLooks = 5           // of which so many must find it calm: by then streams that are silent rest, too, and their stacks are free
	// calmShare bounds what that costs under a load that comes and goes: such a collection is followed by another no
	// sooner than after so many times as long as it took.
	calmShare = 200
	// calmRate is how much a calm server allocates between two looks at most: for timers, keep-alives and the like. A
	// large one is calm as long as that is a 64th of what lives.
	calmRate = 512 << 10
	// calmWorth is the least that is given back: beyond it, an eighth of what lives.
	calmWorth = 4 << 20
)

// heap is what a look finds, in octets.
type heap struct {
	allocated uint64 // ever
	live      uint64 // after the last collection
	objects   uint64 // live and garbage
	free      uint64 // held, and in no use
}

// calm decides when to give back.
type calm struct {
	last  heap
	looks int           // in succession that found it calm
	rest  time.Duration // until it may give back again
}

// look is to be called every calmLook. True: now.
func (c *calm) look(h heap) bool {
	rate := h.allocated - c.last.allocated
	c.last = h
	c.rest = max(c.rest-calmLook, 0)
	if rate > max(calmRate, h.live/64) {
		c.looks = 0
		return false
	}
	c.looks++
	spare := h.free
	if h.objects > h.live {
		spare += h.objects - h.live
	}
	return c.looks >= calmLooks && c.rest == 0 && spare >= max(calmWorth, h.live/8)
}

// giveBack looks until ctx ends. It does nothing where the operator has set GOGC.
func giveBack(ctx context.Context) {
	if os.Getenv("GOGC") != "" {
		return
	}
	samples := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}, {Name: "/gc/heap/live:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/free:bytes"}}
	var c calm
	t := time.NewTicker(calmLook)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		metrics.Read(samples)
		h := heap{samples[0].Value.Uint64(), samples[1].Value.Uint64(), samples[2].Value.Uint64(), samples[3].Value.Uint64()}
		if c.look(h) {
			began := time.Now()
			runtime.GC()
			debug.FreeOSMemory() // a second one: what pools hold goes with it, and stacks shrink by half with each
			c.rest = calmShare * time.Since(began)
		}
	}
}
