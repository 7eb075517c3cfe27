package paper

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pharos/bench"
	"pharos/simulate"
)

// Compared is a row of the experiment, measured and simulated.
type Compared struct {
	Test           Test
	Limit          int // maximum level; 0: a single server
	Users, Servers int
	Measured       Sample
	// Error is how far off the measured mean may be, as a share of it: twice the standard error over the rounds.
	Error float64
	// Simulated is with four processor times for all rows, Own with the processor time that was counted in this row.
	Simulated, Own simulate.Row
}

// Within is how far a simulated time may be from the measured one, as a share of it.
const Within = 0.1

// Off is how far a simulated time is from the measured one.
func Off(simulated, measured time.Duration) float64 { return float64(simulated)/float64(measured) - 1 }

// Counted is the experiment with what goes into the simulation from a run: for each test the processor time of a request, of a server alone
// and of one of several, each over all rounds; and what share of it comes before the first answer, by how late
// the mean request is done before the last one where one server has all the users. How long the generator takes to
// send a request is what it took there, if the rounds say it. No other times go in.
func Counted(r *Result) simulate.Experiment {
	e := simulate.DefaultExperiment()
	for i := range e.Tests {
		t := &e.Tests[i]
		var sent time.Duration
		to := 0
		for _, x := range r.Rounds {
			if string(x.Test) == t.Name && x.Servers == 1 && x.Sent > 0 { // the middle one's
				sent, to = sent+2*x.Sent, to+x.Users
			}
		}
		if to > 0 {
			t.Sent = time.Duration(float64(sent) / float64(to) * (e.Machine - e.Cores) / e.Machine)
		}
		for several, w := range map[bool]*simulate.Work{false: &t.Alone, true: &t.Several} {
			requests := 0
			var cpu, mean, last time.Duration
			for _, x := range r.Rounds {
				if string(x.Test) != t.Name || several != (x.Limit > 0) {
					continue
				}
				cpu, requests = cpu+x.CPU, requests+x.Users
				if x.Servers == 1 {
					mean, last = mean+x.Mean, last+x.Last
				}
			}
			if requests > 0 && last > 0 {
				w.Service = cpu / time.Duration(requests)
				w.First = min(1, max(0, 2*float64(mean)/float64(last)-1))
			}
		}
	}
	return e
}

// Compare simulates the experiment that was measured.
func Compare(ctx context.Context, r *Result) (rows []Compared, e simulate.Experiment, err error) {
	e = Counted(r)
	all, err := e.Run(ctx)
	if err != nil {
		return nil, e, err
	}
	for _, s := range all {
		var of []Round
		for _, x := range r.Rounds {
			if string(x.Test) == s.Test && x.Limit == int(s.Max) && x.Users == s.Users {
				of = append(of, x)
			}
		}
		if len(of) < 2 {
			continue
		}
		c := Compared{Test: Test(s.Test), Limit: int(s.Max), Users: s.Users, Servers: of[0].Servers, Measured: sample(of), Error: spread(of), Simulated: s}
		i := slices.IndexFunc(e.Tests, func(t simulate.Test) bool { return t.Name == s.Test })
		w := e.Tests[i].Alone
		if s.Max > 0 {
			w = e.Tests[i].Several
		}
		w.Service = c.Measured.CPU / time.Duration(c.Users)
		c.Own = e.Play(e.Tests[i], s.Homes, s.Max > 0, w)
		rows = append(rows, c)
	}
	return rows, e, nil
}

// spread is twice the standard error of the mean over rounds, as a share of it.
func spread(rounds []Round) float64 {
	n, sum, squares := float64(len(rounds)), 0.0, 0.0
	for _, r := range rounds {
		sum += millis(r.Mean)
	}
	for _, r := range rounds {
		squares += math.Pow(millis(r.Mean)-sum/n, 2)
	}
	return 2 * math.Sqrt(squares/(n-1)/n) / (sum / n)
}

// CompareTable is the comparison as Markdown.
func CompareTable(rows []Compared) string {
	var b strings.Builder
	b.WriteString("| test | maximum level | users | servers | measured: mean (p99) | simulated: mean (p99) | difference | with this row's processor time | difference |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, c := range rows {
		limit := "one server"
		if c.Limit > 0 {
			limit = fmt.Sprint(c.Limit)
		}
		fmt.Fprintf(&b, "| %s | %s | %d | %d | %s ± %.0f %% (%s) ms | %s (%s) ms | **%+.1f %%** (%+.1f %%) | %s (%s) ms | **%+.1f %%** (%+.1f %%) |\n", c.Test, limit, c.Users, c.Servers,
			ms(c.Measured.Mean), 100*c.Error, ms(c.Measured.P99),
			ms(c.Simulated.Mean), ms(c.Simulated.P99), 100*Off(c.Simulated.Mean, c.Measured.Mean), 100*Off(c.Simulated.P99, c.Measured.P99),
			ms(c.Own.Mean), ms(c.Own.P99), 100*Off(c.Own.Mean, c.Measured.Mean), 100*Off(c.Own.P99, c.Measured.P99))
	}
	return b.String()
}

