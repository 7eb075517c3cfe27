package main

import (
	"testing"
	"time"
)

func TestCalm(t *testing.T) {
	const mb = 1 << 20
	busy := heap{allocated: 40 * mb, live: 10 * mb, objects: 30 * mb, free: mb}
	rising := func(h heap, by uint64) heap { h.allocated += by; return h }
	spare := heap{live: 20 * mb, objects: 20 * mb, free: 5 * mb}
	tight := heap{live: 20 * mb, objects: 22 * mb, free: mb}
	for _, c := range []struct {
		name  string
		rest  time.Duration
		looks []heap
		want  []bool
	}{
		{"calm after load, garbage", 0, []heap{busy, busy, rising(busy, calmRate), rising(busy, calmRate)}, []bool{false, false, false, true}},
		{"busy all the time", 0, []heap{busy, rising(busy, mb), rising(busy, 2*mb), rising(busy, 3*mb), rising(busy, 4*mb)}, make([]bool, 5)},
		{"busy in between", 0, []heap{spare, spare, rising(spare, mb), rising(spare, mb), rising(spare, mb)}, make([]bool, 5)},
		{"nothing to give back", 0, []heap{tight, tight, tight, tight}, make([]bool, 4)},
		{"free memory alone", 0, []heap{spare, spare, spare}, []bool{false, false, true}},
		{"a large one allocates more when calm", 0, []heap{{live: 640 * mb, objects: 900 * mb}, {allocated: 10 * mb, live: 640 * mb, objects: 910 * mb},
			{allocated: 20 * mb, live: 640 * mb, objects: 920 * mb}}, []bool{false, false, true}},
		{"it has just done so", 4 * calmLook, []heap{spare, spare, spare, spare}, []bool{false, false, false, true}},
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
