package xcap

import (
	"context"
	"net/http"
	"runtime"
	"sync"
	"time"

	"pharos/presence"
)

// turns bounds what one user has under way, so that nobody takes all places of
// the others by sending bodies slowly.
type turns struct {
	mu sync.Mutex
	of map[presence.Entity]*turn
}

type turn struct {
	places chan struct{}
	users  int // who hold a place or wait for one
}

// enter waits for one of n places of a user; leave gives it back.
func (t *turns) enter(ctx context.Context, u presence.Entity, n int) (leave func(), err error) {
	t.mu.Lock()
	one := t.of[u]
	if one == nil {
		if t.of == nil {
			t.of = map[presence.Entity]*turn{}
		}
		one = &turn{places: make(chan struct{}, n)}
		t.of[u] = one
	}
	one.users++
	t.mu.Unlock()
	gone := func() {
		t.mu.Lock()
		if one.users--; one.users == 0 {
			delete(t.of, u)
		}
		t.mu.Unlock()
	}
	select {
	case one.places <- struct{}{}:
		return func() { <-one.places; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, ctx.Err()
	}
}

// newDesks makes the places for those who have a tree of a document in memory, of
// which one of 512 KiB takes up to 25 MB: as many as can work at one time.
func newDesks() chan struct{} { return make(chan struct{}, runtime.GOMAXPROCS(0)) }

// desk waits for a place; leave gives it back. Nothing is waited for in between but
// what the check of a document looks up.
func (r *request) desk() (leave func(), err error) {
	ctx, cancel := context.WithTimeout(r.Context(), r.edge.Limits.Transfer)
	defer cancel()
	desks := r.edge.desks
	select {
	case desks <- struct{}{}:
		return func() { <-desks }, nil
	case <-ctx.Done():
		return nil, &failure{status: http.StatusServiceUnavailable, text: "too many documents are being read", retry: time.Second}
	}
}
