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
	OwnBytes   uint64 `json:"runtime_bytes"` // of Go's runtime: what it notes about the heap, profiles, all else
	// Resident, Mapped and Descriptors are of Linux; elsewhere 0.
	Resident    uint64 `json:"resident_bytes"`
	Mapped      uint64 `json:"mapped_bytes"` // of the resident ones those of files, as the program's own
	Descriptors int    `json:"descriptors"`
}

// processNow reads it without stopping the world.
func processNow() Process {
	s := []metrics.Sample{
		{Name: "/sched/goroutines:goroutines"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"},
		{Name: "/memory/classes/heap/unused:bytes"}, {Name: "/memory/classes/heap/free:bytes"},
		{Name: "/memory/classes/metadata/mspan/inuse:bytes"}, {Name: "/memory/classes/metadata/mspan/free:bytes"},
		{Name: "/memory/classes/metadata/mcache/inuse:bytes"}, {Name: "/memory/classes/metadata/mcache/free:bytes"},
		{Name: "/memory/classes/metadata/other:bytes"}, {Name: "/memory/classes/profiling/buckets:bytes"},
		{Name: "/memory/classes/os-stacks:bytes"}, {Name: "/memory/classes/other:bytes"},
	}
	metrics.Read(s)
	p := Process{Goroutines: int(s[0].Value.Uint64()), HeapBytes: s[1].Value.Uint64(), HeapLive: s[2].Value.Uint64(), StackBytes: s[3].Value.Uint64(),
		HeapUnused: s[4].Value.Uint64(), HeapFree: s[5].Value.Uint64()}
	for _, own := range s[6:] {
		p.OwnBytes += own.Value.Uint64()
	}
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if f := bytes.Fields(b); len(f) > 2 {
			pages, _ := strconv.ParseUint(string(f[1]), 10, 64)
			p.Resident = pages * uint64(os.Getpagesize())
			pages, _ = strconv.ParseUint(string(f[2]), 10, 64)
			p.Mapped = pages * uint64(os.Getpagesize())
		}
	}
	if d, err := os.Open("/proc/self/fd"); err == nil {
		names, _ := d.Readdirnames(-1)
		p.Descriptors = max(0, len(names)-1) // without that of the folder
		d.Close()
	}
	return p
}
