package simulate

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Sizes of the picture, in pixels.
const (
	drawLeft  = 92
	drawWide  = 720
	drawRight = 128
	columns   = 180
)

// drawing is a picture that grows downwards.
type drawing struct {
	b strings.Builder
	y float64
	r *Result
	// Of each column the samples from and to.
	from, to []int
}

// Draw writes the result as an SVG picture: the level of each node over time, or of groups of them,
// how far they lie apart, what was done about it, and what was used.
func (r *Result) Draw(w io.Writer) error {
	d := &drawing{r: r, y: 58}
	assumed := r.assumed()
	if assumed != "" {
		assumed = fmt.Sprintf(`<text x="12" y="60" fill="#555">%s</text>`+"\n", escape(assumed))
		d.y += 17
	}
	n := min(columns, len(r.Samples))
	for i := range n {
		d.from, d.to = append(d.from, i*len(r.Samples)/n), append(d.to, max(i*len(r.Samples)/n+1, (i+1)*len(r.Samples)/n))
	}
	d.heat()
	d.band()
	d.lines("a second", []series{
		{"moved", "#2f6f9f", func(s *Sample) float64 { return s.Moves }},
		{"logins", "#3f8f4f", func(s *Sample) float64 { return s.Logins }},
		{"refused", "#c0392b", func(s *Sample) float64 { return s.Refused + s.Shed }},
	})
	d.lines("users", []series{
		{"trying to come in", "#b9770e", func(s *Sample) float64 { return float64(s.Waiting) }},
		{"without a node", "#7d3c98", func(s *Sample) float64 { return float64(s.Homeless) }},
	})
	d.time()
	d.bars()
	s := &r.Scenario
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%.0f" font-family="sans-serif" font-size="12">
<rect width="100%%" height="100%%" fill="white"/>
<text x="12" y="24" font-size="16" font-weight="bold">%s</text>
<text x="12" y="43" fill="#555">%s nodes, maximum %s each, %s users of level %.3g; seed %d</text>
%s%s</svg>
`, drawLeft+drawWide+drawRight, d.y+8, escape(s.Name+": "+s.About), grouped(float64(s.Nodes.Count+s.Nodes.Standby)), grouped(s.Nodes.Max), grouped(float64(s.Users.Count)), s.level(), s.Seed, assumed, d.b.String())
	return err
}

func escape(s string) string { return strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(s) }

func (d *drawing) put(format string, args ...any) { fmt.Fprintf(&d.b, format+"\n", args...) }

// x is where a column begins.
func (d *drawing) x(column int) float64 {
	return drawLeft + float64(column)*drawWide/float64(len(d.from))
}

// at is where a time is.
func (d *drawing) at(t float64) float64 {
	return drawLeft + drawWide*t/max(1, d.r.Scenario.Length.seconds())
}

// events marks what happens in a panel.
func (d *drawing) events(high float64) {
	for _, e := range d.r.Events[:min(len(d.r.Events), 40)] {
		d.put(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="black" stroke-dasharray="2,3"/>`, d.at(e.At), d.y, d.at(e.At), d.y+high)
	}
}

// shade is the colour of a level: from white by blue to the maximum, red above it.
func shade(level float64) string {
	mix := func(a, b [3]float64, f float64) string {
		return fmt.Sprintf("#%02x%02x%02x", int(a[0]+(b[0]-a[0])*f), int(a[1]+(b[1]-a[1])*f), int(a[2]+(b[2]-a[2])*f))
	}
	level = math.Round(level*20) / 20 // steps of five hundredths
	if level <= 1 {
		return mix([3]float64{244, 248, 251}, [3]float64{31, 78, 121}, max(0, level))
	}
	return mix([3]float64{230, 126, 34}, [3]float64{146, 43, 33}, min(1, (level-1)/0.25))
}

