package presence

import "time"

// Explanation says step by step what one watcher sees, and why.
type Explanation struct {
	Watcher, Presentity Entity
	Package             string // event package; "": presence
	Decision            Decision
	Handling            string         // the decision's, in RFC 5025's words
	Matching            []string       // rules of the user's document that match and combine, where they decide
	Line                int            // of the rule that decided, in the user's document; 0: not a rule of it
	Sphere              string         // of the user, where a rule looks at it
	State               State          // of a subscription made now
	Revision            uint64         // of the policy; 0 when none is known
	Subscriptions       []Subscription // of this watcher, to this package
	Sources             []*Source
	View                *View // nil: the watcher is shown nothing
	Version             uint64

	policy *Policy
	at     Circumstances
	near   *Near // of another node
}

// Near says which rules of the user's do not hold for the watcher, and why.
func (x *Explanation) Near() Near {
	if x.near != nil {
		return *x.near
	}
	if x.Decision.Rule == RulePrivate {
		return Near{}
	}
	return x.policy.Near(x.Presentity, x.Watcher, x.at)
}

// SetNear says what Near is to say, where the policy is not at hand; for package
// transfer.
func (x *Explanation) SetNear(n Near) { x.near = &n }

// Explain walks the same way as Step does, changing nothing.
func (p *Presentity) Explain(now time.Time, watcher Entity, pkg string) Explanation {
	p.begin(now)
	pkg = packageName(pkg)
	c := p.column(pkg)
	if c == nil {
		c = &column{pkg: pkg}
	}
	at := p.at(now)
	over := false
	var sources, shown []*Source
	for _, l := range c.sources {
		if ended(l.cur, now) {
			over = true
			continue
		}
		sources, shown = append(sources, l.cur), append(shown, l.shown)
	}
	x := Explanation{Watcher: watcher, Presentity: p.entity, Package: pkg, Sphere: at.Sphere, Sources: sources, Version: c.version,
		policy: p.policy, at: at}
	p.subs.eachOf(watcher, func(s *sub) bool {
		if s.Package == pkg && !s.over(now) {
			x.Subscriptions = append(x.Subscriptions, s.Subscription)
		}
		return true
	})
	d := p.decide(watcher, c.private || pkg == WatcherInfo, at)
	x.Decision, x.Handling, x.State = d, d.Class.Handling.String(), d.Class.state()
	if p.policy != nil {
		x.Revision = p.policy.Revision
		if x.Line = p.policy.line(d.Rule); x.Line > 0 {
			x.Matching = p.policy.Matching(watcher, at)
		}
	}
	switch {
	case !d.Class.sees():
	case !over && pkg != WatcherInfo && c == p.column(pkg):
		x.View = p.view(c, d.Class)
	default:
		// Something is over and the Tick has not come, or nobody has asked for
		// this package: show what there would be.
		x.View = &View{Presentity: p.entity, Version: c.version, Package: pkg, class: d.Class}
		if pkg == WatcherInfo {
			x.View.Watchers = p.Watchers(now)
			break
		}
		p.fill(x.View, c, shown, p.persons(), false)
	}
	return x
}

// line is where a rule stands in the document; 0 for those that stand nowhere.
func (p *Policy) line(rule string) int {
	for i := range p.Rules {
		if p.Rules[i].ID == rule {
			return p.Rules[i].Line
		}
	}
	return 0
}
