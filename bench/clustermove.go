package bench

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"sync/atomic"
	"time"
)

// residents are users who live at the first node. Each has published, through the second, and is watched
// by another, at the third, or at the node that at says.
type residents struct {
	n      int
	ps     []*phones
	told   []atomic.Int64 // the last state of which a watcher was told
	when   []atomic.Int64 // in Unix nanoseconds, however often he was told
	notify atomic.Int64
}

func residentPeople(n int) (p people) {
	for i := range n {
		p.add(0, resident(i))
	}
	return p
}

func resident(i int) string { return fmt.Sprintf("u%d", i) }

// settleIn publishes and subscribes for all of them.
func settleIn(s *service, n int, at func(i int) int) (*residents, error) {
	r := &residents{n: n, told: make([]atomic.Int64, n), when: make([]atomic.Int64, n)}
	var err error
	if r.ps, err = s.phones(); err != nil {
		return r, err
	}
	var failed, first atomic.Int64
	check := func(want int, done func()) func(int) {
		return func(status int) {
			if status/100 != want {
				failed.Add(1)
			}
			done()
		}
	}
	if err := closed(n, 100, func(i int, done func()) { r.ps[1].publish(resident(i), 1, check(2, done)) }); err != nil {
		return r, err
	}
	all := make(chan struct{}, 1)
	err = closed(n, 100, func(i int, done func()) {
		r.ps[at(i)].subscribe(resident((i+1)%n), resident(i), fmt.Sprintf("d%d", i), func(m []byte) {
			r.notify.Add(1)
			if v := stateOf(m); v > 0 {
				r.when[i].Store(time.Now().UnixNano())
				if r.told[i].Swap(v) != v && v == 1 && first.Add(1) == int64(n) {
					all <- struct{}{}
				}
			}
		}, check(2, done))
	})
	if err == nil {
		err = oneOf(all)
	}
	if f := failed.Load(); f > 0 {
		err = errors.Join(err, fmt.Errorf("bench: %d requests failed", f))
	}
	return r, err
}

func (r *residents) close() { closePhones(r.ps) }

// probes are pairs, some of whose users live at the first node, that say something new all the time.
type probes struct {
	mu     sync.Mutex
	took   []time.Duration
	failed []error
	stop   atomic.Bool
	g      sync.WaitGroup
}

func probe(of []*pair, rest time.Duration) *probes {
	p := &probes{}
	const lanes = 4
	for lane := range lanes {
		p.g.Go(func() {
			for k := 1000; !p.stop.Load(); k++ {
				for i := lane; i < len(of) && !p.stop.Load(); i += lanes {
					d, err := of[i].change(k)
					p.mu.Lock()
					if err != nil {
						p.failed = append(p.failed, err)
					} else {
						p.took = append(p.took, d)
					}
					p.mu.Unlock()
					time.Sleep(rest)
				}
			}
		})
	}
	return p
}

func (p *probes) end() ([]time.Duration, error) {
	p.stop.Store(true)
	p.g.Wait()
	return p.took, errors.Join(p.failed...)
}

// clusterMove empties a node and looks at what clients notice meanwhile.
func clusterMove(ctx context.Context, bin string, scale float64, each func(Finding)) error {
	n := scaled(10_000, scale, 300)
	who := residentPeople(n)
	q := pairPeople()
	for _, name := range q.names {
		q.home[name] = 0 // all are moved
	}
	who.names, who.contacts = append(who.names, q.names...), q.contacts
	for name := range q.home {
		who.home[name] = 0
	}
	s, err := startService(ctx, bin, layout{nodes: 3, people: who, settings: []string{"moves = 20000"}})
	if err != nil {
		return err
	}
	defer s.stop()
	r, err := settleIn(s, n, func(int) int { return 2 })
	defer r.close()
	if err != nil {
		return err
	}
	// The probes' clients are at the nodes that stay.
	rest := *s
	rest.nodes = s.nodes[1:]
	ps, err := newPairs(&rest)
	defer ps.close()
	if err != nil {
		return err
	}
	var of []*pair
	for _, kind := range ps.of {
		of = append(of, kind...)
	}
	p := probe(of, 5*time.Millisecond)
	pauseFor(ctx, time.Duration(scaled(5000, scale, 1000))*time.Millisecond)
	quiet, err := p.end()
	if err != nil {
		return err
	}
	st, err := s.at(0).status(ctx)
	if err != nil {
		return err
	}
	homes := st.Cluster.Homes
	if homes < n {
		return fmt.Errorf("bench: only %d of %d users live where they are to be moved from", homes, n)
	}
	heard := r.notify.Load()
	p = probe(of, 5*time.Millisecond)
	cpu, err := s.cpu()
	db, err2 := s.databaseCPU()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	defer s.profile(ctx, "move", time.Second/2, 3*time.Second)()
	from := time.Now()
	if _, err := s.at(1).ask(ctx, "POST", "/cluster/drain", url.Values{"node": {nodeName(0)}}); err != nil {
		return err
	}
	var begun, done time.Time
	for until := from.Add(90 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if st, err = s.at(0).status(ctx); err != nil {
			return err
		}
		if begun.IsZero() && st.Cluster.Homes < homes {
			begun = time.Now()
		}
		if st.Cluster.Homes == 0 {
			done = time.Now()
			break
		}
		if time.Now().After(until) {
			return fmt.Errorf("bench: %d homes are left", st.Cluster.Homes)
		}
	}
	cpu2, err := s.cpu()
	db2, err2 := s.databaseCPU()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	pauseFor(ctx, time.Second)
	moving, err := p.end()
	notices := ""
	if err != nil {
		notices = fmt.Sprintf("; %d changes failed: %v", len(p.failed), p.failed[0])
	}
	rate := float64(homes) / done.Sub(begun).Seconds()
	each(Finding{Name: "users with publication and subscription moved a second, when a node is drained", Goal: "≥ 1,000", Kept: rate >= 1000, Events: homes,
		Result: fmt.Sprintf("%.0f", rate), Note: fmt.Sprintf("%s from the command until it was empty; CPU of the nodes %s a user, of PostgreSQL %s, the probes' share included", done.Sub(from).Round(10*time.Millisecond),
			micros((cpu2-cpu)/time.Duration(homes)), micros((db2-db)/time.Duration(homes)))})
	each(Finding{Name: "change of a user who is moved meanwhile, to a watcher: p50 (p99, worst), against before", Events: len(moving), Goal: "nobody notices: no error", Kept: err == nil,
		Result: fmt.Sprintf("%s (%s, %s)", ms(quantile(moving, 0.5)), ms(quantile(moving, 0.99)), ms(quantile(moving, 1))),
		Base:   fmt.Sprintf("%s (%s, %s)", ms(quantile(quiet, 0.5)), ms(quantile(quiet, 0.99)), ms(quantile(quiet, 1))),
		Note:   fmt.Sprintf("%d NOTIFYs came to the other watchers, whom nothing has changed for%s", r.notify.Load()-heard, notices)})
	return nil
}
