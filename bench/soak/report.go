package soak

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"pharos/bench"
)

const (
	beginSoak = "<!-- soak: written by make soak -->"
	endSoak   = "<!-- end of soak -->"
)

// Table is the result for people, as Markdown.
func Table(r *Result) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s Load average at the end %s.\n\n", r.Machine, r.Load)
	fmt.Fprintf(&b, "%d users: %d chat clients and %d phones, %d watchings of one by another, on %d nodes for %v. Each client says something new every %v, logs out every %v for %v, "+
		"each phone refreshes its publication within %v and its subscriptions within %v, exchanges one every %v, each chat exchanges one every %v, sends a message every %v and names a contact every %v, "+
		"and each phone's user writes a document every %v, on average.\n\n", r.Users, r.Chats, r.Phones, r.Watches, r.Nodes, r.Length, brief(r.Rates.Say), brief(r.Rates.Away), brief(r.Rates.AwayFor),
		brief(publishFor/2), brief(subscribeFor/2), brief(r.Rates.Resub), brief(r.Rates.Unfriend), brief(r.Rates.Message), brief(r.Rates.Name), brief(r.Rates.Document))
	b.WriteString("| what happened | times | a second |\n|---|---|---|\n")
	for _, k := range sorted(r.Events) {
		fmt.Fprintf(&b, "| %s | %d | %.1f |\n", k, r.Events[k], float64(r.Events[k])/r.Length.Seconds())
	}
	fmt.Fprintf(&b, "| NOTIFYs that phones got | %d | %.1f |\n", r.Notifies, float64(r.Notifies)/r.Length.Seconds())
	fmt.Fprintf(&b, "| XMPP connections that ended | %d | %.1f |\n", r.Logins, float64(r.Logins)/r.Length.Seconds())
	fmt.Fprintf(&b, "| presentities moved or inherited | %d | %.1f |\n\n", r.Moved, float64(r.Moved)/r.Length.Seconds())
	fmt.Fprintf(&b, "Of one processor, on average: nodes %s, PostgreSQL %s, generator %s.\n\n", r.Share["nodes"], r.Share["PostgreSQL"], r.Share["generator"])
	writeFaults(&b, r)
	writeGrowth(&b, r)
	writeHeap(&b, r)
	fmt.Fprintf(&b, "At the end all was calm after %.1f s; %d of %d watchings were wrong then.", r.Calm.Seconds(), r.WrongN, r.Watches)
	for _, k := range sorted(r.Looked) {
		fmt.Fprintf(&b, " %d %s were compared with what had been acknowledged.", r.Looked[k], k)
	}
	fmt.Fprintf(&b, " Of %d messages %d arrived, %d came back, %d were lost with a connection or in a fault, %d for no such reason, %d came twice. "+
		"%d subscriptions had to be begun anew. %d NOTIFYs had a CSeq that had been used, since two nodes had the dialog for a moment; they were refused with 500. At the end the nodes had %d SIP dialogs more than their owners had subscriptions. What must never happen happened %d times.\n", r.Mail.Sent, r.Mail.Arrived, r.Mail.Returned, r.Mail.Excused, len(r.Mail.Lost), r.Mail.Twice, r.Lost, r.Stale, r.Stray, r.BreachN)
	for _, list := range [][]string{r.Wrong, r.Breaches, r.Mail.Lost} {
		for _, s := range list[:min(len(list), 10)] {
			fmt.Fprintf(&b, "- %s\n", s)
		}
	}
	return b.String()
}

func writeFaults(b *strings.Builder, r *Result) {
	if len(r.Faults) == 0 {
		return
	}
	b.WriteString("| fault | times | watchers behind for a second or more, each time | the longest |\n|---|---|---|---|\n")
	by := map[string][]Fault{}
	count := map[string]int{}
	for _, f := range r.Faults {
		by[f.Name] = append(by[f.Name], f)
		count[f.Name]++
	}
	for _, name := range sorted(count) {
		sum, worst := 0, time.Duration(0)
		for _, f := range by[name] {
			sum += f.Behind
			worst = max(worst, f.Worst)
		}
		fmt.Fprintf(b, "| %s | %d | %d | %.1f s |\n", name, count[name], sum/count[name], worst.Seconds())
	}
	b.WriteString("\n")
}

func writeGrowth(b *strings.Builder, r *Result) {
	if len(r.Growth) == 0 {
		b.WriteString("No process has lived long enough for its growth to be told.\n\n")
		return
	}
	fmt.Fprintf(b, "The first %v of each life of a process do not count.\n\n", brief(r.Fill))
	b.WriteString("| figure | process | minutes | mean | growth in an hour (95 %) | |\n|---|---|---|---|---|---|\n")
	for _, g := range r.Growth {
		unit, scale := "", 1.0
		for _, f := range figures {
			if f.name == g.Figure && f.unit != "" {
				unit, scale = " "+f.unit, f.scale
			}
		}
		who := fmt.Sprintf("%s, its %s", g.Node, []string{"first", "second", "third", "fourth", "fifth"}[min(g.Life, 4)])
		if g.Life > 4 {
			who = fmt.Sprintf("%s, its %dth", g.Node, g.Life+1)
		}
		if g.Node == "all" {
			who = "**all together**"
		}
		fmt.Fprintf(b, "| %s | %s | %d | %.1f%s | **%+.2f** ± %.2f%s | %s |\n", g.Figure, who, g.Minutes, g.Mean/scale, unit, g.PerHour/scale, g.Bound/scale, unit, g.Verdict)
	}
	b.WriteString("\n")
}

// Write puts the table between its markers in a file, and the picture beside it.
func Write(path string, r *Result) error {
	if err := bench.Between(path, beginSoak, endSoak, Table(r)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(filepath.Dir(path), "soak.svg"), Chart(r), 0o644)
}

// brief is a duration without the units that are nought.
func brief(d time.Duration) string {
	s := d.Round(100 * time.Millisecond).String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func sorted(m map[string]int) (keys []string) {
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
