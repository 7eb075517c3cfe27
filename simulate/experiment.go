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
// send a request, as fast as one generator can, and a request's time is from then until all that it brings has come.
// Every request is served by itself, in no order. Servers have a processor quota, and so a time in each period after
// which they stand still.
type Experiment struct {
	Users  []int
	Max    []float64 // maximum levels; what one user adds is 1
	Rounds int
	Cores  float64       // quota of a server
	Period time.Duration // of the quota
	// Machine is how many processors there are for all: what servers use of them the generator has not.
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
	Max     []float64     // those of Experiment.Max for which it is made
	Alone   Work          // of a request at a server without others
	Several Work          // at one of several, though it may be the only one that runs
	Vary    float64       // times lie between (1-Vary) and (1+Vary) of Work.Service
	Sent    time.Duration // processor time of the generator for sending a request
	Base    time.Duration // what a request takes beside the server's processor time
}

// Work is what a request costs a server.
type Work struct {
	Service time.Duration // processor time
	// First is the share of it that is done for all who are there before any is finished: a publication is
	// taken and composed, then all are told.
	First float64
}

// DefaultExperiment has the quota of bench/paper, and the processor times that were counted there (paper.Measured).
func DefaultExperiment() Experiment {
	us := func(n float64) time.Duration { return time.Duration(n * float64(time.Microsecond)) }
	return Experiment{
		Users: []int{100, 200, 300, 400, 500}, Max: []float64{100, 200}, Rounds: 12, Cores: 0.2, Period: 10 * time.Millisecond, Machine: 2,
		Tests: []Test{
			{"subscribe", []float64{100, 200}, Work{us(375), 0.03}, Work{us(319), 0.03}, 0.5, us(26), 2 * time.Millisecond},
			{"notify", []float64{100}, Work{us(569), 0.33}, Work{us(527), 0.26}, 0.5, us(130), 2 * time.Millisecond},
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
	Last    time.Duration `json:"last_ns"`
	One     time.Duration `json:"one_ns"` // mean of a single server
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
				row := e.rounds(rnd, &t, homes, limit > 0)
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

// Play is one row: users of a service, spread so over its servers, send requests that cost so much.
func (e *Experiment) Play(t Test, homes []int, several bool, w Work) Row {
	t.Alone, t.Several = w, w
	return e.rounds(rand.New(rand.NewPCG(e.Seed, 2)), &t, homes, several)
}

// rounds has the users of all servers send.
func (e *Experiment) rounds(rnd *rand.Rand, t *Test, homes []int, several bool) (row Row) {
	var all []time.Duration
	users := 0
	for _, n := range homes {
		users += n
	}
	for range e.Rounds {
		// The generator has all ready, and sends to one after the other, in any order.
		of := make([]int, 0, users)
		for i, n := range homes {
			of = append(of, slices.Repeat([]int{i}, n)...)
		}
		rnd.Shuffle(users, func(i, j int) { of[i], of[j] = of[j], of[i] })
		pace := float64(t.Sent) * e.Machine / max(e.Machine/10, e.Machine-e.Cores*float64(len(homes)))
		at := make([][]time.Duration, len(homes))
		for k, i := range of {
			at[i] = append(at[i], time.Duration(float64(k)*pace))
		}
		for _, sent := range at {
			all = append(all, e.serve(rnd, t, sent, several)...)
		}
	}
	slices.Sort(all)
	sum := time.Duration(0)
	for _, x := range all {
		sum += x
	}
	row.Mean, row.P99, row.Last = sum/time.Duration(len(all)), all[len(all)*99/100], all[len(all)-1]
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

// serve has requests come to a server that were sent at these times, and returns how long each took.
func (e *Experiment) serve(rnd *rand.Rand, t *Test, sent []time.Duration, several bool) []time.Duration {
	c := clock{period: e.Period, part: time.Duration(float64(e.Period) * e.Cores)}
	w := t.Alone
	if several { // of what it does all the time, something is in front
		w = t.Several
		c.spend(time.Duration(rnd.Float64() * float64(e.Several) * e.Cores))
	}
	work := make([]time.Duration, len(sent))
	for i := range work {
		work[i] = time.Duration(float64(w.Service) * (1 + t.Vary*(2*rnd.Float64()-1)))
		if several {
			work[i] += time.Duration(float64(work[i]) * e.Several.Seconds() / e.Cores)
		}
	}
	var took []time.Duration
	var wait []int // for the rest of their work, in no order: a server takes whatever its sockets have
	for begun := 0; begun < len(sent) || len(wait) > 0; {
		first := func(i int) time.Duration { return time.Duration(float64(work[i]) * w.First) }
		switch {
		case begun < len(sent) && sent[begun] <= c.now:
			c.spend(first(begun))
			wait = append(wait, begun)
			begun++
		case len(wait) > 0:
			k := rnd.IntN(len(wait))
			i := wait[k]
			wait[k] = wait[len(wait)-1]
			wait = wait[:len(wait)-1]
			c.spend(work[i] - first(i))
			took = append(took, c.now+t.Base-sent[i])
		default:
			c.until(sent[begun])
		}
	}
	return took
}

// clock is a server's, of whose processor there is a part in each period; what is not used is lost.
type clock struct {
	period, part time.Duration
	now, used    time.Duration // used in the period that now is in
}

func (c *clock) until(t time.Duration) {
	if t/c.period > c.now/c.period {
		c.used = 0
	}
	c.now = max(c.now, t)
}

// spend passes as much time as it takes to have so much of the processor.
func (c *clock) spend(work time.Duration) {
	for work > 0 {
		next := (c.now/c.period + 1) * c.period
		d := min(work, c.part-c.used, next-c.now)
		c.now, c.used, work = c.now+d, c.used+d, work-d
		if c.now == next {
			c.used = 0
		} else if work > 0 && c.used >= c.part {
			c.until(next)
		}
	}
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
