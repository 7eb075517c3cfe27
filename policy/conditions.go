package policy

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"pharos/markup"
	"pharos/presence"
	"pharos/roster"
)

// conditions reads what must hold, all of it (RFC 4745 §7).
func (r *reader) conditions(e *markup.Element, rule *presence.Rule) {
	for c := range e.Children() {
		switch {
		case c.Is(CommonPolicySpace, "identity"):
			r.identity(c, rule)
		case c.Is(CommonPolicySpace, "sphere"):
			r.sphere(c, rule)
		case c.Is(CommonPolicySpace, "validity"):
			r.validity(c, rule)
		default:
			i, known := r.omaIdentity(c, rule)
			if !known {
				if !rule.Never {
					rule.Unknown = "<" + c.Local + "> of " + strconv.Quote(c.Space)
				}
				rule.Never = true
				continue
			}
			rule.Identity = append(rule.Identity, []presence.Identity{i})
		}
	}
}

// identity reads who is meant: one of the children has to be the watcher (RFC 4745
// §7.1).
func (r *reader) identity(e *markup.Element, rule *presence.Rule) {
	group := []presence.Identity{}
	var ones map[presence.Entity]struct{}
	children := 0
	for c := range e.Children() {
		children++
		switch {
		case c.Is(CommonPolicySpace, "one"):
			r.one(c, &ones)
			rule.Rank = presence.Named
		case c.Is(CommonPolicySpace, "many"):
			if i, ok := r.many(c); ok {
				group = append(group, i)
			}
			rule.Rank = presence.Named
		default: // OMA has its conditions beside identity; some clients put them inside
			if i, known := r.omaIdentity(c, rule); known {
				group = append(group, i)
			}
		}
	}
	if len(ones) > 0 {
		group = append(group, presence.Identity{One: ones})
	}
	if children == 0 {
		// RFC 5025 §3.1.1.2: all that a request without identity matches.
		group = append(group, presence.Identity{Anonymous: true})
		rule.Rank = presence.Named
	}
	rule.Identity = append(rule.Identity, group)
}

func (r *reader) one(e *markup.Element, to *map[presence.Entity]struct{}) {
	r.bound(e, &r.identities, 1, MaxIdentities, "identities")
	id, there := e.LookupAttr("", "id")
	if !there {
		r.fail(e, "<one> without id")
		return
	}
	if w, ok := entityOf(id); ok {
		if *to == nil {
			*to = map[presence.Entity]struct{}{}
		}
		(*to)[w] = struct{}{}
	}
}

// many is everybody, or everybody in a domain, but for the exceptions (RFC 4745
// §7.1.3). False: it is nobody, as far as we can tell.
func (r *reader) many(e *markup.Element) (i presence.Identity, ok bool) {
	r.bound(e, &r.identities, 1, MaxIdentities, "identities")
	ok = true
	if d, there := e.LookupAttr("", "domain"); there {
		if i.Domain, ok = domainOf(d); !ok {
			return i, false
		}
	}
	var ones map[presence.Entity]struct{}
	for c := range e.Children() {
		if !c.Is(CommonPolicySpace, "except") {
			ok = false // an exception of a kind that we do not know may be anybody
			continue
		}
		r.bound(c, &r.identities, 1, MaxIdentities, "identities")
		if _, there := c.LookupAttr("", "id"); there {
			r.one(c, &ones)
		}
		if d, there := c.LookupAttr("", "domain"); there {
			if domain, good := domainOf(d); good {
				i.Except = append(i.Except, presence.Identity{Domain: domain})
			}
		}
	}
	if len(ones) > 0 {
		i.Except = append(i.Except, presence.Identity{One: ones})
	}
	return i, ok
}

// omaIdentity reads OMA's conditions (OMA-TS-XDM_Core).
func (r *reader) omaIdentity(e *markup.Element, rule *presence.Rule) (i presence.Identity, known bool) {
	if e.Space != OMACommonPolicySpace {
		return i, false
	}
	switch e.Local {
	case "external-list":
		i.One = map[presence.Entity]struct{}{}
		for c := range e.Children() {
			if c.Is(OMACommonPolicySpace, "entry") {
				r.external(c, &i)
			}
		}
		rule.Rank = max(rule.Rank, presence.Listed)
	case "other-identity":
		i.Other = true
	case "anonymous-request":
		i.Anonymous = true
		rule.Rank = presence.Named
	default:
		return i, false
	}
	r.oma = true
	return i, true
}

