package presence

import (
	"bytes"
	"reflect"
	"time"
)

func (c *column) byID(id SourceID) *live {
	if c == nil {
		return nil
	}
	for _, l := range c.sources {
		if l.cur.ID == id {
			return l
		}
	}
	return nil
}

// byTag finds the publication that has this entity-tag now. A tag of one
// package says nothing in another (RFC 3903 §6).
func (c *column) byTag(now time.Time, tag string) *live {
	if c == nil {
		return nil
	}
	for _, l := range c.sources {
		if l.cur.Tag == tag && !ended(l.cur, now) {
			return l
		}
	}
	return nil
}

// Publication is the live publication of a package that has an entity-tag; nil:
// there is none.
func (p *Presentity) Publication(now time.Time, pkg, tag string) *Source {
	if l := p.column(packageName(pkg)).byTag(now, tag); l != nil {
		return l.cur
	}
	return nil
}

// roomFor tells whether the source is there already or may come.
func (c *column) roomFor(now time.Time, id SourceID) bool {
	if c == nil || len(c.sources) < min(MaxSources, MaxExtended) || c.byID(id) != nil {
		return true
	}
	most := MaxSources
	if id.Kind == Extended {
		most = MaxExtended
	}
	n := 0
	for _, l := range c.sources {
		if !ended(l.cur, now) && (l.cur.ID.Kind == Extended) == (id.Kind == Extended) {
			n++
		}
	}
	return n < most
}

func (p *Presentity) publish(now time.Time, in *Publish, out *Outcome) {
	c := p.need(in.Package)
	var l *live
	if in.IfMatch != "" {
		l = c.byTag(now, in.IfMatch)
	} else {
		l = c.byID(in.ID)
	}
	since, said := in.since(), in.said(now)
	if l != nil && in.IfMatch == "" && l.cur.Node != in.Node && (since != 0 && since < l.since-int64(ClockSkew) || in.Again && said < l.said) {
		return // somebody has come back at another node with the same resource since
	}
	src := &Source{ID: in.ID, Tag: in.NewTag, From: in.From, Updated: now, Package: c.pkg, mark: p.number()}
	if in.Again && !in.Said.IsZero() && in.Said.Before(now) {
		src.Updated = in.Said
	}
	if in.ID.Kind == Session {
		src.Node = in.Node
	}
	if in.Lifetime > 0 {
		src.Expires = now.Add(in.Lifetime)
	}
	out.Tag, out.Lifetime = in.NewTag, in.Lifetime
	if l == nil {
		src.Native, src.Doc = in.Native, in.Doc
		l = &live{cur: src, shown: src, since: since, said: said}
		if c == &p.presence {
			if src.Doc == nil {
				src.Doc = &Document{}
			}
			src.Doc, l.renamed = p.distinct(src.ID, src.Doc, nil)
		}
		c.sources = append(c.sources, l)
		out.saveSource(p.entity, src, nil, true)
		p.published(now, c, l, nil, out)
		return
	}
	was := l.cur
	l.since, l.said = since, said
	src.ID = was.ID
	if src.Tag == "" {
		src.Tag, out.Tag = was.Tag, was.Tag
	}
	if src.From == "" {
		src.From = was.From
	}
	if in.brings(c, l) {
		src.Native, src.Doc = in.Native, in.Doc
		if c == &p.presence {
			var renamed *Document
			if l.renamed {
				renamed = was.Doc
			}
			src.Doc, l.renamed = p.distinct(src.ID, in.Doc, renamed)
		}
		l.cur, l.shown = src, src
		out.saveSource(p.entity, src, was, false)
		p.published(now, c, l, was, out)
		return
	}
	src.Doc, src.Native, src.Updated = was.Doc, was.Native, was.Updated
	l.cur = src
	out.saveSource(p.entity, src, was, false)
}

// ClockSkew is how much earlier a session has to have begun, by the clocks of two nodes, for it to be the older one.
const ClockSkew = 10 * time.Second

// since is when a session began, as in live; else 0.
func (in *Publish) since() int64 {
	if in.ID.Kind != Session || in.Since.IsZero() {
		return 0
	}
	return in.Since.UnixNano()
}

// said is when a session's client said it, as in live; else 0.
func (in *Publish) said(now time.Time) int64 {
	switch {
	case in.ID.Kind != Session:
		return 0
	case in.Said.IsZero():
		return now.UnixNano()
	}
	return in.Said.UnixNano()
}

// brings tells that a publication has something new to say; phones refresh by
// sending everything again.
func (in *Publish) brings(c *column, l *live) bool {
	was := l.cur
	if in.Doc == nil && (c.pkg == "" || len(in.Native.Bytes) == 0) {
		return false
	}
	if in.Native.Type != was.Native.Type || !bytes.Equal(in.Native.Bytes, was.Native.Bytes) {
		return true
	}
	if in.Again && len(in.Native.Bytes) == 0 {
		// A session that says nothing in its own syntax but that it is there.
		return !l.renamed && !reflect.DeepEqual(in.Doc, was.Doc)
	}
	return !in.Again && (was.ID.Kind == Session || len(in.Native.Bytes) == 0)
}

// published tells what a source says anew; was is what it said before, nil for nothing.
func (p *Presentity) published(now time.Time, c *column, l *live, was *Source, out *Outcome) {
	p.changed(now, c, p.speak(c, l, was), nil, out)
}

