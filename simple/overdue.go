package simple

import "time"

// A dialog ends with its subscription (RFC 6665 §4.4.1), and when that runs out its owner says so. Should it not get
// here, as when the owner holds the subscription to be another node's, nothing would end the dialog any more. So
// the owner is asked about each whose time is over.

const (
	// overdueAfter is how long after the end of a subscription's time its owner has time to tell.
	overdueAfter = time.Minute
	// overdueLook is between two looks for dialogs that are overdue.
	overdueLook = time.Minute
)

// runsOut notes that the subscription lasts for a lifetime from now; 0: it is a fetch, and is over.
func (e *Edge) runsOut(d *dialog, lifetime time.Duration) {
	d.mu.Lock()
	d.until = time.Now().Add(lifetime).Unix()
	d.mu.Unlock()
	e.lookLater()
}

// lookLater has dialogs that are overdue looked for while there are any.
func (e *Edge) lookLater() {
	u := &e.awaited
	if u.looking.Swap(true) {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.closed {
		u.look = time.AfterFunc(overdueLook, e.lookOverdue)
	}
}

// lookOverdue has the owners of dialogs asked whose subscriptions should be over. Of a fetch owners hold nothing: what
// has not been told by now is told so (RFC 6665 §4.4.3).
func (e *Edge) lookOverdue() {
	e.awaited.looking.Store(false)
	before := time.Now().Add(-overdueAfter).Unix()
	var list, fetches []*dialog
	some := false
	for i := range e.dialogs.shard {
		s := &e.dialogs.shard[i]
		s.RLock()
		some = some || len(s.byID) > 0
		for _, d := range s.byID {
			d.mu.Lock()
			switch {
			case d.until == 0 || d.until >= before || d.ended || d.unheard:
			case d.fetch:
				fetches = append(fetches, d)
			default:
				d.unheard = true
				list = append(list, d)
			}
			d.mu.Unlock()
		}
		s.RUnlock()
	}
	for _, d := range fetches {
		e.over(d)
	}
	e.awaited.add(e, list, 0)
	if some {
		e.lookLater()
	}
}
