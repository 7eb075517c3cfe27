package paper

import (
	"bytes"
	"image"
	"image/color"
	"image/png"
	"math"
)

// pixels is a canvas of pixels. It draws at a multiple of the size and averages, which makes
// edges smooth.
type pixels struct {
	*image.RGBA
	wide, high int
}

const (
	density = 2 // pixels of the file for a point
	fine    = 3 // pixels drawn for one of the file
	scale   = density * fine
)

func newPixels(wide, high int) *pixels {
	return &pixels{image.NewRGBA(image.Rect(0, 0, wide*scale, high*scale)), wide, high}
}

func (c colour) rgba() color.RGBA {
	return color.RGBA{uint8(c >> 16), uint8(c >> 8), uint8(c), 255}
}

// encode is the file.
func (p *pixels) encode() ([]byte, error) {
	out := image.NewRGBA(image.Rect(0, 0, p.wide*density, p.high*density))
	for y := range p.high * density {
		for x := range p.wide * density {
			var sum [3]int
			for dy := range fine {
				for dx := range fine {
					c := p.RGBAAt(x*fine+dx, y*fine+dy)
					sum[0] += int(c.R)
					sum[1] += int(c.G)
					sum[2] += int(c.B)
				}
			}
			const n = fine * fine
			out.SetRGBA(x, y, color.RGBA{uint8(sum[0] / n), uint8(sum[1] / n), uint8(sum[2] / n), 255})
		}
	}
	var b bytes.Buffer
	e := png.Encoder{CompressionLevel: png.BestCompression}
	err := e.Encode(&b, out)
	return b.Bytes(), err
}

// fill colours the pixels whose middle is inside, of those in a box in points.
func (p *pixels) fill(x0, y0, x1, y1 float64, c colour, inside func(x, y float64) bool) {
	rgba := c.rgba()
	for y := int(y0*scale) - 1; y <= int(y1*scale)+1; y++ {
		for x := int(x0*scale) - 1; x <= int(x1*scale)+1; x++ {
			if inside((float64(x)+0.5)/scale, (float64(y)+0.5)/scale) {
				p.SetRGBA(x, y, rgba)
			}
		}
	}
}

func (p *pixels) rect(x, y, w, h float64, c colour) {
	p.fill(x, y, x+w, y+h, c, func(px, py float64) bool { return px >= x && px < x+w && py >= y && py < y+h })
}

func (p *pixels) diamond(x, y, r float64, c colour) {
	for _, d := range [...]struct {
		r float64
		c colour
	}{{r + 1, white}, {r, c}} {
		p.fill(x-d.r, y-d.r, x+d.r, y+d.r, d.c, func(px, py float64) bool { return math.Abs(px-x)+math.Abs(py-y) <= d.r })
	}
}

func (p *pixels) line(x1, y1, x2, y2, width float64, c colour) {
	if y1 == y2 { // with straight ends, as in SVG
		p.rect(min(x1, x2), y1-width/2, math.Abs(x2-x1), width, c)
		return
	}
	p.stroke(x1, y1, x2, y2, width, c)
}

// stroke is a line with round ends.
func (p *pixels) stroke(x1, y1, x2, y2, width float64, c colour) {
	r, dx, dy := width/2, x2-x1, y2-y1
	length := dx*dx + dy*dy
	p.fill(min(x1, x2)-r, min(y1, y2)-r, max(x1, x2)+r, max(y1, y2)+r, c, func(x, y float64) bool {
		t := 0.0
		if length > 0 {
			t = min(1, max(0, ((x-x1)*dx+(y-y1)*dy)/length))
		}
		ex, ey := x-x1-t*dx, y-y1-t*dy
		return ex*ex+ey*ey <= r*r
	})
}

func (p *pixels) text(x, y, size float64, anchor int, bold bool, c colour, s string) {
	unit := size * 0.72 / capital // as high as usual letters of that size
	width := unit * 0.62
	if bold {
		width = unit * 0.98
	}
	total := -gap
	for _, r := range s {
		total += glyphOf(r).wide + gap
	}
	x -= total * unit * float64(anchor+1) / 2
	for _, r := range s {
		g := glyphOf(r)
		for _, path := range g.paths {
			for i := range path {
				from := path[max(0, i-1)]
				p.stroke(x+from[0]*unit, y-from[1]*unit, x+path[i][0]*unit, y-path[i][1]*unit, width, c)
			}
		}
		x += (g.wide + gap) * unit
	}
}
