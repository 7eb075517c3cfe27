package jabber

import (
	"context"
	"sync"
	"time"

	"pharos/load"
)

// line is where those wait who have come when the gate is closed to newcomers, as after a node
// with thousands of clients has died: they are let in as they came, so that nobody is
// passed over by who tries more often, and no faster than the work behind them is done.
type line struct {
	mu      sync.Mutex
	waiting []*newcomer // those in front first
	busy    bool
}

type newcomer struct {
	in   chan struct{} // closed when it may enter
	left bool          // it does not wait any more
}

// admit lets a newcomer in, perhaps after a while. False: it is to come again. It blocks.
func (e *Edge) admit(ctx context.Context) bool {
	if e.c.Gate == nil {
		return true
	}
	l := &e.line
	l.mu.Lock()
	if len(l.waiting) == 0 && e.enter(load.Newcomer) {
		l.mu.Unlock()
		return true
	}
	if len(l.waiting) >= MaxNewcomers {
		l.mu.Unlock()
		return false
	}
	n := &newcomer{in: make(chan struct{})}
	l.waiting = append(l.waiting, n)
	if !l.busy {
		l.busy = e.calls.spawn(e.admitAll)
	}
	l.mu.Unlock()
	limit := time.NewTimer(AdmitTime)
	defer limit.Stop()
	select {
	case <-n.in:
		return true
	case <-limit.C:
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n.left = true
	select {
	case <-n.in:
		return true
	default:
		return false
	}
}

// admitAll opens to one after the other while the gate lets them in.
func (e *Edge) admitAll() {
	l := &e.line
	for {
		time.Sleep(admitEvery)
		l.mu.Lock()
		closing := e.closing.Load() // then each finds that out by itself
		for n := 0; (n < admitTogether || closing) && len(l.waiting) > 0; n++ {
			first := l.waiting[0]
			if !first.left && !closing && !e.enter(load.Newcomer) {
				break
			}
			if !first.left {
				close(first.in)
			}
			l.waiting[0] = nil
			l.waiting = l.waiting[1:]
		}
		if l.busy = len(l.waiting) > 0; !l.busy {
			l.waiting = nil
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
	}
}

const (
	admitEvery    = 5 * time.Millisecond
	admitTogether = 32 // so that what they bring with them is seen before more come
)
