package store

import (
	"context"
	"maps"
	"slices"
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
	lead := !g.running
	if lead {
		g.running, g.next = true, nil
	}
	g.mu.Unlock()
	if lead {
		g.answer(r)
		if g.more() {
			go g.run() // they are not ours to wait for
		}
	}
	select {
	case <-r.done:
		v, ok = r.result[key]
		return v, ok, r.err
	case <-ctx.Done():
		return v, false, ctx.Err()
	}
}

// run answers those who came meanwhile.
func (g *gatherer[K, V]) run() {
	for {
		g.mu.Lock()
		r := g.next
		g.next = nil
		g.mu.Unlock()
		g.answer(r)
		if !g.more() {
			return
		}
	}
}

// more tells whether somebody waits; if not, the next who comes asks for himself.
func (g *gatherer[K, V]) more() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running = g.next != nil
	return g.running
}

func (g *gatherer[K, V]) answer(r *round[K, V]) {
	for keys := unique(r.keys); len(keys) > 0 && r.err == nil; {
		n := min(len(keys), maxAsked)
		var m map[K]V
		if m, r.err = g.ask(keys[:n]); r.result == nil {
			r.result = m
		} else {
			maps.Copy(r.result, m)
		}
		keys = keys[n:]
	}
	close(r.done)
}

// unique takes out, in place, what is there a second time.
func unique[K comparable](keys []K) []K {
	if len(keys) < 2 {
		return keys
	}
	seen := make(map[K]bool, len(keys))
	return slices.DeleteFunc(keys, func(k K) bool {
		again := seen[k]
		seen[k] = true
		return again
	})
}
