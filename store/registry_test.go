package store

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"pharos/presence"
)

// In SQLite the clock of leases is the process's, so that services of several nodes in one
// process can be tested with a clock of their own.
func TestLeaseClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(t.Context(), t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ctx := t.Context()
		m := Member{Name: "n1", State: "active"}
		if m.Epoch, err = s.Enter(ctx, m, 2500*time.Millisecond); err != nil {
			t.Fatal(err)
		}
		other := Member{Name: "n2", State: "active"}
		if other.Epoch, err = s.Enter(ctx, other, time.Hour); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if leader, _, err := s.Lead(ctx, "n1", m.Epoch, 2*time.Second); leader != "n1" || err != nil {
			t.Fatal(leader, err)
		}
		time.Sleep(2 * time.Second)
		if leader, _, err := s.Lead(ctx, "n2", other.Epoch, 2*time.Second); leader != "n2" || err != nil {
			t.Errorf("%s leads, %v", leader, err)
		}
		list, err := s.Members(ctx)
		if err != nil || !list[0].Expires.Equal(start.Add(2500*time.Millisecond)) {
			t.Errorf("%+v, %v", list, err)
		}
		time.Sleep(500 * time.Millisecond)
		if ok, err := s.Bury(ctx, "n1", m.Epoch); ok || err != nil {
			t.Errorf("buried at the last moment: %v, %v", ok, err)
		}
		time.Sleep(time.Nanosecond)
		if ok, err := s.Bury(ctx, "n1", m.Epoch); !ok || err != nil {
			t.Errorf("not buried: %v, %v", ok, err)
		}
	})
}

// model says what the registry has to hold, in the plainest way.
type model struct {
	nodes map[string]*modelNode
	homes map[presence.Entity]Home
	// epochs are the highest ever of each home.
	epochs map[presence.Entity]uint64
}

type modelNode struct {
	epoch         uint64
	leased, ended bool
}

func (m *model) living(node string) bool { n := m.nodes[node]; return n != nil && !n.ended }

func (m *model) alive(node string) bool { return m.living(node) && m.nodes[node].leased }

// Whatever is done in whatever order, the registry says what the model says, and no epoch of
// a home comes twice.
func TestRegistryModel(t *testing.T) {
	// Thousands of commits, of which none has to outlive anything.
	t.Run("sqlite", func(t *testing.T) {
		dir, err := os.MkdirTemp("/dev/shm", "pharos-test-") // memory, where there is such a thing
		if err != nil {
			dir = t.TempDir()
		}
		defer os.RemoveAll(dir)
		s, err := Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		rapid.Check(t, func(r *rapid.T) { testModel(t, r, s) })
	})
	t.Run("postgres", func(t *testing.T) {
		s := openPostgresTest(t, postgresURL(t)+"&synchronous_commit=off", quiet())
		rapid.Check(t, func(r *rapid.T) { testModel(t, r, s) })
	})
}

