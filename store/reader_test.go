package store

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestReader(t *testing.T) {
	r := startReader(1, nil)
	if n, err := read(t.Context(), r, func() (int, error) { return 7, nil }); n != 7 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	busy, free := make(chan struct{}), make(chan struct{})
	first := make(chan error, 1)
	go func() {
		_, err := read(context.Background(), r, func() (int, error) { close(busy); <-free; return 0, errors.ErrUnsupported })
		first <- err
	}()
	<-busy
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := read(ctx, r, func() (int, error) { t.Error("run after its context ended"); return 0, nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	close(free)
	if err := <-first; !errors.Is(err, errors.ErrUnsupported) {
		t.Error(err)
	}
	r.stop()
	r.stop()
	if _, err := read(t.Context(), r, func() (int, error) { return 0, nil }); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}
