package peers

import (
	"context"
	"fmt"
	"os"
	"strings"

	"pharos/bench"
)

// value is a figure for people.
func value(v float64, unit string) string {
	switch {
	case unit == "/s" && v >= 1000:
		return fmt.Sprintf("%.1f k/s", v/1000)
	case unit == "/s":
		return fmt.Sprintf("%.0f/s", v)
	case v >= 100:
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

func (f Figure) text(unit string, bold bool) string {
	s := value(f.Median, unit)
	if bold {
		s = "**" + s + "**"
	}
	if f.Least != f.Most {
		span := func(v float64) string {
			t, _, _ := strings.Cut(value(v, unit), " ")
			return strings.TrimSuffix(t, "/s")
		}
		s += fmt.Sprintf(" (%s..%s)", span(f.Least), span(f.Most))
	}
	return s
}

// Table is the lines as Markdown, a column for each peer.
func Table(ls []Line, all []Contender) string {
	var peers []string
	for _, l := range ls {
		for _, v := range l.Verdicts {
			if !contains(peers, v.Peer) {
				peers = append(peers, v.Peer)
			}
		}
	}
	var b strings.Builder
	b.WriteString("| measurement | Pharos |")
	for _, p := range peers {
		fmt.Fprintf(&b, " %s | Pharos is better, times; goal |", p)
	}
	b.WriteString(" bare loop; Pharos to it | generator: share of CPU; processors busy at most |\n|---|---|" + strings.Repeat("---|---|", len(peers)) + "---|---|\n")
	for _, l := range ls {
		fmt.Fprintf(&b, "| %s: %s | %s |", l.Work, l.Name, l.Ours.text(l.Unit, true))
		for _, p := range peers {
			cell := "  |  |"
			for _, v := range l.Verdicts {
				if v.Peer == p {
					cell = fmt.Sprintf(" %s%s | %s |", v.Its.text(l.Unit, false), variant(v.By, p), v.text())
				}
			}
			b.WriteString(cell)
		}
		bare := ""
		if l.Bare != nil {
			bare = l.Bare.text(l.Unit, false)
			if l.Bare.Median > 0 {
				bare += fmt.Sprintf("; %.2g×", l.Ours.Median/l.Bare.Median)
			}
		}
		load := ""
		if l.Load > 0 {
			load = fmt.Sprintf("%.0f %%; %.2f", 100*l.Load, l.Busy)
		}
		fmt.Fprintf(&b, " %s | %s |\n", bare, load)
	}
	b.WriteString("\nMedian of the runs (least..most). What is on the disk when a change is acknowledged:")
	for i, c := range all {
		sep := ";"
		if i == 0 {
			sep = ""
		}
		fmt.Fprintf(&b, "%s %s: %s", sep, c.Name, c.Keeps)
	}
	b.WriteString(".\n")
	return b.String()
}

func contains(names []string, n string) bool {
	for _, v := range names {
		if v == n {
			return true
		}
	}
	return false
}

// variant is what the configuration is called beside the program.
func variant(name, of string) string {
	v := strings.Trim(strings.TrimPrefix(name, of), ", ")
	if v == "" {
		return ""
	}
	return ", " + v
}

func (v Verdict) text() string {
	if v.Times == 0 {
		return "?"
	}
	goal := "ahead"
	if v.Goal > 1 {
		goal = fmt.Sprintf("%g", v.Goal)
	}
	kept := "kept"
	if !v.Kept() {
		kept = "**not kept**"
	}
	return fmt.Sprintf("**%.2f**; %s: %s", v.Times, goal, kept)
}

// Failures is a sentence for each contender that failed in runs of a work, "" for none.
func Failures(rs []Result) string {
	var b strings.Builder
	for _, r := range rs {
		for _, name := range r.Contenders {
			if why := r.Failed[name]; len(why) > 0 {
				first, _, _ := strings.Cut(strings.TrimLeft(why[0], ": "), "\n")
				fmt.Fprintf(&b, "\n%s failed in %q, %d times: %s.\n", name, r.Name, len(why), first)
			}
		}
	}
	return b.String()
}

// Versions are those of the contenders' programs.
func Versions(ctx context.Context, all []Contender) (string, error) {
	var vs []string
	seen := map[string]bool{}
	for _, c := range all {
		if seen[c.Of] || c.Of == Ours {
			continue
		}
		seen[c.Of] = true
		v, err := c.Version(ctx)
		if err != nil {
			return "", fmt.Errorf("%s: %w", c.Name, err)
		}
		vs = append(vs, v)
	}
	return strings.Join(vs, ", "), nil
}

// Write puts text between the markers of a world ("sip", "xmpp") in a file, and the chart beside it.
func Write(path, world, chart, text string, svg []byte) error {
	err := bench.Between(path, fmt.Sprintf("<!-- peers, %s: written by make peers -->", world), fmt.Sprintf("<!-- end of peers, %s -->", world), text)
	if err != nil {
		return err
	}
	return os.WriteFile(chart, svg, 0o644)
}

// Chart draws each line's figures as bars, each line by its own scale, with a stroke through ours where the hardest of its
// goals is. setting stands below the title.
func Chart(title, setting string, ls []Line) []byte {
	const (
		left, wide, right = 330, 360, 150
		row, bar          = 20, 13
	)
	var b strings.Builder
	y := 76
	draw := func(name, colour string, v, most float64, unit string) {
		w := 0.0
		if most > 0 {
			w = wide * v / most
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-8, y+11, escape(name))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="%s"/>`+"\n", left, y, w, bar, colour)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", left+w+6, y+11, escape(value(v, unit)))
		y += row
	}
	for _, l := range ls {
		better := "less is better"
		if l.Metric.More {
			better = "more is better"
		}
		fmt.Fprintf(&b, `<text x="12" y="%d" font-weight="bold">%s</text>`+"\n", y+11, escape(fmt.Sprintf("%s: %s (%s)", l.Work, l.Name, better)))
		y += row
		most := l.Ours.Median
		for _, v := range l.Verdicts {
			most = max(most, v.Its.Median)
		}
		if l.Bare != nil && !l.Metric.More { // the bare loop's rate would make all others small
			most = max(most, l.Bare.Median)
		}
		goal, at := l.goal(), y
		most = max(most, goal)
		draw("Pharos", "#2f6f9f", l.Ours.Median, most, l.Unit)
		if most > 0 && len(l.Verdicts) > 0 {
			x := left + wide*goal/most
			fmt.Fprintf(&b, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#cc0000" stroke-width="2"/>`+"\n", x, x, at-3, at+bar+3)
		}
		for _, v := range l.Verdicts {
			draw(v.By, "#b5651d", v.Its.Median, most, l.Unit)
		}
		if l.Bare != nil && !l.Metric.More {
			draw("bare loop", "#999999", l.Bare.Median, most, l.Unit)
		}
		y += row / 2
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n"+
		`<text x="12" y="26" font-size="15" font-weight="bold">%s</text>`+"\n"+
		`<text x="12" y="46" fill="#555555">%s</text>`+"\n"+
		`<text x="12" y="63" fill="#555555">The red stroke is the goal.</text>`+"\n", left+wide+right, y, escape(title), escape(strings.TrimSpace(setting)))
	return []byte(head + b.String() + "</svg>\n")
}

// goal is what our figure has to be at least, or at most, to be as much better than each peer's as it should.
func (l Line) goal() float64 {
	goal := 0.0
	for i, v := range l.Verdicts {
		g := v.Its.Median * v.Goal
		if !l.Metric.More {
			g = v.Its.Median / v.Goal
		}
		if i == 0 || l.Metric.More == (g > goal) {
			goal = g
		}
	}
	return goal
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(s)
}

// Setting is the first line of a report: when, where and what.
func Setting(versions string) string { return bench.Setting() + " " + versions + ".\n\n" }