// heat is a line for each node, or group of nodes.
func (d *drawing) heat() {
	rows := len(d.r.Heat[0])
	each := min(18, 220/float64(rows))
	high := each * float64(rows)
	what := "each node"
	if all := d.r.Scenario.Nodes.Count + d.r.Scenario.Nodes.Standby; all > rows {
		what = fmt.Sprintf("%d groups", rows)
	}
	d.put(`<text x="%d" y="%.1f" text-anchor="end">level of</text><text x="%d" y="%.1f" text-anchor="end">%s</text>`, drawLeft-8, d.y+10, drawLeft-8, d.y+24, what)
	for row := range rows {
		colour, begun := "", 0
		flush := func(end int) {
			if colour != "" {
				d.put(`<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`, d.x(begun), d.y+float64(row)*each, d.x(end)-d.x(begun)+0.2, each+0.2, colour)
			}
		}
		for c := range d.from {
			now := ""
			line := d.r.Heat[d.to[c]-1]
			if row < len(line)*rows/max(rows, len(line)) && line[row] >= 0 {
				now = shade(float64(line[row]))
			}
			if now != colour {
				flush(c)
				colour, begun = now, c
			}
		}
		flush(len(d.from))
	}
	d.put(`<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="none" stroke="#999"/>`, drawLeft, d.y, drawWide, high)
	d.events(high)
	for i, l := range []float64{0, 0.5, 1, 1.05, 1.25} {
		y := d.y + float64(i)*17
		d.put(`<rect x="%d" y="%.1f" width="14" height="14" fill="%s" stroke="#999"/><text x="%d" y="%.1f">%.0f %%</text>`, drawLeft+drawWide+12, y, shade(l), drawLeft+drawWide+32, y+11, l*100)
	}
	d.y += high + 22
}

// frame draws a panel's box with its scale, and returns where a value lies.
func (d *drawing) frame(title string, most, high float64, label func(float64) string) func(v float64) float64 {
	d.put(`<rect x="%d" y="%.1f" width="%d" height="%.1f" fill="none" stroke="#999"/>`, drawLeft, d.y, drawWide, high)
	at := func(v float64) float64 { return d.y + high*(1-min(1.02, v/most)) }
	for _, f := range []float64{0, 0.5, 1} {
		d.put(`<text x="%d" y="%.1f" text-anchor="end" fill="#555">%s</text>`, drawLeft-8, at(f*most)+4, label(f*most))
	}
	d.put(`<text x="%d" y="%.1f">%s</text>`, drawLeft+drawWide+10, d.y+12, title)
	d.events(high)
	return at
}

// band is how far levels lie apart.
func (d *drawing) band() {
	const high = 130
	most := 1.0
	for _, s := range d.r.Samples {
		most = max(most, s.Max)
	}
	most = math.Ceil(most*4) / 4
	at := d.frame("levels", most, high, func(v float64) string { return fmt.Sprintf("%.0f %%", v*100) })
	area := func(low, up func(*Sample) float64, colour string) {
		var p strings.Builder
		for c := range d.from {
			v := 0.0
			for i := d.from[c]; i < d.to[c]; i++ {
				v = max(v, up(&d.r.Samples[i]))
			}
			fmt.Fprintf(&p, "%.1f,%.1f ", d.x(c), at(v))
		}
		for c := len(d.from) - 1; c >= 0; c-- {
			v := math.Inf(1)
			for i := d.from[c]; i < d.to[c]; i++ {
				v = min(v, low(&d.r.Samples[i]))
			}
			fmt.Fprintf(&p, "%.1f,%.1f ", d.x(c), at(v))
		}
		d.put(`<polygon points="%s" fill="%s"/>`, strings.TrimSpace(p.String()), colour)
	}
	area(func(s *Sample) float64 { return s.Min }, func(s *Sample) float64 { return s.Max }, "#cfe0ee")
	area(func(s *Sample) float64 { return s.Low }, func(s *Sample) float64 { return s.High }, "#8fb5d5")
	d.line(at, func(s *Sample) float64 { return s.Median }, "#1f4e79")
	d.put(`<line x1="%d" y1="%.1f" x2="%d" y2="%.1f" stroke="#922b21"/>`, drawLeft, at(1), drawLeft+drawWide, at(1))
	for i, t := range []string{"all", "but the outer tenths", "median", "maximum"} {
		colour := []string{"#cfe0ee", "#8fb5d5", "#1f4e79", "#922b21"}[i]
		y := d.y + 22 + float64(i)*16
		d.put(`<rect x="%d" y="%.1f" width="10" height="10" fill="%s"/><text x="%d" y="%.1f" font-size="11">%s</text>`, drawLeft+drawWide+10, y, colour, drawLeft+drawWide+24, y+9, t)
	}
	d.y += high + 22
}

