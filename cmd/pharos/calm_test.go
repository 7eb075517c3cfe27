package main

import (
	"testing"
	"time"
)

func TestCalm(t *testing.T) {
	const mb = 1 << 20
	busy := heap{allocated: 40 * mb, live: 10 * mb, objects: 30 * mb, free: mb}
	rising := func(h heap, by uint64) heap { h.allocated += by; return h }
	for _, c := range []struct {
		name  string
		rest  time.Duration
		looks []heap
		want  []bool
	}{
		{"calm after load, garbage", 0, []heap{busy, busy, rising(busy, calmRate)}, []bool{false, false, true}},
		{"busy all the time", 0, []heap{busy, rising(busy, mb), rising(busy, 2*mb), rising(busy, 3*mb)}, []bool{false, false, false, false}},
		{"nothing to give back", 0, []heap{{live: 20 * mb, objects: 22 * mb, free: 2 * mb}, {live: 20 * mb, objects: 22 * mb, free: 2 * mb}}, []bool{false, false}},
		{"free memory alone", 0, []heap{{live: 20 * mb, objects: 20 * mb, free: 5 * mb}, {live: 20 * mb, objects: 20 * mb, free: 5 * mb}}, []bool{false, true}},
		{"a large one allocates more when calm", 0,
			[]heap{{live: 640 * mb, objects: 900 * mb}, {allocated: 10 * mb, live: 640 * mb, objects: 910 * mb}}, []bool{false, true}},
		{"it has just done so", 3 * calmLook, []heap{{objects: 9 * mb}, {objects: 9 * mb}, {objects: 9 * mb}}, []bool{false, false, true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := calm{rest: c.rest}
			for i, h := range c.looks {
				if got := m.look(h); got != c.want[i] {
					t.Errorf("look %d: %t", i, got)
				}
			}
		})
	}
}
