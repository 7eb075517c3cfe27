package presence

import (
	"bytes"
	"time"
)

func (p *Presentity) checkUnwatch(now time.Time, in *Unwatch) error {
	if s := p.subs.get(in.ID); s == nil || s.over(now) {
		return ErrNoSubscription
	}
	return nil
}

func (p *Presentity) checkKeep(now time.Time, in *Keep) error {
	s := p.subs.get(in.ID)
	if s == nil || s.over(now) {
		return ErrNoSubscription
	}
	if in.Node != "" && s.Via.Node != in.Node {
		return ErrNoSubscription // of two nodes that take a dialog for theirs one goes on
	}
	return s.follows(in.Was, in.Opaque)
}

// follows tells whether a state of the edge's replaces the one that its sender knows of.
func (s *sub) follows(was uint64, opaque []byte) error {
	if was == 0 || was == Sum(s.Opaque) || bytes.Equal(opaque, s.Opaque) {
		return nil
	}
	return ErrOvertaken
}

func (s *sub) over(now time.Time) bool { return !s.Expires.IsZero() && !s.Expires.After(now) }

func (p *Presentity) checkWatch(now time.Time, in *Watch) error {
	if !p.room(in.Package) {
		return ErrTooMany
	}
	if in.isFetch() {
		return nil
	}
	if s := p.subs.get(in.ID); s != nil && s.Watcher == in.Watcher {
		if s.over(now) {
			return nil
		}
		return s.follows(in.Was, in.Opaque)
	}
	if len(p.subs.list) < min(MaxPerWatcher, MaxSubscriptions) {
		return nil // nobody needs to be counted
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
	c := p.need(in.Package)
	c.private = c.private || in.Private
	d := p.decide(in.Watcher, c.private, p.at(now))
	out.State = d.Class.state()
	if in.isFetch() {
		p.fetch(now, in, c, d.Class, out)
		return
	}
	s := p.subs.get(in.ID)
	if s != nil && (s.Watcher != in.Watcher || s.Package != c.pkg) {
		// The id went to somebody or something else; nothing of the former stays.
		p.drop(s)
		out.deleteSubscription(p.entity, s)
		p.report(now, s, Terminated, Deactivated, out)
		s = nil
	}
	if out.State == Terminated {
		p.refuse(now, in, c, s, out)
		return
	}
	out.Lifetime = in.Lifetime
	fresh := s == nil
	if fresh {
		s = &sub{Subscription: Subscription{ID: in.ID, Watcher: in.Watcher, Created: now, Package: c.pkg}}
	} else {
		p.unplace(s)
	}
	was := s.State
	s.Via, s.Durable, s.Private, s.Opaque = in.Via, in.Durable, c.private, in.Opaque
	s.decided(d.Class)
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
		p.report(now, s, s.State, NoReason, out)
	} else {
		p.winfo.aged(s)
	}
	out.saveSubscription(p.entity, s, fresh)
	if c.silent() {
		return
	}
	n := out.answer(p.entity, c, s.Via, s.target(), s.State, NoReason)
	s.Shown = nil
	if s.State == Active {
		n.View = p.view(c, s.class)
		s.Shown = n.View
	}
}

// decided takes over what the policy says now.
func (s *sub) decided(c Class) {
	st := c.state()
	if s.State == Pending && st == Active {
		s.Event = EventApproved
	} else if st != s.State {
		s.Event = EventSubscribe
	}
	s.class, s.State, s.held = c, st, false
}

// fetch answers once and keeps nothing (RFC 6665 §4.4.3). Who may see nothing yet
// has asked all the same (RFC 3857 §4.7.1: waiting allows for the authorization of fetches).
func (p *Presentity) fetch(now time.Time, in *Watch, c *column, cl Class, out *Outcome) {
	if out.State == Pending {
		s := &sub{Subscription: Subscription{ID: in.ID, Watcher: in.Watcher, Via: in.Via, Package: c.pkg}}
		out.watcher(p.entity, s, Pending, NoReason, now)
	}
	if c.silent() {
		return
	}
	n := out.answer(p.entity, c, in.Via, Target{Sub: in.ID, Watcher: in.Watcher, Handle: in.Via.Handle}, Terminated, Timeout)
	if out.State == Terminated {
		n.Reason = Rejected
	}
	if cl.sees() {
		n.View = p.view(c, cl)
	}
}

// refuse answers a watcher who is blocked; s is his subscription from before, or nil.
func (p *Presentity) refuse(now time.Time, in *Watch, c *column, s *sub, out *Outcome) {
	t := Target{Sub: in.ID, Watcher: in.Watcher, Handle: in.Via.Handle}
	if s != nil {
		t.Shown = s.Shown
		p.drop(s)
		out.deleteSubscription(p.entity, s)
		p.report(now, s, Terminated, Rejected, out)
	} else {
		// That one came and was refused is no watcher information (RFC 3857
		// §4.7.2: not sent for transient states).
		s = &sub{Subscription: Subscription{ID: in.ID, Watcher: in.Watcher, Via: in.Via, Package: c.pkg}}
		if c.silent() {
			return
		}
		out.watcher(p.entity, s, Terminated, Rejected, now)
	}
	if !c.silent() {
		out.answer(p.entity, c, in.Via, t, Terminated, Rejected)
	}
}

