package store

import (
	"context"
	"sync"
)

// reader runs queries on goroutines of its own. SQLite in Go needs deep stacks:
// a session that read its roster itself would have its stack grown to 32 kB while
// somebody waits for the answer, and keep a part of that while it is idle.
type reader struct {
	jobs chan func()
	quit chan struct{}
	once sync.Once
	wg   sync.WaitGroup
	lost func() // a connection was lost; nil where there are none to lose
}

// startReader makes n workers: as many as there are connections, since more would
// wait for those.
func startReader(n int, lost func()) *reader {
	r := &reader{jobs: make(chan func()), quit: make(chan struct{}), lost: lost}
	for range n {
		r.wg.Go(func() {
			for {
				select {
				case fn := <-r.jobs:
					fn()
				case <-r.quit:
					return
				}
			}
		})
	}
	return r
}

// stop ends the workers when they are done with what they have.
func (r *reader) stop() {
	r.once.Do(func() { close(r.quit) })
	r.wg.Wait()
}

// read runs fn on a worker of r and returns what it returned. When ctx ends
// before fn was begun, it is not run.
func read[T any](ctx context.Context, r *reader, fn func() (T, error)) (v T, err error) {
	done := make(chan struct{})
	select {
	case r.jobs <- func() { v, err = again(r, fn); close(done) }:
		<-done
		return v, err
	case <-r.quit:
		return v, ErrClosed
	case <-ctx.Done():
		return v, ctx.Err()
	}
}

// again runs fn, and once more when its connection was lost: it only reads. All connections
// that wait to be used are thrown away first, since whatever has ended one has probably
// ended the others too.
func again[T any](r *reader, fn func() (T, error)) (T, error) {
	v, err := fn()
	if err != nil && r.lost != nil && lostConnection(err) {
		r.lost()
		return fn()
	}
	return v, err
}

// orClosed is err, or ErrClosed when that is why.
func (r *reader) orClosed(err error) error {
	select {
	case <-r.quit:
		return ErrClosed
	default:
		return err
	}
}
