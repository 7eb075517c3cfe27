package paper

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"go/format"
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
	// Simulated is with four processor times for all rows, Own with the processor time that was counted in this row.
	Simulated, Own simulate.Row
}

// Within is how far a simulated time may be from the measured one, as a share of it.
const Within = 0.1

// Off is how far a simulated time is from the measured one.
func Off(simulated, measured time.Duration) float64 { return float64(simulated)/float64(measured) - 1 }

// plays is how often a round is simulated.
const plays = 8

// Counted is the experiment with what goes into the simulation from a run: for each test the processor time of a request, of a server alone
// and of one of several, each over all rounds; and what share of it comes before the first answer: such that where one server
// has all the users, the mean request is as late as a share of the last one, over all those rounds, as was measured. How late the generator
// comes to a request, and what it and the database need for one, is what was counted, if the rounds say it. No other times go in.
func Counted(r *Result) simulate.Experiment {
	e := simulate.DefaultExperiment()
	for i := range e.Tests {
		t := &e.Tests[i]
		var single []Round
		var sent, own, db time.Duration
		late, seen := 0, 0 // requests of which that is known
		for _, x := range r.Rounds {
			if string(x.Test) != t.Name {
				continue
			}
			if x.Own > 0 && x.DB > 0 {
				own, db, seen = own+x.Own, db+x.DB, seen+x.Users
			}
			if x.Servers == 1 {
				single = append(single, x)
				if x.Sent > 0 { // the middle one's
					sent, late = sent+2*x.Sent, late+x.Users
				}
			}
		}
		if late > 0 {
			t.Pace = time.Duration(float64(sent) / float64(late) * (e.Machine - e.Cores) / e.Machine)
		}
		if seen > 0 {
			f := float64(own) / float64(seen) / float64(t.Sent+t.Read)
			t.Sent, t.Read, t.Save = time.Duration(f*float64(t.Sent)), time.Duration(f*float64(t.Read)), db/time.Duration(seen)
		}
		for several, w := range map[bool]*simulate.Work{false: &t.Alone, true: &t.Several} {
			requests := 0
			var cpu time.Duration
			for _, x := range r.Rounds {
				if string(x.Test) == t.Name && several == (x.Limit > 0) {
					cpu, requests = cpu+x.CPU, requests+x.Users
				}
			}
			if requests > 0 {
				w.Service = cpu / time.Duration(requests)
			}
		}
		if len(single) > 0 {
			first := firstShare(e, *t, single)
			t.Alone.First, t.Several.First = first, first
		}
	}
	return e
}

// firstShare is the share of the work before the first answer with which these rounds' means are what they are as a share of the last answers.
func firstShare(e simulate.Experiment, t simulate.Test, rounds []Round) float64 {
	e.Rounds = 2
	off := func(first float64) (sum float64) {
		for _, x := range rounds {
			s := e.Play(t, []int{x.Users}, x.Limit > 0, simulate.Work{Service: x.CPU / time.Duration(x.Users), First: first}, x.Sent)
			sum += float64(s.Mean)/float64(s.Last) - float64(x.Mean)/float64(x.Last)
		}
		return sum
	}
	low, high := 0.0, 1.0
	for range 10 { // to a thousandth
		if mid := (low + high) / 2; off(mid) < 0 {
			low = mid
		} else {
			high = mid
		}
	}
	return (low + high) / 2
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
		c := Compared{Test: Test(s.Test), Limit: int(s.Max), Users: s.Users, Servers: of[0].Servers, Measured: average(of), Simulated: s}
		i := slices.IndexFunc(e.Tests, func(t simulate.Test) bool { return t.Name == s.Test })
		c.Own = own(e, e.Tests[i], s, of)
		rows = append(rows, c)
	}
	return rows, e, nil
}

// own simulates each round with the processor time that was counted in it, and with how late the generator was in it, if that is known.
// The row is the mean of all, as the measured one is.
func own(e simulate.Experiment, t simulate.Test, row simulate.Row, rounds []Round) simulate.Row {
	w := t.Alone
	if row.Max > 0 {
		w = t.Several
	}
	e.Rounds = plays
	var played []Round
	for i, x := range rounds {
		e.Seed = uint64(i + 1)
		w.Service = x.CPU / time.Duration(x.Users)
		s := e.Play(t, row.Homes, row.Max > 0, w, x.Sent)
		played = append(played, Round{Run: x.Run, Number: x.Number, Mean: s.Mean, P99: s.P99, Last: s.Last})
	}
	m := average(played)
	row.Mean, row.P99, row.Last = m.Mean, m.P99, m.Last
	return row
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
			ms(c.Measured.Mean), 100*c.Measured.Error, ms(c.Measured.P99),
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
	t := inputs(e) + "\n\n" + verdict(rows) + "\n\n" + CompareTable(rows) + "\n![measured and simulated](" + filepath.Base(folder) + "/simulated.svg)\n"
	if err := bench.Between(readme, simulatedBegin, simulatedEnd, t); err != nil {
		return err
	}
	return DrawCompared(folder, rows)
}

