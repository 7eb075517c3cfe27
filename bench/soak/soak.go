package soak

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"pharos/bench"
)

// Options of Run.
type Options struct {
	Bin    string        // the program
	Users  int           // addresses: two of five have a chat client, two a phone, one both
	Nodes  int           // of the service
	Length time.Duration // with churn and faults
	Every  time.Duration // between faults; 0: none
	Fault  string        // the only one, a part of its name; empty: all in turn
	Pace   float64       // how many times as much happens as usual; 0: once
	Come   time.Duration // over which all log in
	Settle time.Duration // how long it may take at the end until all is right
	Sample time.Duration // between samples; 0: 5 s
	Fill   time.Duration // of each life of a process, before its growth counts; a fifth of Length at most
	Expire bool          // wait at the end, up to five minutes, for publications to run out of which the answer was lost
	Dir    string        // for samples, logs, profiles and the result; empty: nothing is kept
	Log    io.Writer     // progress
	Live   bool          // Log is a terminal: one line that renews itself
}

// Result of a run.
type Result struct {
	Machine  string            `json:"machine"`
	Users    int               `json:"users"`
	Chats    int               `json:"chats"`
	Phones   int               `json:"phones"`
	Nodes    int               `json:"nodes"`
	Watches  int               `json:"watches"`
	Length   time.Duration     `json:"length_ns"`
	Rates    Every             `json:"every"`
	Load     string            `json:"load_average"`
	Events   map[string]int    `json:"events"`
	Notifies int64             `json:"notifies"`
	Logins   int64             `json:"connections_ended"`
	Skipped  int64             `json:"skipped"` // events that the generator had no room for
	Share    map[string]string `json:"cpu"`     // of one processor, on average
	Faults   []Fault           `json:"faults"`
	Growth   []Growth          `json:"growth"`
	From     float64           `json:"from"`  // seconds: when all had come
	Until    float64           `json:"until"` // when the last fault was over
	Fill     time.Duration     `json:"fill_ns"`
	Heap     []Grower          `json:"heap"` // where the live heap's growth is, all together first; only where profiles were kept
	Behind   []Behind          `json:"behind"`
	Moved    int               `json:"moved"` // presentities handed over and inherited
	Mail     Mail              `json:"messages"`
	Lost     int64             `json:"dialogs_lost"`   // subscriptions that the service ended, or did not know any more
	Stray    int               `json:"dialogs_stray"`  // SIP dialogs at the end beyond their owners' subscriptions
	Stale    int64             `json:"notifies_stale"` // NOTIFYs with a CSeq that had been used: two nodes had a dialog for a moment
	Calm     time.Duration     `json:"calm_after_ns"`
	Wrong    []string          `json:"wrong"` // who was not right in the end
	WrongN   int               `json:"wrong_count"`
	Looked   map[string]int    `json:"looked"` // at the end, what was compared with what was acknowledged
	Breaches []string          `json:"breaches"`
	BreachN  int               `json:"breach_count"`
	Troubles map[string]int    `json:"troubles"` // what clients were refused, and tried again
	Ended    map[string]Sample `json:"ended"`    // of each node, after all had calmed down

	begun   time.Time
	samples []Sample
}

// Mail is what became of messages.
type Mail struct {
	Sent, Arrived, Returned, Twice int
	Excused                        int // were lost with a connection or in a fault
	Lost                           []string
}

// Behind is how many watchers had been behind for a second, at a time.
type Behind struct {
	At float64 `json:"at"`
	N  int     `json:"n"`
}

// grow judges what grows.
func (r *Result) grow() { r.Growth = growths(r.samples, r.span()) }

func (r *Result) span() span { return span{r.From, r.Until, r.Fill.Seconds()} }

// OK tells whether everybody was told the truth and nothing was lost, and nothing leaks.
func (r *Result) OK() bool {
	for _, g := range r.Growth {
		if g.Node == "all" && g.Verdict == "leak" {
			return false
		}
	}
	return r.True()
}

// True tells whether everybody was told the truth and nothing was lost.
func (r *Result) True() bool { return r.WrongN == 0 && r.BreachN == 0 && len(r.Mail.Lost) == 0 }

