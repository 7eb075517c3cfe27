package presence

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// MaxNear is how many rules that do not hold are told of in one explanation.
const MaxNear = 10

// maxNamed is how many spheres of one rule are told of.
const maxNamed = 5

// Near is those rules of the user's document that could decide for a watcher and
// do not hold, for people.
type Near struct {
	Rules  []Miss `json:"rules,omitempty"`  // the nearest first, at most MaxNear
	More   int    `json:"more,omitempty"`   // that have no place in Rules
	Others int    `json:"others,omitempty"` // rules for other watchers
}

// Miss is a rule that does not hold for a watcher.
type Miss struct {
	Rule     string   `json:"rule"` // its id
	Line     int      `json:"line"` // in the document
	Handling Handling `json:"-"`    // what it would do
	Fails    Failure  `json:"fails"`
	Text     string   `json:"text"` // one sentence
}

// Failure is the first condition of a rule that fails, in the order of nearness:
// identity comes first (RFC 4745 §7.1), so the first four are of rules that mean the watcher.
type Failure uint8

const (
	FailsRank     Failure = iota // all hold, and a rule of higher rank counts
	FailsSphere                  // RFC 4745 §7.3
	FailsValidity                // RFC 4745 §7.4
	FailsUnknown                 // a condition that this server does not know
	FailsExcept                  // many, but for this watcher (RFC 4745 §7.1.3)
	FailsList                    // an external list without members
	FailsOther                   // other-identity, and a rule names the watcher
	FailsNobody                  // names nobody who could be a watcher here
	failsIdentity                // names others
)

var failures = [...]string{"rank", "sphere", "validity", "unknown", "except", "list", "other-identity", "nobody", "identity"}

// String is one word.
func (f Failure) String() string {
	if int(f) < len(failures) {
		return failures[f]
	}
	return "unknown"
}

// MarshalText is String.
func (f Failure) MarshalText() ([]byte, error) { return []byte(f.String()), nil }

// UnmarshalText reads what MarshalText writes.
func (f *Failure) UnmarshalText(b []byte) error {
	i := slices.Index(failures[:], string(b))
	if i < 0 {
		return fmt.Errorf("presence: %q is no condition", b)
	}
	*f = Failure(i)
	return nil
}

// Near says which rules of the document do not hold for a watcher, and why. It is
// empty where the rules have no say: for the user, and where a Grant decides.
// It looks at every rule, and so is not for deciding.
func (p *Policy) Near(presentity, w Entity, at Circumstances) (n Near) {
	if p == nil || w == presentity || p.Unreadable != "" || len(p.Rules) == 0 {
		return n
	}
	g, known := p.Watchers[w]
	if _, domain := p.Domains[w.Domain]; known && !g.Asked || domain && !known {
		return n
	}
	matched := p.matching(p.indexed(), nil, w, at)
	ask := asking{p: p, w: w}
	for i := range p.Rules {
		r := &p.Rules[i]
		if slices.Contains(matched, int32(i)) {
			continue
		}
		f, why := ask.fails(r, at)
		switch f {
		case failsIdentity:
			n.Others++
			continue
		case FailsRank: // no condition fails, so that matched has one that is above
			above := &p.Rules[matched[0]]
			why = fmt.Sprintf("rule %q (line %d) is of a higher rank", above.ID, above.Line)
		}
		n.Rules = append(n.Rules, Miss{r.ID, r.Line, r.Handling.known(), f, r.miss(p.Document, why)})
	}
	slices.SortStableFunc(n.Rules, func(a, b Miss) int { return cmp.Compare(a.Fails, b.Fails) })
	n.More = max(0, len(n.Rules)-MaxNear)
	n.Rules = n.Rules[:len(n.Rules)-n.More]
	return n
}