// WriteSimulated puts what comes out of the simulation between its markers in its documentation, and what goes in into a source file of it,
// from which 'pharos simulate experiment' has it.
func WriteSimulated(doc, source string, rows []Compared, e simulate.Experiment) error {
	var t strings.Builder
	t.WriteString(inputs(e) + "\n\n")
	var simulated []simulate.Row
	for _, c := range rows {
		simulated = append(simulated, c.Simulated)
	}
	if err := simulate.WriteExperiment(&t, simulated); err != nil {
		return err
	}
	t.WriteString("\n" + verdict(rows) + "\n")
	if err := bench.Between(doc, simulatedBegin, simulatedEnd, t.String()); err != nil {
		return err
	}
	return os.WriteFile(source, constants(e), 0o644)
}

// constants is the source file.
func constants(e simulate.Experiment) []byte {
	var b bytes.Buffer
	b.WriteString("// Code generated by go run ./bench/paper/run -simulate -readme bench/README.md; DO NOT EDIT.\n\npackage simulate\n\n" +
		"// What bench/paper/rounds.csv says of a request, in microseconds; first: a share.\nconst (\n")
	us := func(d time.Duration) float64 { return float64(d.Round(100*time.Nanosecond)) / 1000 }
	for i, t := range e.Tests {
		if i > 0 {
			b.WriteString("\n")
		}
		name := strings.ToUpper(t.Name[:1]) + t.Name[1:]
		for _, x := range []struct {
			of    string
			value float64
		}{
			{"alone", us(t.Alone.Service)}, {"several", us(t.Several.Service)}, {"first", math.Round(1000*t.Alone.First) / 1000},
			{"pace", us(t.Pace)}, {"sent", us(t.Sent)}, {"read", us(t.Read)}, {"save", us(t.Save)},
		} {
			fmt.Fprintf(&b, "\t%s = %g\n", x.of+name, x.value)
		}
	}
	b.WriteString(")\n")
	text, err := format.Source(b.Bytes())
	if err != nil {
		return b.Bytes()
	}
	return text
}

// inputs is what went in, for people.
func inputs(e simulate.Experiment) string {
	t := "What went in:"
	us := func(d time.Duration) time.Duration { return d.Round(time.Microsecond) }
	for i, x := range e.Tests {
		t += fmt.Sprintf(" %s: %v of the processor for a request of a server alone, %v of one of several, of which %.0f %% before the first answer; the generator comes to one each %v, needs %v to send it and %v to read what it brings; "+
			"the database %v", x.Name, us(x.Alone.Service), us(x.Several.Service), 100*x.Alone.First, us(x.Pace), us(x.Sent), us(x.Read), us(x.Save))
		if i < len(e.Tests)-1 {
			t += ";"
		}
	}
	return t + "."
}

// verdict is how near it comes, for people.
func verdict(rows []Compared) string {
	all, own, tail, sure := tally(rows)
	far := slices.MaxFunc(rows, func(a, b Compared) int {
		return cmp.Compare(math.Abs(Off(a.Own.Mean, a.Measured.Mean)), math.Abs(Off(b.Own.Mean, b.Measured.Mean)))
	})
	return fmt.Sprintf("With the processor time that was counted in the row itself %d of %d rows are within %.0f %% in the mean, %d in the 99th percentile; the furthest mean is off by %+.1f %% (%s, %s, %d users). "+
		"With the same processor times for all rows it is %d. ±: twice the standard error of what was measured; where that is more than %.0f %% and counts instead, %d are within.",
		own, len(rows), Within*100, tail, 100*Off(far.Own.Mean, far.Measured.Mean), far.Test, title(far.Limit), far.Users, all, Within*100, sure)
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
		sure += within(c.Own.Mean, c.Measured.Mean, max(Within, c.Measured.Error))
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
	c.text(left-50, top-13, 13, -1, false, faint, "simulated, ms")
	c.line(left+480, 53, left+504, 53, 1, faint)
	c.text(left+512, 58, 13, -1, false, ink, fmt.Sprintf("%.0f %% off", Within*100))
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
