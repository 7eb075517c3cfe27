// Package peers puts Pharos beside other servers: the same machine, the same load
// generators (those of bench), in turns.
package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pharos/bench"
)

// ErrMissing is what Contender.Version returns when the program is not installed.
var ErrMissing = errors.New("peers: not installed ('interop/install.sh peers' installs it)")

// Contender is a server in one of its configurations.
type Contender struct {
	Name    string // "Kamailio, tuned"
	Of      string // "Kamailio": of the configurations of one program the better counts, row by row
	Keeps   string // what is on the disk when a change is acknowledged
	Version func(context.Context) (string, error)
	Launch  bench.Launch
}

// Ours is what the contenders of this program are called.
const Ours = "Pharos"

// Metric is one figure of a measurement, and a row of the table.
type Metric struct {
	Name  string
	Unit  string // "/s", "µs", "KiB", "ms"
	More  bool   // more is better
	Value func(bench.Row) float64
	Goal  map[string]float64 // by peer: how many times better we want to be; 1 (ahead) where nothing is said
	Bare  bool               // the bare loop has this figure too
}

// Work is a measurement to which each contender is put. Its events are the same for all.
type Work struct {
	Name    string // "fan-out 20"
	Metrics []Metric
	Once    bool // one run suffices, and all contenders do it at once: for memory, which waits for timers
	Most    int  // runs, where they take long; 0: as many as are asked for
	// Shared, if set, is the population of a server that all works with a Shared use, one after the other, once
	// per contender.
	Shared func(scale float64) bench.Population
	Run    func(ctx context.Context, start bench.Launch, scale float64) (bench.Row, error)
	// Bare is the loop over the same sockets with datagrams or segments as in that row, and no work: nil for none.
	Bare func(ctx context.Context, self string, like bench.Row, scale float64) (bench.Row, error)
}

// Options say how to run.
type Options struct {
	Self     string  // a program that is the bare loop when called with -echo
	Runs     int     // of each measurement
	Scale    float64 // length of each: 1 is a second or two
	Progress func(done, of int, now string)
}

// Result is what was measured of one work.
type Result struct {
	Work       Work                   `json:"-"`
	Name       string                 // of the work
	Contenders []string               // in the order of the runs
	Rows       map[string][]bench.Row // by contender, a row for each run
	Bare       []bench.Row            `json:",omitempty"` // the bare loop beside them
	Failed     map[string][]string    `json:",omitempty"` // by contender: why runs have no row
}

// Compare runs all works with all contenders in turns: A B C, A B C, ... , a bare loop at each turn's end. A run that fails
// is made again, with a server started anew. A peer who fails twice has no row of that run, but a line in Failed; that
// Pharos or the bare loop fails twice is an error. What it has so far is returned with an error.
func Compare(ctx context.Context, works []Work, all []Contender, o Options) (rs []Result, err error) {
	total, done := 0, 0
	for _, w := range works {
		n := len(all)
		if w.Bare != nil {
			n++
		}
		total += n * o.runs(w)
	}
	say := func(format string, args ...any) {
		if o.Progress != nil {
			o.Progress(done, total, fmt.Sprintf(format, args...))
		}
	}
	shared := map[string]*bench.Lasting{}
	defer func() {
		for _, s := range shared {
			err = errors.Join(err, s.Target.Stop())
		}
	}()
	for _, w := range works {
		r := Result{Work: w, Name: w.Name, Rows: map[string][]bench.Row{}}
		for _, c := range all {
			r.Contenders = append(r.Contenders, c.Name)
		}
		if w.Once {
			say("%s: all at once", w.Name)
			if err := together(ctx, w, all, o.Scale, &r); err != nil {
				return rs, err
			}
			done += len(all)
			rs = append(rs, r)
			continue
		}
		for run := range o.runs(w) {
			for _, c := range all {
				say("%s, run %d: %s", w.Name, run+1, c.Name)
				row, err := twice(ctx, say, func() (bench.Row, error) { return once(ctx, w, c, o.Scale, shared) })
				done++
				switch {
				case err == nil:
					r.Rows[c.Name] = append(r.Rows[c.Name], row)
				case c.Of == Ours || ctx.Err() != nil:
					return rs, fmt.Errorf("%s: %s: %w", w.Name, c.Name, err)
				default:
					say("%s, run %d: %s has failed: %v", w.Name, run+1, c.Name, err)
					r.fail(c.Name, err)
				}
			}
			if w.Bare == nil {
				continue
			}
			say("%s, run %d: bare loop", w.Name, run+1)
			row, err := twice(ctx, say, func() (bench.Row, error) { return w.Bare(ctx, o.Self, r.Rows[all[0].Name][run], o.Scale) })
			if err != nil {
				return rs, fmt.Errorf("%s: bare loop: %w", w.Name, err)
			}
			r.Bare = append(r.Bare, row)
			done++
		}
		rs = append(rs, r)
	}
	say("done")
	return rs, ctx.Err()
}

