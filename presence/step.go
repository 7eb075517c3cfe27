package presence

import "time"

// Presentity is one user's presence. It is not safe for concurrent use: one
// owner steps it.
type Presentity struct {
	entity   Entity
	policy   *Policy
	version  uint64 // of the composition
	serial   uint64 // of views
	sources  []*live
	subs     index
	groups   []*group
	directed []directed
	views    []*View // of the present version, by class, made when first needed
	pending  int
}

// live is a source. What views hold changes only with its content, so that a
// refresh, which brings a new entity-tag and a later end, tells nobody.
type live struct {
	cur     *Source
	shown   *Source
	renamed bool // an id in the document had to be changed, see distinct
}

// New makes an empty presentity.
func New(e Entity) *Presentity { return &Presentity{entity: e} }

// Step is where the protocols meet. An error means that nothing changed.
func (p *Presentity) Step(now time.Time, in Input) (Outcome, error) {
	var out Outcome
	// What could fail is looked at first, since time that has passed cannot be
	// taken back; what is over at now does not count.
	if err := p.check(now, in); err != nil {
		return out, err
	}
	p.expire(now, &out)
	switch in := in.(type) {
	case Publish:
		p.publish(now, &in, &out)
	case Retract:
		p.retract(now, &in, &out)
	case Direct:
		p.direct(&in, &out)
	case Watch:
		p.watch(now, &in, &out)
	case Unwatch:
		p.unwatch(now, &in, &out)
	case Keep:
		p.keep(&in, &out)
	case SetPolicy:
		p.setPolicy(now, in.Policy, &out)
	case Restore:
		p.restore(&in)
	case Renotify:
		p.renotify(&out)
	case Remove:
		p.remove(now, &out)
	case Undo:
		p.undo(now, in.Saves, &out)
	}
	return out, nil
}

func (p *Presentity) check(now time.Time, in Input) error {
	switch in := in.(type) {
	case Publish:
		if in.IfMatch != "" {
			if p.byTag(now, in.IfMatch) == nil {
				return ErrNoMatch
			}
			return nil
		}
		if p.byID(in.ID) == nil && len(p.sources) >= MaxSources && p.liveSources(now) >= MaxSources {
			return ErrTooMany
		}
	case Retract:
		if in.IfMatch != "" && p.byTag(now, in.IfMatch) == nil {
			return ErrNoMatch
		}
	case Direct:
		if in.Source == nil {
			return ErrNoMatch
		}
		return p.checkDirect(&in)
	case Watch:
		return p.checkWatch(now, &in)
	case Unwatch:
		return p.checkSubscription(now, in.ID)
	case Keep:
		return p.checkSubscription(now, in.ID)
	}
	return nil
}

// Deadline is when Tick is due; zero for never.
func (p *Presentity) Deadline() time.Time {
	var d time.Time
	if len(p.subs.due) > 0 {
		d = p.subs.due[0].Expires
	}
	for _, l := range p.sources {
		if e := l.cur.Expires; !e.IsZero() && (d.IsZero() || e.Before(d)) {
			d = e
		}
	}
	return d
}

// Idle is true when nothing is held and the presentity may be dropped from memory.
func (p *Presentity) Idle() bool {
	return len(p.sources) == 0 && len(p.subs.list) == 0 && len(p.directed) == 0
}

// Size counts what is held; pending ones are among the subscriptions.
func (p *Presentity) Size() (sources, subscriptions, pending int) {
	return len(p.sources), len(p.subs.list), p.pending
}

// Entity is whose presence this is.
func (p *Presentity) Entity() Entity { return p.entity }

// Version of the composition; rises by one with each change.
func (p *Presentity) Version() uint64 { return p.version }

