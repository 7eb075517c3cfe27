package store

import (
	"context"
	"sync"
)

// gatherer asks one question for many callers: who comes while it is asked waits for the
// next. So an answer is never older than its question.
type gatherer[K comparable, V any] struct {
	ask     func(keys []K) (map[K]V, error)
	mu      sync.Mutex
	next    *round[K, V]
	running bool
}

type round[K comparable, V any] struct {
	keys   []K
	done   chan struct{}
	result map[K]V
	err    error
}

// maxAsked bounds the keys of one question.
const maxAsked = 1024

// get returns what ask knows of a key; ok is false when it is nothing.
func (g *gatherer[K, V]) get(ctx context.Context, key K) (v V, ok bool, err error) {
	g.mu.Lock()
	r := g.next
	if r == nil {
		r = &round[K, V]{done: make(chan struct{})}
		g.next = r
	}
	r.keys = append(r.keys, key)
	if !g.running {
		g.running = true
		go g.run()
	}
	g.mu.Unlock()
	select {
	case <-r.done:
		v, ok = r.result[key]
		return v, ok, r.err
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

func (g *gatherer[K, V]) run() {
	for {
		g.mu.Lock()
		r := g.next
		g.next = nil
		g.running = r != nil
		g.mu.Unlock()
		if r == nil {
			return
		}
		for keys := r.keys; len(keys) > 0 && r.err == nil; {
			n := min(len(keys), maxAsked)
			var m map[K]V
			if m, r.err = g.ask(keys[:n]); r.result == nil {
				r.result = m
			} else {
				for k, v := range m {
					r.result[k] = v
				}
			}
			keys = keys[n:]
		}
		close(r.done)
	}
}
