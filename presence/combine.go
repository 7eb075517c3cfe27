package presence

import (
	"slices"
	"strconv"
	"time"
)

// ruleIndex finds the rules that may match a watcher, without looking at the
// others, and has ready what a decision tells of each.
type ruleIndex struct {
	one     map[Entity][]int32 // rules whose first group names this watcher
	domain  map[string][]int32 // or this domain
	all     []int32            // rules that must be looked at for everybody
	reasons []string           // of each rule
	shows   []int32            // of each rule: its place in names; everything for all
	names   []string           // of the transforms, each once
	sphere  bool
	edges   []time.Time // where validities begin or end, in order
}

const everything = -1

func (p *Policy) indexed() *ruleIndex {
	if x := p.index.Load(); x != nil {
		return x
	}
	x := newRuleIndex(p)
	p.index.Store(x) // two at once make the same
	return x
}

func newRuleIndex(p *Policy) *ruleIndex {
	x := &ruleIndex{one: map[Entity][]int32{}, domain: map[string][]int32{},
		reasons: make([]string, len(p.Rules)), shows: make([]int32, len(p.Rules))}
	named := map[string]int32{}
	for i := range p.Rules {
		r := &p.Rules[i]
		x.reasons[i] = r.reason(p.Document)
		x.shows[i] = everything
		if name := r.Shows.Name(); name != "" {
			at, ok := named[name]
			if !ok {
				at = int32(len(x.names))
				named[name] = at
				x.names = append(x.names, name)
			}
			x.shows[i] = at
		}
		x.add(int32(i), r)
		if !r.Never {
			x.sphere = x.sphere || r.Spheres != nil
			for _, s := range r.Validity {
				x.edges = append(x.edges, s.From, s.Until)
			}
		}
	}
	slices.SortFunc(x.edges, time.Time.Compare)
	return x
}

// add files a rule under its first group where every alternative in that can be
// found by name or domain.
func (x *ruleIndex) add(n int32, r *Rule) {
	if len(r.Identity) == 0 {
		x.all = append(x.all, n)
		return
	}
	group := r.Identity[0]
	for i := range group {
		if group[i].Anonymous || group[i].Other || group[i].One == nil && group[i].Domain == "" {
			x.all = append(x.all, n)
			return
		}
	}
	for i := range group {
		if group[i].One == nil {
			x.domain[group[i].Domain] = once(x.domain[group[i].Domain], n)
		}
		for e := range group[i].One {
			x.one[e] = once(x.one[e], n)
		}
	}
}

// once appends n, which is never smaller than what is there, if it is not there.
func once(ns []int32, n int32) []int32 {
	if len(ns) > 0 && ns[len(ns)-1] == n {
		return ns
	}
	return append(ns, n)
}

// candidates are the lists of rules that may match a watcher. A rule may be in two.
func (x *ruleIndex) candidates(w Entity) [3][]int32 {
	return [3][]int32{x.one[w], x.domain[w.Domain], x.all}
}

// reason is a sentence that names the rule and where it stands.
func (r *Rule) reason(document string) string {
	at := "line " + strconv.Itoa(r.Line)
	if document != "" {
		at = document + " " + at
	}
	does := [...]string{"blocks it", "has the user asked first", "shows it a closed state", "allows it"}
	return "Rule " + strconv.Quote(r.ID) + " (" + at + ") " + does[r.Handling.known()] + "."
}

// matching appends the rules that match: those of the highest rank among them.
func (p *Policy) matching(x *ruleIndex, matched []int32, w Entity, at Circumstances) []int32 {
	var rank Rank
	ask := asking{p: p, w: w}
	for _, list := range x.candidates(w) {
		for _, n := range list {
			r := &p.Rules[n]
			if len(matched) > 0 && r.Rank < rank || !ask.holds(r, at) {
				continue
			}
			if len(matched) > 0 && r.Rank > rank {
				matched = matched[:0]
			}
			rank = r.Rank
			matched = append(matched, n)
		}
	}
	return matched
}

