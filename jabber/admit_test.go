package jabber

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/load"
)

// Newcomers are let in as they came, once there is room; who has waited too long is not.
func TestAdmitInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var full atomic.Bool
		full.Store(true)
		e := &Edge{c: Config{Gate: load.NewGate(func() float64 {
			if full.Load() {
				return 1
			}
			return 0
		})}}
		var mu sync.Mutex
		var order []int
		refused := 0
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				ok := e.admit(context.Background())
				mu.Lock()
				defer mu.Unlock()
				if ok {
					order = append(order, i)
				} else {
					refused++
				}
			})
			time.Sleep(time.Millisecond)
		}
		time.Sleep(AdmitTime - 150*time.Millisecond)
		full.Store(false)
		begun := time.Now()
		wg.Wait()
		if refused == 0 || len(order)+refused != 200 {
			t.Errorf("%d admitted, %d refused", len(order), refused)
		}
		for i := 1; i < len(order); i++ {
			// Those of one moment may say so in any order.
			if order[i] < order[i-1]-admitTogether {
				t.Fatalf("%d came before %d", order[i], order[i-1])
			}
		}
		if d := time.Since(begun); d > time.Second {
			t.Errorf("took %v", d)
		}
		if !e.admit(context.Background()) {
			t.Error("an open gate is waited at")
		}
		e.calls.stop()
	})
}

// The line has an end, and whoever leaves it is not waited for.
func TestAdmitBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := &Edge{c: Config{Gate: load.NewGate(func() float64 { return 1 })}}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for range MaxNewcomers {
			wg.Go(func() {
				if e.admit(ctx) {
					t.Error("admitted")
				}
			})
		}
		synctest.Wait()
		begun := time.Now()
		if e.admit(context.Background()) || time.Since(begun) != 0 {
			t.Error("the line has no end")
		}
		cancel()
		wg.Wait()
		time.Sleep(time.Second)
		e.calls.stop()
	})
}
