package presence

import "errors"

// ErrAssume: a presentity that already holds something, or somebody else's, cannot
// Assume.
var ErrAssume = errors.New("presence: this holding cannot be assumed here")

// Holding is everything a presentity holds, for its way to another node. Views that
// watchers were shown are in it, since later differences depend on them. Sources and views
// are shared and never change; one that is in several places is the same pointer in
// all of them, and has to be so again when the Holding is assumed.
//
// The policy is not in it: it is loaded again. Until SetPolicy has come, nobody new
// is let in, and a policy older than Revision is ignored.
type Holding struct {
	Entity         Entity
	Origin, Serial uint64    // of its numbers
	Decided        bool      // a policy has been known
	Revision       uint64    // of that policy
	Waiting        []Watcher // of that policy
	Columns        []HeldColumn
	Filters        []HeldFilter
	Subscriptions  []HeldSubscription // in their order
	Due            []int              // places of those that expire, in the order of that
	Directed       []Direct           // directed presence that goes on
	Winfo          *HeldWinfo         // nil: nobody has asked for it
}

// HeldColumn is one event package; presence is the first.
type HeldColumn struct {
	Package          string
	Private          bool
	Version, Touched uint64
	Sources          []HeldSource
	Views            []*View // of the present version
	Groups           [][]int // places of those subscriptions that are told the same, in the order of telling
}

// HeldSource is one source: as it is, as views show it, and what it adds to presence.
type HeldSource struct {
	Source  *Source
	Shown   *Source
	Person  *Source // nil: nothing
	Renamed bool
	Said    int64 // when a session's client said it, in ns of Unix time; 0: unknown
	Since   int64 // when the session began, likewise
}

// HeldFilter is what one class is shown of the sources of a package.
type HeldFilter struct {
	Package, Name string
	Of            []HeldFiltered
}

// HeldFiltered is one source and what is left of it; nil: nothing.
type HeldFiltered struct{ From, To *Source }

// HeldSubscription is one subscription with what was decided about it.
type HeldSubscription struct {
	Subscription
	Class Class
	Waits bool // restored, and not decided yet
}

// HeldWinfo is what watcher information remembers.
type HeldWinfo struct {
	Missed, Old    bool
	Ended, Waiting []Watcher
}

// Export is the whole state of a presentity. It shares sources, documents and views,
// which never change.
func (p *Presentity) Export() *Holding {
	h := &Holding{Entity: p.entity, Origin: p.origin, Serial: p.serial}
	if p.policy != nil {
		h.Decided, h.Revision, h.Waiting = true, p.policy.Revision, p.policy.Waiting
	}
	p.eachColumn(func(c *column) {
		hc := HeldColumn{Package: c.pkg, Private: c.private, Version: c.version, Touched: c.touched, Views: append([]*View(nil), c.views...)}
		for _, l := range c.sources {
			hc.Sources = append(hc.Sources, HeldSource{l.cur, l.shown, l.person, l.renamed, l.said, l.since})
		}
		for _, g := range c.groups {
			places := make([]int, len(g.subs))
			for i, s := range g.subs {
				places[i] = s.inList
			}
			hc.Groups = append(hc.Groups, places)
		}
		h.Columns = append(h.Columns, hc)
	})
	for _, f := range p.filters {
		hf := HeldFilter{Package: f.pkg, Name: f.name}
		for _, o := range f.of {
			hf.Of = append(hf.Of, HeldFiltered{o.from, o.to})
		}
		h.Filters = append(h.Filters, hf)
	}
	if len(p.subs.list) > 0 {
		h.Subscriptions = make([]HeldSubscription, len(p.subs.list))
	}
	for i, s := range p.subs.list {
		h.Subscriptions[i] = HeldSubscription{s.Subscription, s.class, s.held}
	}
	for _, s := range p.subs.due {
		h.Due = append(h.Due, s.inList)
	}
	for i := range p.directed {
		d := &p.directed[i]
		h.Directed = append(h.Directed, Direct{Source: d.source, Watcher: d.watcher, Via: d.via, Available: true})
	}
	if w := p.winfo; w != nil {
		h.Winfo = &HeldWinfo{Missed: w.missed, Old: w.old, Ended: w.ended, Waiting: w.waiting}
	}
	return h
}

func (p *Presentity) checkAssume(h *Holding) error {
	if h == nil || h.Entity != p.entity || !p.Idle() {
		return ErrAssume
	}
	return nil
}

// assume puts everything in its place.
func (p *Presentity) assume(h *Holding) {
	p.origin, p.serial = h.Origin, h.Serial
	if h.Decided {
		// What a policy decides is known of each subscription. This one lets nobody
		// in and stands for the other's age.
		p.policy = &Policy{Revision: h.Revision, Default: Confirm, Waiting: h.Waiting}
	}
	for i := range h.Columns {
		hc := &h.Columns[i]
		c := p.need(packageName(hc.Package))
		c.private, c.version, c.touched = hc.Private, hc.Version, hc.Touched
		c.views = append(c.views[:0], hc.Views...)
		c.sources = nil
		for _, s := range hc.Sources {
			c.sources = append(c.sources, &live{cur: s.Source, shown: s.Shown, person: s.Person, renamed: s.Renamed, since: s.Since, said: s.Said})
		}
	}
	if w := h.Winfo; w != nil {
		p.need(WatcherInfo)
		p.winfo.missed, p.winfo.old, p.winfo.ended, p.winfo.waiting = w.Missed, w.Old, w.Ended, w.Waiting
	}
	for _, hf := range h.Filters {
		f := &filter{pkg: hf.Package, name: hf.Name}
		for _, o := range hf.Of {
			f.of = append(f.of, filtered{o.From, o.To})
		}
		p.filters = append(p.filters, f)
	}
	p.assumeSubscriptions(h)
	for i := range h.Directed {
		d := &h.Directed[i]
		p.directed = append(p.directed, directed{d.Source, d.Watcher, d.Via})
	}
}

func (p *Presentity) assumeSubscriptions(h *Holding) {
	subs := make([]*sub, len(h.Subscriptions))
	for i := range h.Subscriptions {
		if hs := &h.Subscriptions[i]; p.subs.get(hs.ID) == nil {
			subs[i] = &sub{Subscription: hs.Subscription, class: hs.Class, held: hs.Waits}
			p.subs.add(subs[i])
		}
	}
	// Who of several that expire at once is told first follows from the order of coming.
	for _, s := range p.subs.list {
		s.inDue = -1
	}
	p.subs.due = nil
	for _, at := range h.Due {
		if at >= 0 && at < len(subs) && subs[at] != nil {
			p.subs.schedule(subs[at])
		}
	}
	for _, s := range p.subs.list {
		p.subs.schedule(s)
	}
	// So does the order of telling.
	for i := range h.Columns {
		for _, places := range h.Columns[i].Groups {
			for _, at := range places {
				if at >= 0 && at < len(subs) && subs[at] != nil {
					p.place(subs[at])
					subs[at] = nil
				}
			}
		}
	}
	for _, s := range subs {
		if s != nil {
			p.place(s)
		}
	}
}
