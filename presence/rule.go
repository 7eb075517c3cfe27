package presence

import (
	"slices"
	"strings"
	"time"
)

// Circumstances are what the conditions of a rule look at besides the watcher.
type Circumstances struct {
	Now    time.Time
	Sphere string // of the presentity (RFC 5025 §3.1.2); "" when unknown or not agreed on
}

// Rule is one rule of RFC 4745 §7: when all of its conditions hold, it takes
// part in the decision. Of several that match the greatest handling counts, and
// each transformation is the union of theirs (RFC 4745 §10.2).
type Rule struct {
	ID       string
	Line     int          // in the document, from 1; for people
	Identity [][]Identity // of each group one must match; none: everybody
	Spheres  []string     // one of them must be the presentity's; nil: any
	Validity []Span       // one of them must hold now; nil: always
	Rank     Rank
	Never    bool   // has a condition that we do not know, and so never holds (RFC 4745 §7)
	Unknown  string // that condition, the first of them; for people
	Handling Handling
	Shows    *Transform // what it permits to see; nil is everything
}

// Rank is the order in which OMA evaluates rules: where one of a higher rank
// matches, those of lower ranks do not count (OMA-TS-XDM_Core). In a
// document that uses none of OMA's conditions all rules are Named, so that they
// combine as RFC 4745 says.
type Rank uint8

const (
	Unreferenced Rank = iota // other-identity, and rules without an identity condition
	Listed                   // external-list
	Named                    // identity, anonymous-request
)

// Identity is an identity condition (RFC 4745 §7.1). The zero value is <many/>:
// everybody who has an identity.
type Identity struct {
	One       map[Entity]struct{} // <one>, and members of external lists; nil: many
	Domain    string              // <many domain>; "": any domain
	Except    []Identity          // of many
	Anonymous bool                // OMA anonymous-request: only watchers without an identity
	Other     bool                // OMA other-identity: whom no other rule names
	Barren    []string            // external lists that bring nobody into One; for people
}

// Span is RFC 4745 §7.4's from and until; zero is open.
type Span struct{ From, Until time.Time }

// holds: from the start on, and up to the end without it (RFC 4745 §7.4).
func (s Span) holds(now time.Time) bool {
	return !now.Before(s.From) && (s.Until.IsZero() || now.Before(s.Until))
}

// Anonymous tells whether the entity stands for a request without an identity
// (RFC 3323 §4.1.1.3).
func (e Entity) Anonymous() bool { return e.Domain == "" || e.Domain == "anonymous.invalid" }

// matches an identity other than Other, which depends on all rules.
func (i *Identity) matches(w Entity) bool {
	switch {
	case i.Anonymous:
		return w.Anonymous()
	case w.Anonymous(): // RFC 4745 §7.1: only authenticated entities can be matched
		return false
	case i.One != nil:
		_, ok := i.One[w]
		return ok
	case i.Domain != "" && i.Domain != w.Domain:
		return false
	}
	for x := range i.Except {
		if i.Except[x].matches(w) {
			return false
		}
	}
	return true
}

// inSphere compares without regard to case (RFC 4745 §7.3). An undefined sphere is
// in no condition.
func (r *Rule) inSphere(sphere string) bool {
	return r.Spheres == nil || sphere != "" &&
		slices.ContainsFunc(r.Spheres, func(s string) bool { return strings.EqualFold(s, sphere) })
}

func (r *Rule) valid(now time.Time) bool {
	return r.Validity == nil || slices.ContainsFunc(r.Validity, func(s Span) bool { return s.holds(now) })
}