// speak has what a source of another package says of the person take part in
// presence: a call that is published makes its user on the phone. It returns
// whether that changes anything.
func (p *Presentity) speak(c *column, l *live, was *Source) bool {
	if c == &p.presence {
		return false
	}
	said, says := was.persons(), l.cur.persons()
	if l.person != nil && reflect.DeepEqual(said, says) {
		return false
	}
	before := l.person
	l.person = nil
	if len(says) > 0 {
		s := &Source{ID: l.cur.ID, Expires: l.cur.Expires, Updated: l.cur.Updated, Package: c.pkg, mark: p.number()}
		s.Doc, _ = p.distinct(SourceID{}, &Document{Persons: says}, nil)
		l.person = s
	}
	return before != nil || l.person != nil
}

func (s *Source) persons() []Person {
	if s == nil || s.Doc == nil {
		return nil
	}
	return s.Doc.Persons
}

func (p *Presentity) retract(now time.Time, in *Retract, out *Outcome) {
	c, id := p.column(in.Package), in.ID
	if in.IfMatch != "" {
		id = c.byTag(now, in.IfMatch).cur.ID
	}
	if l := c.byID(id); l != nil && in.Node != "" && l.cur.Node != "" && l.cur.Node != in.Node {
		return
	}
	if c == &p.presence {
		p.leave(now, id, in.Native, out)
	} else if c != nil {
		p.dropSource(now, c, id, in.Native, out)
	}
}

// leave has a source of presence go, whether it was published or only shown
// itself to some.
func (p *Presentity) leave(now time.Time, id SourceID, words Payload, out *Outcome) {
	// Who was shown the source by a subscription is told by that; this must
	// be known before the views change.
	ends := p.endDirected(id, words)
	p.dropSource(now, &p.presence, id, words, out)
	out.Notices = append(out.Notices, ends...)
}

// dropSource lets one source go and tells the watchers; nothing if it is not there.
func (p *Presentity) dropSource(now time.Time, c *column, id SourceID, words Payload, out *Outcome) {
	for i, l := range c.sources {
		if l.cur.ID != id {
			continue
		}
		last := len(c.sources) - 1
		copy(c.sources[i:], c.sources[i+1:])
		c.sources[last] = nil
		c.sources = c.sources[:last]
		out.deleteSource(p.entity, l.cur)
		p.changed(now, c, l.person != nil, []LastWord{{ID: id, Native: words}}, out)
		return
	}
}

// SaveKey is the key of a source's record: of a publication its own, which is
// unique; others are told apart by their kind and package.
func (s *Source) SaveKey() string {
	k := s.ID.Key
	if s.ID.Kind != Publication {
		k = s.ID.String()
	}
	if s.Package != "" {
		k = s.Package + " " + k
	}
	return k
}

func (o *Outcome) saveSource(e Entity, s, before *Source, fresh bool) {
	if s.ID.durable() {
		o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSource, Key: s.SaveKey(), Source: s, before: before, fresh: fresh})
	}
}

func (o *Outcome) deleteSource(e Entity, s *Source) {
	if s.ID.durable() {
		o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSource, Key: s.SaveKey(), Delete: true})
	}
}

// undo takes back what could not be saved.
func (p *Presentity) undo(now time.Time, saves []Save, out *Outcome) {
	for i := len(saves) - 1; i >= 0; i-- {
		sv := &saves[i]
		switch {
		case sv.Source != nil:
			p.undoSource(now, sv, out)
		case sv.Subscription != nil && sv.fresh:
			if s := p.subs.get(sv.Key); s != nil && s.Created.Equal(sv.Subscription.Created) {
				p.drop(s)
				out.deleteSubscription(p.entity, s)
				p.report(now, s, Terminated, Deactivated, out)
			}
		}
	}
}

func (p *Presentity) undoSource(now time.Time, sv *Save, out *Outcome) {
	c := p.column(sv.Source.Package)
	l := c.byID(sv.Source.ID)
	if l == nil || l.cur != sv.Source {
		return // gone or replaced since
	}
	switch {
	case sv.before != nil && !ended(sv.before, now):
		out.saveSource(p.entity, sv.before, nil, false)
		told := l.shown.Doc != sv.before.Doc || !bytes.Equal(l.shown.Native.Bytes, sv.before.Native.Bytes)
		was := l.cur
		l.renamed = true // perhaps: then the ids are compared
		l.cur = sv.before
		if told {
			l.shown = sv.before
			p.published(now, c, l, was, out)
		}
	case c == &p.presence:
		p.leave(now, l.cur.ID, Payload{}, out)
	default:
		p.dropSource(now, c, l.cur.ID, Payload{}, out)
	}
}

func (p *Presentity) restore(in *Restore) {
	for _, s := range in.Sources {
		c := p.need(packageName(s.Package))
		// What ended while nobody ran is taken too: the next input lets it go,
		// and its record with it.
		if c.byID(s.ID) != nil {
			continue
		}
		src := *s
		src.Package, src.mark = c.pkg, p.number()
		l := &live{cur: &src, shown: &src}
		if c == &p.presence {
			if src.Doc == nil {
				src.Doc = &Document{}
			}
			src.Doc, l.renamed = p.distinct(src.ID, src.Doc, nil)
		}
		c.sources = append(c.sources, l)
		if p.speak(c, l, nil) {
			p.presence.next()
		}
		c.next()
	}
	for _, s := range in.Subscriptions {
		if p.subs.get(s.ID) != nil || s.State == Terminated {
			continue
		}
		c := &sub{Subscription: *s, held: true, class: Class{Handling: Confirm}}
		c.Shown, c.Package = nil, packageName(s.Package)
		if c.Event == 0 {
			c.Event = EventSubscribe // saved before events were
		}
		p.insert(c)
		c.group.column.private = c.group.column.private || c.Private
	}
}
