package sip

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// keptResponses behave as a map whose oldest entries go when there are too many
// octets or their time is over.
func TestKeptResponses(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		k := keptResponses{limit: rapid.IntRange(0, 60_000).Draw(r, "limit")}
		type entry struct {
			key txKey
			b   []byte
			at  time.Duration
		}
		var model []entry
		now, next := time.Duration(0), uint64(0)
		octets := func() (n int) {
			for _, e := range model {
				n += len(e.b) + keptRecOct
			}
			return n
		}
		for range rapid.IntRange(1, 300).Draw(r, "steps") {
			switch rapid.IntRange(0, 5).Draw(r, "step") {
			case 0:
				now += time.Duration(rapid.IntRange(0, 40_000).Draw(r, "ms")) * time.Millisecond
				k.expire(now)
				for len(model) > 0 && now-model[0].at >= timerF {
					model = model[1:]
				}
			default:
				next++
				e := entry{txKey{next, 1}, bytes.Repeat([]byte{byte(next)}, rapid.SampledFrom([]int{0, 1, 300, 5000, 20_000}).Draw(r, "octets")), now}
				k.add(e.key, e.b, now)
				for model = append(model, e); octets() > k.limit && len(model) > 1; {
					model = model[1:]
				}
			}
			if k.len() != len(model) || k.octets != octets() || k.index.n != len(model) {
				r.Fatalf("%d responses, %d octets, %d indexed; want %d, %d", k.len(), k.octets, k.index.n, len(model), octets())
			}
			for _, e := range model {
				if b, ok := k.get(e.key); !ok || !bytes.Equal(b, e.b) {
					r.Fatalf("%v: %d octets, %t", e.key, len(b), ok)
				}
			}
			if _, ok := k.get(txKey{next + 1, 1}); ok {
				r.Fatal("found what was never kept")
			}
		}
	})
}

// What is kept costs about its octets: chunks go with their responses.
func TestKeptChunks(t *testing.T) {
	k := keptResponses{limit: 100_000}
	for i := range 100_000 {
		k.add(txKey{uint64(i)}, fmt.Appendf(nil, "%300d", i), 0)
	}
	held := 0
	for _, c := range k.chunks {
		held += cap(c)
	}
	if held > k.limit+2*keptChunk || cap(k.records) > 4*k.len() {
		t.Errorf("%d octets in chunks, %d records for %d", held, cap(k.records), k.len())
	}
	k.expire(timerF)
	if k.octets != 0 || k.chunks != nil || k.index.n != 0 {
		t.Errorf("left: %d octets", k.octets)
	}
}

// What a burst has needed is given back while requests keep coming, and all that is kept is still found.
func TestKeptAfterBurst(t *testing.T) {
	for _, c := range []struct{ burst, rate int }{{50_000, 30}, {900, 2}} {
		t.Run(fmt.Sprint(c.burst), func(t *testing.T) { keptAfter(t, c.burst, c.rate) })
	}
}

func keptAfter(t *testing.T, burst, rate int) {
	k := keptResponses{limit: 64 << 20}
	next := uint64(0)
	add := func(now time.Duration) {
		next++
		k.add(txKey{next * 0x9e3779b97f4a7c15, next}, fmt.Appendf(nil, "%300d", next), now)
	}
	for range burst {
		add(0)
	}
	for s := range 100 {
		now := time.Duration(s) * time.Second
		for range rate {
			add(now)
		}
		k.expire(now)
	}
	if n := k.len(); cap(k.records) > 8*n || len(k.index.slots) > 32*n {
		t.Errorf("room for %d records and %d slots, for %d", cap(k.records), len(k.index.slots), n)
	}
	held, octets := 0, 0
	for _, c := range k.chunks {
		held += cap(c)
	}
	for i := range k.records[k.head:] {
		octets += int(k.records[k.head+i].count)
	}
	if held > octets+octets/2+2*leastChunk {
		t.Errorf("%d octets in chunks, for %d", held, octets)
	}
	for n := next - uint64(k.len()) + 1; n <= next; n++ {
		if b, ok := k.get(txKey{n * 0x9e3779b97f4a7c15, n}); !ok || string(b) != fmt.Sprintf("%300d", n) {
			t.Fatalf("%d of %d: %.20q, %t", n, next, b, ok)
		}
	}
}
