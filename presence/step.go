package presence

import "time"

// Presentity is one user's presence. It is not safe for concurrent use: one
// owner steps it.
type Presentity struct {
	entity     Entity
	policy     *Policy
	conditions *conditions // nil: no rule looks at circumstances
	origin     uint64      // where serial began
	serial     uint64      // of views and sources
	presence   column
	others     []*column // of other event packages
	winfo      *winfo    // nil: nobody has asked for it yet
	filters    []*filter // by the name of their Transform
	subs       index
	directed   []directed
	pending    int
}

// live is a source. What views hold changes only with its content, so that a
// refresh, which brings a new entity-tag and a later end, tells nobody.
type live struct {
	cur     *Source
	shown   *Source
	person  *Source // what a source of another package adds to presence; nil: nothing
	renamed bool    // an id in the document had to be changed, see distinct
	since   int64   // when a session began, by the clock of its node, in ns of Unix time; 0: unknown
	said    int64   // when its client said it, likewise
}

// New makes an empty presentity.
func New(e Entity) *Presentity { return &Presentity{entity: e} }

// Step is where the protocols meet. An error means that nothing changed.
func (p *Presentity) Step(now time.Time, in Input) (Outcome, error) {
	// What could fail is looked at first, since time that has passed cannot be
	// taken back; what is over at now does not count.
	if err := p.check(now, in); err != nil {
		return Outcome{}, err
	}
	// Mostly there is one save and one notice, which have their places beside the outcome.
	room := &struct {
		Outcome
		saves   [1]Save
		notices [1]*Notice
	}{}
	out := &room.Outcome
	out.Saves, out.Notices = room.saves[:0], room.notices[:0]
	p.begin(now)
	p.expire(now, out)
	switch in := in.(type) {
	case Publish:
		p.publish(now, &in, out)
	case Retract:
		p.retract(now, &in, out)
	case Direct:
		p.direct(now, &in, out)
	case Watch:
		p.watch(now, &in, out)
	case Unwatch:
		p.unwatch(now, &in, out)
	case Keep:
		p.keep(&in, out)
	case SetPolicy:
		p.setPolicy(now, in.Policy, out)
	case Restore:
		p.restore(&in)
	case Renotify:
		p.renotify(out)
	case Remove:
		p.remove(now, out)
	case Touch:
		p.touch(in.Package, out)
	case Undo:
		p.undo(now, in.Saves, out)
	case Depart:
		p.depart(now, &in, out)
	case Assume:
		p.assume(in.Holding)
	}
	p.tellWatchers(now, out)
	return *out, nil
}

// begin gives a new presentity its numbers. They go on from the time, so that those of
// another life of it, perhaps on another node, are others: a life has fewer changes than
// nanoseconds.
func (p *Presentity) begin(now time.Time) {
	if p.serial == 0 {
		p.origin = uint64(now.UnixNano())
		p.serial = p.origin
	}
}

// number is the next serial.
func (p *Presentity) number() uint64 {
	p.serial++
	return p.serial
}

