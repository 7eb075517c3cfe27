package simulate

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Experiment is the paper's (Lee and Jang, 2015, section 4) as bench/paper measures it: each second all users
// send a request, as fast as one generator can, and a request's time is from then until the generator has read all that it brings.
// Servers have a processor quota, and stand still when it is used up; they, the generator and the database share a machine.
type Experiment struct {
	Users  []int
	Max    []float64 // maximum levels; what one user adds is 1
	Rounds int
	Cores  float64       // quota of a server
	Period time.Duration // of the quota
	Tick   time.Duration // of a processor's clock
	Keep   time.Duration // what a processor may keep of a quota that is not used
	Slice  time.Duration // that a thread runs before it gives way to others
	Batch  int           // sockets that a server looks at in one go
	// Machine is how many processors there are for all, the servers and the generator with as many threads.
	Machine float64
	Tests   []Test
	// Several is the processor time that a server uses in each second for being one of several.
	Several time.Duration
	Band    float64 // as the experiment configures the load control
	Seed    uint64
}

// Test is one kind of request.
type Test struct {
	Name    string
	Max     []float64 // those of Experiment.Max for which it is made
	Alone   Work      // of a request at a server without others
	Several Work      // at one of several, though it may be the only one that runs
	Vary    float64   // times lie between (1-Vary) and (1+Vary) of Work.Service
	// Pace is from when the generator comes to a request until it comes to the next, if servers use nothing of the
	// machine; else it takes as much longer as they take away of it.
	Pace time.Duration
	Sent time.Duration // processor time of the generator for sending a request
	Read time.Duration // and for reading what it brings
	Save time.Duration // and of the database for it, on the average
	Base time.Duration // what a request takes beside the server's processor time
	// All: the first part of the work is done of all that have come before the rest of any.
	All bool
}

// Work is what a request costs a server.
type Work struct {
	Service time.Duration // processor time
	// First is the share of it that is done for all of a batch, or for all who are there, before any is finished: a publication is
	// taken, then saved, then all are told.
	First float64
}

// DefaultExperiment has the quota of bench/paper, with the kernel's and Go's bounds where it runs (250 ticks a second; a slice of two
// processors; the events that Go's netpoll takes at once), and the times that were counted there.
func DefaultExperiment() Experiment {
	us := func(n float64) time.Duration { return time.Duration(n * float64(time.Microsecond)) }
	return Experiment{
		Users: []int{100, 200, 300, 400, 500}, Max: []float64{100, 200}, Rounds: 12,
		Cores: 0.2, Period: 10 * time.Millisecond, Tick: 4 * time.Millisecond, Keep: time.Millisecond, Slice: 1400 * time.Microsecond, Batch: 128, Machine: 2,
		Tests: []Test{
			{
				Name: "subscribe", Max: []float64{100, 200}, Vary: 0.5, Base: time.Millisecond,
				Alone: Work{us(aloneSubscribe), firstSubscribe}, Several: Work{us(severalSubscribe), firstSubscribe},
				Pace: us(paceSubscribe), Sent: us(sentSubscribe), Read: us(readSubscribe), Save: us(saveSubscribe),
			},
			{
				Name: "notify", Max: []float64{100}, Vary: 0.5, Base: time.Millisecond, All: true,
				Alone: Work{us(aloneNotify), firstNotify}, Several: Work{us(severalNotify), firstNotify},
				Pace: us(paceNotify), Sent: us(sentNotify), Read: us(readNotify), Save: us(saveNotify),
			},
		},
		Several: 2 * time.Millisecond, Band: 0.02, Seed: 1,
	}
}

// Row is what came out for a number of users.
type Row struct {
	Test    string        `json:"test"`
	Max     float64       `json:"max"` // 0: one server
	Users   int           `json:"users"`
	Homes   []int         `json:"homes"`
	Mean    time.Duration `json:"mean_ns"`
	P99     time.Duration `json:"p99_ns"`
	Last    time.Duration `json:"last_ns"` // of a round, on the average
	One     time.Duration `json:"one_ns"`  // mean of a single server
	Cut     float64       `json:"cut"`
	Ideal   float64       `json:"ideal"` // 1-1/servers
	Printed float64       `json:"paper"` // what the paper says; 0: nothing
}

// printed is what the paper says, by test, maximum and users.
var printed = map[string]map[[2]int]float64{
	"subscribe": {
		{100, 200}: 0.456, {100, 300}: 0.633, {100, 500}: 0.729,
		{200, 300}: 0.488, {200, 400}: 0.440, {200, 500}: 0.657,
	},
	"notify": {{100, 200}: 0.431, {100, 300}: 0.586, {100, 500}: 0.694},
}

