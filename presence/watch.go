package presence

import "time"

func (p *Presentity) checkSubscription(now time.Time, id string) error {
	s := p.subs.get(id)
	if s == nil || s.over(now) {
		return ErrNoSubscription
	}
	return nil
}

func (s *sub) over(now time.Time) bool { return !s.Expires.IsZero() && !s.Expires.After(now) }

func (p *Presentity) checkWatch(now time.Time, in *Watch) error {
	if in.isFetch() {
		return nil
	}
	if s := p.subs.get(in.ID); s != nil && s.Watcher == in.Watcher {
		return nil
	}
	if len(p.subs.list) >= MaxSubscriptions {
		n := 0
		for _, s := range p.subs.list {
			if !s.over(now) {
				n++
			}
		}
		if n >= MaxSubscriptions {
			return ErrTooMany
		}
	}
	n := 0
	p.subs.eachOf(in.Watcher, func(s *sub) bool {
		if !s.over(now) {
			n++
		}
		return n < MaxPerWatcher
	})
	if n >= MaxPerWatcher {
		return ErrTooMany
	}
	return nil
}

func (in *Watch) isFetch() bool { return in.Fetch && in.Lifetime <= 0 }

func (p *Presentity) watch(now time.Time, in *Watch, out *Outcome) {
	d := Decide(p.policy, p.entity, in.Watcher, Circumstances{})
	out.State = d.Class.state()
	if in.isFetch() {
		p.fetch(in, d.Class, out)
		return
	}
	s := p.subs.get(in.ID)
	if s != nil && s.Watcher != in.Watcher {
		// The id went to somebody else; nothing of the former stays.
		p.drop(s)
		out.deleteSubscription(p.entity, s)
		out.watcher(p.entity, s, Terminated, Deactivated, now)
		s = nil
	}
	if out.State == Terminated {
		p.refuse(now, in, s, out)
		return
	}
	out.Lifetime = in.Lifetime
	fresh := s == nil
	if fresh {
		s = &sub{Subscription: Subscription{ID: in.ID, Watcher: in.Watcher, Created: now}}
	} else {
		p.unplace(s)
	}
	was := s.State
	s.Via, s.Durable, s.Opaque = in.Via, in.Durable, in.Opaque
	s.State, s.class, s.held = out.State, d.Class, false
	s.Expires = time.Time{}
	if in.Lifetime > 0 {
		s.Expires = now.Add(in.Lifetime)
	}
	if fresh {
		p.insert(s)
	} else {
		p.place(s)
		p.subs.schedule(s)
	}
	if was != s.State {
		out.watcher(p.entity, s, s.State, NoReason, now)
	}
	out.saveSubscription(p.entity, s, fresh)
	n := p.answer(s.Via, s.target(), s.State, NoReason)
	s.Shown = nil
	if s.State == Active {
		n.View = p.view(s.class)
		s.Shown = n.View
	}
	out.Notices = append(out.Notices, n)
}

// fetch answers once and keeps nothing (RFC 6665 §4.4.3).
func (p *Presentity) fetch(in *Watch, c Class, out *Outcome) {
	n := p.answer(in.Via, Target{Sub: in.ID, Watcher: in.Watcher, Handle: in.Via.Handle}, Terminated, Timeout)
	if out.State == Terminated {
		n.Reason = Rejected
	}
	if c.sees() {
		n.View = p.view(c)
	}
	out.Notices = append(out.Notices, n)
}

// refuse answers a watcher who is blocked; s is his subscription from before, or nil.
func (p *Presentity) refuse(now time.Time, in *Watch, s *sub, out *Outcome) {
	t := Target{Sub: in.ID, Watcher: in.Watcher, Handle: in.Via.Handle}
	if s != nil {
		t.Shown = s.Shown
		p.drop(s)
		out.deleteSubscription(p.entity, s)
	} else {
		s = &sub{Subscription: Subscription{ID: in.ID, Watcher: in.Watcher, Via: in.Via}}
	}
	out.watcher(p.entity, s, Terminated, Rejected, now)
	out.Notices = append(out.Notices, p.answer(in.Via, t, Terminated, Rejected))
}

func (p *Presentity) answer(via Via, t Target, st State, r Reason) *Notice {
	return &Notice{Presentity: p.entity, Node: via.Node, Edge: via.Edge, State: st, Reason: r, Answer: true, Targets: []Target{t}}
}

func (p *Presentity) unwatch(now time.Time, in *Unwatch, out *Outcome) {
	s := p.subs.get(in.ID)
	p.drop(s)
	out.State = Terminated
	if in.Silent {
		out.deleteSubscription(p.entity, s)
		out.watcher(p.entity, s, Terminated, in.Reason, now)
		return
	}
	p.end(now, []*sub{s}, in.Reason, out)
}

