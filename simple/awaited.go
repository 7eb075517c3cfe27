package simple

import (
	"sync"
	"sync/atomic"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// When the owner of a presentity is lost, the next one tells all who subscribe to it how things are. But of a
// subscription that the former one has ended, and has not come to tell of, the next one knows nothing, and
// the watcher would wait until it expires. So the owner is asked about those dialogs of which it says nothing.

const (
	// unheardTime is how long an owner that has come anew has time to tell a dialog of itself.
	unheardTime = 3 * time.Second
	// unheardPause is between two rounds of asking, unheardRound the number of dialogs asked about in one.
	unheardPause = 50 * time.Millisecond
	unheardRound = 500
)

// awaited are dialogs of which their owners have not been heard yet, each at most once for each
// time that an owner was lost.
type awaited struct {
	mu      sync.Mutex
	waiting []*dialog
	timer   *time.Timer
	look    *time.Timer    // for those that are overdue
	looking atomic.Bool    // whether look is to come
	asking  sync.WaitGroup // a round
	closed  bool
}

// expectWord notes the dialogs with presentities whose owner may have been lost.
func (e *Edge) expectWord(lost func(presence.Entity) bool) {
	var list []*dialog
	for i := range e.dialogs.shard {
		s := &e.dialogs.shard[i]
		s.RLock()
		for _, d := range s.byID {
			if d.fetch || !lost(d.presentity) {
				continue
			}
			d.mu.Lock()
			if !d.unheard && !d.ended {
				d.unheard = true
				list = append(list, d)
			}
			d.mu.Unlock()
		}
		s.RUnlock()
	}
	e.awaited.add(e, list, unheardTime)
}

func (u *awaited) add(e *Edge, list []*dialog, after time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed || len(list) == 0 {
		return
	}
	u.waiting = append(u.waiting, list...)
	if u.timer == nil {
		u.timer = time.AfterFunc(after, func() { u.round(e) })
	}
}

// close ends the asking.
func (u *awaited) close() {
	u.mu.Lock()
	u.closed = true
	if u.timer != nil {
		u.timer.Stop()
	}
	if u.look != nil {
		u.look.Stop()
	}
	u.mu.Unlock()
	u.asking.Wait()
}

// round asks about some of those that wait.
func (u *awaited) round(e *Edge) {
	u.mu.Lock()
	if u.closed {
		u.mu.Unlock()
		return
	}
	u.asking.Add(1)
	defer u.asking.Done()
	list := u.waiting
	u.waiting, u.timer = nil, nil
	u.mu.Unlock()
	of := make(map[presence.Entity][]*dialog)
	n := 0
	for n < len(list) && len(of) < unheardRound {
		d := list[n]
		n++
		d.mu.Lock()
		silent := d.unheard && !d.ended
		d.mu.Unlock()
		if silent && len(of[d.presentity]) < engine.MaxHeld {
			of[d.presentity] = append(of[d.presentity], d)
		} else if silent {
			n--
			break
		}
	}
	u.add(e, list[n:], unheardPause)
	for presentity, ds := range of {
		e.askHeld(presentity, ds)
	}
}

// askHeld asks the owner of a presentity about dialogs.
func (e *Edge) askHeld(presentity presence.Entity, ds []*dialog) {
	ids := make([]string, len(ds))
	for i, d := range ds {
		ids[i] = d.id
	}
	done := func(held []engine.Held, err error) {
		if err != nil { // the owner is not there, or not again yet
			e.awaited.add(e, ds, time.Second)
			return
		}
		for i, d := range ds {
			d.mu.Lock()
			silent := d.unheard && !d.ended
			d.unheard = false
			d.mu.Unlock()
			switch {
			case !silent || held[i] == engine.HeldHere:
			case held[i] == engine.HeldElsewhere:
				e.dialogs.drop(d)
				e.engine.Left(d.presentity, d.id)
			default:
				e.over(d)
			}
		}
	}
	if err := e.engine.Holds(presentity, ids, done); err != nil {
		done(nil, err)
	}
}

// over tells the watcher of a dialog that has ended, nobody knows how: whoever still wants to be
// told subscribes anew (RFC 6665 §4.1.3). Where that waits to be said already, it is said now.
func (e *Edge) over(d *dialog) {
	e.engine.Left(d.presentity, d.id)
	e.Notify(&presence.Notice{Presentity: d.presentity, Edge: Name, Package: d.pkg.key,
		State: presence.Terminated, Reason: presence.Timeout,
		Targets: []presence.Target{{Sub: d.id, Watcher: d.watcher}}})
	d.mu.Lock()
	ready := d.ready()
	d.mu.Unlock()
	if ready {
		e.out.add([]*dialog{d})
	}
}