// Run starts a service, has it live and suffer, and looks at it. With an error the result is what was seen until then.
func Run(ctx context.Context, o Options) (*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if o.Pace == 0 {
		o.Pace = 1
	}
	if o.Sample == 0 {
		o.Sample = sampleEvery
	}
	res := &Result{Machine: bench.Setting(), Users: o.Users, Nodes: o.Nodes, Length: o.Length, Rates: usual.faster(o.Pace), Share: map[string]string{}}
	p := newProgress(o.Log, o.Live)
	defer p.end()
	p.say("PostgreSQL, %d nodes and %d users begin", o.Nodes, o.Users)
	// A user weighs 1 and 0.05 for each of some five things: nobody is refused with a node missing, and levels differ by what is moved.
	h, err := bench.Host(ctx, o.Bin, bench.Setup{Nodes: o.Nodes, Max: max(100, 1.4*float64(o.Users)), People: population(o.Users)})
	if err != nil {
		return res, err
	}
	defer h.Close()
	clients, endClients := context.WithCancel(ctx)
	defer endClients()
	r, err := newRun(clients, h, o.Users)
	defer r.close()
	if err != nil {
		return res, err
	}
	res.Chats, res.Phones, res.Watches = len(r.chats), len(r.phones), len(r.o.watches)
	res.begun = time.Now()
	s := &soak{o: o, r: r, h: h, res: res, p: p, sampler: &sampler{begun: res.begun, lives: map[string]*life{}}}
	if o.Dir != "" {
		if s.sampler.file, err = os.Create(filepath.Join(o.Dir, "samples.jsonl")); err != nil {
			return res, err
		}
		defer s.sampler.file.Close()
		s.sampler.heaps = filepath.Join(o.Dir, heapsIn)
		if err := os.MkdirAll(s.sampler.heaps, 0o755); err != nil {
			return res, err
		}
		if r.o.file, err = os.Create(filepath.Join(o.Dir, "breaches.txt")); err != nil {
			return res, err
		}
		defer r.o.file.Close()
	}
	err = s.run(ctx)
	if o.Dir != "" {
		err = errors.Join(err, h.SaveLogs(o.Dir), s.keep())
	}
	return res, err
}

// soak is a run under way.
type soak struct {
	o       Options
	r       *run
	h       *bench.Hosted
	res     *Result
	p       *progress
	sampler *sampler
	cpu     map[string]time.Duration // at the begin of churn
}

func (s *soak) run(ctx context.Context) error {
	looking, stop := context.WithCancel(ctx)
	defer stop()
	var g sync.WaitGroup
	defer g.Wait()
	defer stop()
	g.Go(func() { s.sampler.watch(looking, s.h.Nodes(), s.o.Sample) })
	g.Go(func() { s.look(looking) })
	s.r.come(ctx, s.o.Come)
	if _, wrong := s.r.calm(ctx, 2*time.Minute+s.o.Settle); len(wrong) > 0 {
		s.res.Wrong, s.res.WrongN = wrong[:min(20, len(wrong))], len(wrong)
		return fmt.Errorf("soak: before any fault %d are wrong: %s", len(wrong), wrong[0])
	}
	s.p.note("all are in and told what is so after %v", time.Since(s.res.begun).Round(time.Second))
	s.begin()
	churning, quiet := context.WithCancel(ctx)
	defer quiet()
	from := time.Since(s.res.begun).Seconds()
	s.r.churn(churning, s.res.Rates)
	err := s.suffer(ctx)
	until := time.Since(s.res.begun).Seconds()
	s.shares()
	quiet()
	if err != nil {
		return err
	}
	s.p.note("no faults any more, and nobody does anything: it calms down")
	var wrong []string
	s.res.Calm, wrong = s.r.calm(ctx, s.o.Settle)
	s.r.messages.sweep(time.Now().Add(mailWithin))
	if until, n := s.r.o.doubtful(); n > 0 && s.o.Expire && len(wrong) == 0 {
		s.p.note("calm after %v; %d publications of which the answer was lost have to run out by themselves, for %v", s.res.Calm.Round(time.Millisecond), n, time.Until(until).Round(time.Second))
		pause(ctx, time.Until(until))
		_, wrong = s.r.calm(ctx, time.Minute)
	}
	s.res.Wrong, s.res.WrongN = wrong[:min(20, len(wrong))], len(wrong)
	s.p.note("calm after %v, %d wrong; what was acknowledged is looked for", s.res.Calm.Round(time.Millisecond), len(wrong))
	if len(wrong) == 0 {
		s.res.Looked = s.r.verify(ctx)
	}
	s.ghosts(ctx)
	s.collect(from, until)
	return ctx.Err()
}

// Of so many SIP dialogs one may be at a node though its owner knows nothing of it: that of which a node's word to another was lost, until its
// time is over. Fetches are given the time that their last NOTIFY may take (RFC 3261 §17.1.2.2).
const (
	dialogsPerStray = 1000
	fetchTime       = 35 * time.Second
)