func testModel(t *testing.T, r *rapid.T, s *Store) {
	ctx := t.Context()
	m := &model{map[string]*modelNode{}, map[presence.Entity]Home{}, map[presence.Entity]uint64{}}
	for _, table := range []string{"nodes", "homes", "leader"} {
		if err := s.registry(ctx, func(x *registryTx) error { _, err := x.exec(`DELETE FROM ` + table); return err }); err != nil {
			r.Fatal(err)
		}
	}
	names := []string{"n1", "n2", "n3"}
	people := crowd(4)
	node := rapid.SampledFrom(names)
	some := func() []presence.Entity {
		return rapid.SliceOfNDistinct(rapid.SampledFrom(people), 1, len(people), func(e presence.Entity) string { return e.User }).Draw(r, "people")
	}
	lease := func(leased bool) time.Duration {
		if leased {
			return longLease
		}
		return noLease
	}
	// changed takes over what the registry says of changed homes, after a look at it.
	changed := func(got map[presence.Entity]Home, want map[presence.Entity]string) {
		for e, n := range want {
			h, ok := got[e]
			if !ok || h.Node != n || h.Epoch <= m.epochs[e] {
				r.Fatalf("%s: got %v, want it at %s above %d", e, h, n, m.epochs[e])
			}
			m.homes[e], m.epochs[e] = h, h.Epoch
		}
	}
	// epochOf is right or, sometimes, not.
	epochOf := func(epoch uint64) uint64 { return epoch + rapid.SampledFrom([]uint64{0, 0, 0, 1}).Draw(r, "wrong") }
	r.Repeat(map[string]func(*rapid.T){
		"enter": func(r *rapid.T) {
			n, leased := node.Draw(r, "node"), rapid.Bool().Draw(r, "leased")
			epoch, err := s.Enter(ctx, Member{Name: n, State: "active"}, lease(leased))
			if old := m.nodes[n]; err != nil || old != nil && epoch <= old.epoch {
				r.Fatalf("epoch %d, %v", epoch, err)
			}
			m.nodes[n] = &modelNode{epoch, leased, false}
		},
		"renew": func(r *rapid.T) {
			n, leased := node.Draw(r, "node"), rapid.Bool().Draw(r, "leased")
			old := m.nodes[n]
			if old == nil {
				r.Skip()
			}
			epoch := epochOf(old.epoch)
			err := s.Renew(ctx, Member{Name: n, Epoch: epoch, State: "active"}, lease(leased))
			if ok := !old.ended && epoch == old.epoch; ok != (err == nil) {
				r.Fatalf("%v", err)
			} else if ok {
				old.leased = leased
			}
		},
		"bury or leave": func(r *rapid.T) {
			n := node.Draw(r, "node")
			old := m.nodes[n]
			if old == nil {
				r.Skip()
			}
			epoch := epochOf(old.epoch)
			ends := !old.ended && epoch == old.epoch
			if rapid.Bool().Draw(r, "bury") {
				ends = ends && !old.leased
				if ok, err := s.Bury(ctx, n, epoch); ok != ends || err != nil {
					r.Fatalf("buried %v, %v", ok, err)
				}
			} else if err := s.Leave(ctx, n, epoch); err != nil {
				r.Fatal(err)
			}
			if ends {
				*old = modelNode{old.epoch + 1, false, true}
			}
		},
		"settle": func(r *rapid.T) {
			wish, want, stay := map[presence.Entity]string{}, map[presence.Entity]string{}, map[presence.Entity]Home{}
			for _, e := range some() {
				wish[e] = node.Draw(r, "node")
				h, has := m.homes[e]
				switch {
				case has && m.living(h.Node):
					stay[e] = h
				case m.alive(wish[e]):
					want[e] = wish[e]
				case has:
					stay[e] = h
				}
			}
			got, err := s.Settle(ctx, wish)
			if err != nil || len(got) != len(want)+len(stay) {
				r.Fatalf("%v, %v", got, err)
			}
			for e, h := range stay {
				if got[e] != h {
					r.Fatalf("%s: got %v, was at %v", e, got[e], h)
				}
			}
			changed(got, want)
		},
		"move": func(r *rapid.T) {
			from, to := node.Draw(r, "from"), node.Draw(r, "to")
			of, want := map[presence.Entity]uint64{}, map[presence.Entity]string{}
			for _, e := range some() {
				h := m.homes[e]
				if of[e] = epochOf(h.Epoch); h.Node == from && of[e] == h.Epoch && m.alive(to) {
					want[e] = to
				}
			}
			got, err := s.Move(ctx, from, to, of)
			if err != nil || len(got) != len(want) {
				r.Fatalf("%v, %v", got, err)
			}
			changed(got, want)
		},
		"release": func(r *rapid.T) {
			n, of := node.Draw(r, "node"), map[presence.Entity]uint64{}
			for _, e := range some() {
				h := m.homes[e]
				if of[e] = epochOf(h.Epoch); h.Node == n && of[e] == h.Epoch {
					delete(m.homes, e)
				}
			}
			if err := s.Release(ctx, n, of); err != nil {
				r.Fatal(err)
			}
		},
		"inherit": func(r *rapid.T) {
			dead, heirs := node.Draw(r, "dead"), map[string]int{}
			can := false
			for _, n := range names {
				heirs[n] = rapid.IntRange(0, 3).Draw(r, n)
				can = can || heirs[n] > 0 && n != dead && m.alive(n)
			}
			got, err := s.Inherit(ctx, dead, heirs)
			if m.living(dead) || !can {
				if len(got) != 0 || (err == nil) != m.living(dead) {
					r.Fatalf("%v, %v", got, err)
				}
				return
			}
			now, err2 := s.Homes(ctx, people)
			if err != nil || err2 != nil {
				r.Fatal(err, err2)
			}
			counts, want := map[string]int{}, map[presence.Entity]string{}
			for e, h := range m.homes {
				if h.Node != dead {
					continue
				}
				heir := now[e].Node
				if heirs[heir] == 0 || !m.alive(heir) || heir == dead {
					r.Fatalf("%s inherits", heir)
				}
				counts[heir]++
				want[e] = heir
			}
			if !maps.Equal(got, counts) {
				r.Fatalf("%v, and are %v", got, counts)
			}
			changed(now, want)
		},
		"": func(r *rapid.T) {
			now, err := s.Homes(ctx, people)
			if err != nil || !maps.Equal(now, m.homes) {
				r.Fatalf("homes %v, %v; want %v", now, err, m.homes)
			}
			list, err := s.Members(ctx)
			if err != nil || len(list) != len(m.nodes) {
				r.Fatalf("%v, %v", list, err)
			}
			for _, x := range list {
				n := m.nodes[x.Name]
				if x.Epoch != n.epoch || (x.State == stateDead || x.State == stateLeft) != n.ended || !n.ended && time.Until(x.Expires) > 0 != n.leased {
					r.Fatalf("%+v, want %+v", x, n)
				}
			}
			for _, n := range names {
				at, err := s.HomesOf(ctx, n, false)
				var want []presence.Entity
				for e, h := range m.homes {
					if h.Node == n {
						want = append(want, e)
					}
				}
				slices.SortFunc(want, func(a, b presence.Entity) int { return strings.Compare(a.User, b.User) })
				if err != nil || !slices.Equal(at, want) {
					r.Fatalf("at %s: %v, %v; want %v", n, at, err, want)
				}
			}
		},
	})
}

