package main

import (
	"slices"
	"testing"
	"time"
)

func TestCalm(t *testing.T) {
	const mb = 1 << 20
	busy := heap{allocated: 40 * mb, live: 10 * mb, objects: 30 * mb, free: mb}
	rising := func(h heap, by uint64) heap { h.allocated += by; return h }
	spare := heap{live: 20 * mb, objects: 20 * mb, free: 5 * mb}
	tight := heap{live: 20 * mb, objects: 22 * mb, free: mb}
	same := func(h heap, times int) []heap { return slices.Repeat([]heap{h}, times) }
	climbing := func(h heap, by uint64, times int) (all []heap) {
		for i := range times {
			all = append(all, rising(h, uint64(i)*by))
		}
		return all
	}
	for _, c := range []struct {
		name  string
		rest  time.Duration
		looks []heap
		want  int // the look that says so; -1: none
	}{
		{"calm after load, garbage", 0, climbing(busy, calmRate, calmLooks+1), calmLooks},
		{"busy all the time", 0, climbing(busy, mb, 20), -1},
		{"busy in between", 0, append(same(spare, calmLooks-1), same(rising(spare, mb), calmLooks)...), -1},
		{"nothing to give back", 0, same(tight, 20), -1},
		{"free memory alone", 0, same(spare, calmLooks), calmLooks - 1},
		{"a large one allocates more when calm", 0, climbing(heap{live: 640 * mb, objects: 900 * mb}, 10*mb, calmLooks), calmLooks - 1},
		{"it has just done so", (calmLooks + 2) * calmLook, same(spare, calmLooks+2), calmLooks + 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := calm{rest: c.rest}
			for i, h := range c.looks {
				if got := m.look(h); got != (i == c.want) {
					t.Errorf("look %d: %t", i, got)
				}
			}
		})
	}
}
