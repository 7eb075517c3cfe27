// Package filter is event notification filtering: the simple-filter document
// (RFC 4661), and what it does to the XML of a NOTIFY (RFC 4660 §5.3). It knows
// no event package: filters work on elements and attributes.
package filter

import (
	"slices"
	"strconv"
	"strings"

	"pharos/markup"
)

// Type is the media type of a filter document (RFC 4661 §3.1), Space its namespace.
const (
	Type  = "application/simple-filter+xml"
	Space = "urn:ietf:params:xml:ns:simple-filter"
)

// Bounds of one filter document. Beyond them Parse fails.
const (
	MaxBytes    = 16 << 10
	MaxFilters  = 64
	MaxItems    = 64  // include, exclude and trigger elements of one filter
	MaxSteps    = 16  // of one expression
	MaxCompared = 32  // comparisons in one expression
	MaxParts    = 256 // steps and comparisons in all expressions of one filter: each looks at all of a document
)

// Error says what is wrong with a filter document; fit for a reason phrase.
type Error struct {
	TooBig bool // beyond a bound
	Text   string
}

func (e *Error) Error() string { return "filter: " + e.Text }

// Set is a <filter-set>. Immutable.
type Set struct {
	Package string // "" when it does not say
	Filters []*Filter
}

// Filter is one <filter> (RFC 4661 §3.4). Immutable.
type Filter struct {
	ID          string
	URI, Domain string // of the resource it is for; both "": the one that is subscribed to
	Remove      bool   // takes back the filter of this ID (RFC 4660 §3.3.3)
	Disabled    bool   // is there, and does nothing

	include, exclude []selector
	triggers         []trigger
	parts            int
}

// selector is an <include> or <exclude>: everything of a namespace, or a path.
type selector struct {
	space string
	path  *path
}

// Parse reads a filter document. The error is an *Error.
func Parse(body []byte) (*Set, error) {
	if len(body) > MaxBytes {
		return nil, &Error{TooBig: true, Text: "filter document is larger than " + strconv.Itoa(MaxBytes) + " bytes"}
	}
	root, err := markup.Parse(body, markup.Options{MaxBytes: MaxBytes, Document: true})
	if err != nil {
		return nil, &Error{Text: err.Error()}
	}
	if !root.Is(Space, "filter-set") {
		return nil, &Error{Text: "root element is not filter-set"}
	}
	s := &Set{Package: root.Attr("package")}
	names := make(map[string]string)
	for b := range root.Child(Space, "ns-bindings").Children() {
		if b.Is(Space, "ns-binding") {
			names[b.Attr("prefix")] = b.Attr("urn")
		}
	}
	for c := range root.Children() {
		if !c.Is(Space, "filter") {
			continue // ns-bindings, and extensions (RFC 4661 §4)
		}
		if len(s.Filters) == MaxFilters {
			return nil, &Error{TooBig: true, Text: "more than " + strconv.Itoa(MaxFilters) + " filters"}
		}
		f, err := parseFilter(c, names)
		if err != nil {
			return nil, err
		}
		if err := s.check(f); err != nil {
			return nil, err
		}
		s.Filters = append(s.Filters, f)
	}
	if len(s.Filters) == 0 {
		return nil, &Error{Text: "filter-set without filter"}
	}
	return s, nil
}

// check holds a further filter against those that are there already.
func (s *Set) check(f *Filter) error {
	for _, o := range s.Filters {
		if o.ID == f.ID {
			return &Error{Text: "two filters with id " + strconv.Quote(f.ID)} // RFC 4661 §3.4
		}
		// RFC 4660 §3.3.1: one filter for one resource or domain.
		if !o.Remove && !f.Remove && o.URI == f.URI && o.Domain == f.Domain {
			return &Error{Text: "two filters for the same resource: " + strconv.Quote(o.ID) + " and " + strconv.Quote(f.ID)}
		}
	}
	return nil
}

func parseFilter(e *markup.Element, names map[string]string) (*Filter, error) {
	f := &Filter{ID: e.Attr("id"), URI: e.Attr("uri"), Domain: strings.ToLower(e.Attr("domain"))}
	if f.ID == "" {
		return nil, &Error{Text: "filter without id"}
	}
	if f.URI != "" && f.Domain != "" {
		return nil, f.wrong("has both uri and domain") // RFC 4661 §3.4
	}
	var ok bool
	if f.Remove, ok = boolean(e.Attr("remove"), false); !ok {
		return nil, f.wrong("remove is not true or false")
	}
	enabled, ok := boolean(e.Attr("enabled"), true)
	if !ok {
		return nil, f.wrong("enabled is not true or false")
	}
	f.Disabled = !enabled
	n := 0
	for c := range e.Children() {
		var err error
		switch {
		case c.Is(Space, "what"):
			err = f.parseWhat(c, names, &n)
		case c.Is(Space, "trigger"):
			err = f.parseTrigger(c, names, &n)
		}
		if err != nil {
			return nil, err
		}
	}
	return f, nil
}