// benchBoth runs a benchmark on each of the databases, with three nodes.
func benchBoth(b *testing.B, bench func(b *testing.B, s *Store)) {
	run := func(b *testing.B, s *Store) {
		for _, n := range []string{"n1", "n2", "n3"} {
			enter(b, s, n, longLease)
		}
		b.ResetTimer()
		bench(b, s)
	}
	b.Run("sqlite", func(b *testing.B) { run(b, openTest(b)) })
	b.Run("postgres", func(b *testing.B) { run(b, openPostgresTest(b, postgresURL(b))) })
}

// settled gives n users homes at a node.
func settled(b *testing.B, s *Store, n int, node string) map[presence.Entity]uint64 {
	epochs := make(map[presence.Entity]uint64, n)
	all := crowd(n)
	for part := range slices.Chunk(all, 10_000) {
		for e, h := range settle(b, s, wishes(part, node)) {
			epochs[e] = h.Epoch
		}
	}
	return epochs
}

// 1,000 homes that are new, in one call.
func BenchmarkSettle(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *Store) {
		for i := range b.N {
			wish := make(map[presence.Entity]string, 1000)
			for n := range 1000 {
				wish[presence.Entity{User: fmt.Sprintf("u%d-%d", i, n), Domain: "example.com"}] = "n1"
			}
			settle(b, s, wish)
		}
		b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "homes/s")
	})
}

// 1,000 that are there.
func BenchmarkSettled(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *Store) {
		settled(b, s, 1000, "n1")
		wish := wishes(crowd(1000), "n2")
		b.ResetTimer()
		for range b.N {
			settle(b, s, wish)
		}
		b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "homes/s")
	})
}

// 500 homes there and back, of 10,000.
func BenchmarkMoveHomes(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *Store) {
		settled(b, s, 10_000, "n1")
		part := map[presence.Entity]uint64{}
		for e, h := range settle(b, s, wishes(crowd(500), "n1")) {
			part[e] = h.Epoch
		}
		from, to := "n1", "n2"
		b.ResetTimer()
		for range b.N {
			moved, err := s.Move(b.Context(), from, to, part)
			if err != nil || len(moved) != 500 {
				b.Fatal(len(moved), err)
			}
			for e, h := range moved {
				part[e] = h.Epoch
			}
			from, to = to, from
		}
		b.ReportMetric(float64(b.N)*500/b.Elapsed().Seconds(), "homes/s")
	})
}

// 100,000 homes of a dead node, in portions.
func BenchmarkInherit(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *Store) {
		const homes = 100_000
		settled(b, s, homes, "n1")
		nodes := members(b, s)
		dead, next := "n1", "n2"
		b.ResetTimer()
		for range b.N {
			b.StopTimer()
			kill(b, s, nodes[dead])
			b.StartTimer()
			for left := homes; left > 0; {
				got, err := s.Inherit(b.Context(), dead, map[string]int{next: 1})
				if err != nil || got[next] == 0 {
					b.Fatal(got, err)
				}
				left -= got[next]
			}
			b.StopTimer()
			nodes[dead] = enter(b, s, dead, longLease)
			dead, next = next, dead
			b.StartTimer()
		}
	})
}

