package store

import (
	"hash/crc32"
	"hash/maphash"
	"slices"
)

// index knows where the last frame of each key is, without keeping the keys:
// some 40 bytes for a record. It serves compaction and statistics; reading goes
// by the keys themselves.
type index struct {
	seed  maphash.Seed
	at    map[uint64]place
	bytes int64 // of live frames
	// doubtful: two keys were seen to share a hash. Compaction then finds out by
	// the keys what is live.
	doubtful bool
}

// place of a frame. check is another hash of the key.
type place struct {
	off   int64
	size  uint32
	check uint32
}

func newIndex(seed maphash.Seed) *index {
	return &index{seed: seed, at: make(map[uint64]place)}
}

// count takes a frame into account that begins at off.
func (x *index) count(f frame, off int64) {
	hash := maphash.Bytes(x.seed, f.key) ^ uint64(f.kind)<<56
	check := crc32.Checksum(f.key, castagnoli) ^ uint32(f.kind)
	old, had := x.at[hash]
	if had {
		x.bytes -= int64(old.size)
		if old.check != check {
			x.doubtful = true
		}
	}
	if f.op == opPut {
		x.at[hash] = place{off, uint32(f.size), check}
		x.bytes += int64(f.size)
	} else if had {
		delete(x.at, hash)
	}
}

// live lists the places of all live frames, unordered.
func (x *index) live() []int64 {
	list := make([]int64, 0, len(x.at))
	for _, p := range x.at {
		list = append(list, p.off)
	}
	return list
}

// sorted is for reading in the order of the file.
func sorted(offsets []int64) []int64 {
	slices.Sort(offsets)
	return offsets
}
