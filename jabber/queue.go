package jabber

import (
	"context"
	"sync"
)

// queue holds what waits for a worker, each thing once.
type queue[T comparable] struct {
	most    int
	mu      sync.Mutex
	waiting map[T]struct{}
	order   []T
	wake    chan struct{}
	cancel  context.CancelFunc
	done    chan struct{}
}

// start begins to work. stop must be called.
func (q *queue[T]) start(most int, work func(context.Context, T)) {
	ctx, cancel := context.WithCancel(context.Background())
	q.most, q.waiting = most, make(map[T]struct{})
	q.wake, q.cancel, q.done = make(chan struct{}, 1), cancel, make(chan struct{})
	go q.work(ctx, work)
}

// stop ends the worker when all is done that waits.
func (q *queue[T]) stop() {
	q.cancel()
	<-q.done
}

// put is false when too much waits.
func (q *queue[T]) put(v T) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.waiting[v]; ok {
		return true
	}
	if len(q.order) >= q.most {
		return false
	}
	q.waiting[v] = struct{}{}
	q.order = append(q.order, v)
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return true
}

func (q *queue[T]) take() []T {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := q.order
	q.order = nil
	clear(q.waiting)
	return all
}

func (q *queue[T]) work(ctx context.Context, work func(context.Context, T)) {
	defer close(q.done)
	for stopping := false; !stopping; {
		select {
		case <-q.wake:
		case <-ctx.Done():
			stopping = true
		}
		for _, v := range q.take() {
			work(context.WithoutCancel(ctx), v)
		}
	}
}
