package cluster

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"

	"pharos/presence"
	"pharos/store/storetest"
)

// idle is an engine that has nothing.
type idle struct{}

func (idle) Receive(string, []byte)                                   {}
func (idle) Gone(string)                                              {}
func (idle) Lost(func(presence.Entity) bool)                          {}
func (idle) Arrive([]presence.Entity)                                 {}
func (idle) Disown()                                                  {}
func (idle) Found([]presence.Entity)                                  {}
func (idle) Forget(presence.Entity)                                   {}
func (idle) KeepHere(presence.Entity)                                 {}
func (idle) Import(presence.Entity, []byte) error                     { return nil }
func (idle) Export(_ presence.Entity, done func([]byte, error)) error { done(nil, nil); return nil }

// busyNode is a node with homes of its own and hints of another's, on a store in memory
// or on a disk.
func busyNode(b *testing.B, crowd int) (*Node, []presence.Entity) {
	n, _, all := twoNodes(b, crowd)
	return n, all
}

func twoNodes(b *testing.B, crowd int) (n, other *Node, all []presence.Entity) {
	b.Helper()
	st := storetest.Open(b)
	bus := NewMemory()
	n = New(Config{Name: "a", Registry: st.Node(), Bus: bus.Join("a"), Max: 1e6, Moves: 1e6})
	n.Use(idle{})
	other = New(Config{Name: "b", Registry: st.Node(), Bus: bus.Join("b"), Max: 1e6, Moves: 1e6})
	other.Use(idle{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = n.Run(ctx) })
	running.Go(func() { _ = other.Run(ctx) })
	b.Cleanup(func() { cancel(); running.Wait() })
	<-n.Entered()
	<-other.Entered()
	for len(n.Nodes()) == 0 || len(other.Nodes()) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	all = people(crowd)
	locateAll(b, n, all[:crowd/2])
	locateAll(b, other, all[crowd/2:])
	locateAll(b, n, all[crowd/2:])
	return n, other, all
}

func locateAll(b *testing.B, n *Node, all []presence.Entity) {
	b.Helper()
	var wg sync.WaitGroup
	for _, e := range all {
		wg.Add(1)
		n.Locate(e, func(_ string, err error) {
			if err != nil {
				b.Error(err)
			}
			wg.Done()
		})
	}
	wg.Wait()
}

// metered has a benchmark report the time of the processors, which does not depend on what else
// the machine does.
func metered(b *testing.B) {
	cpu := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	b.ReportAllocs()
	begun := cpu()
	b.Cleanup(func() { b.ReportMetric(float64(cpu()-begun)/float64(b.N), "cpu-ns/op") })
}

// Owner, of a home here, one elsewhere, and of somebody unknown.
func BenchmarkOwner(b *testing.B) {
	n, all := busyNode(b, 50_000)
	ask := func(of []presence.Entity, want bool) func(*testing.B) {
		return func(b *testing.B) {
			metered(b)
			for i := 0; b.Loop(); i++ {
				if i == len(of) {
					i = 0
				}
				if _, ok := n.Owner(of[i]); ok != want {
					b.Fatal(of[i])
				}
			}
		}
	}
	b.Run("here", ask(all[:20_000], true))
	b.Run("elsewhere", ask(all[25_000:45_000], true))
	strangers := people(20_000)
	for i := range strangers {
		strangers[i].Domain = "example.net"
	}
	b.Run("unknown", ask(strangers, false))
}

func BenchmarkValid(b *testing.B) {
	n, _ := busyNode(b, 2)
	metered(b)
	for b.Loop() {
		if !n.Valid() {
			b.Fatal("no lease")
		}
	}
}

// Locate, with as many at once as come: one that has no home yet, and one that has.
func BenchmarkLocate(b *testing.B) {
	n, all := busyNode(b, 20_000)
	b.Run("new", func(b *testing.B) {
		of := make([]presence.Entity, b.N)
		for i := range of {
			of[i] = presence.Entity{User: entity(i).User, Domain: b.Name() + time.Now().String()}
		}
		b.ResetTimer()
		metered(b)
		locateSome(b, n, of)
	})
	b.Run("known", func(b *testing.B) {
		metered(b)
		for i := 0; i < b.N; i += 10_000 {
			locateSome(b, n, all[10_000:10_000+min(10_000, b.N-i)])
		}
	})
}

// locateSome has no more under way than are taken.
func locateSome(b *testing.B, n *Node, of []presence.Entity) {
	for len(of) > 0 {
		k := min(len(of), 10_000)
		locateAll(b, n, of[:k])
		of = of[k:]
	}
}

// One presentity there, as part of a group; without what the engines do.
func BenchmarkMove(b *testing.B) {
	n, other, all := twoNodes(b, 10_000)
	all = all[:len(all)/2]
	metered(b)
	begun := time.Now()
	moved := 0
	for moved < b.N {
		part := all[:min(len(all), b.N-moved)]
		if k, err := n.Move(b.Context(), part, other.Self()); err != nil || k != len(part) {
			b.Fatal(k, err)
		}
		moved += len(part)
		for other.Homes() < 5_000+len(part) {
			time.Sleep(time.Millisecond)
		}
		n, other = other, n
		if k, err := n.Move(b.Context(), part, other.Self()); err != nil || k != len(part) {
			b.Fatal(k, err)
		}
		moved += len(part)
		n, other = other, n
		for n.Homes() < 5_000 {
			time.Sleep(time.Millisecond)
		}
	}
	b.ReportMetric(float64(moved)/time.Since(begun).Seconds(), "moves/s")
}
