// Package paper repeats the experiment of the paper on several servers (Lee and Jang, 2015, section 4):
// how long a registration and a notification take in a service of one server, and in one to which
// its load control adds servers as users come. Each server is a process in a small processor quota of
// its own; the generator and the databases are outside of it.
package paper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"
)

// Options of Run. Zero fields mean the experiment of the paper.
type Options struct {
	Bin       string        // the server's program
	Users     []int         // numbers of users, rising; 100 to 500
	Limits    []int         // maximum levels of the first part; 100 and 200
	Resources int           // presence resources of a user; 20
	Cores     float64       // processor quota of each server; below 0: none, and then times mean nothing
	Rounds    int           // that are measured of each service for each number of users, in each run
	Runs      int           // with new processes and databases; 1
	Size      int           // octets of a notification; 50,000
	Tick      time.Duration // at least between the beginnings of two rounds; a second
	Log       io.Writer
}

// DefaultCores is the quota of a server: so small that a hundred users are work for it, and five
// of them, the databases and the generator fit into two cores.
const DefaultCores = 0.2

func (o *Options) defaults() {
	if len(o.Users) == 0 {
		o.Users = []int{100, 200, 300, 400, 500}
	}
	if len(o.Limits) == 0 {
		o.Limits = []int{100, 200}
	}
	if o.Resources == 0 {
		o.Resources = 20
	}
	if o.Cores == 0 {
		o.Cores = DefaultCores
	}
	if o.Rounds == 0 {
		o.Rounds = 12
	}
	if o.Runs == 0 {
		o.Runs = 1
	}
	if o.Size == 0 {
		o.Size = 50_000
	}
	if o.Tick == 0 {
		o.Tick = time.Second
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
}

// Test is what is measured.
type Test string

// Tests of the paper: figures 6 and 7, and figure 8.
const (
	Subscribe Test = "subscribe"
	Notify    Test = "notify"
)

// Round is one second's requests: each user's one, all at the same time.
type Round struct {
	Test    Test
	Limit   int // maximum level; 0: a single server
	Users   int
	Servers int
	Run     int           // from 1
	Number  int           // in its run, from 1
	Mean    time.Duration // from a request until all that it brings has come
	P99     time.Duration
	Last    time.Duration
	CPU     time.Duration // of the servers
	Sent    time.Duration // on the average, from the beginning until the generator had come to a request
	Own     time.Duration // processor time of the generator
	DB      time.Duration // processor time of the database, which has no quota
}

// Spread is how users were placed, before they were measured.
type Spread struct {
	Limit   int
	Users   int
	Homes   []int         // by server
	Apart   int           // of them, whose client is connected elsewhere, since it was redirected too often
	Settled time.Duration // since the last of them has come
}

// Result of a run.
type Result struct {
	Cores   float64
	Rounds  []Round
	Spreads []Spread
	Took    time.Duration
	Own     time.Duration // processor time of the generator while it measured
	Wall    time.Duration // of that
}

// side is a service and those who are there.
type side struct {
	*service
	users []*user
	nonce *nonce
	state int // of the last change
}

// Run makes the experiment: registrations, and notifications where the maximum is the first of Limits. It needs
// PostgreSQL's programs (postgrestest.ErrMissing) and control groups (ErrNoQuota).
func Run(ctx context.Context, o Options) (*Result, error) {
	o.defaults()
	begun := time.Now()
	if o.Cores > 0 {
		if _, _, err := quotas(); err != nil {
			return nil, err
		}
	}
	most := o.Users[len(o.Users)-1]
	names := make([]string, most)
	for i := range names {
		names[i] = fmt.Sprintf("u%d", i)
	}
	e := &experiment{Options: o, names: names, begun: begun, result: &Result{Cores: o.Cores}}
	var err error
	for e.nth = 1; e.nth <= o.Runs && err == nil; e.nth++ {
		if o.Runs > 1 {
			e.say("run %d of %d", e.nth, o.Runs)
		}
		err = e.run(ctx)
	}
	e.result.Took = time.Since(begun)
	return e.result, err
}

type experiment struct {
	Options
	networks int // that were used
	nth      int // run
	names    []string
	begun    time.Time
	result   *Result
}

// network is the beginning of addresses of loopback that no other service has.
func (e *experiment) network() string {
	e.networks++
	return fmt.Sprintf("127.%d.%d", 60+e.networks, os.Getpid()%250)
}

func (e *experiment) say(format string, args ...any) {
	fmt.Fprintf(e.Log, "%4.0f s  %s\n", time.Since(e.begun).Seconds(), fmt.Sprintf(format, args...))
}

// run grows a single server and the others side by side, and measures them in turns after each step.
func (e *experiment) run(ctx context.Context) (err error) {
	accounts, err := makeAccounts(e.names)
	if err != nil {
		return err
	}
	var sides []*side
	defer func() {
		var wg sync.WaitGroup
		ends := make([]error, len(sides))
		for i, s := range sides {
			wg.Go(func() {
				for _, u := range s.users {
					u.close()
				}
				ends[i] = s.stop()
			})
		}
		wg.Wait()
		err = errors.Join(err, errors.Join(ends...))
	}()
	limits := append([]int{0}, e.Limits...)
	started, failed := make([]*service, len(limits)), make([]error, len(limits))
	var wg sync.WaitGroup
	for i, limit := range limits {
		name, most := fmt.Sprintf("max%d", limit), 1
		if limit > 0 {
			// One more than is needed: that it is not added is for the load control to know.
			most = (len(e.names)+limit-1)/limit + 1
		}
		net := e.network()
		wg.Go(func() {
			started[i], failed[i] = startService(ctx, e.Bin, name, net, accounts, limit, most, e.Resources, e.Cores)
		})
	}
	wg.Wait()
	for _, s := range started {
		sides = append(sides, &side{service: s, nonce: new(nonce)})
	}
	if err := errors.Join(failed...); err != nil {
		return err
	}
	// Kinds come mixed, but the same for all.
	kinds := rand.New(rand.NewPCG(1, 2)).Perm(len(e.names))
	for _, n := range e.Users {
		// All at the same time, as nothing is measured yet.
		spreads, failed := make([]Spread, len(sides)), make([]error, len(sides))
		var wg sync.WaitGroup
		for i, s := range sides {
			wg.Go(func() {
				err := e.grow(ctx, s, n, kinds)
				if err == nil {
					spreads[i], err = s.settle(ctx)
				}
				if err != nil {
					failed[i] = fmt.Errorf("%s, %d users: %w", s.name, n, err)
				}
			})
		}
		wg.Wait()
		if err := errors.Join(failed...); err != nil {
			return err
		}
		for i, s := range sides {
			e.result.Spreads = append(e.result.Spreads, spreads[i])
			e.say("%s: %d users on servers %v, %d of them connected elsewhere", title(s.limit), n, spreads[i].Homes, spreads[i].Apart)
		}
		if err := errors.Join(e.measure(ctx, Subscribe, sides), e.measure(ctx, Notify, sides[:2])); err != nil {
			return err
		}
	}
	return nil
}

func title(limit int) string {
	if limit == 0 {
		return "one server"
	}
	return fmt.Sprintf("maximum %d", limit)
}

// grow has users come to the main server until there are n.
func (e *experiment) grow(ctx context.Context, s *side, n int, kinds []int) error {
	pad := e.Size/e.Resources - 170 // each device has its part of what is composed
	var newcomers []*user
	for i := len(s.users); i < n; i++ {
		newcomers = append(newcomers, newUser(e.names[i], kinds[i]%2 == 0, e.Resources, pad, s.nonce))
	}
	s.users = append(s.users, newcomers...)
	return each(ctx, newcomers, 4, func(u *user) error { return u.arrive(s.servers[0]) })
}

// each does it for all, so many at a time.
func each(ctx context.Context, users []*user, lanes int, do func(*user) error) error {
	var mu sync.Mutex
	var failed error
	next := 0
	var wg sync.WaitGroup
	for range lanes {
		wg.Go(func() {
			for {
				mu.Lock()
				i := next
				next++
				stop := failed != nil || i >= len(users) || ctx.Err() != nil
				mu.Unlock()
				if stop {
					return
				}
				if err := do(users[i]); err != nil {
					mu.Lock()
					failed = errors.Join(failed, err)
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(failed, ctx.Err())
}

const (
	settleWithin = 90 * time.Second
	stillFor     = 4 * time.Second
	// Nobody is redirected more than three times in ten minutes (redirect.Loop): some who have been
	// moved again and again stay where they are, and are served from there.
	tries    = 3
	mayStray = 0.02 // of all
)

// settle waits until the load control has no more to do and all clients are connected at their
// users' servers. Chat programs are sent there when their users move; phones are not, and come to the
// main server anew, as those would at the next redirect of the paper.
func (s *side) settle(ctx context.Context) (spread Spread, err error) {
	spread = Spread{Limit: s.limit, Users: len(s.users)}
	begun := time.Now()
	names := make([]string, len(s.users))
	for i, u := range s.users {
		names[i] = u.name
	}
	var last map[string]*server
	since, tried := begun, 0
	for time.Since(begun) < settleWithin && ctx.Err() == nil {
		homes, err := s.homes(ctx, names)
		if err != nil {
			return spread, err
		}
		same := len(homes) == len(names)
		at := map[*server]bool{}
		for n, h := range homes {
			same = same && last[n] == h
			at[h] = true
		}
		// A server that is still to come is waited for, however long it takes to begin on a busy machine.
		if s.limit > 0 && len(at)*s.limit < len(names) {
			same = false
		}
		if last = homes; !same {
			since = time.Now()
		}
		var apart []*user
		for _, u := range s.users {
			if h := homes[u.name]; h == nil || u.server() != h.ip {
				apart = append(apart, u)
			}
		}
		switch {
		case s.limit == 0:
			if len(apart) > 0 {
				return spread, errors.New("paper: who is where?")
			}
			fallthrough
		case time.Since(since) >= stillFor && (len(apart) == 0 || tried >= tries && float64(len(apart)) <= mayStray*float64(len(s.users))):
			spread.Apart = len(apart)
			return s.spread(ctx, spread, homes, begun)
		case time.Since(since) >= stillFor:
			tried++
			if err := each(ctx, apart, 4, func(u *user) error { return u.moves(s.servers[0]) }); err != nil {
				return spread, err
			}
			since = time.Now().Add(-stillFor / 2)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return spread, errors.Join(ctx.Err(), fmt.Errorf("paper: users are not settled after %v: %s", settleWithin, s.unsettled(last)))
}

// unsettled is for people.
func (s *side) unsettled(homes map[string]*server) string {
	live, chats, phones := map[string]int{}, map[string]int{}, map[string]int{}
	for _, u := range s.users {
		h := homes[u.name]
		if h == nil {
			live["nowhere"]++
			continue
		}
		live[h.name]++
		switch {
		case u.server() == h.ip:
		case u.chats:
			chats[u.server()+", not "+h.ip]++
		default:
			phones[u.server()+", not "+h.ip]++
		}
	}
	return fmt.Sprintf("they live at %v; chat programs are at %v, phones at %v; the main server says: %s", live, chats, phones, s.servers[0].said())
}

func (s *side) spread(ctx context.Context, spread Spread, homes map[string]*server, begun time.Time) (Spread, error) {
	running, err := s.running(ctx)
	if err != nil {
		return spread, err
	}
	for _, v := range running {
		n := 0
		for _, h := range homes {
			if h == v {
				n++
			}
		}
		spread.Homes = append(spread.Homes, n)
	}
	spread.Settled = time.Since(begun)
	for _, u := range s.users {
		if u.chats {
			if err := u.chat.state(); err != nil {
				return spread, err
			}
		}
	}
	return spread, nil
}

// goes is in how many goes a service is measured, in turns with the others.
const goes = 3

// measure has each service in turn play its rounds.
func (e *experiment) measure(ctx context.Context, test Test, sides []*side) error {
	own, from := ownCPU(), time.Now()
	for g := range goes {
		for _, s := range sides {
			running, err := s.running(ctx)
			if err != nil {
				return err
			}
			count := (e.Rounds + goes - 1) / goes
			for i := range count + 1 {
				begun := time.Now()
				r, err := s.round(ctx, test)
				if err != nil {
					return err
				}
				r.Servers, r.Run = len(running), e.nth
				if r.Number = g*count + i; i > 0 { // the first of a go wakes everybody up
					e.result.Rounds = append(e.result.Rounds, r)
				}
				if i == count {
					e.say("%s, %s, %d users, %d servers: %v, the last after %v, %v of processor time", test, title(s.limit), r.Users, r.Servers, r.Mean.Round(time.Millisecond), r.Last.Round(time.Millisecond), r.CPU)
				}
				select { // a second's requests at the beginning of each second, if the last ones are done
				case <-time.After(e.Tick - time.Since(begun)):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	}
	e.result.Own += ownCPU() - own
	e.result.Wall += time.Since(from)
	return nil
}

// round has all users do it at once.
func (s *side) round(ctx context.Context, test Test) (Round, error) {
	r := Round{Test: test, Limit: s.limit, Users: len(s.users)}
	s.state++
	k := s.state
	took := make([]time.Duration, len(s.users))
	failed := make([]error, len(s.users))
	start := make(chan struct{})
	cpu, db, own := s.used(), s.stored(), ownCPU()
	var begun time.Time
	var wg sync.WaitGroup
	for i, u := range s.users {
		wg.Go(func() {
			<-start
			if test == Subscribe {
				took[i], failed[i] = u.register(k)
			} else {
				took[i], failed[i] = u.change(k)
			}
		})
	}
	begun = time.Now()
	close(start)
	wg.Wait()
	r.Own, r.DB, r.CPU = ownCPU()-own, since(db, s.stored()), s.used()-cpu
	if err := errors.Join(failed...); err != nil {
		return r, err
	}
	for _, u := range s.users {
		r.Sent += u.sent.Sub(begun) / time.Duration(len(s.users))
	}
	slices.Sort(took)
	var sum time.Duration
	for _, d := range took {
		sum += d
	}
	r.Mean, r.P99, r.Last = sum/time.Duration(len(took)), took[len(took)*99/100], took[len(took)-1]
	return r, ctx.Err()
}
