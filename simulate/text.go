package simulate

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"pharos/load"
)

// Write is the result for people.
func (r *Result) Write(to io.Writer) error {
	var b strings.Builder
	s, c := &r.Scenario, &r.Counts
	fmt.Fprintf(&b, "%s: %s\n", s.Name, s.About)
	fmt.Fprintf(&b, "%s nodes of %g processors, maximum %s each", grouped(float64(s.Nodes.Count)), s.Nodes.Cores, grouped(s.Nodes.Max))
	if s.Nodes.Standby > 0 {
		fmt.Fprintf(&b, ", and %d standbys", s.Nodes.Standby)
	}
	fmt.Fprintf(&b, "; %s users at the beginning, each adds %.3g to a level; %s, seed %d\n", grouped(float64(s.Users.Count)), s.level(), time.Duration(s.Length), s.Seed)
	r.writeAssumed(&b)
	if len(r.Events) > 0 {
		b.WriteString("\n")
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "AT\tWHAT HAPPENS\tLEVELS APART\tAND THEN")
		for _, e := range r.Events {
			fmt.Fprintf(t, "%.0f s\t%s\t%.0f %%\t%s\n", e.At, e.What, e.Most*100, e.even())
		}
		t.Flush()
	}
	r.writeDeaths(&b)
	b.WriteString("\n")
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	if c.Arrived > 0 {
		line("%s users came, %s are in, %s go on trying; %s were answered \"come again later\"", grouped(c.Arrived), grouped(c.Admitted), grouped(c.Waiting), grouped(c.Refused))
	} else if c.Logins > 0 {
		line("%s logins, %s go on trying; %s were answered \"come again later\"", grouped(c.Logins), grouped(c.Waiting), grouped(c.Refused))
	}
	if c.Moved+c.Inherited+c.Redirected > 0 {
		line("%s users moved, %s inherited; %s clients were redirected, %s served where they came", grouped(c.Moved), grouped(c.Inherited), grouped(c.Redirected), grouped(c.Served))
	}
	if c.Joined+c.Drained > 0 {
		line("%d standbys joined, %d nodes were given up for want of work", c.Joined, c.Drained)
	}
	if shed := c.Shed[load.Message] + c.Shed[load.Publish] + c.Shed[load.Refresh]; shed >= 1 {
		line("of those who are in: %s messages, %s changes, %s refreshes were refused", grouped(c.Shed[load.Message]), grouped(c.Shed[load.Publish]), grouped(c.Shed[load.Refresh]))
	} else {
		line("nothing was refused of those who are in")
	}
	r.writeLevels(&b)
	r.writeResources(&b)
	_, err := io.WriteString(to, b.String())
	return err
}

// even says when levels were even again.
func (e *Happened) even() string {
	switch {
	case e.Even < 0:
		return "not even before the next event, or the end"
	case e.Even == 0:
		return "stay even"
	}
	return fmt.Sprintf("even after %.0f s", e.Even)
}

// assumed says where the costs are not those that were measured.
func (r *Result) assumed() string {
	var list []string
	measured, mine := Measured(), r.Scenario.Costs
	m := measured.rows()
	for i, c := range mine.rows() {
		if *c.value != *m[i].value {
			list = append(list, fmt.Sprintf("assumed: %s is %s %s (measured: %s)", c.key, figure(*c.value), c.unit, figure(*m[i].value)))
		}
	}
	if f := r.Scenario.Nodes.Database; f != 1 {
		list = append(list, fmt.Sprintf("assumed: a database %g times as fast as the measured one", f))
	}
	return strings.Join(list, "; ")
}

func (r *Result) writeAssumed(b *strings.Builder) {
	if text := r.assumed(); text != "" {
		b.WriteString(text + "\n")
	}
}

func (r *Result) writeDeaths(b *strings.Builder) {
	if len(r.Deaths) == 0 {
		return
	}
	worst := slices.MaxFunc(r.Deaths, func(x, y Takeover) int { return int(1000 * (x.Right - y.Right)) })
	fmt.Fprintf(b, "\n%d nodes died. The slowest takeover: %s users, declared dead after %.1f s, all have a home after %.1f s, and are loaded after %.1f s\n",
		len(r.Deaths), grouped(float64(worst.Users)), worst.Buried, worst.Inherited, worst.Right)
}

