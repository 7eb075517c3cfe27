package sip

// keptIndex finds a record of keptResponses by its transaction's key. It is asked
// for every request, mostly in vain, while a million answers are kept: so it is a
// table of words with open addressing, of which a search reads one cache line, and
// that the garbage collector does not look into. Keys are keyed hashes already
// (txKey), so nobody outside can make them meet.
type keptIndex struct {
	slots []uint64 // a power of two of them, at most half of them taken
	n     int
}

// A slot is 0, or slotTaken, 31 bits of the key in the upper half, and the lower
// half of the record's number in the lower. Which 31 bits: those that choose the slot, and more.
const (
	slotTaken = 1 << 63
	leastKept = 16 // slots
)

func keptSlot(key txKey, number uint64) uint64 {
	return slotTaken | key[0]<<32 | number&(1<<32-1)
}

// home is where the search for a slot's key begins.
func (x *keptIndex) home(slot uint64) int { return int(slot>>32) & (len(x.slots) - 1) }

// find returns the place of a key, or of the free slot where it would be. is tells
// whether the record of that number has the key.
func (x *keptIndex) find(key txKey, is func(number uint32) bool) (at int, ok bool) {
	want := keptSlot(key, 0)
	for at = x.home(want); ; at = (at + 1) & (len(x.slots) - 1) {
		s := x.slots[at]
		if s == 0 {
			return at, false
		}
		if s>>32 == want>>32 && is(uint32(s)) {
			return at, true
		}
	}
}

// put says where a key is from now on; at is what find has returned.
func (x *keptIndex) put(at int, key txKey, number uint64) {
	if x.slots[at] == 0 {
		x.n++
	}
	x.slots[at] = keptSlot(key, number)
}

// room makes place for one more. Called before find.
func (x *keptIndex) room() {
	if 2*(x.n+1) <= len(x.slots) {
		return
	}
	old := x.slots
	x.slots = make([]uint64, max(2*len(old), leastKept))
	for _, s := range old {
		if s == 0 {
			continue
		}
		at := x.home(s)
		for x.slots[at] != 0 {
			at = (at + 1) & (len(x.slots) - 1)
		}
		x.slots[at] = s
	}
}

// remove frees a slot. Those behind it that began at it or before move up, so
// that every search still ends at the first free one.
func (x *keptIndex) remove(at int) {
	mask := len(x.slots) - 1
	x.n--
	for next := (at + 1) & mask; x.slots[next] != 0; next = (next + 1) & mask {
		if (next-x.home(x.slots[next]))&mask >= (next-at)&mask {
			x.slots[at] = x.slots[next]
			at = next
		}
	}
	x.slots[at] = 0
}
