package sip

import "time"

// keptResponses are the final responses of one shard that wait for timer J
// (RFC 3261 §17.2.2), oldest first. There is nothing in them for the garbage
// collector to follow: at 30,000 requests a second a million are kept, and
// marking an object for each would cost more than answering them.
type keptResponses struct {
	limit  int // octets
	octets int

	index   keptIndex
	records []keptRecord // those from head on are live
	head    int
	first   uint64 // number of records[head]

	chunks     [][]byte // what the responses are written to, one after the other
	firstChunk uint32   // number of chunks[0]
}

type keptRecord struct {
	key           txKey
	since         time.Duration
	chunk         uint32
	offset, count uint32
}

const (
	keptChunk  = 16 << 10 // octets of a chunk, where much is kept
	leastChunk = 1 << 10  // and where little is: there are many shards, each with a chunk that is not full yet
	keptRecOct = 96       // what a record costs beside the response's octets
	keptRoom   = 32       // records for which there may be room for ever
)

// add keeps a copy of b, and forgets the oldest while there is too much.
func (k *keptResponses) add(key txKey, b []byte, now time.Duration) {
	last := len(k.chunks) - 1
	if last < 0 || cap(k.chunks[last])-len(k.chunks[last]) < len(b) {
		k.chunks = append(k.chunks, make([]byte, 0, max(len(b), leastChunk, min(keptChunk, k.octets/8))))
		last++
	}
	offset := len(k.chunks[last])
	k.chunks[last] = append(k.chunks[last], b...)
	k.index.room()
	at, _ := k.find(key) // a second one takes the place of the first
	k.index.put(at, key, k.first+uint64(len(k.records)-k.head))
	k.records = append(k.records, keptRecord{key, now, k.firstChunk + uint32(last), uint32(offset), uint32(len(b))})
	k.octets += len(b) + keptRecOct
	for k.octets > k.limit && len(k.records)-k.head > 1 {
		k.drop()
	}
}

// find is keptIndex.find for a key.
func (k *keptResponses) find(key txKey) (at int, ok bool) {
	return k.index.find(key, func(number uint32) bool { return k.record(number).key == key })
}

// record is the one whose number ends so.
func (k *keptResponses) record(number uint32) *keptRecord {
	return &k.records[k.head+int(number-uint32(k.first))]
}

// get finds a response. It stays valid, since chunks are never written again.
func (k *keptResponses) get(key txKey) ([]byte, bool) {
	if k.index.n == 0 {
		return nil, false
	}
	at, ok := k.find(key)
	if !ok {
		return nil, false
	}
	r := k.record(uint32(k.index.slots[at]))
	chunk := k.chunks[r.chunk-k.firstChunk]
	return chunk[r.offset : r.offset+r.count : r.offset+r.count], true
}

// drop forgets the oldest.
func (k *keptResponses) drop() {
	r := &k.records[k.head]
	if at, ok := k.find(r.key); ok && uint32(k.index.slots[at]) == uint32(k.first) {
		k.index.remove(at)
	}
	k.octets -= int(r.count) + keptRecOct
	k.head++
	k.first++
	switch {
	case k.head == len(k.records):
		k.records, k.head, k.chunks = k.records[:0], 0, nil
		if cap(k.records) > keptRoom { // after a burst
			k.records, k.index = nil, keptIndex{}
		}
		return
	case k.head > len(k.records)/2:
		k.records = k.records[:copy(k.records, k.records[k.head:])]
		k.head = 0
		k.shrink()
	}
	if gone := k.records[k.head].chunk - k.firstChunk; gone > 0 {
		k.chunks = append(k.chunks[:0], k.chunks[gone:]...)
		k.firstChunk += gone
	}
}

// shrink gives back what a burst has needed, where requests keep coming and it never is empty.
func (k *keptResponses) shrink() {
	if n := len(k.records); cap(k.records) > keptRoom && n < cap(k.records)/8 {
		k.records = append(make([]keptRecord, 0, 2*n), k.records...)
		k.index = keptIndex{}
		for i := range k.records {
			k.index.room()
			at, _ := k.find(k.records[i].key)
			k.index.put(at, k.records[i].key, k.first+uint64(i))
		}
	}
}

// expire forgets what has been kept for timer J.
func (k *keptResponses) expire(now time.Duration) {
	for k.head < len(k.records) && now-k.records[k.head].since >= timerF {
		k.drop()
	}
}

func (k *keptResponses) len() int { return len(k.records) - k.head }