func (p *Presentity) check(now time.Time, in Input) error {
	switch in := in.(type) {
	case Publish:
		c := p.column(in.Package)
		if in.IfMatch != "" {
			if c.byTag(now, in.IfMatch) == nil {
				return ErrNoMatch
			}
			return nil
		}
		if !p.room(in.Package) || !c.roomFor(now, in.ID) {
			return ErrTooMany
		}
	case Retract:
		if in.IfMatch != "" && p.column(in.Package).byTag(now, in.IfMatch) == nil {
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
		return p.checkUnwatch(now, &in)
	case Keep:
		return p.checkKeep(now, &in)
	case Assume:
		return p.checkAssume(in.Holding)
	}
	return nil
}

// Deadline is when Tick is due; zero for never.
func (p *Presentity) Deadline() time.Time {
	var d time.Time
	if len(p.subs.due) > 0 {
		d = p.subs.due[0].Expires
	}
	p.eachColumn(func(c *column) {
		for _, l := range c.sources {
			if e := l.cur.Expires; !e.IsZero() && (d.IsZero() || e.Before(d)) {
				d = e
			}
		}
	})
	// Without anybody to decide about, no decision changes; and of who is idle
	// there is nothing to be seen.
	if c := p.conditions; c != nil && !c.due.IsZero() && !p.Idle() && len(p.subs.list)+len(p.directed)+len(p.policy.Waiting) > 0 && (d.IsZero() || c.due.Before(d)) {
		d = c.due
	}
	return d
}

// Idle is true when nothing is held and the presentity may be dropped from memory.
func (p *Presentity) Idle() bool {
	sources, subscriptions, _ := p.Size()
	return sources+subscriptions+len(p.directed) == 0
}

// Size counts what is held, of all packages; pending ones are among the subscriptions.
func (p *Presentity) Size() (sources, subscriptions, pending int) {
	p.eachColumn(func(c *column) { sources += len(c.sources) })
	return sources, len(p.subs.list), p.pending
}

// Entity is whose presence this is.
func (p *Presentity) Entity() Entity { return p.entity }

// Version of the composition; rises by one with each change.
func (p *Presentity) Version() uint64 { return p.presence.version }

// expire lets go what is over at now.
func (p *Presentity) expire(now time.Time, out *Outcome) {
	var over []*sub
	for s := p.subs.expired(now); s != nil; s = p.subs.expired(now) {
		p.drop(s)
		over = append(over, s)
	}
	var gone departures
	p.expireSources(now, &p.presence, &gone, out)
	for _, c := range p.others {
		p.expireSources(now, c, &gone, out)
	}
	again := p.conditions.over(now)
	if gone.columns == nil && over == nil && !again {
		return
	}
	if again {
		p.conditions.due = p.policy.Change(now)
	}
	// What is decided by time and sphere is so before anybody is told.
	if p.resphere() || again {
		p.redecide(now, nil, out)
		for _, s := range over {
			s.class = p.decide(s.Watcher, s.Private, p.at(now)).Class
			s.State = s.class.state()
		}
	}
	for _, c := range gone.columns {
		p.tellAll(c, nil, out)
	}
	out.Notices = append(out.Notices, gone.ends...)
	// Those whose time is up are told last, and what is true now.
	p.end(now, over, Timeout, out)
	p.tellWatchers(now, out)
}

// departures are sources that went, and what follows from it.
type departures struct {
	columns []*column // whose watchers must be told; presence is first
	ends    []*Notice // of directed presence
}

func (p *Presentity) expireSources(now time.Time, c *column, gone *departures, out *Outcome) {
	for _, l := range c.sources {
		if ended(l.cur, now) {
			p.dropSources(c, func(s *Source) bool { return ended(s, now) }, gone, out)
			return
		}
	}
}

// dropSources lets those of a package go for which over is true.
func (p *Presentity) dropSources(c *column, over func(*Source) bool, gone *departures, out *Outcome) {
	keep := c.sources[:0]
	spoke := false
	for _, l := range c.sources {
		if !over(l.cur) {
			keep = append(keep, l)
			continue
		}
		if c == &p.presence {
			gone.ends = append(gone.ends, p.endDirected(l.cur.ID, Payload{})...)
		}
		spoke = spoke || l.person != nil
		out.deleteSource(p.entity, l.cur)
	}
	if len(keep) == len(c.sources) {
		return
	}
	clear(c.sources[len(keep):])
	c.sources = keep
	c.next()
	if spoke && (len(gone.columns) == 0 || gone.columns[0] != &p.presence) {
		p.presence.next()
		gone.columns = append([]*column{&p.presence}, gone.columns...)
	}
	gone.columns = append(gone.columns, c)
}

func ended(s *Source, now time.Time) bool { return !s.Expires.IsZero() && !s.Expires.After(now) }

// changed makes the next version of a package, and of presence too if the source
// speaks there, and tells everybody who sees the difference. words are of sources
// that went.
func (p *Presentity) changed(now time.Time, c *column, speaks bool, words []LastWord, out *Outcome) {
	c.next()
	if speaks {
		p.presence.next()
	}
	if (speaks || c == &p.presence) && p.resphere() {
		// Who may no longer look at what comes with the new sphere is not shown it.
		p.redecide(now, words, out)
	}
	p.tellAll(c, words, out)
	if speaks {
		p.tellAll(&p.presence, nil, out)
	}
}

// touch is a change of something that is not a source.
func (p *Presentity) touch(pkg string, out *Outcome) {
	c := p.column(pkg)
	if c == nil {
		return // nobody has ever asked
	}
	if pkg == WatcherInfo {
		p.winfo.dirty = true
		return
	}
	c.touched++
	c.next()
	p.tellAll(c, nil, out)
}

// tellAll tells the watchers of a package its present version.
func (p *Presentity) tellAll(c *column, words []LastWord, out *Outcome) {
	if c.silent() {
		return
	}
	for _, g := range c.groups {
		if g.held || len(g.subs) == 0 || !g.class.sees() {
			continue
		}
		p.tell(g, p.view(c, g.class), words, out)
	}
}

// tell sends the view to all of a group who were not shown the same already.
func (p *Presentity) tell(g *group, v *View, words []LastWord, out *Outcome) {
	t := teller{presentity: p.entity, out: out, from: len(out.Notices)}
	// All of a group were shown the same, but for those who were restored.
	var prev *View
	var n *Notice // to those who were shown prev; nil: it is the same
	compared := false
	for _, s := range g.subs {
		if s.Shown == v {
			continue
		}
		if !compared || s.Shown != prev {
			prev, compared, n = s.Shown, true, nil
			if !v.same(prev) {
				n = t.notice(noticeKey{g.column, g.node, g.edge, Active, NoReason, v, prev}, len(g.subs))
				if n.LastWords == nil && len(words) > 0 {
					n.LastWords = wordsFor(prev, v, words)
				}
			}
		}
		if n != nil {
			n.Targets = append(n.Targets, s.target())
		}
		s.Shown = v
	}
}

// wordsFor picks the last words of sources that the watchers had been shown.
// Whoever sees only a part of the sources is not told them: they are as the
// source wrote them.
func wordsFor(prev, v *View, words []LastWord) []LastWord {
	if v.class != (Class{Handling: Allow}) || prev != nil && prev.class != v.class {
		return nil
	}
	var ws []LastWord
	for _, w := range words {
		if len(w.Native.Bytes) > 0 && prev.shows(w.ID) {
			ws = append(ws, w)
		}
	}
	return ws
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
	column     *column
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
		if n.Package == k.column.pkg && n.Node == k.node && n.Edge == k.edge && n.State == k.state && n.Reason == k.reason &&
			n.View == k.view && n.Direct == nil && len(n.Targets) > 0 && n.Targets[0].Shown == k.shown {
			t.last, t.key = n, k
			return n
		}
	}
	n := &Notice{Presentity: t.presentity, Node: k.node, Edge: k.edge, Package: k.column.pkg, State: k.state, Reason: k.reason,
		View: k.view, Targets: make([]Target, 0, room)}
	t.out.Notices = append(t.out.Notices, n)
	t.last, t.key = n, k
	return n
}

func (s *sub) target() Target {
	return Target{Sub: s.ID, Watcher: s.Watcher, Handle: s.Via.Handle, Expires: s.Expires, Shown: s.Shown}
}
