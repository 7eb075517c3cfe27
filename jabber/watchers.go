package jabber

import (
	"context"
	"sync"

	"pharos/presence"
	"pharos/roster"
)

// WatcherChanged has a watcher of another edge that waits for an answer asked
// about in XMPP's way: a pending row and a subscribe stanza (RFC 8048 §5.2). It
// does not block; the row is written by the edge's worker.
func (e *Edge) WatcherChanged(c presence.WatcherChange) {
	// A session's own watches follow from the roster; they are no requests. What
	// is not about presence the roster cannot ask (RFC 6121 §3.1).
	if c.Package != "" || c.Edge == EdgeName || c.State != presence.Pending || !e.local(c.Presentity.Domain) {
		return
	}
	if !e.changes.put(relation{c.Presentity, c.Watcher}) {
		e.log.Warn("pending watcher not asked about: too many wait",
			"entity", c.Presentity.String(), "watcher", c.Watcher.String(), "sub", c.Sub)
	}
}

type relation struct{ presentity, watcher presence.Entity }

// watcherQueue holds each waiting relation once.
type watcherQueue struct {
	mu      sync.Mutex
	waiting map[relation]struct{}
	order   []relation
	wake    chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}
}

func (q *watcherQueue) start(e *Edge) {
	ctx, cancel := context.WithCancel(context.Background())
	q.waiting = make(map[relation]struct{})
	q.wake = make(chan struct{}, 1)
	q.cancel, q.done = cancel, make(chan struct{})
	go q.work(ctx, e)
}

func (q *watcherQueue) stop() {
	q.cancel()
	<-q.done
}

func (q *watcherQueue) put(r relation) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.waiting[r]; ok {
		return true
	}
	if len(q.order) >= MaxWatcherChanges {
		return false
	}
	q.waiting[r] = struct{}{}
	q.order = append(q.order, r)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

func (q *watcherQueue) take() []relation {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.order
	q.order = nil
	clear(q.waiting)
	return all
}

func (q *watcherQueue) work(ctx context.Context, e *Edge) {
	defer close(q.done)
	for {
		stopping := false
		select {
		case <-q.wake:
		case <-ctx.Done():
			stopping = true
		}
		// What was taken is written also when the server stops: the watcher's
		// edge reports a pending watcher once.
		for _, r := range q.take() {
			e.inbound(context.WithoutCancel(ctx), r.presentity, r.watcher, roster.Subscribe)
		}
		if stopping {
			return
		}
	}
}