func (f *Filter) wrong(text string) error {
	return &Error{Text: "filter " + strconv.Quote(f.ID) + " " + text}
}

func (f *Filter) count(n *int) error {
	if *n++; *n > MaxItems {
		return &Error{TooBig: true, Text: "filter " + strconv.Quote(f.ID) + " has more than " + strconv.Itoa(MaxItems) + " conditions"}
	}
	return nil
}

// path reads an expression.
func (f *Filter) path(text string, names map[string]string) (*path, error) {
	p, err := parsePath(text, names)
	if err != nil {
		return nil, f.wrong(err.Error())
	}
	if f.parts += p.parts(); f.parts > MaxParts {
		return nil, &Error{TooBig: true, Text: "filter " + strconv.Quote(f.ID) + " has expressions of more than " + strconv.Itoa(MaxParts) + " parts"}
	}
	return p, nil
}

func (f *Filter) parseWhat(e *markup.Element, names map[string]string, n *int) error {
	for c := range e.Children() {
		in := c.Is(Space, "include")
		if !in && !c.Is(Space, "exclude") {
			continue
		}
		if err := f.count(n); err != nil {
			return err
		}
		text := strings.TrimSpace(c.Text())
		var s selector
		switch c.Attr("type") {
		case "", "xpath":
			var err error
			if s.path, err = f.path(text, names); err != nil {
				return err
			}
		case "namespace":
			if text == "" {
				return f.wrong("names no namespace")
			}
			s.space = text
		default:
			return f.wrong("has a type that is neither xpath nor namespace")
		}
		if in {
			f.include = append(f.include, s)
		} else {
			f.exclude = append(f.exclude, s)
		}
	}
	return nil
}

func boolean(s string, def bool) (value, ok bool) {
	switch strings.TrimSpace(s) {
	case "":
		return def, true
	case "true", "1":
		return true, true
	case "false", "0":
		return false, true
	}
	return false, false
}

// Merge returns the set after another came within the same dialog: a filter with
// a known id replaces that one, remove takes it away, the rest stays (RFC 4660
// §3.3.3). s may be nil. Nil when no filter is left. The error is an *Error.
func (s *Set) Merge(later *Set) (*Set, error) {
	out := &Set{Package: later.Package}
	if s != nil {
		for _, f := range s.Filters {
			if !slices.ContainsFunc(later.Filters, func(l *Filter) bool { return l.ID == f.ID }) {
				out.Filters = append(out.Filters, f)
			}
		}
	}
	for _, f := range later.Filters {
		if f.Remove {
			continue
		}
		if err := out.check(f); err != nil {
			return nil, err
		}
		if len(out.Filters) == MaxFilters {
			return nil, &Error{TooBig: true, Text: "more than " + strconv.Itoa(MaxFilters) + " filters"}
		}
		out.Filters = append(out.Filters, f)
	}
	if len(out.Filters) == 0 {
		return nil, nil
	}
	return out, nil
}

// For finds the filter of a resource: by its URI as match says, else by its
// domain, else, when it is the resource that was subscribed to, the one that names
// none (RFC 4660 §5.2.1). Nil when there is none, or it is disabled. Nil-safe.
func (s *Set) For(match func(uri string) bool, domain string, subscribed bool) *Filter {
	if s == nil {
		return nil
	}
	var found *Filter
	rank := 0
	for _, f := range s.Filters {
		r := 0
		switch {
		case f.Remove:
		case f.URI != "" && match(f.URI):
			r = 3
		case f.Domain != "" && f.Domain == strings.ToLower(domain):
			r = 2
		case f.URI == "" && f.Domain == "" && subscribed:
			r = 1
		}
		if r > rank {
			found, rank = f, r
		}
	}
	if found == nil || found.Disabled {
		return nil
	}
	return found
}

// Triggered tells whether the filter has triggers, so that not every change is told.
func (f *Filter) Triggered() bool { return f != nil && len(f.triggers) > 0 }

// Within tells whether each filter of s is replaced or removed by one of later.
func (s *Set) Within(later *Set) bool {
	for _, f := range s.Filters {
		if !slices.ContainsFunc(later.Filters, func(l *Filter) bool { return l.ID == f.ID }) {
			return false
		}
	}
	return true
}
