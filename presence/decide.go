package presence

import (
	"strings"
	"time"
)

// RulePrivate is the rule id of decisions about packages that are for the
// presentity itself.
const RulePrivate = "private"

// conditions are those circumstances that rules of the policy look at. Most
// policies have no such rules, and cost nothing for it.
type conditions struct {
	due    time.Time // when a validity begins or ends next; zero: never
	sphere string    // kept only if spheres is set
	// spheres: a change of the sphere may change a decision.
	spheres bool
}

// over tells whether a decision may have changed with time.
func (c *conditions) over(now time.Time) bool {
	return c != nil && !c.due.IsZero() && !c.due.After(now)
}

// at is what the conditions of rules look at now.
func (p *Presentity) at(now time.Time) Circumstances {
	at := Circumstances{Now: now}
	if p.conditions != nil {
		at.Sphere = p.conditions.sphere
	}
	return at
}

// decide is Decide for this presentity; private is as in Watch.
func (p *Presentity) decide(w Entity, private bool, at Circumstances) Decision {
	if private && w != p.entity {
		return Decision{Class{Handling: Block}, RulePrivate, "Only the user himself may watch this."}
	}
	return Decide(p.policy, p.entity, w, at)
}

// resphere takes over the sphere that the sources tell; whether that may change
// a decision.
func (p *Presentity) resphere() bool {
	c := p.conditions
	if c == nil || !c.spheres {
		return false
	}
	s := p.sphere()
	if s == c.sphere {
		return false
	}
	c.sphere = s
	return true
}

// sphere is what all persons who tell one agree on; "" if they do not (RFC 5025
// §3.1.2).
func (p *Presentity) sphere() (sphere string) {
	agree := func(s *Source) bool {
		for i := range s.Doc.Persons {
			switch said := s.Doc.Persons[i].Rich.Sphere; {
			case said == "":
			case sphere == "":
				sphere = said
			case !strings.EqualFold(said, sphere):
				return false
			}
		}
		return true
	}
	for _, l := range p.presence.sources {
		if !agree(l.shown) {
			return ""
		}
	}
	for _, s := range p.persons() {
		if !agree(s) {
			return ""
		}
	}
	return sphere
}

// setPolicy decides all living subscriptions again.
func (p *Presentity) setPolicy(now time.Time, pol *Policy, out *Outcome) {
	if pol == nil || p.policy != nil && pol.Revision < p.policy.Revision {
		return
	}
	p.policy = pol
	p.conditions = nil
	if due, spheres := pol.Change(now), pol.UsesSphere(); spheres || !due.IsZero() {
		p.conditions = &conditions{due: due, spheres: spheres}
		p.resphere()
	}
	p.redecide(now, nil, out)
	p.winfo.waits(p)
}

// redecide decides all living subscriptions and directed presence again, and
// tells those for whom it makes a difference. words are of sources that went.
func (p *Presentity) redecide(now time.Time, words []LastWord, out *Outcome) {
	at := p.at(now)
	t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
	var refused []*sub
	for _, s := range p.subs.list {
		c := p.decide(s.Watcher, s.Private, at).Class
		if c == s.class && !s.held {
			continue
		}
		if c.state() == Terminated {
			refused = append(refused, s)
			continue
		}
		p.unplace(s)
		was, held := s.State, s.held
		s.decided(c)
		p.place(s)
		if was != s.State {
			p.report(now, s, s.State, NoReason, out)
			out.saveSubscription(p.entity, s, false)
		} else if held {
			continue // as it was saved: Renotify or the next change tells him
		}
		p.retell(s, words, &t)
	}
	for _, s := range refused {
		p.drop(s)
	}
	p.end(now, refused, Rejected, out)
	p.recheckDirected(at, out)
	p.dropFilters()
	p.letIn(at, out)
}

// letIn reports who waits without a subscription, is allowed as things are now, and
// would not be at another time or in another sphere: nobody has answered them, and no
// change of the policy will.
func (p *Presentity) letIn(at Circumstances, out *Outcome) {
	if p.conditions == nil {
		return
	}
	for i := range p.policy.Waiting {
		w := &p.policy.Waiting[i]
		if !p.subscribed(w.Watcher) && p.decide(w.Watcher, false, at).Class.state() == Active {
			out.Watchers = append(out.Watchers, WatcherChange{Presentity: p.entity, Watcher: w.Watcher, State: Active, At: at.Now})
		}
	}
}

// retell tells one watcher what a new decision about him means.
func (p *Presentity) retell(s *sub, words []LastWord, t *teller) {
	var v *View
	c := s.group.column
	if s.State == Active {
		v = p.view(c, s.class)
		if v.same(s.Shown) {
			s.Shown = v // polite or not, the user is not there
			return
		}
	}
	n := t.notice(noticeKey{c, s.Via.Node, s.Via.Edge, s.State, NoReason, v, s.Shown}, 1)
	if n.LastWords == nil && v != nil && len(words) > 0 {
		n.LastWords = wordsFor(s.Shown, v, words)
	}
	n.Targets = append(n.Targets, s.target())
	s.Shown = v
}
