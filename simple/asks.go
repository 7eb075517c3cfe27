package simple

import (
	"sync"
	"time"

	"pharos/presence"
)

// When a node has stood still it holds thousands of dialogs that may be others' by now, and while it may not act thousands may want to say
// something. They are asked about one after the other, those that have something to say first, and wait together: goroutines and timers of
// their own would be as many as they are, and their owners would refuse most of the questions.

const (
	// asksRound is the number of dialogs asked about at once, asksPause the time until the next ones.
	asksRound = 500
	asksPause = 50 * time.Millisecond
)

// asks are the questions of whose a dialog is that are to be asked, each dialog's once, and the dialogs that wait for eraPause.
type asks struct {
	mu     sync.Mutex
	first  []asking  // of dialogs that wait for it to say something
	old    []*dialog // of an earlier era
	round  *time.Timer
	paused []*dialog
	over   *time.Timer // of the pause
	busy   sync.WaitGroup
	closed bool
}

// asking is what Edge.ask takes.
type asking struct {
	d    *dialog
	era  uint64
	ours func(*presence.Subscription)
}

// add has the owner asked about a dialog that wants to say something. d.mu is held.
func (a *asks) add(e *Edge, d *dialog, ours func(*presence.Subscription)) {
	d.doubted = true
	a.mu.Lock()
	defer a.mu.Unlock()
	a.first = append(a.first, asking{d, e.engine.Era(), ours})
	a.begin(e)
}

// all has owners asked about all dialogs that are of an earlier era.
func (a *asks) all(e *Edge, old []*dialog) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.old = old
	a.begin(e)
}

// begin has the next round begin at once, if none is to come. mu is held.
func (a *asks) begin(e *Edge) {
	if a.round == nil && !a.closed && len(a.first)+len(a.old) > 0 {
		a.round = time.AfterFunc(0, func() { a.ask(e) })
	}
}

// ask asks about some.
func (a *asks) ask(e *Edge) {
	a.mu.Lock()
	if a.closed {
		a.mu.Unlock()
		return
	}
	a.busy.Add(1)
	defer a.busy.Done()
	var first []asking
	var old []*dialog
	first, a.first = some(a.first, asksRound)
	old, a.old = some(a.old, asksRound-len(first))
	a.mu.Unlock()
	for _, x := range first {
		e.ask(x.d, x.era, x.ours)
	}
	for _, d := range old {
		era := e.engine.Era()
		d.mu.Lock()
		asks := era != 0 && d.doubtful(era)
		d.doubted = d.doubted || asks
		d.mu.Unlock()
		if asks {
			e.ask(d, era, nil)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.round = nil
	if !a.closed && len(a.first)+len(a.old) > 0 {
		a.round = time.AfterFunc(asksPause, func() { a.ask(e) })
	}
}

// some takes the first n of a list, and lets its room go with the last.
func some[T any](list []T, n int) (head, rest []T) {
	if n >= len(list) {
		return list, nil
	}
	return list[:n:n], list[n:]
}

// doubtful: the dialog may have been taken over by others since an earlier era, and nobody asks about it yet. d.mu is held.
func (d *dialog) doubtful(era uint64) bool {
	return d.era != era && !d.fetch && !d.doubted && !d.ended
}

// pause has a dialog wait for eraPause, or less, where others wait already. d.mu is held.
func (a *asks) pause(e *Edge, d *dialog) {
	if d.paused || d.ended {
		return
	}
	d.paused = true
	a.mu.Lock()
	defer a.mu.Unlock()
	a.paused = append(a.paused, d)
	if a.over == nil && !a.closed {
		a.over = time.AfterFunc(eraPause, func() { a.goOn(e) })
	}
}

// goOn ends the pause.
func (a *asks) goOn(e *Edge) {
	a.mu.Lock()
	list := a.paused
	a.paused, a.over = nil, nil
	a.mu.Unlock()
	n := 0
	for _, d := range list {
		d.mu.Lock()
		d.paused = false
		if d.ready() {
			list[n] = d
			n++
		}
		d.mu.Unlock()
	}
	e.out.add(list[:n])
}

// close ends the asking.
func (a *asks) close() {
	a.mu.Lock()
	a.closed = true
	for _, t := range []*time.Timer{a.round, a.over} {
		if t != nil {
			t.Stop()
		}
	}
	a.mu.Unlock()
	a.busy.Wait()
}
