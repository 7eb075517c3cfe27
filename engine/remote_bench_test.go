package engine

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"pharos/presence"
)

// street is Peers without delays and faults: what the engine itself costs.
type street struct {
	self  string
	owner func(presence.Entity) string
	all   map[string]*villa
}

type villa struct {
	*Engine
	frames chan streetFrame
}

type streetFrame struct {
	from string
	b    []byte
}

func (p *street) Self() string                                    { return p.self }
func (p *street) Owner(e presence.Entity) (string, bool)          { return p.owner(e), true }
func (p *street) Term(presence.Entity) uint64                     { return 1 }
func (p *street) Era() uint64                                     { return 1 }
func (p *street) Locate(e presence.Entity, d func(string, error)) { go d(p.owner(e), nil) }
func (p *street) Valid() bool                                     { return true }
func (p *street) Nodes() (list []string) {
	for name := range p.all {
		if name != p.self {
			list = append(list, name)
		}
	}
	return list
}

func (p *street) Send(node string, frame []byte) error {
	p.all[node].frames <- streetFrame{p.self, frame}
	return nil
}

// inStreet runs engines, the first of which owns everybody.
func inStreet(b *testing.B, edge func(node string) Edge, fn func([]*Engine), names ...string) {
	all := map[string]*villa{}
	var list []*Engine
	var wg, links sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	for _, name := range names {
		p := &street{self: name, owner: func(presence.Entity) string { return names[0] }, all: all}
		h := &villa{New(Config{Queue: 1 << 14, Policies: open{}, Peers: p}), make(chan streetFrame, 1<<12)}
		h.Register("sip", edge(name))
		all[name] = h
		list = append(list, h.Engine)
	}
	for _, h := range all {
		links.Go(func() {
			for f := range h.frames {
				h.Receive(f.from, f.b)
			}
		})
		wg.Go(func() {
			if err := h.Run(ctx); err != nil {
				b.Error(err)
			}
		})
	}
	fn(list)
	cancel()
	wg.Wait()
	for _, h := range all {
		close(h.frames)
	}
	links.Wait()
}

// BenchmarkFarStep is latency: one input to another node and its answer.
func BenchmarkFarStep(b *testing.B) {
	inStreet(b, func(string) Edge { return silent{} }, func(es []*Engine) {
		ctx := context.Background()
		in := session("pad", "busy")
		b.ReportAllocs()
		for b.Loop() {
			if _, err := es[1].Step(ctx, alice, in); err != nil {
				b.Fatal(err)
			}
		}
	}, "a", "b")
}

// BenchmarkFarSubmit is throughput: many users' inputs under way to another node.
func BenchmarkFarSubmit(b *testing.B) {
	const users = 1000
	inStreet(b, func(string) Edge { return silent{} }, func(es []*Engine) {
		who := make([]presence.Entity, users)
		for i := range who {
			who[i] = user(fmt.Sprint("user", i))
		}
		room := make(chan struct{}, 1024)
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
			if err := es[1].Submit(who[i%users], session("pad", activity(i)), done); err != nil {
				b.Fatal(err)
			}
		}
		for range cap(room) {
			room <- struct{}{}
		}
	}, "a", "b")
}

// counting is an edge that spends some time for each watcher, as one does that writes to a socket.
type counting struct {
	silent
	work time.Duration
	told *sync.WaitGroup
}

func (c counting) Notify(n *presence.Notice) {
	for range n.Targets {
		for until := time.Now().Add(c.work); c.work > 0 && time.Now().Before(until); {
		}
	}
	c.told.Add(-len(n.Targets))
}

// BenchmarkFanOut is one change told to 1,000 watchers, who are at one node or spread over
// three; with an edge that costs nothing, and with one that costs what a NOTIFY does.
func BenchmarkFanOut(b *testing.B) {
	const watchers = 1000
	for _, work := range []time.Duration{0, 5 * time.Microsecond} {
		for _, names := range [][]string{{"a"}, {"a", "b", "c"}} {
			b.Run(fmt.Sprintf("%v each, %d nodes", work, len(names)), func(b *testing.B) {
				var told sync.WaitGroup
				inStreet(b, func(string) Edge { return counting{told: &told, work: work} }, func(es []*Engine) {
					ctx := context.Background()
					told.Add(watchers)
					for i := range watchers {
						if _, err := es[i%len(es)].Step(ctx, alice, watch(fmt.Sprint(i), user(fmt.Sprint("w", i)))); err != nil {
							b.Fatal(err)
						}
					}
					told.Wait()
					in := [2]presence.Publish{session("pad", "busy"), session("pad", "away")}
					i := 0
					start := cpu()
					for b.Loop() {
						told.Add(watchers)
						if _, err := es[0].Step(ctx, alice, in[i&1]); err != nil {
							b.Fatal(err)
						}
						told.Wait()
						i++
					}
					b.ReportMetric(float64(cpu()-start)/float64(i), "cpu-ns/op")
				}, names...)
			})
		}
	}
}

// BenchmarkMove is a user with two devices and twenty watchers who moves to another node,
// without what the homes cost.
func BenchmarkMove(b *testing.B) {
	inStreet(b, func(string) Edge { return silent{} }, func(es []*Engine) {
		ctx := context.Background()
		for _, name := range []string{"pad", "desk"} {
			if _, err := es[0].Step(ctx, alice, session(name, "busy")); err != nil {
				b.Fatal(err)
			}
		}
		for i := range 20 {
			if _, err := es[i%2].Step(ctx, alice, watch(fmt.Sprint(i), user(fmt.Sprint("w", i)))); err != nil {
				b.Fatal(err)
			}
		}
		states := make(chan []byte, 1)
		b.ReportAllocs()
		start := cpu()
		i := 0
		for ; b.Loop(); i++ {
			from, to := es[i%2], es[(i+1)%2]
			if err := from.Export(alice, func(state []byte, err error) {
				if err != nil {
					b.Error(err)
				}
				states <- state
			}); err != nil {
				b.Fatal(err)
			}
			if err := to.Import(alice, <-states); err != nil {
				b.Fatal(err)
			}
			from.Forget(alice)
		}
		b.ReportMetric(float64(cpu()-start)/float64(i), "cpu-ns/op")
	}, "a", "b")
}

// cpu is the time that this process has had on all processors.
func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
