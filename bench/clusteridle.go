package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// clusterIdle measures what homes and leases cost when nothing happens: processor time, and memory beyond that
// of one server with the same users.
func clusterIdle(ctx context.Context, bin string, scale float64, each func(Finding)) error {
	n := scaled(100_000, scale, 1000)
	var who people
	for i := range n {
		who.add(i%3, resident(i))
	}
	look := time.Duration(scaled(60, scale, 3)) * time.Second
	var heap [2]uint64
	var spent [2]cost
	var total [2]uint64
	for k, nodes := range []int{0, 3} {
		s, err := startService(ctx, bin, layout{nodes: nodes, people: who})
		if err != nil {
			return err
		}
		defer s.stop()
		if heap[k], err = s.heap(ctx); err != nil {
			return err
		}
		p, err := newPhones(s.at(0))
		if err != nil {
			return err
		}
		var failed atomic.Int64
		err = closed(n, 250, func(i int, done func()) {
			p.publish(resident(i), 1, func(status int) {
				if status != 200 {
					failed.Add(1)
				}
				done()
			})
		})
		p.close()
		if f := failed.Load(); f > 0 || err != nil {
			return fmt.Errorf("bench: %d requests failed: %w", f, err)
		}
		// Timer J holds answers for 32 s; PostgreSQL tidies up after so many rows.
		pauseFor(ctx, min(look, 45*time.Second))
		after, err := s.heap(ctx)
		if err != nil {
			return err
		}
		heap[k] = (after - heap[k]) / uint64(n)
		total[k] = after
		pauseFor(ctx, 2*time.Second)
		wait := s.profile(ctx, "idle", 0, look)
		err = spent[k].spend(s, 1, func() error { pauseFor(ctx, look); return ctx.Err() })
		wait()
		if err != nil {
			return err
		}
		if nodes > 0 {
			homes := 0
			for _, x := range s.nodes {
				st, err := x.status(ctx)
				if err != nil {
					return err
				}
				homes += st.Cluster.Homes
			}
			if homes < n {
				return fmt.Errorf("bench: %d homes, not %d", homes, n)
			}
		}
		if err := s.stop(); err != nil {
			return err
		}
	}
	share := func(d, of time.Duration) float64 { return 100 * float64(d) / float64(of) }
	one, three := &spent[0], &spent[1]
	nodes, db := share(three.cpu, three.wall), share(three.database, three.wall)
	each(Finding{Name: fmt.Sprintf("%d users who have published and do nothing more: CPU of three nodes and PostgreSQL, of one processor", n), Goal: "≤ 5 %", Kept: nodes+db <= 5,
		Events: n, Result: fmt.Sprintf("%.1f %% and %.1f %%", nodes, db), Base: fmt.Sprintf("%.1f %% and %.1f %%", share(one.cpu, one.wall), share(one.database, one.wall))})
	each(Finding{Name: "heap of such a user, home and publication, after a collection", Events: n, Result: fmt.Sprintf("%d octets", heap[1]), Base: fmt.Sprintf("%d octets", heap[0]),
		Ratio: float64(heap[1]) / float64(heap[0])})
	return nil
}

// heap is what all nodes hold after a collection.
func (s *service) heap(ctx context.Context) (sum uint64, err error) {
	for _, n := range s.nodes {
		for range 2 { // what the first leaves to finalizers
			if _, err := n.ask(ctx, "GET", "/debug/pprof/heap", map[string][]string{"gc": {"1"}}); err != nil {
				return 0, err
			}
		}
		st, err := n.status(ctx)
		if err != nil {
			return 0, err
		}
		sum += st.Process.Heap
	}
	return sum, nil
}
