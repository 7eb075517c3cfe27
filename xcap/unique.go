package xcap

import (
	"strconv"
	"strings"

	"pharos/markup"
	"pharos/schema"
)

// duplicates reports what is not unique among siblings (RFC 4825 §11.1), with names
// that are free where the attribute is a name: an address has no alternative.
func (r *request) duplicates(root *markup.Element, twice []schema.Duplicate) error {
	c := &conflict{condition: uniquenessFailure, phrase: `"` + twice[0].Value + `" is there already, among the elements beside it`}
	for _, d := range twice[:min(len(twice), maxExists)] {
		x := exists{field: r.field(d.Path, d.Attr)}
		if d.Attr == "name" {
			x.alt = r.free(d)
		}
		c.exists = append(c.exists, x)
	}
	return reported(c)
}

// maxExists bounds the values that one report lists.
const maxExists = 20

// free proposes values that no sibling has.
func (r *request) free(d schema.Duplicate) []string {
	parent := d.Path[len(d.Path)-2]
	taken := map[string]bool{}
	for s := range parent.Children() {
		taken[s.Attr(d.Attr)] = true
	}
	var alt []string
	for i := 2; len(alt) < 2; i++ {
		if v := d.Value + "-" + strconv.Itoa(i); !taken[v] {
			alt = append(alt, v)
		}
	}
	return alt
}

// field selects an attribute of the last element of a path, relative to the document, and
// percent-encoded (RFC 4825 §11.1).
func (r *request) field(path []*markup.Element, attr string) string {
	var b strings.Builder
	prefixes := map[string]string{}
	query := ""
	for i, e := range path {
		step := e.Local
		if e.Space != r.usage.Space {
			p, ok := prefixes[e.Space]
			if !ok {
				p = "n" + strconv.Itoa(len(prefixes)+1)
				prefixes[e.Space] = p
				query += "xmlns(" + p + "=" + e.Space + ")"
			}
			step = p + ":" + step
		}
		if i > 0 {
			b.WriteByte('/')
			if at, n := path[i-1].Position(e); n > 1 {
				step += "[" + strconv.Itoa(at) + "]"
			}
		}
		b.WriteString(step)
	}
	field := escape(b.String() + "/@" + attr)
	if query != "" {
		field += "?" + escape(query)
	}
	return field
}