// miss is a sentence that names the rule, what it would do, and why it does not.
func (r *Rule) miss(document, why string) string {
	does := [...]string{"block it", "have the user asked first", "show it a closed state", "allow it"}
	at := "line " + strconv.Itoa(r.Line)
	if document != "" {
		at = document + " " + at
	}
	return fmt.Sprintf("Rule %q (%s) would %s, but %s.", r.ID, at, does[r.Handling.known()], why)
}

// fails finds the first condition of a rule that does not hold. FailsRank: all do.
func (a *asking) fails(r *Rule, at Circumstances) (Failure, string) {
	for _, group := range r.Identity {
		if !a.named(group) && !(hasOther(group) && a.other()) {
			return a.misses(group)
		}
	}
	switch {
	case r.Never:
		return FailsUnknown, "it has the condition " + r.unknown() + ", which this server does not know"
	case !r.inSphere(at.Sphere):
		return FailsSphere, r.sphereMiss(at.Sphere)
	case !r.valid(at.Now):
		return FailsValidity, r.validityMiss(at.Now)
	}
	return FailsRank, ""
}

// misses says why a group is not the watcher: by that of its identities which came nearest.
func (a *asking) misses(group []Identity) (f Failure, why string) {
	if len(group) == 0 {
		return FailsNobody, "its identity names nobody whom this server could take for a watcher"
	}
	f = failsIdentity
	for i := range group {
		id := &group[i]
		nearer, text := failsIdentity, ""
		switch {
		case id.Other:
			nearer, text = FailsOther, "it is for those whom no rule names, and one names this watcher"
		case len(id.Barren) > 0:
			nearer, text = FailsList, fmt.Sprintf("the external list %q has no members here, or leads nowhere", id.Barren[0])
		case id.One != nil && len(id.One) == 0:
			nearer, text = FailsNobody, "its external list names none"
		case id.One == nil && !id.Anonymous && (id.Domain == "" || id.Domain == a.w.Domain):
			for x := range id.Except {
				if e := &id.Except[x]; e.matches(a.w) {
					nearer, text = FailsExcept, "an <except> names this watcher"
					if e.One == nil {
						text = fmt.Sprintf("an <except> names its domain, %q", e.Domain)
					}
					break
				}
			}
		}
		if nearer < f {
			f, why = nearer, text
		}
	}
	return f, why
}

func (r *Rule) unknown() string {
	if r.Unknown == "" {
		return "of another standard"
	}
	return r.Unknown
}

func (r *Rule) sphereMiss(sphere string) string {
	if len(r.Spheres) == 0 {
		return "it is for no sphere at all"
	}
	names := make([]string, 0, maxNamed+1)
	for _, s := range r.Spheres[:min(len(r.Spheres), maxNamed)] {
		names = append(names, strconv.Quote(s))
	}
	if len(r.Spheres) > maxNamed {
		names = append(names, "others")
	}
	text := "its sphere is " + strings.Join(names, " or ") + ", and the user's is "
	if sphere == "" { // RFC 5025 §3.1.2
		return text + "not known: no device tells one, or they do not agree"
	}
	return text + strconv.Quote(sphere)
}

// validityMiss says when the rule begins to be valid, else when it has ended.
func (r *Rule) validityMiss(now time.Time) string {
	var next, last time.Time
	for _, s := range r.Validity {
		if !s.Until.IsZero() && !s.From.Before(s.Until) {
			continue // is never
		}
		if s.From.After(now) && (next.IsZero() || s.From.Before(next)) {
			next = s.From
		}
		if !s.Until.After(now) && s.Until.After(last) {
			last = s.Until
		}
	}
	said := func(t time.Time) string { return t.UTC().Format(time.RFC3339) }
	switch {
	case !next.IsZero() && !last.IsZero():
		return fmt.Sprintf("it is not valid from %s until %s", said(last), said(next))
	case !next.IsZero():
		return "it is not valid before " + said(next)
	case !last.IsZero():
		return "it is not valid since " + said(last)
	}
	return "it is valid at no time"
}
