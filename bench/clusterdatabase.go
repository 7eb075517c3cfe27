package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"time"

	"pharos/presence"
	"pharos/store"
	"pharos/store/postgrestest"
)

// clusterDatabase measures soft state in PostgreSQL, by itself and below one server, against SQLite with the journal.
func clusterDatabase(ctx context.Context, bin string, scale float64, each func(Finding)) error {
	return errors.Join(softRows(ctx, scale, each), databaseServers(ctx, bin, scale, each))
}

// softRows saves subscriptions, so many of them outstanding.
func softRows(ctx context.Context, scale float64, each func(Finding)) error {
	pg, err := postgrestest.Start()
	if err != nil {
		return err
	}
	defer pg.Close()
	dir, err := os.MkdirTemp("", "pharos-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	rows, err := store.OpenPostgres(ctx, pg.URL("postgres"), dir+"/pg")
	if err != nil {
		return err
	}
	defer rows.Close()
	journal, err := store.Open(ctx, dir+"/lite")
	if err != nil {
		return err
	}
	defer journal.Close()
	saves := make([][]presence.Save, 10_000)
	for i := range saves {
		id := fmt.Sprintf("%032x", i)
		saves[i] = []presence.Save{{Presentity: entity(fmt.Sprintf("u%d", i)), Kind: presence.SavedSubscription, Key: id, Subscription: &presence.Subscription{
			ID: id, Watcher: entity("w"), State: presence.Active, Durable: true, Via: presence.Via{Edge: "sip", Handle: id},
			Expires: time.Unix(1<<31, 0), Created: time.Unix(1<<30, 0), Opaque: make([]byte, 500)}}}
	}
	for _, outstanding := range []int{256, 4096} {
		var rate [2]float64
		var used [2]time.Duration
		n := scaled(200_000, scale, 3000)
		for i, st := range []*store.Store{rows, journal} {
			slots := make(chan struct{}, outstanding)
			var failed atomic.Int64
			done := func(err error) {
				if err != nil {
					failed.Add(1)
				}
				<-slots
			}
			run := func(n int) {
				for k := range n {
					slots <- struct{}{}
					st.Save(saves[k%len(saves)], done)
				}
				for range outstanding {
					slots <- struct{}{}
				}
				for range outstanding {
					<-slots
				}
			}
			run(n / 10)
			from, own := time.Now(), ownCPU()
			run(n)
			rate[i], used[i] = float64(n)/time.Since(from).Seconds(), (ownCPU()-own)/time.Duration(n)
			if f := failed.Load(); f > 0 {
				return fmt.Errorf("bench: %d saves failed", f)
			}
		}
		f := Finding{Name: fmt.Sprintf("soft-state rows a second, %d saves outstanding, PostgreSQL against the journal", outstanding), Goal: "≥ 20,000", Events: n,
			Result: fmt.Sprintf("%.0f", rate[0]), Base: fmt.Sprintf("%.0f", rate[1]), Ratio: rate[0] / rate[1], Kept: rate[0] >= 20_000,
			Note: fmt.Sprintf("CPU of a row without PostgreSQL's own %s against %s", micros(used[0]), micros(used[1]))}
		each(f)
	}
	return nil
}

// databasePair is one server on PostgreSQL and one on SQLite, with a phone client each.
type databasePair struct {
	services [2]*service
	phones   [2]*phones
	begun    int // of many, in all: each has another number
	failed   atomic.Int64
}

// pairCrowd is how many users each of them has.
const pairCrowd = 500

// databaseServers compares one server on PostgreSQL with one on SQLite: a PUBLISH alone, and many at a time.
func databaseServers(ctx context.Context, bin string, scale float64, each func(Finding)) error {
	var who people
	for i := range pairCrowd {
		who.add(0, fmt.Sprintf("u%d", i))
	}
	var p databasePair
	for i := range p.services {
		s, err := startService(ctx, bin, layout{sqlite: i == 1, people: who})
		if err != nil {
			return err
		}
		defer s.stop()
		p.services[i] = s
		if p.phones[i], err = newPhones(s.at(0)); err != nil {
			return err
		}
		defer p.phones[i].close()
	}
	for i, ph := range p.phones {
		if err := closed(pairCrowd, 100, func(k int, done func()) { p.publish(ph, k, done) }); err != nil {
			return fmt.Errorf("%d: %w", i, err)
		}
	}
	f, err := p.alone(scaled(1000, scale, 20))
	if err != nil {
		return err
	}
	each(f)
	for name, one := range map[string]func(ph *phones, i int, done func()){"PUBLISH": p.publish, "SUBSCRIBE with its first NOTIFY": p.subscribe} {
		if err := p.many(name, scaled(4000, scale, 500)/pairCrowd*pairCrowd, one, each); err != nil {
			return err
		}
	}
	if n := p.failed.Load(); n > 0 {
		return fmt.Errorf("bench: %d requests failed", n)
	}
	return nil
}

// publish is the i-th PUBLISH.
func (p *databasePair) publish(ph *phones, i int, done func()) {
	ph.publish(fmt.Sprintf("u%d", i%pairCrowd), i, func(status int) {
		if status != 200 {
			p.failed.Add(1)
		}
		done()
	})
}

// subscribe is the i-th SUBSCRIBE; done is called after its answer and the first NOTIFY.
func (p *databasePair) subscribe(ph *phones, i int, done func()) {
	var parts, notified atomic.Int32
	part := func() {
		if parts.Add(1) == 2 {
			done()
		}
	}
	told := func([]byte) {
		if notified.Add(1) == 1 {
			part()
		}
	}
	ph.subscribe(fmt.Sprintf("u%d", i%pairCrowd), fmt.Sprintf("u%d", (i*7+1)%pairCrowd), fmt.Sprintf("d%d", i), told, func(status int) {
		if status/100 != 2 {
			p.failed.Add(1)
		}
		part()
	})
}

// alone is one PUBLISH after the other, in turns.
func (p *databasePair) alone(n int) (Finding, error) {
	var took [2][]time.Duration
	state := 0
	for range n {
		for i, ph := range p.phones {
			said := make(chan int, 1)
			state++
			from := time.Now()
			ph.publish(fmt.Sprintf("u%d", state%pairCrowd), 1_000_000+state, func(status int) { said <- status })
			if status := <-said; status != 200 {
				return Finding{}, fmt.Errorf("bench: PUBLISH: %d", status)
			}
			took[i] = append(took[i], time.Since(from))
		}
	}
	return Finding{Name: "PUBLISH alone until its 200, one server on PostgreSQL against SQLite: p50 (p99)", Events: n,
		Result: ms(quantile(took[0], 0.5)) + " (" + ms(quantile(took[0], 0.99)) + ")", Base: ms(quantile(took[1], 0.5)) + " (" + ms(quantile(took[1], 0.99)) + ")",
		Ratio: float64(quantile(took[0], 0.5)) / float64(quantile(took[1], 0.5))}, nil
}

// many does five times n of one kind, 250 at a time, in turns.
func (p *databasePair) many(name string, n int, one func(ph *phones, i int, done func()), each func(Finding)) error {
	var many [2]cost
	for range 5 {
		p.begun += n
		for i, s := range p.services {
			if err := many[i].spend(s, n, func() error {
				return closed(n, 250, func(k int, done func()) { one(p.phones[i], p.begun+k, done) })
			}); err != nil {
				return err
			}
		}
	}
	rate := func(c *cost) float64 { return float64(c.events) / c.wall.Seconds() }
	each(Finding{Name: name + ", 250 at a time, one server: a second, PostgreSQL against SQLite", Events: many[0].events,
		Result: fmt.Sprintf("%.0f", rate(&many[0])), Base: fmt.Sprintf("%.0f", rate(&many[1])), Ratio: rate(&many[0]) / rate(&many[1])})
	each(Finding{Name: name + ", the same: CPU of the server", Events: many[0].events, Result: micros(many[0].per(many[0].cpu)), Base: micros(many[1].per(many[1].cpu)),
		Ratio: float64(many[0].per(many[0].cpu)) / float64(many[1].per(many[1].cpu)), Note: fmt.Sprintf("and %s of PostgreSQL", micros(many[0].per(many[0].database)))})
	return nil
}
