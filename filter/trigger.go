package filter

import (
	"math"
	"strconv"
	"strings"

	"pharos/markup"
)

// trigger is one <trigger> (RFC 4661 §3.6): all of its conditions must be met by
// one change; of several triggers one suffices.
type trigger []event

type event struct {
	kind           eventKind
	path           *path
	from, to       string
	hasFrom, hasTo bool
	by             float64 // 0: none
}

type eventKind uint8

const (
	changed eventKind = iota + 1
	added
	removed
)

func (f *Filter) parseTrigger(e *markup.Element, names map[string]string, n *int) error {
	var t trigger
	for c := range e.Children() {
		var ev event
		switch {
		case c.Is(Space, "changed"):
			ev.kind = changed
		case c.Is(Space, "added"):
			ev.kind = added
		case c.Is(Space, "removed"):
			ev.kind = removed
		default:
			continue
		}
		if err := f.count(n); err != nil {
			return err
		}
		var err error
		if ev.path, err = f.path(strings.TrimSpace(c.Text()), names); err != nil {
			return err
		}
		ev.from, ev.hasFrom = c.LookupAttr("", "from")
		ev.to, ev.hasTo = c.LookupAttr("", "to")
		if by, ok := c.LookupAttr("", "by"); ok {
			ev.by, err = strconv.ParseFloat(strings.TrimSpace(by), 64)
			if err != nil || !(ev.by > 0) || math.IsInf(ev.by, 0) {
				return f.wrong("has a by that is no amount") // RFC 4661 §3.6.1.3
			}
		}
		t = append(t, ev)
	}
	if len(t) == 0 {
		return f.wrong("has an empty trigger")
	}
	f.triggers = append(f.triggers, t)
	return nil
}

// Fires tells whether the change from one document to the next is to be told
// (RFC 4660 §5.3.2). Without triggers every change is. prev nil: nothing was told
// before, so this is. The error is a *markup.SyntaxError.
func (f *Filter) Fires(prev, now []byte) (bool, error) {
	if !f.Triggered() || prev == nil {
		return true, nil
	}
	was, err := markup.Parse(prev, markup.Options{Document: true})
	if err != nil {
		return false, err
	}
	is, err := markup.Parse(now, markup.Options{Document: true})
	if err != nil {
		return false, err
	}
	before, after := treeOf(was), treeOf(is)
	for _, t := range f.triggers {
		all := true
		for i := range t {
			if !t[i].happened(before, after) {
				all = false
				break
			}
		}
		if all {
			return true, nil
		}
	}
	return false, nil
}

func (ev *event) happened(was, is *tree) bool {
	before, after := ev.values(was), ev.values(is)
	switch ev.kind {
	case added:
		for k := range after {
			if _, ok := before[k]; !ok {
				return true
			}
		}
	case removed:
		for k := range before {
			if _, ok := after[k]; !ok {
				return true
			}
		}
	case changed:
		for k, v := range after {
			if old, ok := before[k]; ev.differs(old, ok, v) {
				return true
			}
		}
	}
	return false
}

// values are what the path selects: each value under its place in the document.
func (ev *event) values(t *tree) map[string]string {
	out := make(map[string]string)
	for _, i := range ev.path.elements(t) {
		if ev.path.attr == nil {
			out[i.key()] = strings.TrimSpace(i.e.Text())
			continue
		}
		for n := range i.e.Attrs {
			if a := &i.e.Attrs[n]; ev.path.attr.matches(a.Space, a.Local) {
				out[i.key()+"/@"+a.Space+" "+a.Local] = a.Value
			}
		}
	}
	return out
}

// differs is RFC 4661 §3.6.1. What was not there before had a different value, but
// none to start from. Words are compared without regard to case: the RFC's own
// example (§6.2) has "OPEN" for a status that is written "open".
func (ev *event) differs(old string, had bool, v string) bool {
	if had && old == v || ev.hasFrom && !(had && strings.EqualFold(old, strings.TrimSpace(ev.from))) ||
		ev.hasTo && !strings.EqualFold(v, strings.TrimSpace(ev.to)) {
		return false
	}
	if ev.by == 0 {
		return true
	}
	a, errA := strconv.ParseFloat(old, 64)
	b, errB := strconv.ParseFloat(v, 64)
	return had && errA == nil && errB == nil && math.Abs(a-b) >= ev.by
}
