package simple

import "sync"

// maxWaiting is the number of messages that wait for the one under way to the
// same contact; beyond it they are stored for later.
const maxWaiting = 64

// A laneTable keeps the messages to one contact one after the other: there is to be no
// second transaction while one is pending for the same URI (RFC 3428 §8), and so
// they arrive in their order.
type laneTable struct {
	mu      sync.Mutex
	waiting map[string][]func(free bool) // by contact URI, while one is under way
}

// enter calls start at once when nothing is under way to a contact, else when all
// before it have left. It gets false when it has waited in vain.
func (l *laneTable) enter(contact string, start func(free bool)) {
	l.mu.Lock()
	w, busy := l.waiting[contact]
	free := !busy
	switch {
	case free && l.waiting == nil:
		l.waiting = make(map[string][]func(bool))
		fallthrough
	case free:
		l.waiting[contact] = nil
	case len(w) < maxWaiting:
		l.waiting[contact] = append(w, start)
		l.mu.Unlock()
		return
	}
	l.mu.Unlock()
	start(free)
}

// leave lets the next one start. When the contact has not answered, those that
// wait are given up: one by one they would wait for half a minute each.
func (l *laneTable) leave(contact string, answered bool) {
	l.mu.Lock()
	w := l.waiting[contact]
	switch {
	case answered && len(w) > 0:
		l.waiting[contact] = w[1:]
		w = w[:1]
	default:
		delete(l.waiting, contact)
	}
	l.mu.Unlock()
	for _, start := range w {
		start(answered)
	}
}