// ghosts compares how many sessions the nodes have with how many there are, and how many SIP dialogs with their owners' subscriptions.
func (s *soak) ghosts(ctx context.Context) {
	pause(ctx, 2*time.Second)
	sessions, dialogs, subs := 0.0, 0.0, 0.0
	take := func() (all bool) {
		sessions, dialogs, subs, all = 0, 0, 0, true
		for _, n := range s.h.Nodes() {
			x, err := s.sampler.take(ctx, n)
			if err != nil {
				all = false
				continue
			}
			s.sampler.keep(x)
			sessions += x.Sessions
			dialogs += x.Dialogs
			subs += x.Subs
		}
		for _, c := range s.r.chats {
			subs -= float64(len(c.watches))
		}
		return all
	}
	all := take()
	for until := time.Now().Add(fetchTime); (!all || dialogs > subs) && time.Now().Before(until) && ctx.Err() == nil; all = take() {
		pause(ctx, time.Second)
	}
	if !all {
		s.r.o.never("at the end a node does not say how it is")
	}
	if chats, _ := s.r.there(); int(sessions) != chats {
		s.r.o.never("at the end the nodes have %.0f XMPP sessions, and there are %d", sessions, chats)
	}
	if s.res.Stray = max(0, int(dialogs-subs)); s.res.Stray > 2+int(subs)/dialogsPerStray {
		s.r.o.never("at the end the nodes have %.0f SIP dialogs, and the owners %.0f subscriptions for them", dialogs, subs)
	}
	s.res.Ended = s.sampler.last()
}

// suffer does faults until the time is over.
func (s *soak) suffer(ctx context.Context) error {
	r, begun := s.r, time.Now()
	faults := slices.DeleteFunc(slices.Clone(hurts), func(h hurt) bool { return !strings.Contains(h.name, s.o.Fault) })
	if len(faults) == 0 {
		return fmt.Errorf("soak: no fault is called %q", s.o.Fault)
	}
	r.quiet.Store(true)
	var order []int // of the nodes that are killed and restarted, each for a part of the time; the leader first
	for i, n := range r.nodes {
		if order = append(order, i); n == s.h.Leader(ctx) {
			order[0], order[i] = order[i], order[0]
		}
	}
	for k := 0; time.Since(begun) < s.o.Length && ctx.Err() == nil; k++ {
		if s.o.Every == 0 {
			pause(ctx, min(time.Minute, s.o.Length-time.Since(begun)))
			s.sampler.settle(ctx, r.nodes)
			continue
		}
		next := begun.Add(time.Duration(k+1) * s.o.Every)
		if time.Since(begun)+s.o.Every/2 > s.o.Length {
			break
		}
		pause(ctx, time.Until(next)-s.o.Every/2)
		s.sampler.settle(ctx, r.nodes)
		s.close()
		part := min(len(order)-1, int(time.Since(begun)*time.Duration(len(order))/s.o.Length))
		x := faults[k%len(faults)]
		s.p.note("%s (of %s, if it is to end a process)", x.name, r.nodes[order[part]].Name)
		f, err := r.suffer(ctx, x, order[part], s.res.begun)
		s.res.Faults = append(s.res.Faults, f)
		if err != nil {
			return err
		}
		pause(ctx, min(8*time.Second, time.Until(next)))
		r.quiet.Store(true)
		for _, n := range r.nodes {
			if said, fell := n.Fell(); fell {
				r.o.never("%s has ended by itself: %s", n.Name, said)
				return fmt.Errorf("soak: %s has ended by itself", n.Name)
			}
		}
	}
	pause(ctx, time.Until(begun.Add(s.o.Length)))
	s.close()
	return ctx.Err()
}

// close ends the period of the last fault.
func (s *soak) close() {
	if len(s.res.Faults) == 0 {
		s.r.o.period()
		return
	}
	f := &s.res.Faults[len(s.res.Faults)-1]
	f.Behind, f.Worst, f.Of = s.r.o.period()
	s.p.note("  %s %s: %d watchers behind for a second or more, the longest %v", f.Name, f.Node, f.Behind, f.Worst.Round(10*time.Millisecond))
}

// look has the oracle look all the time.
func (s *soak) look(ctx context.Context) {
	for i := 0; ctx.Err() == nil; i++ {
		now := time.Now()
		_, late := s.r.o.look(now)
		if i%8 == 0 {
			s.r.messages.sweep(now)
			s.r.mu.Lock()
			s.res.Behind = append(s.res.Behind, Behind{now.Sub(s.res.begun).Seconds(), late})
			s.r.mu.Unlock()
			s.status(late)
		}
		pause(ctx, lookEvery)
	}
}

