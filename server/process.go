package server

import (
	"bytes"
	"os"
	"runtime/metrics"
	"strconv"
)

// Process is what the process costs.
type Process struct {
	Goroutines int    `json:"goroutines"`
	HeapBytes  uint64 `json:"heap_bytes"`        // objects, with those that the next collection takes
	HeapLive   uint64 `json:"heap_live_bytes"`   // objects that the last collection left
	HeapUnused uint64 `json:"heap_unused_bytes"` // holes between objects: only objects of one size can take them
	HeapFree   uint64 `json:"heap_free_bytes"`   // free and not yet given back to the system
	StackBytes uint64 `json:"stack_bytes"`
	// Resident and Descriptors are of Linux; elsewhere 0.
	Resident    uint64 `json:"resident_bytes"`
	Descriptors int    `json:"descriptors"`
}

// processNow reads it without stopping the world.
func processNow() Process {
	s := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
	}
	metrics.Read(s)
	p := Process{Goroutines: int(s[0].Value.Uint64()), HeapBytes: s[1].Value.Uint64(), HeapLive: s[2].Value.Uint64(), StackBytes: s[3].Value.Uint64(),
		HeapUnused: s[4].Value.Uint64(), HeapFree: s[5].Value.Uint64()}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(b); len(f) > 1 {
			pages, _ := strconv.ParseUint(string(f[1]), 10, 64)
			p.Resident = pages * uint64(os.Getpagesize())
		}
	}
	if d, err := os.Open("/proc/self/fd"); err == nil {
		names, _ := d.Readdirnames(-1)
		p.Descriptors = max(0, len(names)-1) // without that of the folder
		d.Close()
	}
	return p
}
