package presence

import "time"

// depart is a node's end: what lived there lives nowhere else.
func (p *Presentity) depart(now time.Time, in *Depart, out *Outcome) {
	var over, adopted []*sub
	for _, s := range p.subs.list {
		switch {
		case s.Via.Node != in.Node:
		case !s.Durable:
			over = append(over, s)
		case in.To != "":
			adopted = append(adopted, s)
		}
	}
	for _, s := range over {
		p.drop(s)
		s.leaving = true
		p.report(now, s, Terminated, Timeout, out)
	}
	for _, s := range adopted {
		p.unplace(s)
		s.Via.Node = in.To
		p.place(s)
		c := s.Subscription
		c.Shown = nil
		out.Adopted = append(out.Adopted, &c)
		out.saveSubscription(p.entity, s, false)
	}
	gone := p.departSources(in.Node, out)
	if len(gone.columns) > 0 && p.resphere() {
		p.redecide(now, nil, out)
	}
	p.greet(adopted, out)
	for _, c := range gone.columns {
		p.tellAll(c, nil, out)
	}
	out.Notices = append(out.Notices, gone.ends...)
}

// departSources lets the sources of a node's sessions go, and their directed presence,
// also of those that are not published.
func (p *Presentity) departSources(node string, out *Outcome) (gone departures) {
	lost := func(s *Source) bool { return s.ID.Kind == Session && s.Node == node }
	// A watcher who was there hears nothing any more.
	p.removeDirected(func(d *directed) bool { return d.via.Node == node && d.via.Handle != "" })
	for i := 0; i < len(p.directed); {
		if d := &p.directed[i]; lost(d.source) {
			gone.ends = append(gone.ends, p.endDirected(d.source.ID, Payload{})...)
			i = 0 // the others have moved up
		} else {
			i++
		}
	}
	p.eachColumn(func(c *column) { p.dropSources(c, lost, &gone, out) })
	return gone
}

// greet tells adopted subscriptions everything. Those that have ended meanwhile, or
// that no policy has decided yet, are passed over.
func (p *Presentity) greet(adopted []*sub, out *Outcome) {
	t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
	for _, s := range adopted {
		if s.held || s.group == nil {
			continue
		}
		c := s.group.column
		s.Shown = nil
		var v *View
		if s.State == Active {
			v = p.view(c, s.class)
		}
		n := t.notice(noticeKey{c, s.Via.Node, s.Via.Edge, s.State, NoReason, v, nil}, len(adopted))
		n.Answer = true
		n.Targets = append(n.Targets, s.target())
		s.Shown = v
	}
}