// Run makes it: first the load control spreads the users as they come, then they send.
func (e *Experiment) Run(ctx context.Context) (rows []Row, err error) {
	rnd := rand.New(rand.NewPCG(e.Seed, 1))
	spreads := map[[2]int][]int{}
	for _, t := range e.Tests {
		one := map[int]time.Duration{}
		for _, limit := range append([]float64{0}, t.Max...) {
			for _, users := range e.Users {
				homes, key := []int{users}, [2]int{int(limit), users}
				if limit > 0 {
					if homes = spreads[key]; homes == nil {
						if homes, err = e.spread(ctx, users, limit); err != nil {
							return nil, err
						}
						spreads[key] = homes
					}
				}
				row := e.play(rnd, &t, homes, limit > 0, 0)
				row.Test, row.Max, row.Users, row.Homes = t.Name, limit, users, homes
				if limit == 0 {
					one[users] = row.Mean
				}
				row.One = one[users]
				row.Cut = 1 - float64(row.Mean)/float64(row.One)
				row.Ideal = 1 - 1/float64(len(homes))
				row.Printed = printed[t.Name][key]
				rows = append(rows, row)
			}
		}
	}
	return rows, nil
}

// Play is one number of users: those of a service, spread so over its servers, send requests that cost so much, which the generator
// comes to after late on the average; 0: by Test.Pace.
func (e *Experiment) Play(t Test, homes []int, several bool, w Work, late time.Duration) Row {
	t.Alone, t.Several = w, w
	return e.play(rand.New(rand.NewPCG(e.Seed, 2)), &t, homes, several, late)
}

// play has the users of all servers send.
func (e *Experiment) play(rnd *rand.Rand, t *Test, homes []int, several bool, late time.Duration) (row Row) {
	var all []time.Duration
	var last time.Duration
	for range e.Rounds {
		took := e.round(rnd, t, homes, several, late)
		all = append(all, took...)
		last += slices.Max(took) / time.Duration(e.Rounds)
	}
	slices.Sort(all)
	sum := time.Duration(0)
	for _, x := range all {
		sum += x
	}
	row.Mean, row.P99, row.Last = sum/time.Duration(len(all)), all[len(all)*99/100], last
	return row
}

// spread has users come to a service of one node, to which the load control adds others, and returns how
// many live where in the end.
func (e *Experiment) spread(ctx context.Context, users int, limit float64) ([]int, error) {
	s := Default()
	s.Seed = e.Seed
	s.Length = Duration(2*time.Minute + time.Duration(users)*100*time.Millisecond)
	s.Nodes.Count, s.Nodes.Standby, s.Nodes.Running = 1, int(float64(users)/limit)+1, false
	s.Nodes.Max = limit + 0.5
	s.Users.Count, s.Users.Resources = 0, 20
	s.Users.Follow = 1
	s.Load.User, s.Load.Resource = 1.0/21, 1.0/21
	s.Load.Band, s.Load.Low = e.Band, 0
	s.Events = []Event{{At: Duration(time.Second), Do: doArrive, Users: users, Over: Duration(time.Duration(users) * 50 * time.Millisecond)}}
	if err := s.Check(); err != nil {
		return nil, err
	}
	w := newWorld(&s, Options{})
	for w.now < time.Duration(s.Length) && ctx.Err() == nil {
		w.step()
	}
	var homes []int
	for _, n := range w.nodes {
		if n.users > 0 {
			homes = append(homes, n.users)
		}
	}
	return homes, ctx.Err()
}

// WriteExperiment is the table for people, in Markdown.
func WriteExperiment(w io.Writer, rows []Row) error {
	var b strings.Builder
	b.WriteString("| test | maximum level | users | users of each server | one server | several: mean (p99) | time cut by | paper | ideal 1−1/k |\n|---|---|---|---|---|---|---|---|---|\n")
	ms := func(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
	for _, r := range rows {
		if r.Max == 0 {
			continue
		}
		said := ""
		if r.Printed > 0 {
			said = fmt.Sprintf("%.1f %%", r.Printed*100)
		}
		fmt.Fprintf(&b, "| %s | %g | %d | %s | %.1f ms | %.1f (%.1f) ms | **%.1f %%** | %s | %.1f %% |\n", r.Test, r.Max, r.Users,
			strings.Trim(fmt.Sprint(r.Homes), "[]"), ms(r.One), ms(r.Mean), ms(r.P99), r.Cut*100, said, r.Ideal*100)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
