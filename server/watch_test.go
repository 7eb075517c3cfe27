package server

import (
	"context"
	"testing"
	"time"

	"pharos/presence"
)

// An operator goes on watching when the user has a new owner who knows nothing of it.
func TestWatchAfterLost(t *testing.T) {
	s := run(t, nil)
	alice := presence.Entity{User: "alice", Domain: "localhost"}
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	seen := make(chan Seen, 10)
	ended := make(chan error, 1)
	go func() {
		ended <- s.watch.follow(ctx, alice, func(x Seen) error { seen <- x; return nil })
	}()
	next := func(want int) {
		t.Helper()
		select {
		case x := <-seen:
			if len(x.Sources) != want {
				t.Errorf("%d sources, want %d", len(x.Sources), want)
			}
		case err := <-ended:
			t.Fatal(err)
		}
	}
	next(0)
	// As it is at a new owner: nobody watches.
	if _, err := s.engine.Step(ctx, alice, presence.Unwatch{ID: "w1", Silent: true}); err != nil {
		t.Fatal(err)
	}
	s.watch.Lost(func(e presence.Entity) bool { return e != alice })
	s.watch.Lost(func(e presence.Entity) bool { return e == alice })
	next(0)
	_, err := s.engine.Step(ctx, alice, presence.Publish{ID: presence.SourceID{Kind: presence.Extended, Key: "mood"}, NewTag: "t",
		Doc: &presence.Document{}})
	if err != nil {
		t.Fatal(err)
	}
	next(1)
	stop()
	<-ended
}
