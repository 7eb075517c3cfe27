package soak

import (
	"fmt"
	"html"
	"math"
	"strings"
)

const (
	chartWide, chartLeft, chartTop = 860, 70, 70
	panelHigh, panelGap            = 120, 34
)

var nodeColours = []string{"#2f6f9f", "#c2651a", "#3b8a4c", "#8a4c9f", "#777777"}

var faultColours = map[string]string{
	"kill -9": "#c03030", "kill -9 of the leader": "#c03030", "restarted in order": "#d08020", "PostgreSQL restarted": "#505050",
	"SIGSTOP for 10 s": "#7060c0", "SIGSTOP of the leader for 10 s": "#7060c0", "drained, and filled again": "#309080",
}

// panel is one figure over time.
type panel struct {
	title string
	of    func(*Sample) float64
	scale float64
}

// Chart draws the figures of all nodes over time, with the faults marked, and how many were behind.
func Chart(r *Result) []byte {
	panels := []panel{{"connections and subscriptions of a node's users, in thousands", func(s *Sample) float64 { return s.Sessions + s.Subs }, 1000}}
	for _, f := range figures {
		title := f.name
		if f.unit != "" {
			title += ", " + f.unit
		}
		panels = append(panels, panel{title, f.of, f.scale})
	}
	most := 1.0
	for _, s := range r.samples {
		most = max(most, s.At)
	}
	x := func(t float64) float64 { return chartLeft + chartWide*t/most }
	var b strings.Builder
	y := chartTop
	for _, p := range panels {
		drawPanel(&b, r, p, y, x)
		y += panelHigh + panelGap
	}
	drawBehind(&b, r, y, x)
	bottom := y + panelHigh
	for _, f := range r.Faults {
		at := x(f.At.Seconds())
		fmt.Fprintf(&b, `<line x1="%.1f" y1="%d" x2="%.1f" y2="%d" stroke="%s" stroke-width="0.7" stroke-dasharray="3,3"><title>%s %s</title></line>`+"\n", at, chartTop, at, bottom,
			faultColours[f.Name], html.EscapeString(f.Name), f.Node)
	}
	step := niceStep(most/60, 10)
	for m := 0.0; m*60 <= most; m += step {
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%g</text>`+"\n", x(m*60), bottom+16, m)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">minutes</text>`+"\n", chartLeft+chartWide, bottom+32)
	head := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n"+
		`<rect width="100%%" height="100%%" fill="white"/>`+"\n"+
		`<text x="12" y="24" font-size="15" font-weight="bold">%d users on %d nodes, with a fault every minute</text>`+"\n",
		chartLeft+chartWide+20, bottom+44, r.Users, r.Nodes)
	return []byte(head + legend(r) + b.String() + "</svg>\n")
}

func legend(r *Result) string {
	var b strings.Builder
	at := 12
	for i := range r.Nodes {
		fmt.Fprintf(&b, `<rect x="%d" y="38" width="12" height="4" fill="%s"/><text x="%d" y="44">n%d</text>`+"\n", at, nodeColours[i%len(nodeColours)], at+16, i+1)
		at += 50
	}
	for _, f := range []struct{ name, text string }{{"kill -9", "kill -9"}, {"restarted in order", "restart"}, {"SIGSTOP for 10 s", "SIGSTOP"}, {"PostgreSQL restarted", "PostgreSQL restarted"}, {"drained, and filled again", "drained"}} {
		fmt.Fprintf(&b, `<line x1="%d" y1="40" x2="%d" y2="40" stroke="%s" stroke-dasharray="3,3"/><text x="%d" y="44">%s</text>`+"\n", at, at+18, faultColours[f.name], at+22, f.text)
		at += 40 + 7*len(f.text)
	}
	return b.String()
}

func drawPanel(b *strings.Builder, r *Result, p panel, top int, x func(float64) float64) {
	most := 0.0
	for i := range r.samples {
		most = max(most, p.of(&r.samples[i])/p.scale)
	}
	y := frame(b, p.title, top, most)
	for n := range r.Nodes {
		name := fmt.Sprintf("n%d", n+1)
		life, open := -1, false
		for i := range r.samples {
			s := &r.samples[i]
			if s.Node != name {
				continue
			}
			if s.Life != life {
				if open {
					b.WriteString(`"/>` + "\n")
				}
				fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.1" points="`, nodeColours[n%len(nodeColours)])
				life, open = s.Life, true
			}
			fmt.Fprintf(b, "%.1f,%.1f ", x(s.At), y(p.of(s)/p.scale))
		}
		if open {
			b.WriteString(`"/>` + "\n")
		}
	}
}

func drawBehind(b *strings.Builder, r *Result, top int, x func(float64) float64) {
	most := 0.0
	for _, v := range r.Behind {
		most = max(most, float64(v.N))
	}
	y := frame(b, fmt.Sprintf("watchers who have been behind for a second, of %d", r.Watches), top, most)
	b.WriteString(`<polyline fill="none" stroke="#c03030" stroke-width="1" points="`)
	for i, v := range r.Behind {
		if v.N == 0 && i > 0 && r.Behind[i-1].N == 0 && i+1 < len(r.Behind) && r.Behind[i+1].N == 0 {
			continue
		}
		fmt.Fprintf(b, "%.1f,%.1f ", x(v.At), y(float64(v.N)))
	}
	b.WriteString(`"/>` + "\n")
}

// frame draws a panel's axes, and gives the height of a value.
func frame(b *strings.Builder, title string, top int, most float64) func(float64) float64 {
	step := niceStep(most, 4)
	most = max(step, math.Ceil(most/step)*step)
	y := func(v float64) float64 { return float64(top) + panelHigh*(1-v/most) }
	fmt.Fprintf(b, `<text x="%d" y="%d" font-weight="bold">%s</text>`+"\n", chartLeft, top-6, html.EscapeString(title))
	for v := 0.0; v <= most*1.001; v += step {
		fmt.Fprintf(b, `<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#e4e4e4"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			chartLeft, y(v), chartLeft+chartWide, y(v), chartLeft-6, y(v)+4, math.Round(v*1000)/1000)
	}
	return y
}

// niceStep divides a range into about so many round steps.
func niceStep(most float64, steps int) float64 {
	if most <= 0 {
		return 1
	}
	raw := most / float64(steps)
	p := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5} {
		if m*p >= raw {
			return m * p
		}
	}
	return 10 * p
}
