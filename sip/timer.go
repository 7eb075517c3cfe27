package sip

import (
	"sync"
	"time"
)

// wheel runs the timers of all transactions with one goroutine: arming and
// stopping are a few pointer writes, where a time.Timer each would cost a heap
// operation. Timers are rounded up to a tick; one that lies further away than
// a turn stays in its slot for the next turn.
type wheel struct {
	start time.Time

	mu     sync.Mutex
	slots  [wheelSlots]*timer
	armed  int
	done   int64 // ticks up to here have been fired
	asleep int64 // the tick that run sleeps until
	closed bool

	wake chan struct{}
	due  []*timer
}

const (
	wheelTick  = 10 * time.Millisecond
	wheelSlots = 4096 // a turn is 41 s, more than timer F
)

// timer is embedded in what it belongs to. The owner's expire may be called,
// once per arm, shortly after stop: it looks at its own state.
type timer struct {
	owner      expirer
	next, prev *timer
	tick       int64
	armed      bool
}

type expirer interface{ expire(now time.Time) }

func newWheel() *wheel {
	return &wheel{start: time.Now(), wake: make(chan struct{}, 1)}
}

// arm (re)schedules t after d.
func (w *wheel) arm(t *timer, d time.Duration) { w.armAt(t, time.Now().Add(d)) }

// armAt is arm for a point in time.
func (w *wheel) armAt(t *timer, at time.Time) {
	tick := int64((at.Sub(w.start) + wheelTick - 1) / wheelTick)
	w.mu.Lock()
	w.unlink(t)
	t.tick = max(tick, w.done+1)
	slot := &w.slots[t.tick%wheelSlots]
	t.next, t.prev = *slot, nil
	if t.next != nil {
		t.next.prev = t
	}
	*slot = t
	t.armed = true
	w.armed++
	early := t.tick < w.asleep
	if early {
		w.asleep = t.tick
	}
	w.mu.Unlock()
	if early {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// stop takes t out.
func (w *wheel) stop(t *timer) {
	w.mu.Lock()
	w.unlink(t)
	w.mu.Unlock()
}

func (w *wheel) unlink(t *timer) {
	if !t.armed {
		return
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else {
		w.slots[t.tick%wheelSlots] = t.next
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	t.next, t.prev, t.armed = nil, nil, false
	w.armed--
}

// run fires timers until close.
func (w *wheel) run() {
	const never = 1<<62 - 1
	sleep := time.NewTimer(time.Hour)
	defer sleep.Stop()
	for {
		now := time.Now()
		w.mu.Lock()
		if w.closed {
			w.mu.Unlock()
			return
		}
		w.collect(int64(now.Sub(w.start) / wheelTick))
		next := int64(never)
		if len(w.due) == 0 {
			next = w.nextTick()
		}
		w.asleep = next
		w.mu.Unlock()

		if len(w.due) > 0 {
			for i, t := range w.due {
				t.owner.expire(now)
				w.due[i] = nil
			}
			w.due = w.due[:0]
			continue
		}
		if next == never {
			<-w.wake
			continue
		}
		sleep.Reset(time.Until(w.start.Add(time.Duration(next) * wheelTick)))
		select {
		case <-w.wake:
		case <-sleep.C:
		}
	}
}

// collect moves what is due by tick to w.due.
func (w *wheel) collect(tick int64) {
	from := max(w.done+1, tick-wheelSlots+1)
	for i := from; i <= tick && w.armed > 0; i++ {
		for t := w.slots[i%wheelSlots]; t != nil; {
			next := t.next
			if t.tick <= tick {
				w.unlink(t)
				w.due = append(w.due, t)
			}
			t = next
		}
	}
	w.done = max(w.done, tick)
}

// nextTick is the first tick after done whose slot is not empty. It may hold
// only timers of a later turn, which costs one needless wake.
func (w *wheel) nextTick() int64 {
	if w.armed == 0 {
		return 1<<62 - 1
	}
	for i := w.done + 1; ; i++ {
		if w.slots[i%wheelSlots] != nil {
			return i
		}
	}
}

func (w *wheel) close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}
