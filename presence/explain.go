package presence

import "time"

// Explanation says step by step what one watcher sees, and why.
type Explanation struct {
	Watcher, Presentity Entity
	Decision            Decision
	Handling            string         // the decision's, in RFC 5025's words
	State               State          // of a subscription made now
	Revision            uint64         // of the policy; 0 when none is known
	Subscriptions       []Subscription // of this watcher
	Sources             []*Source
	View                *View // nil: the watcher is shown nothing
	Version             uint64
}

// Explain walks the same way as Step does, changing nothing.
func (p *Presentity) Explain(now time.Time, watcher Entity) Explanation {
	d := Decide(p.policy, p.entity, watcher, Circumstances{})
	x := Explanation{Watcher: watcher, Presentity: p.entity, Decision: d, Handling: d.Class.Handling.String(),
		State: d.Class.state(), Version: p.version}
	if p.policy != nil {
		x.Revision = p.policy.Revision
	}
	p.subs.eachOf(watcher, func(s *sub) bool {
		if !s.over(now) {
			x.Subscriptions = append(x.Subscriptions, s.Subscription)
		}
		return true
	})
	var shown []*Source
	for _, l := range p.sources {
		if !ended(l.cur, now) {
			x.Sources = append(x.Sources, l.cur)
			shown = append(shown, l.shown)
		}
	}
	switch {
	case !d.Class.sees():
	case len(shown) == len(p.sources):
		x.View = p.view(d.Class)
	default:
		// Something is over and the Tick has not come: show what it will leave.
		v := &View{Presentity: p.entity, Version: p.version, class: d.Class}
		if d.Class.Handling == Allow {
			v.Sources = shown
		}
		v.Doc = Compose(v.Sources)
		x.View = v
	}
	return x
}
