package soak

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pharos/bench"
	"pharos/bench/client"
	"pharos/markup"
)

// World is a service with users u0, u1, ... who are in groups of circle and have each other in their rosters, as
// Launch of bench makes them.
type World struct {
	Name     string
	Nodes    []string // host:port of XMPP without TLS
	Password func(i int) string
	CPU      func() (time.Duration, error) // of all its processes since their start
	Memory   func() (int64, error)         // resident
	Close    func() error
}

// OurWorld is Pharos: with nodes 0 one server alone on SQLite, else so many and PostgreSQL.
func OurWorld(ctx context.Context, bin string, users, nodes int) (*World, error) {
	h, err := bench.Host(ctx, bin, bench.Setup{Nodes: nodes, SQLite: nodes == 0, People: population(users), Trusting: true})
	if err != nil {
		return nil, err
	}
	w := &World{Name: fmt.Sprintf("Pharos, %d nodes on PostgreSQL", nodes), Password: func(int) string { return bench.Password }, Close: h.Close}
	if nodes == 0 {
		w.Name = "Pharos, one server on SQLite"
	}
	for _, n := range h.Nodes() {
		w.Nodes = append(w.Nodes, n.XMPP().String())
	}
	w.CPU = func() (sum time.Duration, err error) {
		for _, n := range h.Nodes() {
			d, err := bench.CPU(n.PID())
			if err != nil {
				return 0, err
			}
			sum += d
		}
		d, err := h.DatabaseCPU()
		return sum + d, err
	}
	w.Memory = func() (sum int64, err error) {
		s := sampler{begun: time.Now(), lives: map[string]*life{}}
		for _, n := range h.Nodes() {
			x, err := s.take(ctx, n)
			if err != nil {
				return 0, err
			}
			sum += int64(x.Resident)
		}
		return sum, nil
	}
	return w, nil
}

// TheirWorld is another server.
func TheirWorld(ctx context.Context, name string, launch bench.Launch, users int) (*World, error) {
	t, err := launch(ctx, bench.Population{Users: users, Group: circle})
	if err != nil {
		return nil, err
	}
	return &World{Name: name, Nodes: []string{t.Addr("xmpp+insecure")}, Password: func(i int) string { return fmt.Sprintf("pw%d", i) },
		CPU: t.CPU, Memory: t.Memory, Close: t.Stop}, nil
}

// Return is one mass reconnect.
type Return struct {
	World     string        `json:"world"`
	Sessions  int           `json:"sessions"`
	Spread    time.Duration `json:"spread_ns"`
	In        time.Duration `json:"in_ns"`     // until the last had logged in
	Median    time.Duration `json:"median_ns"` // of the sessions: from their loss until told of all contacts
	P99       time.Duration `json:"p99_ns"`
	Right     time.Duration `json:"right_ns"` // until the last was told of all contacts
	CPU       time.Duration `json:"cpu_ns"`   // of the service with its database
	Generator time.Duration `json:"generator_ns"`
	Memory    int64         `json:"memory"`  // afterwards
	Refused   int64         `json:"refused"` // tries that led nowhere, and were made again
	Why       string        `json:"why,omitempty"`
	Limit     time.Duration `json:"limit_ns"`
	Missing   int           `json:"missing,omitempty"` // who were not told of all contacts within the limit; the times are those of the others
}

// sheep is one XMPP session.
type sheep struct {
	i    int
	mu   sync.Mutex
	conn net.Conn
	in   time.Time
}

// flock is all sessions of a world.
type flock struct {
	w       *World
	all     []sheep
	refused atomic.Int64
	mu      sync.Mutex
	why     map[string]int
}

// gently is how many log in at a time at first, which is not measured.
const gently = 64