// end tells watchers, already dropped, that their subscriptions are over.
func (p *Presentity) end(now time.Time, over []*sub, r Reason, out *Outcome) {
	t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
	for _, s := range over {
		var v *View
		if s.State == Active && !s.held && r != Rejected && r != NoResource {
			// RFC 6665 §4.1.2.3: the last NOTIFY brings the state.
			v = p.view(s.class)
		}
		n := t.notice(noticeKey{s.Via.Node, s.Via.Edge, Terminated, r, v, s.Shown}, 1)
		n.Targets = append(n.Targets, s.target())
		out.deleteSubscription(p.entity, s)
		out.watcher(p.entity, s, Terminated, r, now)
	}
}

func (p *Presentity) keep(in *Keep, out *Outcome) {
	s := p.subs.get(in.ID)
	s.Opaque = in.Opaque
	out.State = s.State
	out.saveSubscription(p.entity, s, false)
}

// setPolicy decides all living subscriptions again.
func (p *Presentity) setPolicy(now time.Time, pol *Policy, out *Outcome) {
	if pol == nil || p.policy != nil && pol.Revision < p.policy.Revision {
		return
	}
	p.policy = pol
	t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
	var refused []*sub
	for _, s := range p.subs.list {
		c := Decide(pol, p.entity, s.Watcher, Circumstances{}).Class
		if c == s.class && !s.held {
			continue
		}
		if c.state() == Terminated {
			refused = append(refused, s)
			continue
		}
		p.unplace(s)
		was, held := s.State, s.held
		s.class, s.State, s.held = c, c.state(), false
		p.place(s)
		if was != s.State {
			out.watcher(p.entity, s, s.State, NoReason, now)
			out.saveSubscription(p.entity, s, false)
		} else if held {
			continue // as it was saved: Renotify or the next change tells him
		}
		p.retell(s, &t)
	}
	for _, s := range refused {
		p.drop(s)
	}
	p.end(now, refused, Rejected, out)
	p.recheckDirected(out)
}

// retell tells one watcher what a new decision about him means.
func (p *Presentity) retell(s *sub, t *teller) {
	var v *View
	if s.State == Active {
		v = p.view(s.class)
		if v.same(s.Shown) {
			s.Shown = v // polite or not, the user is not there
			return
		}
	}
	n := t.notice(noticeKey{s.Via.Node, s.Via.Edge, s.State, NoReason, v, s.Shown}, 1)
	n.Targets = append(n.Targets, s.target())
	s.Shown = v
}

func (p *Presentity) renotify(out *Outcome) {
	for _, g := range p.groups {
		if g.held || len(g.subs) == 0 || !g.class.sees() {
			continue
		}
		v := p.view(g.class)
		t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
		for _, s := range g.subs {
			n := t.notice(noticeKey{g.node, g.edge, Active, NoReason, v, s.Shown}, len(g.subs))
			n.Answer = true
			n.Targets = append(n.Targets, s.target())
			s.Shown = v
		}
	}
}

func (p *Presentity) remove(now time.Time, out *Outcome) {
	over := append([]*sub(nil), p.subs.list...)
	for _, s := range over {
		p.drop(s)
	}
	p.end(now, over, NoResource, out)
	for len(p.sources) > 0 {
		id := p.sources[0].cur.ID
		out.Notices = append(out.Notices, p.endDirected(id, Payload{})...)
		p.dropSource(id, Payload{}, out)
	}
	for len(p.directed) > 0 {
		out.Notices = append(out.Notices, p.endDirected(p.directed[0].source.ID, Payload{})...)
	}
}

// insert, drop, place and unplace keep the collections in step.

func (p *Presentity) insert(s *sub) {
	p.subs.add(s)
	p.place(s)
}

func (p *Presentity) drop(s *sub) {
	p.unplace(s)
	p.subs.remove(s)
}

func (p *Presentity) place(s *sub) {
	if s.State == Pending {
		p.pending++
	}
	for _, g := range p.groups {
		if g.edge == s.Via.Edge && g.node == s.Via.Node && g.class == s.class && g.held == s.held {
			g.add(s)
			return
		}
	}
	g := &group{node: s.Via.Node, edge: s.Via.Edge, class: s.class, held: s.held}
	g.add(s)
	p.groups = append(p.groups, g)
}

func (p *Presentity) unplace(s *sub) {
	if s.State == Pending {
		p.pending--
	}
	g := s.group
	g.remove(s)
	if len(g.subs) > 0 {
		return
	}
	for i, o := range p.groups {
		if o == g {
			p.groups = append(p.groups[:i], p.groups[i+1:]...)
			return
		}
	}
}

func (o *Outcome) saveSubscription(e Entity, s *sub, fresh bool) {
	if s.Durable {
		c := s.Subscription
		c.Shown = nil
		o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSubscription, Key: s.ID, Subscription: &c, fresh: fresh})
	}
}

func (o *Outcome) deleteSubscription(e Entity, s *sub) {
	if s.Durable {
		o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSubscription, Key: s.ID, Delete: true})
	}
}

func (o *Outcome) watcher(e Entity, s *sub, st State, r Reason, now time.Time) {
	o.Watchers = append(o.Watchers, WatcherChange{Presentity: e, Watcher: s.Watcher, Sub: s.ID, Edge: s.Via.Edge, State: st, Reason: r, At: now})
}