// expire lets go what is over at now.
func (p *Presentity) expire(now time.Time, out *Outcome) {
	var over []*sub
	for s := p.subs.expired(now); s != nil; s = p.subs.expired(now) {
		p.drop(s)
		over = append(over, s)
	}
	keep := p.sources[:0]
	var words []LastWord
	var ends []*Notice
	for _, l := range p.sources {
		if !ended(l.cur, now) {
			keep = append(keep, l)
			continue
		}
		words = append(words, LastWord{ID: l.cur.ID})
		ends = append(ends, p.endDirected(l.cur.ID, Payload{})...)
		out.deleteSource(p.entity, l.cur)
	}
	if len(keep) != len(p.sources) {
		clear(p.sources[len(keep):])
		p.sources = keep
		p.changed(out, words)
		out.Notices = append(out.Notices, ends...)
	}
	// Those whose time is up are told last, and what is true now.
	p.end(now, over, Timeout, out)
}

func ended(s *Source, now time.Time) bool { return !s.Expires.IsZero() && !s.Expires.After(now) }

// changed makes the next version and tells everybody who sees the difference.
// words are of sources that went.
func (p *Presentity) changed(out *Outcome, words []LastWord) {
	p.version++
	clear(p.views)
	p.views = p.views[:0]
	for _, g := range p.groups {
		if g.held || len(g.subs) == 0 || !g.class.sees() {
			continue
		}
		p.tell(g, p.view(g.class), words, out)
	}
}

// tell sends the view to all of a group who were not shown the same already.
func (p *Presentity) tell(g *group, v *View, words []LastWord, out *Outcome) {
	t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
	// All of a group were shown the same, but for those who were restored.
	var prev *View
	compared, same := false, false
	for _, s := range g.subs {
		if s.Shown == v {
			continue
		}
		if !compared || s.Shown != prev {
			prev, compared, same = s.Shown, true, v.same(s.Shown)
		}
		if !same {
			n := t.notice(noticeKey{g.node, g.edge, Active, NoReason, v, prev}, len(g.subs))
			if n.LastWords == nil && len(words) > 0 {
				n.LastWords = wordsFor(prev, words)
			}
			n.Targets = append(n.Targets, s.target())
		}
		s.Shown = v
	}
}

// wordsFor picks the last words of sources that the watchers had been shown.
func wordsFor(prev *View, words []LastWord) []LastWord {
	var ws []LastWord
	for _, w := range words {
		if len(w.Native.Bytes) > 0 && prev.shows(w.ID) {
			ws = append(ws, w)
		}
	}
	return ws
}

// view is the one View of a class at the present version.
func (p *Presentity) view(c Class) *View {
	for _, v := range p.views {
		if v.class == c {
			return v
		}
	}
	p.serial++
	v := &View{Presentity: p.entity, Version: p.version, class: c, serial: p.serial}
	if c.Handling == Allow {
		v.Sources = make([]*Source, len(p.sources))
		for i, l := range p.sources {
			v.Sources[i] = l.shown
		}
	}
	// Polite blocking (RFC 5025 §3.2.1) shows what everybody sees of a user who
	// is away: the composition of no sources.
	v.Doc = Compose(v.Sources)
	p.views = append(p.views, v)
	return v
}

// teller groups targets into notices.
type teller struct {
	presentity Entity
	out        *Outcome
	from       int // of the notices that may still grow
	last       *Notice
	key        noticeKey
}

type noticeKey struct {
	node, edge string
	state      State
	reason     Reason
	view       *View
	shown      *View
}

// notice returns the one to which a target with this key belongs.
func (t *teller) notice(k noticeKey, room int) *Notice {
	if t.last != nil && t.key == k {
		return t.last
	}
	for _, n := range t.out.Notices[t.from:] {
		if n.Node == k.node && n.Edge == k.edge && n.State == k.state && n.Reason == k.reason && n.View == k.view &&
			n.Direct == nil && len(n.Targets) > 0 && n.Targets[0].Shown == k.shown {
			t.last, t.key = n, k
			return n
		}
	}
	n := &Notice{Presentity: t.presentity, Node: k.node, Edge: k.edge, State: k.state, Reason: k.reason, View: k.view,
		Targets: make([]Target, 0, room)}
	t.out.Notices = append(t.out.Notices, n)
	t.last, t.key = n, k
	return n
}

func (s *sub) target() Target {
	return Target{Sub: s.ID, Watcher: s.Watcher, Handle: s.Via.Handle, Expires: s.Expires, Shown: s.Shown}
}
