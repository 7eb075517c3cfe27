package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// pairsEach is how many pairs of publisher and watcher there are of a kind and a place of the owner.
const pairsEach = 4

// pair is a publisher at the first node and a watcher at the second.
type pair struct {
	*awaited
	say   func(k int, done func(status int))
	owner int
}

// wayKinds are the ways that a change can take.
var wayKinds = []string{"SIP→SIP", "XMPP→XMPP", "SIP→XMPP"}

func pairNames(kind, owner, i int) (publisher, watcher string) {
	return fmt.Sprintf("p%d-%d-%d", kind, owner, i), fmt.Sprintf("w%d-%d-%d", kind, owner, i)
}

func eachPair(fn func(kind, owner, i int)) {
	for kind := range wayKinds {
		for owner := range 3 {
			for i := range pairsEach {
				fn(kind, owner, i)
			}
		}
	}
}

// pairPeople are those of all pairs. Watchers live where they are connected.
func pairPeople() (p people) {
	eachPair(func(kind, owner, i int) {
		a, b := pairNames(kind, owner, i)
		p.add(owner, a)
		p.add(1, b)
		if kind > 0 {
			p.acquaint(a, b)
		}
	})
	return p
}

// pairs connects them all, and has everybody told of a first state. Chats are of those with XMPP.
type pairs struct {
	of     [][]*pair // by kind
	phones []*phones
	chats  []*xmppClient
}

func (p *pairs) close() {
	closePhones(p.phones)
	closeAll(p.chats)
}

func newPairs(s *service) (*pairs, error) {
	p := &pairs{of: make([][]*pair, len(wayKinds))}
	var err error
	if p.phones, err = s.phones(); err != nil {
		return p, err
	}
	publishers, watchers := p.phones[0], p.phones[1%len(p.phones)]
	var failed []error
	wait := make(chan int, 1)
	answered := func(what string) {
		if status := <-wait; status/100 != 2 {
			failed = append(failed, fmt.Errorf("%s: %d", what, status))
		}
	}
	eachPair(func(kind, owner, i int) {
		a, b := pairNames(kind, owner, i)
		x := &pair{awaited: newAwaited(), owner: owner}
		p.of[kind] = append(p.of[kind], x)
		if kind != 1 {
			publishers.publish(a, 0, func(status int) { wait <- status })
			answered("PUBLISH")
			x.say = func(k int, done func(int)) { publishers.publish(a, k, done) }
		}
		if kind == 0 {
			watchers.subscribe(b, a, "s"+b, x.heard, func(status int) { wait <- status })
			answered("SUBSCRIBE")
			return
		}
		if kind == 1 {
			cs, err := s.chats([]string{a}, func(int) int { return 0 }, 1, func(int, []byte) {})
			p.chats = append(p.chats, cs...)
			if err != nil {
				failed = append(failed, err)
				return
			}
			x.say = func(k int, done func(int)) {
				status := 200
				if err := cs[0].write("<presence><status>state %d</status></presence>", k); err != nil {
					status = 500
				}
				done(status)
			}
		}
		cs, err := s.chats([]string{b}, func(int) int { return 1 }, 2, func(_ int, st []byte) { x.heard(st) })
		p.chats = append(p.chats, cs...)
		if err != nil {
			failed = append(failed, err)
		}
	})
	return p, errors.Join(failed...)
}

// change has a pair's publisher say a new state, and returns how long it took to the watcher, by one clock.
func (x *pair) change(k int) (time.Duration, error) {
	said := make(chan int, 1)
	x.expect(k)
	from := time.Now()
	x.say(k, func(status int) { said <- status })
	at, ok := x.wait(10 * time.Second)
	if !ok {
		return 0, fmt.Errorf("bench: state %d has never come", k)
	}
	if status := <-said; status != 200 {
		return 0, fmt.Errorf("bench: PUBLISH: %d", status)
	}
	return at.Sub(from), nil
}

// clusterLatency measures a change from its publisher at one node to its watcher at another, one at a time.
func clusterLatency(ctx context.Context, bin string, scale float64, each func(Finding)) error {
	var services [2]*service
	var all [2]*pairs
	for i, nodes := range []int{0, 3} {
		s, err := startService(ctx, bin, layout{nodes: nodes, people: pairPeople()})
		if err != nil {
			return err
		}
		defer s.stop()
		services[i] = s
		p, err := newPairs(s)
		defer p.close()
		if err != nil {
			return err
		}
		all[i] = p
	}
	const at = "ABC"
	var took [2][3][3][]time.Duration // by service, kind, owner
	rounds := scaled(400, scale, 5)
	defer services[1].profile(ctx, "latency", 3*time.Second, 10*time.Second)()
	for k := 1; k <= rounds; k++ {
		for kind := range wayKinds {
			for owner := range 3 {
				for i, p := range all {
					d, err := p.of[kind][owner*pairsEach+k%pairsEach].change(k)
					if err != nil {
						return fmt.Errorf("%s, owner at %c, %d nodes: %w", wayKinds[kind], at[owner], len(services[i].nodes), err)
					}
					if k > rounds/10 {
						took[i][kind][owner] = append(took[i][kind][owner], d)
					}
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	for kind, name := range wayKinds {
		for owner := range 3 {
			one, three := took[0][kind][owner], took[1][kind][owner]
			f := Finding{Name: fmt.Sprintf("change from A to a watcher at B, %s, owner at %c: p50 (p99)", name, at[owner]), Goal: "≤ 2×", Events: len(three)}
			f.Result = ms(quantile(three, 0.5)) + " (" + ms(quantile(three, 0.99)) + ")"
			f.Base = ms(quantile(one, 0.5)) + " (" + ms(quantile(one, 0.99)) + ")"
			f.Ratio = float64(quantile(three, 0.5)) / float64(quantile(one, 0.5))
			f.Kept = f.Ratio <= 2
			each(f)
		}
	}
	return nil
}