type series struct {
	name, colour string
	of           func(*Sample) float64
}

// line draws the most of each column.
func (d *drawing) line(at func(float64) float64, of func(*Sample) float64, colour string) {
	var p strings.Builder
	for c := range d.from {
		v := 0.0
		for i := d.from[c]; i < d.to[c]; i++ {
			v = max(v, of(&d.r.Samples[i]))
		}
		fmt.Fprintf(&p, "%.1f,%.1f ", d.x(c), at(v))
	}
	d.put(`<polyline points="%s" fill="none" stroke="%s" stroke-width="1.5"/>`, strings.TrimSpace(p.String()), colour)
}

func (d *drawing) lines(title string, of []series) {
	const high = 90
	most := 0.0
	for i := range d.r.Samples {
		for _, s := range of {
			most = max(most, s.of(&d.r.Samples[i]))
		}
	}
	if most == 0 {
		return // there is nothing to be seen
	}
	at := d.frame(title, nice(most), high, func(v float64) string { return grouped(v) })
	for i, s := range of {
		d.line(at, s.of, s.colour)
		y := d.y + 22 + float64(i)*16
		d.put(`<rect x="%d" y="%.1f" width="10" height="10" fill="%s"/><text x="%d" y="%.1f" font-size="11">%s</text>`, drawLeft+drawWide+10, y, s.colour, drawLeft+drawWide+24, y+9, s.name)
	}
	d.y += high + 18
}

// nice is the next round number.
func nice(x float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(x)))
	for _, f := range []float64{1, 2, 4, 6, 8, 10} {
		if f*unit >= x {
			return f * unit
		}
	}
	return 10 * unit
}

// time is the scale below all panels, with what happened.
func (d *drawing) time() {
	length := d.r.Scenario.Length.seconds()
	every := nice(length / 8)
	for t := 0.0; t <= length; t += every {
		d.put(`<text x="%.1f" y="%.1f" text-anchor="middle" fill="#555">%.0f s</text>`, d.at(t), d.y, t)
	}
	d.y += 18
	for i, e := range d.r.Events {
		if i == 8 {
			d.put(`<text x="%d" y="%.1f">and %d more</text>`, drawLeft, d.y, len(d.r.Events)-i)
			d.y += 16
			break
		}
		d.put(`<text x="%d" y="%.1f" text-anchor="end">%.0f s</text><text x="%d" y="%.1f">%s</text>`, drawLeft-8, d.y, e.At, drawLeft, d.y, escape(e.What+"; levels "+e.even()))
		d.y += 16
	}
	d.y += 8
}

// bars is how much of each resource was used in the busiest second, on a logarithmic scale: what crosses the
// line would have to be larger.
func (d *drawing) bars() {
	const least, most = 1e-4, 1e2
	left, wide := 300.0, float64(drawLeft+drawWide-300)
	at := func(v float64) float64 {
		return left + wide*math.Log10(max(least, min(most, v))/least)/math.Log10(most/least)
	}
	d.put(`<text x="12" y="%.1f" font-weight="bold">used in the busiest second</text>`, d.y)
	for _, v := range []float64{1e-4, 1e-3, 1e-2, 1e-1, 1, 10, 100} {
		d.put(`<text x="%.1f" y="%.1f" text-anchor="middle" fill="#555">%s</text>`, at(v), d.y, strings.TrimSuffix(fmt.Sprintf("%g", v*100), ".0")+" %")
	}
	d.y += 8
	top := d.y
	for _, r := range d.r.Resources {
		colour := "#2f6f9f"
		if r.Used > 1 {
			colour = "#c0392b"
		}
		d.put(`<text x="%.1f" y="%.1f" text-anchor="end">%s</text><rect x="%.1f" y="%.1f" width="%.1f" height="11" fill="%s"/>`, left-8, d.y+10, escape(r.Name), left, d.y, max(0, at(r.Used)-left), colour)
		if r.Limit != "" {
			d.put(`<text x="%.1f" y="%.1f" fill="#555">%s</text>`, float64(drawLeft+drawWide+10), d.y+10, r.Limit)
		}
		d.y += 17
	}
	d.put(`<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="#922b21"/>`, at(1), top-2, at(1), d.y)
}
