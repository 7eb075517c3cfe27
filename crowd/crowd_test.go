package crowd

import (
	"maps"
	"runtime"
	"testing"

	"pgregory.net/rapid"
)

// A map holds what it would without.
func TestLeft(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, want, most := map[int]int{}, map[int]int{}, 0
		for i := range rapid.IntRange(0, 2000).Draw(t, "steps") {
			k := rapid.IntRange(0, 600).Draw(t, "key")
			if i%600 < 300 {
				m[k], want[k] = i, i
				continue
			}
			delete(want, k)
			delete(m, k)
			m = Left(m, &most)
		}
		if !maps.Equal(m, want) {
			t.Fatalf("%v, not %v", m, want)
		}
	})
}

// What a crowd has taken is given back.
func TestLeftGivesBack(t *testing.T) {
	heap := func() float64 {
		var s runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&s)
		return float64(s.HeapAlloc)
	}
	before := heap()
	m, most := map[int][4]int{}, 0
	const crowd = 1 << 17
	for i := range crowd {
		m[i] = [4]int{i}
	}
	full := heap() - before
	for i := range crowd - 100 {
		delete(m, i)
		m = Left(m, &most)
	}
	if left := heap() - before; left > full/50 || len(m) != 100 {
		t.Errorf("%.0f octets of %.0f for %d", left, full, len(m))
	}
	runtime.KeepAlive(m)
}

func BenchmarkLeft(b *testing.B) {
	for b.Loop() {
		m, most := map[int]int{}, 0
		for i := range 4000 {
			m[i] = i
		}
		for i := range 4000 {
			delete(m, i)
			m = Left(m, &most)
		}
	}
}

func BenchmarkPlain(b *testing.B) {
	for b.Loop() {
		m := map[int]int{}
		for i := range 4000 {
			m[i] = i
		}
		for i := range 4000 {
			delete(m, i)
		}
	}
}
