package filter

import (
	"errors"
	"strings"
	"testing"
)

// What all expressions of a filter may cost is bounded together.
func TestParts(t *testing.T) {
	parse := func(n int, expr string) error {
		_, err := Parse([]byte(`<filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><filter id="1"><what>` +
			strings.Repeat(`<include>`+expr+`</include>`, n/2) + `</what><trigger>` + strings.Repeat(`<changed>`+expr+`</changed>`, n-n/2) +
			`</trigger></filter></filter-set>`))
		return err
	}
	for _, c := range []struct {
		expr  string
		parts int
	}{{strings.Repeat("//*", 16), 16}, {"//*[a=1 or a=1 or a=1]", 7}, {"//*[" + strings.Repeat("*/*/*=1 and ", 9) + ".=1]", 1 + 9*4 + 1}} {
		n := MaxParts / c.parts
		if err := parse(n, c.expr); err != nil {
			t.Errorf("%s: %v", c.expr, err)
		}
		var bad *Error
		if err := parse(n+1, c.expr); !errors.As(err, &bad) || !bad.TooBig {
			t.Errorf("%s: %v", c.expr, err)
		}
	}
}

// Filters that are as dear as they may be, on documents that are.
func BenchmarkDearest(b *testing.B) {
	for name, c := range map[string]struct{ doc, expr string }{
		"deep": {strings.Repeat(strings.Repeat("<x>", 20)+strings.Repeat("</x>", 20), 190), strings.Repeat("//*", 16)},
		"wide": {"<y>" + strings.Repeat("<x/>", 3500) + "</y>", "//*[" + strings.Repeat("*/*/*=1 or ", 9) + ".=1]"},
	} {
		b.Run(name, func(b *testing.B) {
			s, err := Parse([]byte(`<filter-set xmlns="urn:ietf:params:xml:ns:simple-filter"><filter id="1"><what>` +
				strings.Repeat(`<include>`+c.expr+`</include>`, 6) + `</what></filter></filter-set>`))
			if err != nil {
				b.Fatal(err)
			}
			f := s.For(nil, "", true)
			doc := []byte(`<presence xmlns="urn:ietf:params:xml:ns:pidf" entity="pres:a@b"><tuple id="t"><status/>` + c.doc + `</tuple></presence>`)
			for b.Loop() {
				if _, err := f.Apply(doc); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
