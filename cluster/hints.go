package cluster

import (
	"hash/maphash"
	"math/bits"
	"math/rand/v2"
	"sync/atomic"

	"pharos/presence"
)

// MaxHints is how many homes at other nodes a node remembers, 8 bytes for each. Beyond them
// a home that was forgotten is looked up again.
const MaxHints = 1 << 20

const (
	bucket    = 8  // hints that share a cache line
	tagBits   = 30 // of an entity's hash, beside those that choose the bucket
	indexBits = 10 // of the node
	sinceBits = 24 // when the hint came
	// MaxPeers bounds the other nodes of a service: so many hints can name. Each epoch of a node is one
	// more, until all hints are forgotten.
	MaxPeers = 1<<indexBits - 1
)

// hints remember at which of the other nodes homes are, without a lock and without an
// allocation. They may be wrong: the home has moved since, or, once in 2^27 questions after
// somebody unknown, it is another's with the same tag. Then that node says that it is not
// the owner.
type hints struct {
	seed  maphash.Seed
	slots []atomic.Uint64 // tag, index (0: empty), since when in ticks
}

func newHints(n int) *hints {
	n = 1 << bits.Len(uint(max(n, bucket)-1))
	return &hints{seed: maphash.MakeSeed(), slots: make([]atomic.Uint64, n)}
}

// hash of an entity, for hints and for the shards of homes.
func (h *hints) hash(e presence.Entity) uint64 {
	return maphash.String(h.seed, e.User)*0x9e3779b97f4a7c15 + maphash.String(h.seed, e.Domain)
}

// at is the bucket and the tag of a hash.
func (h *hints) at(x uint64) (slots []atomic.Uint64, tag uint64) {
	i := int(x) & (len(h.slots) - 1) &^ (bucket - 1)
	return h.slots[i : i+bucket], x >> (64 - tagBits)
}

// get returns the index of the node, 0 when nothing is known, and since when.
func (h *hints) get(x uint64) (index int, since uint32) {
	slots, tag := h.at(x)
	for i := range slots {
		if v := slots[i].Load(); v>>(indexBits+sinceBits) == tag && v>>sinceBits&MaxPeers != 0 {
			return int(v >> sinceBits & MaxPeers), uint32(v & (1<<sinceBits - 1))
		}
	}
	return 0, 0
}

// put remembers a node; in a full bucket another is forgotten. Writers of one bucket at the
// same time may lose a hint, which is as good as forgotten.
func (h *hints) put(x uint64, index int, since uint32) {
	slots, tag := h.at(x)
	v := tag<<(indexBits+sinceBits) | uint64(index)<<sinceBits | uint64(since)&(1<<sinceBits-1)
	free := -1
	for i := range slots {
		old := slots[i].Load()
		switch {
		case old>>(indexBits+sinceBits) == tag && old>>sinceBits&MaxPeers != 0:
			slots[i].Store(v)
			return
		case old>>sinceBits&MaxPeers == 0:
			free = i
		}
	}
	if free < 0 {
		free = rand.IntN(bucket)
	}
	slots[free].Store(v)
}

// forget empties what is known of a hash.
func (h *hints) forget(x uint64) {
	slots, tag := h.at(x)
	for i := range slots {
		if v := slots[i].Load(); v>>(indexBits+sinceBits) == tag {
			slots[i].CompareAndSwap(v, 0)
		}
	}
}

// clear forgets everything.
func (h *hints) clear() {
	for i := range h.slots {
		h.slots[i].Store(0)
	}
}