// MassReconnect has all users log in, and then for so many rounds lose their connections at once and come back, each within
// spread, and until he is in. A round that does not end within the limit is the last one.
func MassReconnect(ctx context.Context, w *World, users, rounds int, spread, limit time.Duration, log io.Writer, each func(Return)) error {
	users -= users % circle
	f := &flock{w: w, all: make([]sheep, users), why: map[string]int{}}
	for i := range f.all {
		f.all[i].i = i
	}
	defer f.drop()
	p := newProgress(log, false)
	if took, err := f.come(ctx, 0, time.Now(), 0, limit, make(chan struct{}, gently), p); err != nil || len(took) < users {
		return fmt.Errorf("%s: first login: %d of %d are told of all contacts within %v (%s): %w", w.Name, len(took), users, limit, f.reasons(), cmp.Or(err, context.DeadlineExceeded))
	}
	for round := 1; round <= rounds; round++ {
		pause(ctx, 5*time.Second)
		f.refused.Store(0)
		clear(f.why)
		before, err := w.CPU()
		if err != nil {
			return err
		}
		own, _ := bench.CPU(os.Getpid())
		from := time.Now()
		f.drop()
		took, err := f.come(ctx, round, from, spread, limit, nil, p)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		r := Return{World: w.Name, Sessions: users, Spread: spread, Refused: f.refused.Load(), Why: f.reasons(), Limit: limit, Missing: users - len(took)}
		if slices.Sort(took); len(took) > 0 {
			r.Median, r.P99, r.Right = took[len(took)/2], took[len(took)*99/100], took[len(took)-1]
		}
		for i := range f.all {
			s := &f.all[i]
			s.mu.Lock()
			r.In = max(r.In, s.in.Sub(from))
			s.mu.Unlock()
		}
		after, err := w.CPU()
		if err != nil {
			return err
		}
		r.CPU = after - before
		now, _ := bench.CPU(os.Getpid())
		r.Generator = now - own
		if r.Memory, err = w.Memory(); err != nil {
			return err
		}
		if each(r); r.Missing > 0 {
			break
		}
	}
	return nil
}

func (f *flock) reasons() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var list []string
	for _, k := range sorted(f.why) {
		list = append(list, fmt.Sprintf("%s: %d", k, f.why[k]))
	}
	return strings.Join(list, ", ")
}

func (f *flock) drop() {
	for i := range f.all {
		s := &f.all[i]
		s.mu.Lock()
		if s.conn != nil {
			s.conn.Close()
		}
		s.mu.Unlock()
	}
}

// come has all log in, those who have a place in lanes at a time where there are such, and waits until each is told that all contacts are there
// again, for a limit; it gives how long that took those who were. Everybody says the round's number, so that nobody takes a
// contact's lost session, of which the server has not heard yet, for his new one.
func (f *flock) come(ctx context.Context, round int, from time.Time, spread, limit time.Duration, lanes chan struct{}, p *progress) ([]time.Duration, error) {
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	n := len(f.all)
	right := make(chan int, n)
	var tries sync.WaitGroup
	defer tries.Wait()
	defer cancel()
	for i := range f.all {
		s := &f.all[i]
		tries.Go(func() {
			pause(within, spread*time.Duration(i*7919%n)/time.Duration(n))
			for at := i / circle; within.Err() == nil; at++ {
				if lanes != nil {
					lanes <- struct{}{}
				}
				err := f.enter(within, s, round, f.w.Nodes[at%len(f.w.Nodes)], func() { right <- i })
				if lanes != nil {
					<-lanes
				}
				if err == nil {
					return
				}
				f.refused.Add(1)
				f.mu.Lock()
				f.why[reason(err)]++
				f.mu.Unlock()
				pause(within, time.Second+rand.N(2*time.Second))
			}
		})
	}
	took := make([]time.Duration, 0, n)
	for len(took) < n {
		select {
		case <-right:
			took = append(took, time.Since(from))
			p.say("%s: %d of %d are told of all contacts after %v", f.w.Name, len(took), n, time.Since(from).Round(100*time.Millisecond))
		case <-within.Done():
			return took, ctx.Err()
		}
	}
	return took, nil
}

