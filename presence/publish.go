package presence

import (
	"bytes"
	"time"
)

func (p *Presentity) byID(id SourceID) *live {
	for _, l := range p.sources {
		if l.cur.ID == id {
			return l
		}
	}
	return nil
}

// byTag finds the publication that has this entity-tag now.
func (p *Presentity) byTag(now time.Time, tag string) *live {
	for _, l := range p.sources {
		if l.cur.Tag == tag && !ended(l.cur, now) {
			return l
		}
	}
	return nil
}

func (p *Presentity) liveSources(now time.Time) (n int) {
	for _, l := range p.sources {
		if !ended(l.cur, now) {
			n++
		}
	}
	return n
}

func (p *Presentity) publish(now time.Time, in *Publish, out *Outcome) {
	var l *live
	if in.IfMatch != "" {
		l = p.byTag(now, in.IfMatch)
	} else {
		l = p.byID(in.ID)
	}
	src := &Source{ID: in.ID, Tag: in.NewTag, From: in.From, Updated: now}
	if in.Lifetime > 0 {
		src.Expires = now.Add(in.Lifetime)
	}
	out.Tag, out.Lifetime = in.NewTag, in.Lifetime
	if l == nil {
		src.Native = in.Native
		src.Doc = in.Doc
		if src.Doc == nil {
			src.Doc = &Document{}
		}
		l = &live{cur: src, shown: src}
		src.Doc, l.renamed = distinct(src.ID, src.Doc, nil, p.sources)
		p.sources = append(p.sources, l)
		out.saveSource(p.entity, src, nil, true)
		p.changed(out, nil)
		return
	}
	was := l.cur
	src.ID = was.ID
	if src.Tag == "" {
		src.Tag, out.Tag = was.Tag, was.Tag
	}
	if src.From == "" {
		src.From = was.From
	}
	if in.Doc == nil || repeats(in, was) {
		src.Doc, src.Native, src.Updated = was.Doc, was.Native, was.Updated
		l.cur = src
		out.saveSource(p.entity, src, was, false)
		return
	}
	var renamed *Document
	if l.renamed {
		renamed = was.Doc
	}
	src.Doc, l.renamed = distinct(src.ID, in.Doc, renamed, p.sources)
	src.Native = in.Native
	l.cur, l.shown = src, src
	out.saveSource(p.entity, src, was, false)
	p.changed(out, nil)
}

// repeats tells that a publication brings what is there already: phones
// refresh by sending everything again.
func repeats(in *Publish, was *Source) bool {
	return was.ID.Kind != Session && len(in.Native.Bytes) > 0 &&
		in.Native.Type == was.Native.Type && bytes.Equal(in.Native.Bytes, was.Native.Bytes)
}

func (p *Presentity) retract(now time.Time, in *Retract, out *Outcome) {
	id := in.ID
	if in.IfMatch != "" {
		id = p.byTag(now, in.IfMatch).cur.ID
	}
	// Who was shown the source by a subscription is told by that; this must
	// be known before the views change.
	ends := p.endDirected(id, in.Native)
	p.dropSource(id, in.Native, out)
	out.Notices = append(out.Notices, ends...)
}

// dropSource lets one source go and tells the watchers; nothing if it is not there.
func (p *Presentity) dropSource(id SourceID, words Payload, out *Outcome) {
	for i, l := range p.sources {
		if l.cur.ID != id {
			continue
		}
		last := len(p.sources) - 1
		copy(p.sources[i:], p.sources[i+1:])
		p.sources[last] = nil
		p.sources = p.sources[:last]
		out.deleteSource(p.entity, l.cur)
		p.changed(out, []LastWord{{ID: id, Native: words}})
		return
	}
}

func (o *Outcome) saveSource(e Entity, s, before *Source, fresh bool) {
	if s.ID.durable() {
		o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSource, Key: s.ID.Key, Source: s, before: before, fresh: fresh})
	}
}

func (o *Outcome) deleteSource(e Entity, s *Source) {
	if s.ID.durable() {
		o.Saves = append(o.Saves, Save{Presentity: e, Kind: SavedSource, Key: s.ID.Key, Delete: true})
	}
}

// undo takes back what could not be saved.
func (p *Presentity) undo(now time.Time, saves []Save, out *Outcome) {
	for i := len(saves) - 1; i >= 0; i-- {
		sv := &saves[i]
		switch {
		case sv.Source != nil:
			l := p.byID(sv.Source.ID)
			if l == nil || l.cur != sv.Source {
				continue // gone or replaced since
			}
			if sv.before == nil || ended(sv.before, now) {
				ends := p.endDirected(l.cur.ID, Payload{})
				p.dropSource(l.cur.ID, Payload{}, out)
				out.Notices = append(out.Notices, ends...)
				continue
			}
			out.saveSource(p.entity, sv.before, nil, false)
			told := l.shown.Doc != sv.before.Doc
			l.renamed = true // perhaps: then the ids are compared
			l.cur = sv.before
			if told {
				l.shown = sv.before
				p.changed(out, nil)
			}
		case sv.Subscription != nil && sv.fresh:
			if s := p.subs.get(sv.Key); s != nil && s.Created.Equal(sv.Subscription.Created) {
				p.drop(s)
				out.deleteSubscription(p.entity, s)
				out.watcher(p.entity, s, Terminated, Deactivated, now)
			}
		}
	}
}

func (p *Presentity) restore(in *Restore) {
	for _, s := range in.Sources {
		// What ended while nobody ran is taken too: the next input lets it go,
		// and its record with it.
		if p.byID(s.ID) != nil {
			continue
		}
		c := *s
		if c.Doc == nil {
			c.Doc = &Document{}
		}
		l := &live{cur: &c, shown: &c}
		c.Doc, l.renamed = distinct(c.ID, c.Doc, nil, p.sources)
		p.sources = append(p.sources, l)
	}
	if len(in.Sources) > 0 {
		p.version++
		clear(p.views)
		p.views = p.views[:0]
	}
	for _, s := range in.Subscriptions {
		if p.subs.get(s.ID) != nil || s.State == Terminated {
			continue
		}
		c := &sub{Subscription: *s, held: true, class: Class{Handling: Confirm}}
		c.Shown = nil
		p.insert(c)
	}
}
