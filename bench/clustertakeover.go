package bench

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// rightWithin is the goal: how long after a node's death the last watcher is told what is so.
const rightWithin = 5 * time.Second

// clusterTakeover kills the node at which everybody lives, and at which half of the watchers are connected by
// UDP. Some publish anew meanwhile, or all, through another.
func clusterTakeover(ctx context.Context, bin string, scale float64, each func(Finding)) error {
	for i, share := range []int{10, 1} {
		if i > 0 && scale < brief {
			break
		}
		if err := takeover(ctx, bin, scaled(10_000, scale, 300), share, each); err != nil {
			return err
		}
	}
	return nil
}

// takeover measures it with every share-th user publishing.
func takeover(ctx context.Context, bin string, n, share int, each func(Finding)) error {
	s, err := startService(ctx, bin, layout{nodes: 3, people: residentPeople(n)})
	if err != nil {
		return err
	}
	defer s.stop()
	r, err := settleIn(s, n, func(i int) int { return i % 2 * 2 })
	defer r.close()
	if err != nil {
		return err
	}
	before := r.notify.Load()
	from := time.Now()
	if err := s.at(0).kill(); err != nil {
		return err
	}
	rest := *s
	rest.nodes = s.nodes[1:]
	defer rest.profile(ctx, fmt.Sprintf("takeover-%d", share), 2*time.Second, 3*time.Second)()
	a := &anew{residents: r, share: share, from: from, until: from.Add(60 * time.Second)}
	var spent cost
	if err := spent.spend(&rest, n, func() error { return a.run(ctx) }); err != nil {
		return err
	}
	who := "all"
	if share > 1 {
		who = fmt.Sprintf("%d", n/share)
	}
	each(Finding{
		Name: fmt.Sprintf("a node with %d homes, and half of their %[1]d watchers (UDP), is killed, and %s of its users publish anew through another: until the last watcher is right", n, who),
		Goal: "≤ 5 s", Kept: a.last <= rightWithin, Events: n, Result: fmt.Sprintf("%.2f s", a.last.Seconds()),
		Note: fmt.Sprintf("first PUBLISH answered after %.2f s, all after %.2f s, half of the watchers right after %.2f s; CPU of the two nodes %.2f s, of PostgreSQL %.2f s; %d NOTIFYs, %d requests refused",
			a.first.Seconds(), a.answered.Seconds(), quantile(a.took, 0.5).Seconds(), spent.cpu.Seconds(), spent.database.Seconds(), r.notify.Load()-before, a.refused.Load()),
	})
	return nil
}

// anew is what happens after the kill.
type anew struct {
	*residents
	share                 int // every share-th publishes
	from, until           time.Time
	refused               atomic.Int64
	first, answered, last time.Duration
	took                  []time.Duration
}

func (a *anew) run(ctx context.Context) error {
	var first atomic.Int64
	err := closed(a.n/a.share, 250, func(i int, done func()) {
		i *= a.share
		var again func(status int)
		again = func(status int) {
			switch {
			case status == 200:
				first.CompareAndSwap(0, int64(time.Since(a.from)))
				done()
			case time.Now().After(a.until):
				done()
			default:
				a.refused.Add(1)
				time.AfterFunc(200*time.Millisecond, func() { a.ps[1].publish(resident(i), 2, again) })
			}
		}
		a.ps[1].publish(resident(i), 2, again)
	})
	a.first, a.answered = time.Duration(first.Load()), time.Since(a.from)
	if err != nil {
		return err
	}
	for i := range a.n {
		moved := i%2 == 0 // connected to the dead node: told again by another, if nothing has changed too
		want := int64(1)
		if i%a.share == 0 && i/a.share < a.n/a.share {
			want = 2
		} else if !moved {
			continue
		}
		for a.told[i].Load() != want || time.Unix(0, a.when[i].Load()).Before(a.from) {
			if time.Now().After(a.until) || ctx.Err() != nil {
				return errors.Join(ctx.Err(), fmt.Errorf("bench: the watcher of %s has never been told", resident(i)))
			}
			time.Sleep(5 * time.Millisecond)
		}
		d := time.Unix(0, a.when[i].Load()).Sub(a.from)
		a.took = append(a.took, d)
		a.last = max(a.last, d)
	}
	return nil
}
