package engine

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pharos/presence"
)

// TestBatchesGiveBack: room that a burst has made of a batch goes when the batches are small again.
func TestBatchesGiveBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		d := newDisk(t)
		d.delay = func(int) time.Duration { return 10 * time.Millisecond }
		inHouse(t, Config{Save: d, Policies: &rules{}}, nil, func(h *house) {
			most := func() (n int) {
				synctest.Wait()
				for _, s := range h.shards {
					for _, b := range s.free {
						n = max(n, cap(b.saves), cap(b.waiting))
					}
				}
				return n
			}
			// While a shard answers it takes nothing: what comes meanwhile is one batch.
			if err := h.Submit(alice, publish("k", "tag", time.Hour, "busy"), func(presence.Outcome, error) {
				for i := range 4000 {
					if err := h.Submit(user(fmt.Sprint("u", i)), publish("k", "tag", time.Hour, "busy"), nil); err != nil {
						t.Error(err)
					}
				}
			}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
			burst := most()
			for i := range 200 {
				h.must(user(fmt.Sprint("u", i)), publish("k", "again", time.Hour, "away"))
			}
			if n := most(); burst <= 64 || n > 64 {
				t.Errorf("room for %d after a burst, and for %d after small batches", burst, n)
			}
		})
	})
}

// Nor does an inbox keep the room that a burst has needed, once few come at a time.
func TestInboxGivesBack(t *testing.T) {
	bubble(t, func(t *testing.T) {
		inHouse(t, Config{Save: newDisk(t), Policies: &rules{}}, nil, func(h *house) {
			most := func() (n int) {
				synctest.Wait()
				for _, s := range h.shards {
					n = max(n, cap(s.inbox), cap(s.spare))
				}
				return n
			}
			burst := func() {
				if err := h.Submit(alice, publish("k", "tag", time.Hour, "busy"), func(presence.Outcome, error) {
					for range 4000 {
						if err := h.Submit(alice, publish("k", "tag", time.Hour, "busy"), nil); err != nil {
							t.Error(err)
						}
					}
				}); err != nil {
					t.Fatal(err)
				}
			}
			burst()
			before := most()
			for range 3 * fewAtATime { // two that take turns
				h.must(alice, publish("k", "again", time.Hour, "away"))
			}
			if n := most(); before <= 64 || n > 64 {
				t.Errorf("room for %d after a burst, and for %d after single requests", before, n)
			}
		})
	})
}