// answer appends the notice that answers a Watch, in one piece of memory with its target.
func (o *Outcome) answer(of Entity, c *column, via Via, t Target, st State, r Reason) *Notice {
	a := &struct {
		targets [1]Target
		notice  Notice
	}{targets: [1]Target{t}}
	a.notice = Notice{Presentity: of, Node: via.Node, Edge: via.Edge, Package: c.pkg, State: st, Reason: r, Answer: true, Targets: a.targets[:]}
	o.Notices = append(o.Notices, &a.notice)
	return &a.notice
}

func (p *Presentity) unwatch(now time.Time, in *Unwatch, out *Outcome) {
	s := p.subs.get(in.ID)
	p.drop(s)
	s.leaving = in.Leaving
	out.State = Terminated
	if in.Silent {
		out.deleteSubscription(p.entity, s)
		p.report(now, s, Terminated, in.Reason, out)
		return
	}
	p.end(now, []*sub{s}, in.Reason, out)
}

// end tells watchers, already dropped, that their subscriptions are over.
func (p *Presentity) end(now time.Time, over []*sub, r Reason, out *Outcome) {
	t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
	for _, s := range over {
		c := p.need(s.Package)
		if c.silent() {
			out.deleteSubscription(p.entity, s)
			continue
		}
		var v *View
		if s.State == Active && !s.held && r != Rejected && r != NoResource {
			// RFC 6665 §4.1.2.3: the last NOTIFY brings the state.
			v = p.view(c, s.class)
		}
		n := t.notice(noticeKey{c, s.Via.Node, s.Via.Edge, Terminated, r, v, s.Shown}, 1)
		n.Targets = append(n.Targets, s.target())
		out.deleteSubscription(p.entity, s)
		p.report(now, s, Terminated, r, out)
	}
}

func (p *Presentity) keep(in *Keep, out *Outcome) {
	s := p.subs.get(in.ID)
	s.Opaque = in.Opaque
	out.State = s.State
	out.saveSubscription(p.entity, s, false)
}

func (p *Presentity) renotify(out *Outcome) {
	p.eachColumn(func(c *column) {
		if c.silent() {
			return
		}
		for _, g := range c.groups {
			if g.held || len(g.subs) == 0 {
				continue
			}
			// Who waits is told so too: of what came to that, the watcher may not
			// have heard, and would go on showing what was seen before.
			var v *View
			state := Pending
			if g.class.sees() {
				v, state = p.view(c, g.class), Active
			}
			t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
			for _, s := range g.subs {
				n := t.notice(noticeKey{c, g.node, g.edge, state, NoReason, v, s.Shown}, len(g.subs))
				n.Answer = true
				n.Targets = append(n.Targets, s.target())
				s.Shown = v
			}
		}
	})
}

func (p *Presentity) remove(now time.Time, out *Outcome) {
	over := append([]*sub(nil), p.subs.list...)
	for _, s := range over {
		p.drop(s)
	}
	p.end(now, over, NoResource, out)
	for len(p.presence.sources) > 0 {
		p.leave(now, p.presence.sources[0].cur.ID, Payload{}, out)
	}
	for len(p.directed) > 0 {
		out.Notices = append(out.Notices, p.endDirected(p.directed[0].source.ID, Payload{})...)
	}
	for _, c := range p.others {
		for len(c.sources) > 0 {
			p.dropSource(now, c, c.sources[0].cur.ID, Payload{}, out)
		}
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
	c := p.need(s.Package)
	for _, g := range c.groups {
		if g.edge == s.Via.Edge && g.node == s.Via.Node && g.class == s.class && g.held == s.held {
			g.add(s)
			return
		}
	}
	g := &group{column: c, node: s.Via.Node, edge: s.Via.Edge, class: s.class, held: s.held}
	g.add(s)
	c.groups = append(c.groups, g)
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
	c := g.column
	for i, o := range c.groups {
		if o == g {
			c.groups = append(c.groups[:i], c.groups[i+1:]...)
			return
		}
	}
}

// saveSubscription appends a copy of s.
func (o *Outcome) saveSubscription(e Entity, s *sub, fresh bool) {
	if !s.Durable {
		return
	}
	c := s.Subscription
	c.Shown = nil
	o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSubscription, Key: s.ID, Subscription: &c, fresh: fresh})
}

func (o *Outcome) deleteSubscription(e Entity, s *sub) {
	if s.Durable {
		o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSubscription, Key: s.ID, Delete: true})
	}
}

// report tells of a subscription's new state: the edges, and in winfo the user.
func (p *Presentity) report(now time.Time, s *sub, st State, r Reason, out *Outcome) {
	if s.Package == Reach {
		return
	}
	out.watcher(p.entity, s, st, r, now)
	p.winfo.changed(s, st, r)
}

func (o *Outcome) watcher(e Entity, s *sub, st State, r Reason, now time.Time) {
	o.Watchers = append(o.Watchers, WatcherChange{Presentity: e, Watcher: s.Watcher, Sub: s.ID, Edge: s.Via.Edge, State: st, Reason: r, At: now, Package: s.Package})
}