// status renews the line.
func (s *soak) status(late int) {
	chats, phones := s.r.there()
	line := fmt.Sprintf("%d chats, %d phones, %d behind", chats, phones, late)
	last := s.sampler.last()
	for _, n := range s.h.Nodes() {
		x := last[n.Name]
		line += fmt.Sprintf("  %s %.0f MiB %.0f go %.0f fd", n.Name, x.Resident/(1<<20), x.Goroutines, x.Descriptors)
	}
	if n, _ := s.r.o.breaches(); n > 0 {
		line += fmt.Sprintf("  %d BREACHES", n)
	}
	s.p.say("%s", line)
}

// begin notes the processor time so far.
func (s *soak) begin() {
	s.cpu = map[string]time.Duration{}
	s.cpu["generator"], _ = bench.CPU(os.Getpid())
	s.cpu["PostgreSQL"], _ = s.h.DatabaseCPU()
	s.cpu["at"] = time.Since(s.res.begun)
}

// shares says of each what it took of one processor. What a process used between its last sample and its end is not seen, and
// of PostgreSQL nothing from before its last restart.
func (s *soak) shares() {
	wall := time.Since(s.res.begun) - s.cpu["at"]
	own, _ := bench.CPU(os.Getpid())
	s.res.Share["generator"] = percent(own-s.cpu["generator"], wall)
	used := map[string]float64{}
	before := map[string]Sample{}
	for _, x := range s.sampler.samples() {
		if x.At > s.cpu["at"].Seconds() {
			b := before[x.Node]
			if b.Life != x.Life {
				b.CPU = 0
			}
			used[x.Node] += x.CPU - b.CPU
		}
		before[x.Node] = x
	}
	all := 0.0
	for _, n := range s.h.Nodes() {
		all += used[n.Name]
		s.res.Share[n.Name] = percent(time.Duration(used[n.Name]*float64(time.Second)), wall)
	}
	s.res.Share["nodes"] = percent(time.Duration(all*float64(time.Second)), wall)
	since, at := s.cpu["PostgreSQL"], s.cpu["at"]
	for _, f := range s.res.Faults {
		if f.Name == "PostgreSQL restarted" {
			since, at = 0, f.At
		}
	}
	if db, err := s.h.DatabaseCPU(); err == nil {
		s.res.Share["PostgreSQL"] = percent(db-since, time.Since(s.res.begun)-at)
	}
}

func percent(d, of time.Duration) string {
	return fmt.Sprintf("%.1f %%", 100*float64(d)/float64(max(of, 1)))
}

// collect puts together what was seen.
func (s *soak) collect(from, until float64) {
	r, res := s.r, s.res
	res.samples = s.sampler.samples()
	res.From, res.Until, res.Fill = from, until, min(s.o.Fill, s.o.Length/5)
	res.grow()
	res.Load = bench.LoadAverage()
	res.Notifies, res.Logins, res.Skipped, res.Lost, res.Stale = r.count.notifies.Load(), r.count.ended.Load(), r.count.skipped.Load(), r.count.dialogs.Load(), r.count.stale.Load()
	r.mu.Lock()
	res.Events, res.Troubles = r.tallies, r.troubles
	r.mu.Unlock()
	m := r.messages
	m.mu.Lock()
	res.Mail = Mail{Sent: m.sent, Arrived: m.arrived, Returned: m.back, Twice: m.twice, Excused: m.excused, Lost: m.lost}
	m.mu.Unlock()
	res.BreachN, res.Breaches = r.o.breaches()
	moved := map[string]float64{} // by node: of its lives before, and of this one
	most := map[string]float64{}
	for _, x := range res.samples {
		key := fmt.Sprint(x.Node, x.Life)
		moved[x.Node] += max(0, x.Moved-most[key])
		most[key] = max(most[key], x.Moved)
	}
	for _, n := range moved {
		res.Moved += int(n)
	}
	runtime.GC()
}

// keep writes the result, the picture and profiles into the folder.
func (s *soak) keep() error {
	var errs []error
	reading, ended := context.WithTimeout(context.Background(), 5*time.Minute)
	defer ended()
	heap, err := growers(reading, s.sampler.heaps, s.res.samples, s.res.span())
	s.res.Heap, errs = heap, append(errs, err)
	put := func(name string, b []byte) { errs = append(errs, os.WriteFile(filepath.Join(s.o.Dir, name), b, 0o644)) }
	put("result.json", encode(s.res))
	put("soak.svg", Chart(s.res))
	put("table.md", []byte(Table(s.res)))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, n := range s.h.Nodes() {
		for name, debug := range map[string]int{"heap": 0, "goroutine": 1} {
			if b, err := n.Profile(ctx, name, debug, true); err == nil {
				put(n.Name+"."+name, b)
			}
		}
	}
	return errors.Join(errs...)
}

func encode(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Appendf(nil, `{"error":%q}`, err.Error())
	}
	return b
}