// once runs a work with a contender, with the server that its other works have used, where they share one. After an error
// that server is stopped, so that the next has a new one.
func once(ctx context.Context, w Work, c Contender, scale float64, shared map[string]*bench.Lasting) (bench.Row, error) {
	if w.Shared == nil {
		return w.Run(ctx, c.Launch, scale)
	}
	s := shared[c.Name]
	if s == nil {
		t, err := c.Launch(ctx, w.Shared(scale))
		if err != nil {
			return bench.Row{}, err
		}
		s = &bench.Lasting{Target: t}
		shared[c.Name] = s
	}
	r, err := w.Run(ctx, func(context.Context, bench.Population) (bench.Target, error) { return s, nil }, scale)
	if err != nil {
		delete(shared, c.Name)
		err = errors.Join(err, s.Target.Stop())
	}
	return r, err
}

func (r *Result) fail(contender string, err error) {
	if r.Failed == nil {
		r.Failed = map[string][]string{}
	}
	r.Failed[contender] = append(r.Failed[contender], err.Error())
}

// twice runs a measurement again that has failed, since much time would be lost with it.
func twice(ctx context.Context, say func(string, ...any), fn func() (bench.Row, error)) (bench.Row, error) {
	r, err := fn()
	if err == nil || ctx.Err() != nil {
		return r, err
	}
	say("again: %v", err)
	r, again := fn()
	if again != nil {
		return r, errors.Join(err, again)
	}
	r.Note = strings.Trim(fmt.Sprintf("%s; once more, since: %v", r.Note, err), "; ")
	return r, nil
}

func (o Options) runs(w Work) int {
	if w.Once {
		return 1
	}
	if w.Most > 0 && o.Runs > w.Most {
		return w.Most
	}
	return max(o.Runs, 1)
}

func together(ctx context.Context, w Work, all []Contender, scale float64, r *Result) error {
	type answer struct {
		name string
		row  bench.Row
		err  error
	}
	got := make(chan answer)
	peer := map[string]bool{}
	for _, c := range all {
		peer[c.Name] = c.Of != Ours
		go func() {
			row, err := w.Run(ctx, c.Launch, scale)
			got <- answer{c.Name, row, err}
		}()
	}
	var first error
	for range all {
		a := <-got
		switch {
		case a.err == nil:
			r.Rows[a.name] = []bench.Row{a.row}
		case peer[a.name]:
			r.fail(a.name, a.err)
		case first == nil:
			first = fmt.Errorf("%s: %s: %w", w.Name, a.name, a.err)
		}
	}
	return first
}

// Figure is a metric of one contender over its runs.
type Figure struct{ Median, Least, Most float64 }

func figure(rows []bench.Row, value func(bench.Row) float64) Figure {
	var vs []float64
	for _, r := range rows {
		vs = append(vs, value(r))
	}
	if len(vs) == 0 {
		return Figure{}
	}
	slices.Sort(vs)
	m := vs[len(vs)/2]
	if len(vs)%2 == 0 {
		m = (m + vs[len(vs)/2-1]) / 2
	}
	return Figure{m, vs[0], vs[len(vs)-1]}
}

