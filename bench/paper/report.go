package paper

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"pharos/bench"
)

// Row is a bar of the paper's figures: so many users in a service of one server, and in the one with
// the load control.
type Row struct {
	Test         Test
	Limit        int // maximum level
	Users        int
	Servers      int
	One, Several Sample
}

// Goal is how much longer than the ideal several servers may take at most.
const Goal = 1.05

// stated are the cuts in percent that the paper's text gives (section 4, figures 6 to 8).
var stated = map[Test]map[int]map[int]float64{
	Subscribe: {100: {200: 45.6, 300: 63.3, 500: 72.9}, 200: {300: 48.8, 400: 44.0, 500: 65.7}},
	Notify:    {100: {200: 43.1, 300: 58.6, 500: 69.4}},
}

// Figure is the paper's number, 0 for what it has not.
func Figure(test Test, limit int) int {
	switch {
	case test == Subscribe && limit == 100:
		return 6
	case test == Subscribe && limit == 200:
		return 7
	case test == Notify && limit == 100:
		return 8
	}
	return 0
}

// Cut is by how many percent the time is shorter than with one server.
func (r Row) Cut() float64 { return 100 * (1 - r.ratio()) }

// Ideal is what it could be, since each server has a part of the users.
func (r Row) Ideal() float64 { return 100 * (1 - 1/float64(r.Servers)) }

// Over is the time over the ideal one.
func (r Row) Over() float64 { return r.ratio() * float64(r.Servers) }

func (r Row) ratio() float64 { return float64(r.Several.Mean) / float64(r.One.Mean) }

// Error is how far off Over may be: twice the standard error of both times. 0: not known.
func (r Row) Error() float64 { return r.Over() * math.Hypot(r.One.Error, r.Several.Error) }

// Stated is the paper's cut in percent, and its time over the ideal one; false: it says none.
func (r Row) Stated() (cut, over float64, ok bool) {
	cut, ok = stated[r.Test][r.Limit][r.Users]
	return cut, (1 - cut/100) * float64(r.Servers), ok
}

// Rows are the result by what the paper shows.
func (r *Result) Rows() (rows []Row) {
	type key struct {
		test         Test
		limit, users int
	}
	of := map[key][]Round{}
	for _, x := range r.Rounds {
		k := key{x.Test, x.Limit, x.Users}
		of[k] = append(of[k], x)
	}
	for k, rounds := range of {
		if k.limit == 0 {
			continue
		}
		rows = append(rows, Row{Test: k.test, Limit: k.limit, Users: k.users, Servers: rounds[0].Servers, One: average(of[key{k.test, 0, k.users}]), Several: average(rounds)})
	}
	slices.SortFunc(rows, func(a, b Row) int {
		if d := strings.Compare(string(b.Test), string(a.Test)); d != 0 {
			return d
		}
		if d := a.Limit - b.Limit; d != 0 {
			return d
		}
		return a.Users - b.Users
	})
	return rows
}

func ms(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', 1, 64)
}

// Table is the rows as Markdown.
func Table(rows []Row) string {
	var b strings.Builder
	b.WriteString("| test | maximum level | users | servers | one server: mean (p99) | several: mean (p99) | time cut by | paper | ideal 1−1/k | time over ideal | paper's | CPU of a round: one; several |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n")
	for _, r := range rows {
		name := string(r.Test)
		if f := Figure(r.Test, r.Limit); f > 0 {
			name += fmt.Sprintf(" (Fig. %d)", f)
		}
		paper, over := "", ""
		if cut, o, ok := r.Stated(); ok {
			paper, over = fmt.Sprintf("%.1f %%", cut), fmt.Sprintf("%.2f", o)
		}
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %s (%s) ms | %s (%s) ms | **%.1f %%** | %s | %.1f %% | **%.2f ± %.2f** | %s | %s; %s ms |\n", name, r.Limit, r.Users, r.Servers,
			ms(r.One.Mean), ms(r.One.P99), ms(r.Several.Mean), ms(r.Several.P99), r.Cut(), paper, r.Ideal(), r.Over(), r.Error(), over, ms(r.One.CPU), ms(r.Several.CPU))
	}
	return b.String()
}

// Verdict says in how many rows the goal is kept, for people.
func Verdict(rows []Row) string {
	kept, missed, open := 0, 0, 0
	for _, r := range rows {
		switch known := r.One.Error > 0 && r.Several.Error > 0; {
		case known && r.Over()+r.Error() <= Goal:
			kept++
		case known && r.Over()-r.Error() > Goal:
			missed++
		default:
			open++
		}
	}
	return fmt.Sprintf("Time over the ideal, at most %.2f: kept in %d of %d rows, not kept in %d; in %d it cannot be told, as the goal lies within what the time may be off by (±: twice the standard error).",
		Goal, kept, len(rows), missed, open)
}

