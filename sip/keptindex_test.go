package sip

import (
	"math/bits"
	"testing"

	"pgregory.net/rapid"
)

// TestKeptIndex plays it against a map, with keys that meet often and numbers that
// pass 32 bits.
func TestKeptIndex(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		k := keptResponses{limit: rapid.IntRange(100, 20_000).Draw(r, "limit"), first: 1<<32 - 50}
		model := map[txKey]byte{}
		var order []txKey
		width := rapid.IntRange(2, 12).Draw(r, "width")
		key := rapid.Custom(func(r *rapid.T) txKey {
			n := rapid.Uint64Range(0, 1<<width-1).Draw(r, "key")
			return txKey{bits.Reverse64(n) >> (64 - 2*width), n}
		})
		for i := range rapid.IntRange(1, 400).Draw(r, "steps") {
			at := key.Draw(r, "add")
			k.add(at, []byte{byte(i)}, 0)
			model[at] = byte(i)
			for order = append(order, at); len(order) > k.len(); order = order[1:] {
				if last := lastOf(order, order[0]); last == 0 {
					delete(model, order[0])
				}
			}
			look := key.Draw(r, "look")
			want, had := model[look]
			if b, ok := k.get(look); ok != had || ok && b[0] != want {
				r.Fatalf("%v: %v, %t; want %d, %t", look, b, ok, want, had)
			}
			if k.index.n != len(model) || 2*k.index.n > len(k.index.slots) {
				r.Fatalf("%d of %d slots for %d keys", k.index.n, len(k.index.slots), len(model))
			}
		}
		for at, want := range model {
			if b, ok := k.get(at); !ok || b[0] != want {
				r.Fatalf("%v: %v, %t; want %d", at, b, ok, want)
			}
		}
	})
}

func lastOf(keys []txKey, key txKey) (at int) {
	for i, k := range keys {
		if k == key {
			at = i
		}
	}
	return at
}
