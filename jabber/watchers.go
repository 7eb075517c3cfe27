package jabber

import (
	"context"
	"sync"
	"time"

	"pharos/presence"
)

// WatcherChanged has a watcher of another edge that waits for an answer asked
// about in XMPP's way: a pending row and a subscribe stanza (RFC 8048 §5.2). It
// does not block; the row is written by the edge's worker.
func (e *Edge) WatcherChanged(c presence.WatcherChange) {
	if c.Sub == "" && c.State == presence.Active && e.local(c.Presentity.Domain) {
		e.enqueue(change{what: reconciling, u: c.Presentity})
		return
	}
	// A session's own watches follow from the roster; they are no requests. A phone
	// that asks for the calls (RFC 4235) is asked about like one that asks for the
	// presence: one policy decides on both.
	if c.Edge == EdgeName || c.State != presence.Pending || !e.local(c.Presentity.Domain) {
		return
	}
	if !e.changes.put(change{asked, c.Presentity, c.Watcher}) {
		e.log.Warn("pending watcher not asked about: too many wait",
			"entity", c.Presentity.String(), "watcher", c.Watcher.String(), "sub", c.Sub)
	}
}

// change is something that the worker does between a user and a contact.
type change struct {
	what    what
	u       presence.Entity
	contact presence.Entity
}

type what uint8

const (
	asked       what = iota // the contact waits for the user's answer, elsewhere
	listed                  // the user has put the contact into the buddy list
	unlisted                // or taken out of it
	refused                 // the contact may not watch the user any more
	reconciling             // the user's rules have changed; there is no contact
)

// changeQueue holds each waiting change once, in the order in which they are due.
type changeQueue struct {
	mu      sync.Mutex
	waiting map[change]struct{}
	order   []change
	later   []delayed // in order
	wake    chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}
}

type delayed struct {
	change
	due time.Time
}

func (q *changeQueue) start(e *Edge) {
	ctx, cancel := context.WithCancel(context.Background())
	q.waiting = make(map[change]struct{})
	q.wake = make(chan struct{}, 1)
	q.cancel, q.done = cancel, make(chan struct{})
	go q.work(ctx, e)
}

func (q *changeQueue) stop() {
	q.cancel()
	<-q.done
}

func (q *changeQueue) put(c change) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.waiting[c]; ok {
		return true
	}
	if len(q.order)+len(q.later) >= MaxWatcherChanges {
		return false
	}
	q.waiting[c] = struct{}{}
	if c.what == unlisted {
		q.later = append(q.later, delayed{c, time.Now().Add(UnlistedDelay)})
	} else {
		q.order = append(q.order, c)
	}
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

// take returns what is due, or with all everything, and the time to the next.
func (q *changeQueue) take(all bool) (due []change, wait time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	due = q.order
	q.order = nil
	now, n := time.Now(), 0
	for n < len(q.later) && (all || !q.later[n].due.After(now)) {
		due = append(due, q.later[n].change)
		n++
	}
	q.later = q.later[n:]
	for _, c := range due {
		delete(q.waiting, c)
	}
	if len(q.later) == 0 {
		q.later = nil
		return due, -1
	}
	return due, q.later[0].due.Sub(now)
}

func (q *changeQueue) work(ctx context.Context, e *Edge) {
	defer close(q.done)
	timer := time.NewTimer(time.Hour)
	timer.Stop()
	defer timer.Stop()
	for {
		stopping := false
		select {
		case <-q.wake:
		case <-timer.C:
		case <-ctx.Done():
			stopping = true
		}
		// What was taken is written also when the server stops: the watcher's
		// edge reports a pending watcher once, and a document has changed once.
		due, wait := q.take(stopping)
		for _, c := range due {
			e.settle(context.WithoutCancel(ctx), c)
		}
		if stopping {
			return
		}
		if timer.Stop(); wait >= 0 {
			timer.Reset(wait)
		}
	}
}

// settle does one of the worker's changes.
func (e *Edge) settle(ctx context.Context, c change) {
	var err error
	switch c.what {
	case asked:
		err = e.ask(ctx, c.u, c.contact)
	case listed:
		err = e.subscribeListed(ctx, c.u, c.contact)
	case unlisted:
		err = e.unsubscribeUnlisted(ctx, c.u, c.contact)
	case refused:
		err = e.refuseContact(ctx, c.u, c.contact)
	case reconciling:
		err = e.reconcile(ctx, c.u)
	}
	if err != nil {
		e.log.Error("subscription does not follow a document", "entity", c.u.String(), "contact", c.contact.String(), "err", err)
		return // is tried again by the next process
	}
	e.paid(c)
}