func BenchmarkRenew(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *Store) {
		m := members(b, s)["n1"]
		measureCPU(b, func() {
			for range b.N {
				if err := s.Renew(b.Context(), m, longLease); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// The table of nodes, as each node reads it with each renewal of its lease.
func BenchmarkMembers(b *testing.B) {
	for _, n := range []int{10, 100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			benchBoth(b, func(b *testing.B, s *Store) {
				for i := range n - 3 {
					enter(b, s, fmt.Sprintf("m%05d", i), longLease)
				}
				b.ResetTimer()
				for range b.N {
					if list, err := s.Members(b.Context()); err != nil || len(list) != n {
						b.Fatal(len(list), err)
					}
				}
				b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "rows/s")
			})
		})
	}
}

// Those of 100,000 homes at a node which hold soft state: one in ten.
func BenchmarkHomesOf(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *Store) {
		settled(b, s, 100_000, "n1")
		var saves []presence.Save
		for i, e := range crowd(100_000) {
			if i%10 == 0 {
				sub := benchSubscription(i)
				saves = append(saves, presence.Save{Presentity: e, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub})
			}
		}
		save(b, s, saves...)
		b.ResetTimer()
		for range b.N {
			if list, err := s.HomesOf(b.Context(), "n1", true); err != nil || len(list) != 10_000 {
				b.Fatal(len(list), err)
			}
		}
	})
}

// The first call after the database was restarted goes through, however many connections
// were open before.
func TestRegistryAfterRestart(t *testing.T) {
	s := openPostgresTest(t, postgresURL(t), quiet())
	m := enter(t, s, "n1", longLease)
	for _, end := range []func() error{postgresServer.Stop, postgresServer.Crash} {
		var wg sync.WaitGroup
		for range 2 * maxRegistry {
			wg.Go(func() {
				if err := s.Renew(t.Context(), m, longLease); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if err := end(); err != nil {
			t.Fatal(err)
		}
		if err := s.Renew(t.Context(), m, longLease); err == nil || errors.Is(err, ErrFenced) {
			t.Errorf("without a database: %v", err)
		}
		if err := postgresServer.Start(); err != nil {
			t.Fatal(err)
		}
		if err := s.Renew(t.Context(), m, longLease); err != nil {
			t.Error(err)
		}
	}
}

// To bury a node waits for what it is committing, and so does a new beginning of it; renewals, of
// it and of others, wait for neither.
func TestRenewalsDoNotWait(t *testing.T) {
	url := postgresURL(t)
	s := openPostgresTest(t, url)
	one, two := enter(t, s, "n1", longLease), enter(t, s, "n2", longLease)
	begun, finish := make(chan struct{}), make(chan struct{})
	begin := sync.OnceFunc(func() { close(begun) }) // a lost commit is tried again
	saver := openPostgresTest(t, url)
	saver.Fence("n1", one.Epoch)
	var wg sync.WaitGroup
	wg.Go(func() {
		err := saver.Transact(t.Context(), func(tx *Tx) error {
			begin()
			<-finish
			_, err := tx.PutDocument(alice, "a", "index", []byte("x"))
			return err
		}, alice)
		if err != nil {
			t.Error(err)
		}
	})
	<-begun
	if err := s.Renew(t.Context(), one, noLease); err != nil {
		t.Error(err)
	}
	buried := make(chan bool, 1)
	wg.Go(func() {
		ok, err := s.Bury(t.Context(), "n1", one.Epoch)
		if err != nil {
			t.Error(err)
		}
		buried <- ok
	})
	for range 5 {
		if err := s.Renew(t.Context(), two, longLease); err != nil {
			t.Error(err)
		}
		if err := s.Renew(t.Context(), one, noLease); err != nil {
			t.Error(err)
		}
	}
	select {
	case ok := <-buried:
		t.Errorf("buried %v beside a save", ok)
	default:
	}
	close(finish)
	if !<-buried {
		t.Error("not buried after the save")
	}
	wg.Wait()
	if _, err := s.Document(t.Context(), alice, "a", "index"); err != nil {
		t.Errorf("what was saved before: %v", err)
	}
}
