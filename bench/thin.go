package bench

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

const (
	beginThin = "<!-- thin: written by go run ./bench/run -only thin -readme bench/README.md -->"
	endThin   = "<!-- end of thin -->"
)

// Thin is one way to watch, and what it costs in a watcher's hour.
type Thin struct {
	Name   string
	Told   float64 // NOTIFYs or stanzas
	Octets int     // of these
	Wire   int     // of all messages, both ways
}

var thinLine = regexp.MustCompile(`thin: ([^|]+) \| ([\d.]+) \| (\d+) \| (\d+)`)

// Thinning runs the simulated hour, which is a test of the SIP and one of the XMPP edge: time
// is virtual, and octets are counted, so that other load changes nothing.
func Thinning(ctx context.Context) ([]Thin, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-count=1", "-timeout=300s", "-v", "-run=^TestThinning", "./simple", "./jabber").CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("bench: thinning: %w\n%s", err, out)
	}
	var ts []Thin
	for _, m := range thinLine.FindAllSubmatch(out, -1) {
		t := Thin{Name: string(m[1])}
		if t.Told, err = strconv.ParseFloat(string(m[2]), 64); err != nil {
			return nil, err
		}
		t.Octets, _ = strconv.Atoi(string(m[3])) // digits
		t.Wire, _ = strconv.Atoi(string(m[4]))
		ts = append(ts, t)
	}
	if len(ts) == 0 {
		return nil, fmt.Errorf("bench: the simulation printed no rows:\n%s", out)
	}
	return ts, nil
}

// thinGroups splits rows by what they are to be compared with, which is the first
// of each group.
func thinGroups(ts []Thin) (groups [][]Thin) {
	kind := func(t Thin) string {
		k, _, ok := strings.Cut(t.Name, ",")
		if !ok || strings.HasPrefix(k, "filter") {
			k = "one user"
		}
		return k
	}
	for i, t := range ts {
		if i == 0 || kind(t) != kind(ts[i-1]) {
			groups = append(groups, nil)
		}
		g := &groups[len(groups)-1]
		*g = append(*g, t)
	}
	return groups
}

// ThinTable is the rows for people, as Markdown.
func ThinTable(ts []Thin) string {
	var b strings.Builder
	b.WriteString("| a watcher's hour | NOTIFYs (stanzas) | octets of these | of the first row | all octets, both ways |\n|---|---|---|---|---|\n")
	for _, g := range thinGroups(ts) {
		for _, t := range g {
			fmt.Fprintf(&b, "| %s | %.0f | **%d** | %d %% | %d |\n", t.Name, t.Told, t.Octets, (100*t.Octets+g[0].Octets/2)/g[0].Octets, t.Wire)
		}
	}
	return b.String()
}

// ThinChart draws the octets of NOTIFYs as bars, each group by its own scale.
func ThinChart(ts []Thin) []byte {
	const (
		left, wide, right = 220, 420, 130
		row, bar          = 26, 16
	)
	var b strings.Builder
	y := 44
	for _, g := range thinGroups(ts) {
		most := 0
		for _, t := range g {
			most = max(most, t.Octets)
		}
		for _, t := range g {
			w := float64(wide) * float64(t.Octets) / float64(most)
			fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", left-8, y+13, escape(t.Name))
			fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" fill="#2f6f9f"/>`+"\n", left, y, w, bar)
			fmt.Fprintf(&b, `<text x="%.1f" y="%d">%.1f kB in %.0f</text>`+"\n", float64(left)+w+6, y+13, float64(t.Octets)/1000, t.Told)
			y += row
		}
		y += row / 2
	}
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="13">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n"+
		`<text x="12" y="26" font-size="15" font-weight="bold">What a watcher is sent in an hour (NOTIFYs or stanzas)</text>`+"\n", left+wide+right, y)
	return []byte(head + b.String() + "</svg>\n")
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(s)
}

// WriteThin puts the table between its markers in a file, and the chart beside it.
func WriteThin(path, chart string, ts []Thin) error {
	date := time.Now().UTC().Format("2006-01-02")
	if err := Between(path, beginThin, endThin, date+".\n\n"+ThinTable(ts)); err != nil {
		return err
	}
	return os.WriteFile(chart, ThinChart(ts), 0o644)
}