// enter logs one in; whole is called once he is told of all contacts. A goroutine reads on until the connection ends.
func (f *flock) enter(ctx context.Context, s *sheep, round int, addr string, whole func()) error {
	d := net.Dialer{Timeout: loginWithin}
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(3 * loginWithin))
	sc := markup.NewScanner(conn, markup.Options{})
	_, err = login(conn, sc, name(s.i), f.w.Password(s.i))
	if err == nil {
		_ = conn.SetDeadline(time.Time{})
		_, err = fmt.Fprintf(conn, "<presence><status>round %d</status></presence>", round)
	}
	if !stop() || err != nil {
		conn.Close()
		return errors.Join(err, ctx.Err())
	}
	s.mu.Lock()
	s.conn, s.in = conn, time.Now()
	s.mu.Unlock()
	go func() {
		said := fmt.Sprintf("round %d", round)
		seen := map[string]bool{}
		for {
			e, err := sc.Next()
			if err != nil {
				return
			}
			if seen == nil || e.Local != "presence" {
				continue
			}
			who, _, _ := strings.Cut(e.Attr("from"), "@")
			if who == name(s.i) {
				continue
			}
			if e.Attr("type") == "" && e.Child(client.NSClient, "status").Text() == said {
				seen[who] = true
			} else {
				delete(seen, who)
			}
			if len(seen) == circle-1 {
				seen = nil
				whole()
			}
		}
	}()
	return nil
}

// reason is an error without what differs from one connection to another.
func reason(err error) string {
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return err.Error()
}

// String is one line.
func (r Return) String() string {
	return fmt.Sprintf("%s: %d sessions, %d not, back within %v: all right after %.1f s (median %.1f s, 99 %% %.1f s, the last logged in after %.1f s); CPU %.1f s, %.0f µs a session; generator %.1f s; %.0f MiB; %d tries led nowhere %s",
		r.World, r.Sessions, r.Missing, r.Spread, r.Right.Seconds(), r.Median.Seconds(), r.P99.Seconds(), r.In.Seconds(), r.CPU.Seconds(), r.each(), r.Generator.Seconds(), float64(r.Memory)/(1<<20), r.Refused, r.Why)
}

// each is the processor time of one session in microseconds.
func (r Return) each() float64 { return float64(r.CPU.Microseconds()) / float64(max(1, r.Sessions)) }

const (
	beginMass = "<!-- mass: written by go run ./bench/soak/run -reconnect -readme bench/README.md -->"
	endMass   = "<!-- end of mass -->"
)

// MassTable is the results for people, as Markdown.
func MassTable(rs []Return) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s Load average at the end %s.\n\n", bench.Setting(), bench.LoadAverage())
	b.WriteString("| service | sessions | back within | all right after | median; 99 % | the last logged in | CPU, and of a session | generator's CPU | resident | tries that led nowhere |\n|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rs {
		right := fmt.Sprintf("**%.1f s**", r.Right.Seconds())
		if r.Missing > 0 {
			right = fmt.Sprintf("**%d not within %v**, the others %.1f s", r.Missing, r.Limit, r.Right.Seconds())
		}
		fmt.Fprintf(&b, "| %s | %d | %v | %s | %.1f s; %.1f s | %.1f s | %.1f s, %.0f µs | %.1f s | %.0f MiB | %d %s |\n", r.World, r.Sessions, r.Spread, right, r.Median.Seconds(), r.P99.Seconds(),
			r.In.Seconds(), r.CPU.Seconds(), r.each(), r.Generator.Seconds(), float64(r.Memory)/(1<<20), r.Refused, r.Why)
	}
	return b.String()
}

// WriteMass puts the table between its markers in a file.
func WriteMass(path string, rs []Return) error {
	return bench.Between(path, beginMass, endMass, MassTable(rs))
}