// writeLevels shows some moments.
func (r *Result) writeLevels(b *strings.Builder) {
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "TIME\tNODES\tUSERS\tLOWEST\tMEDIAN\tHIGHEST\tMOVES/S\tLOGINS/S\tREFUSED/S\tTRYING\tQUEUE\tDATABASE\t")
	const most = 16
	n := len(r.Samples)
	for i := range min(most, n) {
		k := i * (n - 1) / max(1, min(most, n)-1)
		x := r.Samples[k]
		fmt.Fprintf(t, "%.0f s\t%d\t%s\t%.0f %%\t%.0f %%\t%.0f %%\t%s\t%s\t%s\t%s\t%.0f %%\t%.0f %%\t\n", x.T, x.Active, grouped(float64(x.Users)), x.Min*100, x.Median*100, x.Max*100,
			grouped(x.Moves), grouped(x.Logins), grouped(x.Refused), grouped(float64(x.Waiting)), x.Full*100, x.Database*100)
	}
	t.Flush()
}

func (r *Result) writeResources(b *strings.Builder) {
	b.WriteString("\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "RESOURCE\tMEAN\tBUSIEST SECOND\tCAN DO\tUSED\tENDS AT")
	for _, x := range r.Resources {
		if x.Elastic && x.Limit == "" && x.Peak > 0 {
			x.Limit = "takes what there is"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s %s\t%s\t%s\n", x.Name, figure(x.Mean), figure(x.Peak), figure(x.Can), x.Unit, percent(x.Used), x.Limit)
	}
	t.Flush()
	if r.Round > 0 {
		fmt.Fprintf(b, "the leader's round took %s on this machine, %s at most; there is one a second\n",
			time.Duration(r.Round*1e9).Round(time.Microsecond), time.Duration(r.RoundMost*1e9).Round(time.Microsecond))
	}
	fmt.Fprintf(b, "%s\n", r.Next())
}

// Next says where the limit lies that is reached next.
func (r *Result) Next() string {
	first := slices.MaxFunc(r.Resources, func(x, y Resource) int {
		if x.Elastic != y.Elastic {
			return cmp.Compare(fmt.Sprint(y.Elastic), fmt.Sprint(x.Elastic))
		}
		return cmp.Compare(x.Used, y.Used)
	})
	over := "the next limit"
	if first.Used > 1.005 {
		over = "past its limit"
	}
	text := fmt.Sprintf("%s: %s, %s used", over, first.Name, percent(first.Used))
	if first.Limit != "" {
		text += "; it ends at " + first.Limit
	}
	return text
}

func percent(x float64) string {
	switch {
	case x > 0 && x < 0.001:
		return "<0.1 %"
	case x < 0.1:
		return fmt.Sprintf("%.1f %%", x*100)
	}
	return grouped(x*100) + " %"
}

// figure writes a number with three figures that count.
func figure(x float64) string {
	switch a := math.Abs(x); {
	case a >= 100:
		return grouped(x)
	case a == 0:
		return "0"
	case a < 0.001:
		return strconv.FormatFloat(x, 'g', 3, 64)
	}
	return strconv.FormatFloat(x, 'f', max(0, 2-int(math.Floor(math.Log10(math.Abs(x))))), 64)
}

// grouped writes a number as 1,234,567.
func grouped(x float64) string {
	s := strconv.FormatFloat(math.Abs(math.Round(x)), 'f', 0, 64)
	var b strings.Builder
	if x <= -0.5 {
		b.WriteByte('-')
	}
	for i, c := range s {
		if i > 0 && (len(s)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}

// rounded writes it with two figures that count, rounded down.
func rounded(x float64) string {
	if x <= 0 || math.IsInf(x, 0) || math.IsNaN(x) {
		return "0"
	}
	unit := math.Pow(10, max(0, math.Floor(math.Log10(x))-1))
	return grouped(math.Floor(x/unit) * unit)
}
