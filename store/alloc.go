package store

import (
	"sync"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
)

// keepAllocatorPages holds one allocation of each size class of the C allocator
// that the driver uses. It gives a page back to the kernel as soon as its last
// slot is freed, and the driver allocates for every bound string: without this
// a fifth of the CPU time of short statements went into mmap and munmap
// (BenchmarkUpdateItem). Once per process; some 100 kB.
var keepAllocatorPages = sync.OnceFunc(func() {
	tls := libc.NewTLS()
	for n := 16; n <= 32<<10; n *= 2 {
		libc.Xmalloc(tls, types.Size_t(n))
	}
	// tls stays as well: closing it would free nothing of the above.
})