// Verdict is a metric of ours beside one peer's.
type Verdict struct {
	Peer  string // the program
	By    string // its configuration that was better
	Its   Figure
	Times float64 // how many times better we are
	Goal  float64
}

// Kept says whether the goal is.
func (v Verdict) Kept() bool { return v.Times >= v.Goal }

// Line is a metric with all contenders.
type Line struct {
	Work     string
	Metric   Metric `json:"-"`
	Name     string // of the metric
	Unit     string
	Ours     Figure
	Verdicts []Verdict
	Bare     *Figure `json:",omitempty"`
	Load     float64 // the generator's part of the processor time that both used, in our runs
	Busy     float64 // processors that the generator kept busy, at most, in anybody's runs: it is no bottleneck while that is below the number that it had
}

// Lines judges results.
func Lines(rs []Result, all []Contender) (ls []Line) {
	for _, r := range rs {
		for _, m := range r.Work.Metrics {
			l := Line{Work: r.Name, Metric: m, Name: m.Name, Unit: m.Unit}
			if !r.Work.Once { // else it did the others' work too
				l.Load = figure(r.Rows[all[0].Name], share).Median
			}
			for _, rows := range r.Rows {
				for _, row := range rows {
					if row.Wall > 0 && !r.Work.Once {
						l.Busy = max(l.Busy, float64(row.Own)/float64(row.Wall))
					}
				}
			}
			peers := map[string]*Verdict{}
			var order []string
			for _, c := range all {
				f, ran := figure(r.Rows[c.Name], m.Value), len(r.Rows[c.Name]) > 0
				if c.Of == Ours {
					l.Ours = f
					continue
				}
				v := peers[c.Of]
				if v == nil {
					v = &Verdict{Peer: c.Of, Goal: cmp.Or(m.Goal[c.Of], 1)}
					peers[c.Of] = v
					order = append(order, c.Of)
				}
				if ran && (v.By == "" || m.More == (f.Median > v.Its.Median)) {
					v.By, v.Its = c.Name, f
				}
			}
			for _, name := range order {
				v := peers[name]
				if v.By == "" {
					continue // nothing to compare with
				}
				v.Times = times(m, l.Ours.Median, v.Its.Median)
				l.Verdicts = append(l.Verdicts, *v)
			}
			if m.Bare && len(r.Bare) > 0 {
				f := figure(r.Bare, m.Value)
				l.Bare = &f
			}
			ls = append(ls, l)
		}
	}
	return ls
}

// times is how many times better a is than b.
func times(m Metric, a, b float64) float64 {
	if m.More {
		a, b = b, a
	}
	if a <= 0 {
		return 0 // nothing can be said
	}
	return b / a
}

func share(r bench.Row) float64 {
	if r.Own+r.CPU == 0 {
		return 0
	}
	return float64(r.Own) / float64(r.Own+r.CPU)
}

// Rate, CPU and Memory are the metrics that most works have.
func Rate(name string, goal map[string]float64) Metric {
	return Metric{Name: name, Unit: "/s", More: true, Goal: goal, Bare: true,
		Value: func(r bench.Row) float64 {
			if r.Wall <= 0 {
				return 0
			}
			return float64(r.Events) / r.Wall.Seconds()
		}}
}

// CPU is the server's processor time per event.
func CPU(name string, goal map[string]float64) Metric {
	return Metric{Name: name, Unit: "µs", Goal: goal, Bare: true,
		Value: func(r bench.Row) float64 { return float64(r.PerEvent()) / float64(time.Microsecond) }}
}

// Memory is of one of what the row counts.
func Memory(name string, goal map[string]float64) Metric {
	return Metric{Name: name, Unit: "KiB", Goal: goal, Value: func(r bench.Row) float64 { return float64(r.Bytes) / 1024 }}
}

// P99 is the 99th percentile of the time that an event took.
func P99(name string, goal map[string]float64) Metric {
	return Metric{Name: name, Unit: "ms", Goal: goal, Value: func(r bench.Row) float64 { return float64(r.P99) / float64(time.Millisecond) }}
}