// external adds the members of one list.
func (r *reader) external(e *markup.Element, to *presence.Identity) {
	r.bound(e, &r.identities, 1, MaxIdentities, "identities")
	uri := strings.TrimSpace(e.Attr("anc"))
	if uri == "" {
		return
	}
	if !slices.Contains(r.out.External, uri) {
		r.out.External = append(r.out.External, uri)
	}
	if r.members != nil {
		members := r.members(uri)
		for _, m := range members {
			to.One[m] = struct{}{}
		}
		if len(members) == 0 {
			to.Barren = append(to.Barren, uri)
		}
	}
}

// sphere reads the tokens of which one must be the presentity's sphere (RFC 4745
// §7.3). Of two conditions both must hold.
func (r *reader) sphere(e *markup.Element, rule *presence.Rule) {
	value, there := e.LookupAttr("", "value")
	if !there {
		r.fail(e, "<sphere> without value")
		return
	}
	tokens := strings.Fields(value)
	if len(tokens) > MaxSpheres {
		r.fail(e, "more than %d spheres", MaxSpheres)
		return
	}
	if rule.Spheres == nil {
		rule.Spheres = append([]string{}, tokens...)
		return
	}
	rule.Spheres = slices.DeleteFunc(rule.Spheres, func(s string) bool {
		return !slices.ContainsFunc(tokens, func(t string) bool { return strings.EqualFold(s, t) })
	})
}

// validity reads pairs of from and until (RFC 4745 §7.4). Of two conditions both
// must hold.
func (r *reader) validity(e *markup.Element, rule *presence.Rule) {
	spans := []presence.Span{}
	open := false
	for c := range e.Children() {
		if c.Space != CommonPolicySpace || c.Local != "from" && c.Local != "until" || (c.Local == "until") != open {
			r.fail(c, "<validity> has pairs of <from> and <until>")
			return
		}
		at, err := dateTime(trimmed(c))
		if err != nil {
			r.fail(c, "<%s> is no date and time", c.Local)
			return
		}
		if open = !open; open {
			r.bound(c, &r.spans, 1, MaxSpans, "validities")
			spans = append(spans, presence.Span{From: at})
		} else {
			spans[len(spans)-1].Until = at
		}
	}
	if open || len(spans) == 0 {
		r.fail(e, "<validity> has pairs of <from> and <until>")
		return
	}
	if rule.Validity == nil {
		rule.Validity = spans
		return
	}
	both := []presence.Span{}
	for _, a := range rule.Validity {
		for _, b := range spans {
			s := a
			if b.From.After(s.From) {
				s.From = b.From
			}
			if b.Until.Before(s.Until) {
				s.Until = b.Until
			}
			if s.From.Before(s.Until) {
				both = append(both, s)
			}
		}
	}
	r.bound(e, &r.spans, len(both), MaxSpans, "validities")
	rule.Validity = both
}

// dateTime reads an xs:dateTime; one without a zone is taken as UTC.
func dateTime(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, nil
	}
	return time.Parse("2006-01-02T15:04:05", s)
}

// entityOf reads an identity: sip:, sips:, pres:, im: and xmpp: URIs name users
// here; those of other schemes never match one (RFC 5025 §3.1.1.2). An address
// without a scheme, as some clients write, is taken for the user's.
func entityOf(id string) (presence.Entity, bool) {
	id = strings.TrimSpace(id)
	if strings.Contains(id, "@") && !strings.Contains(id, ":") {
		id = "sip:" + id
	}
	return roster.EntityOf(id)
}

// domainOf reads a domain attribute (RFC 4745 §7.1.3).
func domainOf(s string) (string, bool) {
	s, err := url.PathUnescape(strings.TrimSpace(s))
	if err != nil || s == "" {
		return "", false
	}
	e, ok := roster.EntityOf("xmpp:" + s)
	return e.Domain, ok && e.User == ""
}
