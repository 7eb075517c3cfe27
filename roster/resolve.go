package roster

import (
	"errors"
	"fmt"

	"pharos/markup"
	"pharos/presence"
)

// Bounds of a list that is resolved.
const (
	// MaxMembers that a resolved list has, with those of the lists in it.
	MaxMembers = 10_000
	// MaxReferences that are followed for one list, of entries and of lists.
	MaxReferences = 1000
	// MaxReferenceDepth of external lists inside external lists.
	MaxReferenceDepth = 8
)

// Errors about references, which Resolve's error wraps.
var (
	ErrCycle       = errors.New("roster: a list that contains itself")
	ErrTooManyRefs = errors.New("roster: too many references")
	ErrTooLong     = errors.New("roster: more members than allowed")
	ErrNoList      = errors.New("roster: the reference is not to a list")
	ErrNoEntry     = errors.New("roster: the reference is not to an entry")
)

// Member is one place of a resolved list: somebody, or a list.
type Member struct {
	URI    string          // of the entry, as written; "" for a list
	Entity presence.Entity // whose address the URI is, when Known
	Known  bool
	Names  []Name // display-names; a reference's own comes first
	List   *ResolvedList
}

// Name is a display-name.
type Name struct{ Lang, Text string }

// ResolvedList is a list with what its references lead to.
type ResolvedList struct {
	Name    string // the attribute
	Names   []Name
	Members []Member // in document order; each URI once in the whole (RFC 4826 §4.5), no list without members
}

// Lookup returns the element that a reference names: an absolute XCAP URI (the
// anchor of an external list), or a path relative to the XCAP root (the ref of an
// entry-ref, RFC 4826 §3.1). It decides what the list's owner may read.
type Lookup func(uri string) (*markup.Element, error)

// Resolve reads a list element with all that it refers to. What could not be
// resolved is left out and said in the error, which may come beside a list:
// RFC 4826 §4.5 leaves it to the service to refuse then (502), or to serve the rest.
func Resolve(list *markup.Element, lookup Lookup) (*ResolvedList, error) {
	r := resolver{lookup: lookup, seen: map[string]bool{}}
	l := r.list(list)
	return l, errors.Join(r.errs...)
}

type resolver struct {
	lookup Lookup
	seen   map[string]bool // URIs
	open   []string        // anchors of the external lists that are being read
	refs   int
	full   bool
	errs   []error
}

func (r *resolver) list(el *markup.Element) *ResolvedList {
	l := &ResolvedList{Name: el.Attr("name"), Names: namesOf(el)}
	for c := range el.Children() {
		if c.Space != ListsSpace {
			continue
		}
		switch c.Local {
		case "entry":
			r.entry(l, c, nil)
		case "list":
			r.nested(l, r.list(c), nil)
		case "entry-ref":
			ref := c.Attr("ref")
			entry := r.follow(ref)
			switch {
			case entry == nil:
			case !entry.Is(ListsSpace, "entry"):
				r.failed(ref, ErrNoEntry)
			default:
				r.entry(l, entry, namesOf(c))
			}
		case "external":
			r.external(l, c)
		}
		if r.full {
			break
		}
	}
	return l
}

func (r *resolver) entry(l *ResolvedList, el *markup.Element, own []Name) {
	uri := el.Attr("uri")
	switch {
	case uri == "" || r.seen[uri]:
		return
	case len(r.seen) == MaxMembers:
		r.full = true
		r.errs = append(r.errs, ErrTooLong)
		return
	}
	r.seen[uri] = true
	m := Member{URI: uri, Names: append(own, namesOf(el)...)}
	m.Entity, m.Known = EntityOf(uri)
	l.Members = append(l.Members, m)
}

func (r *resolver) nested(l, inner *ResolvedList, own []Name) {
	if len(inner.Members) > 0 {
		l.Members = append(l.Members, Member{List: inner, Names: append(own, inner.Names...)})
	}
}

func (r *resolver) external(l *ResolvedList, el *markup.Element) {
	anchor := el.Attr("anchor")
	for _, a := range r.open {
		if a == anchor {
			r.failed(anchor, ErrCycle)
			return
		}
	}
	if len(r.open) == MaxReferenceDepth {
		r.failed(anchor, ErrTooManyRefs)
		return
	}
	list := r.follow(anchor)
	switch {
	case list == nil:
	case !list.Is(ListsSpace, "list"):
		r.failed(anchor, ErrNoList)
	default:
		r.open = append(r.open, anchor)
		r.nested(l, r.list(list), namesOf(el))
		r.open = r.open[:len(r.open)-1]
	}
}

func (r *resolver) follow(uri string) *markup.Element {
	if r.refs++; r.refs > MaxReferences {
		if r.refs == MaxReferences+1 {
			r.errs = append(r.errs, ErrTooManyRefs)
		}
		return nil
	}
	if r.lookup == nil {
		r.failed(uri, ErrNoEntry)
		return nil
	}
	el, err := r.lookup(uri)
	if err == nil && el == nil {
		err = ErrNoEntry
	}
	if err != nil {
		r.failed(uri, err)
		return nil
	}
	return el
}

func (r *resolver) failed(uri string, err error) {
	r.errs = append(r.errs, fmt.Errorf("%.200q: %w", uri, err))
}

func namesOf(el *markup.Element) []Name {
	var ns []Name
	for c := range el.Children() {
		if c.Is(ListsSpace, "display-name") {
			if text := tidy(c.Text()); text != "" {
				lang, _ := c.LookupAttr(markup.XMLSpace, "lang")
				ns = append(ns, Name{Lang: lang, Text: text})
			}
		}
	}
	return ns
}
