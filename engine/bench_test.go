package engine

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"pharos/presence"
)

// memory is a Saver that answers from its own goroutine, at once, in groups.
type memory struct {
	mu   sync.Mutex
	wake chan struct{}
	list []func(error)
	n    int
}

func (m *memory) Save(saves []presence.Save, done func(error)) {
	m.mu.Lock()
	m.n += len(saves)
	m.list = append(m.list, done)
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

func (m *memory) run(ctx context.Context) {
	for {
		select {
		case <-m.wake:
		case <-ctx.Done():
			return
		}
		m.mu.Lock()
		list := m.list
		m.list = nil
		m.mu.Unlock()
		for _, done := range list {
			done(nil)
		}
	}
}

// open are Policies that allow everybody.
type open struct{}

func (open) Policy(context.Context, presence.Entity) (*presence.Policy, error) {
	return &presence.Policy{Default: presence.Allow}, nil
}

type silent struct{}

func (silent) Notify(*presence.Notice)               {}
func (silent) WatcherChanged(presence.WatcherChange) {}
func (silent) Deliver(*Message) bool                 { return true }

// BenchmarkSubmit is throughput with many inputs under way: all that a
// PUBLISH costs between its edge and the edges of its watchers.
func BenchmarkSubmit(b *testing.B) {
	const users = 1000
	tests := []struct {
		name     string
		watchers int
		save     bool
		in       func(i int) presence.Input
	}{
		{"tick", 0, false, func(int) presence.Input { return presence.Tick{} }},
		{"refresh", 0, true, func(int) presence.Input {
			return presence.Publish{IfMatch: "tag", NewTag: "tag", Lifetime: time.Hour}
		}},
		{"modify", 0, true, modified},
		{"modify, 1 watcher", 1, true, modified},
		{"modify, 20 watchers", 20, true, modified},
		{"session, 20 watchers", 20, false, func(i int) presence.Input { return session("tag", activity(i)) }},
	}
	for _, tt := range tests {
		b.Run(tt.name, func(b *testing.B) {
			ctx, cancel := context.WithCancel(context.Background())
			m := &memory{wake: make(chan struct{}, 1)}
			var wg sync.WaitGroup
			wg.Go(func() { m.run(ctx) })
			c := Config{Queue: 1 << 14, Policies: open{}}
			if tt.save {
				c.Save = m
			}
			e := New(c)
			e.Register("sip", silent{})
			runCtx, stop := context.WithCancel(ctx)
			ended := make(chan error)
			go func() { ended <- e.Run(runCtx) }()
			who := make([]presence.Entity, users)
			for i := range who {
				who[i] = user(fmt.Sprint("user", i))
				for j := range tt.watchers {
					e.Step(ctx, who[i], watch(fmt.Sprint(j), user(fmt.Sprint("w", j))))
				}
				e.Step(ctx, who[i], publish("k", "tag", time.Hour, "busy"))
			}
			room := make(chan struct{}, 4096)
			done := func(_ presence.Outcome, err error) {
				if err != nil {
					b.Error(err)
				}
				<-room
			}
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				room <- struct{}{}
				if err := e.Submit(who[i%users], tt.in(i), done); err != nil {
					b.Fatal(err)
				}
			}
			for range cap(room) {
				room <- struct{}{}
			}
			b.StopTimer()
			stop()
			if err := <-ended; err != nil {
				b.Error(err)
			}
			cancel()
			wg.Wait()
		})
	}
}

var activities = [2]presence.Publish{}

func activity(i int) string { return [2]string{"busy", "away"}[i/1000&1] }

func modified(i int) presence.Input {
	p := &activities[i/1000&1]
	if p.Doc == nil {
		*p = publish("k", "tag", time.Hour, activity(i))
		p.IfMatch = "tag"
	}
	return *p
}

// BenchmarkStep is latency: one input, and its answer.
func BenchmarkStep(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	e := New(Config{})
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := e.Step(ctx, alice, presence.Tick{}); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-ended
}
