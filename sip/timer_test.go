package sip

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

type testTimer struct {
	timer
	mu    sync.Mutex
	fired []time.Time
}

func (t *testTimer) expire(now time.Time) {
	t.mu.Lock()
	t.fired = append(t.fired, now)
	t.mu.Unlock()
}

// Timers fire once, at most a tick late and never early, also those further
// away than a turn; stopped ones do not, and arming again moves them.
func TestWheel(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		delays := rapid.SliceOfN(rapid.Int64Range(-5, 130_000), 1, 50).Draw(r, "ms")
		stop := rapid.IntRange(0, 3).Draw(r, "stop each")
		synctest.Test(t, func(t *testing.T) {
			w := newWheel()
			go w.run()
			defer w.close()
			timers := make([]*testTimer, len(delays))
			for i := range timers {
				timers[i] = new(testTimer)
				timers[i].owner = timers[i]
				w.arm(&timers[i].timer, time.Hour)
			}
			start := time.Now()
			for i, d := range delays {
				w.arm(&timers[i].timer, time.Duration(d)*time.Millisecond)
				if stop > 0 && i%4 < stop {
					w.stop(&timers[i].timer)
				}
			}
			time.Sleep(3 * time.Minute)
			synctest.Wait()
			for i, d := range delays {
				tm := timers[i]
				if stop > 0 && i%4 < stop {
					if len(tm.fired) != 0 {
						t.Errorf("stopped timer fired")
					}
					continue
				}
				due := start.Add(max(time.Duration(d)*time.Millisecond, 0))
				if len(tm.fired) != 1 || tm.fired[0].Before(due) || tm.fired[0].After(due.Add(2*wheelTick)) {
					t.Errorf("after %d ms: fired %v, start %v", d, tm.fired, start)
				}
			}
			if w.armed != 0 {
				t.Errorf("%d still armed", w.armed)
			}
		})
	})
}
