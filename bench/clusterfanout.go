package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// audience is one publisher at the first node and many watchers, spread over all nodes.
type audience struct {
	watchers int
	token    atomic.Pointer[[]byte]
	left     atomic.Int64
	all      chan struct{}
	say      func(k int, done func(status int))
}

func (a *audience) heard(m []byte) {
	if t := a.token.Load(); t != nil && bytes.Contains(m, *t) && a.left.Add(-1) == 0 {
		a.all <- struct{}{}
	}
}

// event is a change until everybody has been told.
func (a *audience) event(k int) error {
	t := stateToken(k)
	a.left.Store(int64(a.watchers))
	a.token.Store(&t)
	said := make(chan int, 1)
	a.say(k, func(status int) { said <- status })
	if err := oneOf(a.all); err != nil {
		return fmt.Errorf("%w: %d of %d have not been told", err, a.left.Load(), a.watchers)
	}
	if status := <-said; status != 200 {
		return fmt.Errorf("bench: PUBLISH: %d", status)
	}
	return nil
}

func audiencePeople(watchers int) (p people) {
	p.add(0, "star", "idol")
	for i := range watchers {
		p.add(i%3, fmt.Sprintf("f%d", i))
		p.acquaint("idol", fmt.Sprintf("f%d", i))
	}
	return p
}

// phoneAudience subscribes by SIP.
func phoneAudience(s *service, watchers int) (*audience, func(), error) {
	a := &audience{watchers: watchers, all: make(chan struct{}, 1)}
	ps, err := s.phones()
	if err != nil {
		return a, func() { closePhones(ps) }, err
	}
	a.say = func(k int, done func(int)) { ps[0].publish("star", k, done) }
	var failed atomic.Int64
	t := stateToken(0)
	a.left.Store(int64(watchers))
	a.token.Store(&t)
	if err = closed(1, 1, func(_ int, done func()) { a.say(0, func(int) { done() }) }); err == nil {
		err = closed(watchers, 50, func(i int, done func()) {
			w := fmt.Sprintf("f%d", i)
			ps[i%len(ps)].subscribe(w, "star", "s"+w, a.heard, func(status int) {
				if status/100 != 2 {
					failed.Add(1)
				}
				done()
			})
		})
	}
	if err == nil {
		err = oneOf(a.all)
	}
	if n := failed.Load(); n > 0 {
		err = fmt.Errorf("bench: %d subscriptions failed", n)
	}
	return a, func() { closePhones(ps) }, err
}

// chatAudience are contacts who are logged in.
func chatAudience(s *service, watchers int) (*audience, func(), error) {
	a := &audience{watchers: watchers, all: make(chan struct{}, 1)}
	idol, err := s.chats([]string{"idol"}, func(int) int { return 0 }, 1, func(int, []byte) {})
	if err != nil {
		return a, func() { closeAll(idol) }, err
	}
	names := make([]string, watchers)
	for i := range names {
		names[i] = fmt.Sprintf("f%d", i)
	}
	cs, err := s.chats(names, func(i int) int { return i }, 2, func(_ int, st []byte) { a.heard(st) })
	a.say = func(k int, done func(int)) {
		status := 200
		if idol[0].write("<presence><status>state %d</status></presence>", k) != nil {
			status = 500
		}
		done(status)
	}
	return a, func() { closeAll(append(cs, idol...)) }, err
}

// cost is what was used from one reading to the next.
type cost struct {
	cpu, database time.Duration
	wall          time.Duration
	bus           int64
	events        int
}

// spend adds what fn costs.
func (c *cost) spend(s *service, events int, fn func() error) error {
	cpu, err := s.cpu()
	db, err2 := s.databaseCPU()
	bus, _ := s.busBytes()
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	from := time.Now()
	if err := fn(); err != nil {
		return err
	}
	c.wall += time.Since(from)
	cpu2, err := s.cpu()
	db2, err2 := s.databaseCPU()
	bus2, _ := s.busBytes()
	c.cpu, c.database, c.bus, c.events = c.cpu+cpu2-cpu, c.database+db2-db, c.bus+bus2-bus, c.events+events
	return errors.Join(err, err2)
}

// per is a share of one event.
func (c *cost) per(d time.Duration) time.Duration { return d / time.Duration(max(c.events, 1)) }

// clusterFanout measures what a change costs that is told to many, at one node and spread over three.
func clusterFanout(ctx context.Context, bin string, scale float64, each func(Finding)) error {
	watchers := min(1000, scaled(10_000, scale, 60))
	var services [2]*service
	for i, nodes := range []int{0, 3} {
		s, err := startService(ctx, bin, layout{nodes: nodes, people: audiencePeople(watchers)})
		if err != nil {
			return err
		}
		defer s.stop()
		services[i] = s
	}
	for kind, gather := range []func(*service, int) (*audience, func(), error){phoneAudience, chatAudience} {
		var all [2]*audience
		for i, s := range services {
			a, leave, err := gather(s, watchers)
			defer leave()
			if err != nil {
				return err
			}
			all[i] = a
		}
		if err := fanOut(ctx, []string{"SIP", "XMPP"}[kind], services, all, scale, each); err != nil {
			return err
		}
	}
	return nil
}

// fanOut compares two services whose watchers are there, in turns.
func fanOut(ctx context.Context, name string, services [2]*service, all [2]*audience, scale float64, each func(Finding)) error {
	const batch = 20
	batches := scaled(25, scale, 2)
	var spent [2]cost
	var batchCost [2][]time.Duration // of an event, by batches
	var idle cost
	if err := idle.spend(services[1], 1, func() error {
		pauseFor(ctx, time.Duration(scaled(3000, scale, 500))*time.Millisecond)
		return ctx.Err()
	}); err != nil {
		return err
	}
	defer services[1].profile(ctx, "fanout-"+name, 2*time.Second, 10*time.Second)()
	k := 0
	for b := range batches {
		for i, s := range services {
			run := func() error {
				for range batch {
					k++
					if err := all[i].event(k); err != nil {
						return err
					}
				}
				return ctx.Err()
			}
			var err error
			if b == 0 { // warm
				err = run()
			} else {
				before := spent[i].cpu
				err = spent[i].spend(s, batch, run)
				batchCost[i] = append(batchCost[i], (spent[i].cpu-before)/batch)
			}
			if err != nil {
				return err
			}
		}
	}
	three := &spent[1]
	few, many := quantile(batchCost[0], 0.5), quantile(batchCost[1], 0.5)
	f := Finding{Name: fmt.Sprintf("CPU of a change to %d watchers (%s), all nodes together, median of batches of %d", all[0].watchers, name, batch), Goal: "≤ 1.3×", Events: three.events,
		Result: ms(many), Base: ms(few), Ratio: float64(many) / float64(max(1, few))}
	f.Kept = f.Ratio <= 1.3
	each(f)
	bus := float64(three.bus) - float64(idle.bus)*three.wall.Seconds()/idle.wall.Seconds()
	each(Finding{Name: fmt.Sprintf("octets on the bus for such a change (%s)", name), Events: three.events,
		Result: fmt.Sprintf("%.0f", bus/float64(three.events)), Note: fmt.Sprintf("beside %.0f a second when nothing happens", float64(idle.bus)/idle.wall.Seconds())})
	return nil
}

func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
