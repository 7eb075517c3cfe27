package policy

import (
	"strings"

	"pharos/markup"
	"pharos/presence"
)

// kinds are the reserved rules with the handling that each has.
var kinds = [...]struct {
	id       string
	handling presence.Handling
}{{Approved, presence.Allow}, {Blocked, presence.Block}, {Cancelled, presence.Confirm}}

// kindOf is the reserved id that an id stands for: itself, or with a number where
// the id was taken.
func kindOf(id string) (kind int, ok bool) {
	for k := range kinds {
		rest, found := strings.CutPrefix(id, kinds[k].id)
		if !found {
			continue
		}
		if rest == "" {
			return k, true
		}
		if n, found := strings.CutPrefix(rest, "-"); found && n != "" && strings.Trim(n, "0123456789") == "" {
			return k, true
		}
	}
	return 0, false
}

// member is an address in a set.
type member struct {
	kind    int
	address string
}

// item is what one element of a reserved rule says.
type item struct {
	e       *markup.Element
	address string // as in the block list
	entity  presence.Entity
}

// reservedItems reads a rule as a reserved one. Clients may edit these too, and
// what they make of them is honoured: with another handling, or an approval with
// conditions or with something to hide, it is a rule like others. Conditions in
// a rule that blocks or cancels have no effect, lest a block opens a door.
func reservedItems(e *markup.Element, rule *presence.Rule) (kind int, items []item, ok bool) {
	kind, ok = kindOf(rule.ID)
	if !ok || rule.Handling != kinds[kind].handling {
		return kind, nil, false
	}
	if kinds[kind].id == Approved && (rule.Shows != nil || rule.Never || rule.Spheres != nil || rule.Validity != nil || len(rule.Identity) != 1) {
		return kind, nil, false
	}
	found := false
	for c := range e.Child(CommonPolicySpace, "conditions").Children() {
		if !c.Is(CommonPolicySpace, "identity") {
			continue
		}
		for c := range c.Children() {
			if c.Is(CommonPolicySpace, "one") {
				found = true
				if w, is := entityOf(c.Attr("id")); is {
					items = append(items, item{c, w.String(), w})
				}
				continue
			}
			domain, is := domainOf(c.Attr("domain"))
			if kinds[kind].id != Blocked || !is || !c.Is(CommonPolicySpace, "many") {
				return kind, nil, false // says more than a set of addresses can
			}
			found = true
			items = append(items, item{c, domain, presence.Entity{Domain: domain}})
		}
	}
	return kind, items, found
}

// reserved takes a rule into the reserved sets. False: it is a rule like others.
func (r *reader) reserved(e *markup.Element, rule *presence.Rule) bool {
	kind, items, ok := reservedItems(e, rule)
	if !ok {
		return false
	}
	r.have[kind] = append(r.have[kind], reservedRule{e, items})
	if r.out.places[kind].id == "" {
		r.out.places[kind] = place{rule.ID, rule.Line}
	}
	for _, i := range items {
		at := member{kind, i.address}
		if r.taken[at] {
			continue
		}
		r.taken[at] = true
		switch kinds[kind].id {
		case Approved:
			r.out.Approved = append(r.out.Approved, i.entity)
		case Cancelled:
			r.out.Cancelled = append(r.out.Cancelled, i.entity)
		case Blocked:
			r.out.Blocked = append(r.out.Blocked, i.address)
		}
	}
	return true
}