const (
	simulatedBegin = "<!-- simulated: written by go run ./bench/paper/run -simulate -->"
	simulatedEnd   = "<!-- end of simulated -->"
)

// WriteCompared puts the comparison between its markers in a file, and its picture into a folder beside it.
func WriteCompared(readme, folder string, rows []Compared, e simulate.Experiment) error {
	var t strings.Builder
	t.WriteString("What went in:")
	for _, x := range e.Tests {
		fmt.Fprintf(&t, " %s: %v of the processor for a request of a server alone, %v of one of several, of which %.0f and %.0f %% before the first answer; %v to send it.", x.Name,
			x.Alone.Service.Round(time.Microsecond), x.Several.Service.Round(time.Microsecond), 100*x.Alone.First, 100*x.Several.First, x.Sent.Round(time.Microsecond))
	}
	all, own, tail, sure := tally(rows)
	fmt.Fprintf(&t, "\n\nOf %d rows %d are within %.0f %% in the mean with these figures for all, and %d with the processor time that was counted in the row itself (%d in the 99th percentile); ±: twice the standard error of what was measured, "+
		"and where that is more than %.0f %% it counts instead: %d.\n\n", len(rows), all, Within*100, own, tail, Within*100, sure)
	t.WriteString(CompareTable(rows) + "\n![measured and simulated](" + filepath.Base(folder) + "/simulated.svg)\n")
	if err := bench.Between(readme, simulatedBegin, simulatedEnd, t.String()); err != nil {
		return err
	}
	return DrawCompared(folder, rows)
}

// tally counts the rows that are within: with the same figures for all, with a row's own processor time in the mean, and in
// the 99th percentile, and with it in the mean as far as the measurement can tell.
func tally(rows []Compared) (all, own, tail, sure int) {
	for _, c := range rows {
		within := func(simulated, measured time.Duration, most float64) int {
			if math.Abs(Off(simulated, measured)) <= most {
				return 1
			}
			return 0
		}
		all += within(c.Simulated.Mean, c.Measured.Mean, Within)
		own += within(c.Own.Mean, c.Measured.Mean, Within)
		tail += within(c.Own.P99, c.Measured.P99, Within)
		sure += within(c.Own.Mean, c.Measured.Mean, max(Within, c.Error))
	}
	return all, own, tail, sure
}

// DrawCompared draws simulated over measured means, both logarithmic, as SVG and as PNG.
func DrawCompared(folder string, rows []Compared) error {
	const title = "Mean times, measured and simulated"
	v, p := newVector(compareWide, compareHigh, title), newPixels(compareWide, compareHigh)
	comparison(v, title, rows)
	comparison(p, title, rows)
	b, err := p.encode()
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "simulated.svg"), v.encode(), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "simulated.png"), b, 0o644)
}

const compareWide, compareHigh = 700, 640

func comparison(c canvas, title string, rows []Compared) {
	const left, right, top, bottom = 74.0, 24.0, 96.0, 66.0
	wide, high := compareWide-left-right, compareHigh-top-bottom
	low, most := math.Inf(1), 0.0
	for _, r := range rows {
		for _, d := range []time.Duration{r.Measured.Mean, r.Simulated.Mean, r.Own.Mean} {
			low, most = min(low, millis(d)), max(most, millis(d))
		}
	}
	low, most = low/1.15, most*1.15
	place := func(v float64) float64 { return math.Log(v/low) / math.Log(most/low) }
	x := func(v float64) float64 { return left + wide*place(v) }
	y := func(v float64) float64 { return top + high*(1-place(v)) }
	c.rect(0, 0, compareWide, compareHigh, white)
	c.text(left, 32, 17, -1, true, ink, title)
	c.rect(left, 47, 11, 11, oneBar)
	c.text(left+18, 58, 13, -1, false, ink, "simulated with one processor time for all rows")
	c.diamond(left+326, 53, 5.5, bars)
	c.text(left+338, 58, 13, -1, false, ink, "with the row's own")
	for _, v := range []float64{50, 70, 100, 150, 200, 300, 500, 700, 1000, 1500} {
		if v < low || v > most {
			continue
		}
		c.line(left, y(v), left+wide, y(v), 1, grid)
		c.line(x(v), top, x(v), top+high, 1, grid)
		c.text(left-9, y(v)+4.5, 13, 1, false, faint, fmt.Sprintf("%g", v))
		c.text(x(v), top+high+20, 13, 0, false, faint, fmt.Sprintf("%g", v))
	}
	c.text(left-9, top-13, 13, 1, false, faint, "ms")
	c.text(left+wide, top+high+44, 13, 1, false, faint, "measured, ms")
	c.line(x(low), y(low), x(most), y(most), 1.5, ink)
	f := 1 + Within
	c.line(x(low), y(low*f), x(most/f), y(most), 1, faint)
	c.line(x(low*f), y(low), x(most), y(most/f), 1, faint)
	for _, r := range rows {
		m := millis(r.Measured.Mean)
		c.rect(x(m)-4, y(millis(r.Simulated.Mean))-4, 8, 8, oneBar)
	}
	for _, r := range rows {
		c.diamond(x(millis(r.Measured.Mean)), y(millis(r.Own.Mean)), 5.5, bars)
	}
}