// Matching names the rules of the document that match a watcher and so combine,
// in document order, for people. They decide only where no Grant does.
func (p *Policy) Matching(w Entity, at Circumstances) []string {
	if p == nil || len(p.Rules) == 0 {
		return nil
	}
	x := p.indexed()
	matched := p.matching(x, nil, w, at)
	slices.Sort(matched)
	var names []string
	for _, n := range slices.Compact(matched) {
		names = append(names, x.reasons[n])
	}
	return names
}

// byRules combines the rules that match (RFC 4745 §10). The deciding rule is the
// first in the document that has the combined handling. False: none matches.
func (p *Policy) byRules(w Entity, at Circumstances) (Decision, bool) {
	x := p.indexed()
	var room [16]int32
	matched := p.matching(x, room[:0], w, at)
	if len(matched) == 0 {
		return Decision{}, false
	}
	best := matched[0]
	for _, n := range matched[1:] {
		if h, b := p.Rules[n].Handling.known(), p.Rules[best].Handling.known(); h > b || h == b && n < best {
			best = n
		}
	}
	r := &p.Rules[best]
	d := Decision{Class{Handling: r.Handling.known()}, r.ID, x.reasons[best]}
	if d.Class.Handling == Allow { // the others are shown nothing that could be taken away
		d.Class.Shown = p.shown(x, matched)
	}
	return d, true
}

// shown is the name of the union of what the rules show (RFC 4745 §10.2). A rule
// that blocks and yet grants a transformation takes part, since each permission is
// combined on its own.
func (p *Policy) shown(x *ruleIndex, matched []int32) string {
	var room [16]int32
	sets := room[:0] // each once, in order
	for _, n := range matched {
		s := x.shows[n]
		if s == everything {
			return ""
		}
		if at, there := slices.BinarySearch(sets, s); !there {
			sets = slices.Insert(sets, at, s)
		}
	}
	if len(sets) == 1 {
		return x.names[sets[0]]
	}
	return p.made.union(x.names, sets)
}

// asking is one watcher's question.
type asking struct {
	p *Policy
	w Entity
	// known: whether any rule names the watcher was found out.
	known, referenced bool
}

// holds tells whether all conditions of a rule do.
func (a *asking) holds(r *Rule, at Circumstances) bool {
	if r.Never || !r.inSphere(at.Sphere) || !r.valid(at.Now) {
		return false
	}
	for _, group := range r.Identity {
		if !a.named(group) && !(hasOther(group) && a.other()) {
			return false
		}
	}
	return true
}

// named tells whether one of the identities is the watcher, other-identity apart.
func (a *asking) named(group []Identity) bool {
	for i := range group {
		if !group[i].Other && group[i].matches(a.w) {
			return true
		}
	}
	return false
}

func hasOther(group []Identity) bool {
	return slices.ContainsFunc(group, func(i Identity) bool { return i.Other })
}

// other tells whether the watcher is one of OMA's other identities: whom no rule
// names, be it by name, list or domain, whatever its other conditions are.
func (a *asking) other() bool {
	if !a.known {
		a.known, a.referenced = true, a.isReferenced()
	}
	return !a.referenced && !a.w.Anonymous()
}

func (a *asking) isReferenced() bool {
	for _, list := range a.p.indexed().candidates(a.w) {
	rules:
		for _, n := range list {
			r := &a.p.Rules[n]
			for _, group := range r.Identity {
				if !a.named(group) {
					continue rules
				}
			}
			if len(r.Identity) > 0 {
				return true
			}
		}
	}
	return false
}

// Change is when a validity begins or ends next after now; zero for never.
func (p *Policy) Change(now time.Time) time.Time {
	if p == nil || len(p.Rules) == 0 {
		return time.Time{}
	}
	edges := p.indexed().edges
	i, _ := slices.BinarySearchFunc(edges, now, func(e, now time.Time) int {
		if e.After(now) {
			return 1
		}
		return -1
	})
	if i == len(edges) {
		return time.Time{}
	}
	return edges[i]
}

// UsesSphere tells whether a change of the presentity's sphere may change a decision.
func (p *Policy) UsesSphere() bool {
	return p != nil && len(p.Rules) > 0 && p.indexed().sphere
}