// columns of the raw rows.
var columns = []string{"test", "maximum", "users", "servers", "round", "mean_ms", "p99_ms", "last_ms", "cpu_ms", "sent_ms", "own_ms", "db_ms", "run"}

// WriteCSV writes each round that was measured; a maximum of 0 is the single server.
func (r *Result) WriteCSV(w io.Writer) error {
	c := csv.NewWriter(w)
	if err := c.Write(columns); err != nil {
		return err
	}
	for _, x := range r.Rounds {
		err := c.Write([]string{string(x.Test), strconv.Itoa(x.Limit), strconv.Itoa(x.Users), strconv.Itoa(x.Servers), strconv.Itoa(x.Number), ms(x.Mean), ms(x.P99), ms(x.Last), ms(x.CPU), ms(x.Sent), ms(x.Own), ms(x.DB), strconv.Itoa(x.Run)})
		if err != nil {
			return err
		}
	}
	c.Flush()
	return c.Error()
}

// older is how many columns there were before the last were added.
const older = 9

// ReadCSV reads what WriteCSV has written, also before it had the last columns.
func ReadCSV(r io.Reader) (*Result, error) {
	lines, err := csv.NewReader(r).ReadAll()
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 || !slices.Equal(lines[0], columns[:min(max(len(lines[0]), older), len(columns))]) {
		return nil, fmt.Errorf("paper: the columns are not %v", columns)
	}
	res := &Result{}
	for _, l := range lines[1:] {
		var n [4]int
		var d [7]time.Duration
		for i := range n {
			if n[i], err = strconv.Atoi(l[1+i]); err != nil {
				return nil, err
			}
		}
		run := 1
		if last := len(columns) - 1; len(l) > last {
			if run, err = strconv.Atoi(l[last]); err != nil {
				return nil, err
			}
			l = l[:last]
		}
		for i := range l[5:] {
			v, err := strconv.ParseFloat(l[5+i], 64)
			if err != nil {
				return nil, err
			}
			d[i] = time.Duration(v * float64(time.Millisecond))
		}
		res.Rounds = append(res.Rounds, Round{Test: Test(l[0]), Limit: n[0], Users: n[1], Servers: n[2], Run: run, Number: n[3], Mean: d[0], P99: d[1], Last: d[2], CPU: d[3], Sent: d[4], Own: d[5], DB: d[6]})
	}
	return res, nil
}

const (
	beginMark = "<!-- paper: written by make experiment -->"
	endMark   = "<!-- end of paper -->"
)

// Write puts the raw rows and the figures into a folder, and the table between its markers in a file beside it.
func Write(readme, folder string, r *Result) error {
	rows := r.Rows()
	var t strings.Builder
	fmt.Fprintf(&t, "%s `make experiment`, %v, %s. Each server has %g of a core, in periods of %v; the generator used %.2f cores while it measured.\n\n",
		bench.Setting(bench.Loaded()), r.Took.Round(time.Second), r.runs(), r.Cores, period, r.Own.Seconds()/max(r.Wall.Seconds(), 1))
	t.WriteString(Verdict(rows) + "\n\n" + Table(rows) + "\n")
	t.WriteString(spreadsOf(r.Spreads))
	name := filepath.Base(folder)
	for _, f := range figures {
		if slices.ContainsFunc(rows, f.shows) {
			fmt.Fprintf(&t, "\n![%s](%s/figure%d.svg)\n", f.title, name, Figure(f.test, f.limit))
		}
	}
	if err := bench.Between(readme, beginMark, endMark, t.String()); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(folder, "rounds.csv"))
	if err != nil {
		return err
	}
	if err := errors.Join(r.WriteCSV(f), f.Close()); err != nil {
		return err
	}
	return Draw(folder, rows)
}

// spreadsOf says how users were placed; each line has all runs.
func spreadsOf(all []Spread) string {
	type key struct{ limit, users int }
	var order []key
	of := map[key][]string{}
	for _, s := range all {
		if s.Limit == 0 || len(s.Homes) < 2 {
			continue
		}
		k := key{s.Limit, s.Users}
		if of[k] == nil {
			order = append(order, k)
		}
		of[k] = append(of[k], fmt.Sprintf("%s after %v (%d are connected elsewhere)", list(s.Homes), s.Settled.Round(time.Second), s.Apart))
	}
	var b strings.Builder
	for _, k := range order {
		fmt.Fprintf(&b, "- Maximum %d, %d users: since the last of them has come, the load control has on its servers %s.\n", k.limit, k.users, strings.Join(of[k], "; in the next run "))
	}
	return b.String()
}

// runs is how often all was done, for people.
func (r *Result) runs() string {
	runs := map[int]bool{}
	for _, x := range r.Rounds {
		runs[x.Run] = true
	}
	if len(runs) == 1 {
		return "one run"
	}
	return fmt.Sprintf("%d runs", len(runs))
}

func list(of []int) string {
	return strings.ReplaceAll(strings.Trim(fmt.Sprint(of), "[]"), " ", ", ")
}
