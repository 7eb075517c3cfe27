package paper

import (
	"bytes"
	"fmt"
	"strings"
)

// vector is a canvas that is SVG.
type vector struct{ b bytes.Buffer }

func newVector(wide, high int, title string) *vector {
	v := &vector{}
	fmt.Fprintf(&v.b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%[1]d" height="%[2]d" font-family="Helvetica, Arial, sans-serif" role="img">`+"\n<title>%[3]s</title>\n", wide, high, escape(title))
	return v
}

func (v *vector) encode() []byte { return append(v.b.Bytes(), "</svg>\n"...) }

func (v *vector) rect(x, y, w, h float64, c colour) {
	fmt.Fprintf(&v.b, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="#%06x"/>`+"\n", x, y, w, h, uint32(c))
}

func (v *vector) line(x1, y1, x2, y2, width float64, c colour) {
	fmt.Fprintf(&v.b, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke-width="%.1f" stroke="#%06x"/>`+"\n", x1, y1, x2, y2, width, uint32(c))
}

func (v *vector) diamond(x, y, r float64, c colour) {
	fmt.Fprintf(&v.b, `<path d="M%.1f %.1fl%.1f %.1fl%.1f %.1fl%.1f %.1fz" fill="#%06x" stroke="#ffffff"/>`+"\n", x, y-r, r, r, -r, r, -r, -r, uint32(c))
}

func (v *vector) text(x, y, size float64, anchor int, bold bool, c colour, s string) {
	weight := ""
	if bold {
		weight = ` font-weight="bold"`
	}
	fmt.Fprintf(&v.b, `<text x="%.1f" y="%.1f" font-size="%g" text-anchor="%s"%s fill="#%06x">%s</text>`+"\n", x, y, size, [...]string{"start", "middle", "end"}[anchor+1], weight, uint32(c), escape(s))
}

func escape(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(s)
}
