package soak

import (
	"slices"
	"sync"
)

// entry is something that is written again and again, one write after another: the name of a contact, a document.
type entry struct {
	turn sync.Mutex // held while a write is under way
	last int        // written
	is   int        // last that was acknowledged
	open []int      // of which nobody has said whether they were done: they may come about at any time
}

// write does one with the next number; do tells whether it was acknowledged.
func (e *entry) write(do func(n int) bool) bool {
	e.turn.Lock()
	defer e.turn.Unlock()
	e.last++
	if do(e.last) {
		e.is = e.last
		return true
	}
	e.open = append(e.open, e.last)
	return false
}

// may tells whether a value can be what is there.
func (e *entry) may(n int) bool {
	e.turn.Lock()
	defer e.turn.Unlock()
	return n == e.is || slices.Contains(e.open, n)
}
