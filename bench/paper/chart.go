package paper

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"time"
)

// canvas is what a figure is drawn on: SVG or pixels. Lengths are in points of SVG.
type canvas interface {
	rect(x, y, w, h float64, c colour)
	line(x1, y1, x2, y2, width float64, c colour)
	diamond(x, y, r float64, c colour)
	// text is anchored at its beginning (-1), middle (0) or end (1), with the baseline at y.
	text(x, y, size float64, anchor int, bold bool, c colour, s string)
}

type colour uint32 // 0xRRGGBB

const (
	white  colour = 0xffffff
	ink    colour = 0x26323d
	faint  colour = 0x71808f
	grid   colour = 0xe3e8ed
	oneBar colour = 0xb4bfca
	bars   colour = 0x2f6f9f
	ideal  colour = 0x14202b
	orange colour = 0xd9691e
)

const (
	chartWide = 860
	chartHigh = 430
)

// figure is one of the paper's.
type figure struct {
	test  Test
	limit int
	title string
}

var figures = [...]figure{
	{Subscribe, 100, "Mean registration time, maximum level 100"},
	{Subscribe, 200, "Mean registration time, maximum level 200"},
	{Notify, 100, "Mean notification time, 50 kB, maximum level 100"},
}

func (f figure) shows(r Row) bool { return r.Test == f.test && r.Limit == f.limit }

// Draw writes the figures of the paper into a folder, each as SVG and as PNG.
func Draw(folder string, rows []Row) error {
	for _, f := range figures {
		var of []Row
		for _, r := range rows {
			if f.shows(r) {
				of = append(of, r)
			}
		}
		if len(of) == 0 {
			continue
		}
		n := Figure(f.test, f.limit)
		base := filepath.Join(folder, fmt.Sprintf("figure%d", n))
		title := fmt.Sprintf("%s (the paper's Figure %d)", f.title, n)
		v := newVector(chartWide, chartHigh, title)
		chart(v, title, of)
		p := newPixels(chartWide, chartHigh)
		chart(p, title, of)
		b, err := p.encode()
		if err != nil {
			return err
		}
		if err := os.WriteFile(base+".svg", v.encode(), 0o644); err != nil {
			return err
		}
		if err := os.WriteFile(base+".png", b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// chart draws, for each number of users, the time with one server and with several, with marks for
// what would be ideal and for what the paper has reached.
func chart(c canvas, title string, rows []Row) {
	const left, right, top, bottom = 74.0, 24.0, 96.0, 66.0
	wide, high := chartWide-left-right, chartHigh-top-bottom
	c.rect(0, 0, chartWide, chartHigh, white)
	c.text(left, 32, 17, -1, true, ink, title)
	legend(c, left, 58)

	most := 0.0
	for _, r := range rows {
		most = max(most, millis(r.One.Mean), millis(r.Several.Mean))
	}
	step := niceStep(most / 5)
	limit := math.Ceil(most*1.08/step) * step
	y := func(v float64) float64 { return top + high*(1-v/limit) }
	for v := 0.0; v <= limit+step/2; v += step {
		c.line(left, y(v), left+wide, y(v), 1, grid)
		c.text(left-9, y(v)+4.5, 13, 1, false, faint, fmt.Sprintf("%g", v))
	}
	c.text(left-9, top-13, 13, 1, false, faint, "ms")
	c.line(left, y(0), left+wide, y(0), 1.5, ink)

	group := wide / float64(len(rows))
	bar := min(52, group*0.3)
	for i, r := range rows {
		mid := left + group*(float64(i)+0.5)
		one, several := millis(r.One.Mean), millis(r.Several.Mean)
		c.rect(mid-bar-3, y(one), bar, y(0)-y(one), oneBar)
		c.text(mid-3-bar/2, y(one)-7, 13, 0, false, ink, label(one))
		x := mid + 3
		c.rect(x, y(several), bar, y(0)-y(several), bars)
		best := one / float64(r.Servers)
		above := several
		if cut, _, ok := r.Stated(); ok {
			theirs := one * (1 - cut/100)
			above = max(above, theirs+11*limit/high)
			c.diamond(x+bar/2, y(theirs), 5.5, orange)
		}
		c.line(x-5, y(best), x+bar+5, y(best), 2.5, ideal)
		if gap := y(above) - y(best); gap > -4 && gap < 40 { // else the line would go through the figures
			above = max(above, best)
		}
		c.text(x+bar/2, y(above)-7, 13, 0, true, bars, label(several))
		if r.Servers > 1 {
			c.text(x+bar/2, y(above)-23, 13, 0, true, bars, fmt.Sprintf("-%.1f %%", r.Cut()))
		}
		c.text(mid, y(0)+22, 14, 0, true, ink, fmt.Sprintf("%d users", r.Users))
		plural := "s"
		if r.Servers == 1 {
			plural = ""
		}
		c.text(mid, y(0)+41, 13, 0, false, faint, fmt.Sprintf("%d server%s", r.Servers, plural))
	}
}

func legend(c canvas, x, y float64) {
	entry := func(wide float64, mark func(x float64), text string) {
		mark(x)
		c.text(x+24, y, 13, -1, false, ink, text)
		x += wide
	}
	entry(112, func(x float64) { c.rect(x, y-11, 16, 13, oneBar) }, "one server")
	entry(226, func(x float64) { c.rect(x, y-11, 16, 13, bars) }, "servers as load control adds")
	entry(158, func(x float64) { c.line(x-2, y-4.5, x+18, y-4.5, 2.5, ideal) }, "ideal: one / servers")
	entry(150, func(x float64) { c.diamond(x+8, y-4.5, 5.5, orange) }, "as much cut as in the paper")
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func label(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}

// niceStep is 1, 2 or 5 times a power of ten, at least v.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	p := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range [...]float64{1, 2, 5} {
		if m*p >= v {
			return m * p
		}
	}
	return 10 * p
}
