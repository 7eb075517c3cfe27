package jabber

import (
	"bytes"

	"pharos/presence"
)

// Where a presentity has a new owner, who does not know what its watchers were told, and
// where a session has come from another node, the view that is told next has
// nothing in common with the one before, and yet may say the same. Then what was said
// counts, byte by byte.

// follows tells whether two views are of one life of a presentity.
func follows(view, prev *presence.View) bool {
	o := view.Parts().Origin
	return o != 0 && o == prev.Parts().Origin
}

// sameSource tells whether two sources in views of one life of a presentity are one, though
// they may have come from its owner in different ways.
func sameSource(a, b *presence.Source) bool {
	return a == b || a != nil && b != nil && a.ID == b.ID && a.Mark() != 0 && a.Mark() == b.Mark()
}

// changesFar is View.Changes for views that may have come from another node.
func changesFar(prev, view *presence.View) (gone, changed []*presence.Source) {
	find := func(v *presence.View, id presence.SourceID) *presence.Source {
		for _, s := range v.Sources {
			if s.ID == id {
				return s
			}
		}
		return nil
	}
	for _, s := range view.Sources {
		if !sameSource(find(prev, s.ID), s) {
			changed = append(changed, s)
		}
	}
	for _, s := range prev.Sources {
		if find(view, s.ID) == nil {
			gone = append(gone, s)
		}
	}
	return gone, changed
}

// utterance is what a view says of one source in terms of presence.
type utterance struct {
	id     presence.SourceID
	open   bool
	phrase phrase
}

// uttered lists what a view says; v may be nil.
func uttered(v *presence.View) (us []utterance) {
	if v == nil {
		return nil
	}
	for _, src := range v.Sources {
		if src.ID.Kind != presence.Extended {
			us = append(us, utterance{src.ID, isOpen(src), phraseOf(v, src)})
		}
	}
	if call := loneCall(v); call != nil {
		us = append(us, utterance{call.ID, true, loneCalls(v.Presentity, nil, v)[0]})
	}
	return us
}

func utteranceOf(us []utterance, id presence.SourceID) *utterance {
	for i := range us {
		if us[i].id == id {
			return &us[i]
		}
	}
	return nil
}

// difference is what a watcher who was told prev has to be told of view.
func difference(of presence.Entity, prev, view *presence.View, words []presence.LastWord) (ps []phrase) {
	was, is := uttered(prev), uttered(view)
	for i := range was {
		if was[i].open && utteranceOf(is, was[i].id) == nil {
			ps = append(ps, farewell(of, &presence.Source{ID: was[i].id}, words))
		}
	}
	for i := range is {
		u := &is[i]
		before := utteranceOf(was, u.id)
		if before == nil && !u.open || before != nil && before.open == u.open && bytes.Equal(before.phrase.rest, u.phrase.rest) {
			continue
		}
		ps = append(ps, u.phrase)
	}
	return ps
}

// lacks tells whether a view misses a session that was told of: it may only not have been
// said again by its node yet.
func lacks(view, prev *presence.View) bool {
	if view == nil || prev == nil {
		return false
	}
	for _, src := range prev.Sources {
		if src.ID.Kind == presence.Session && isOpen(src) && !knows(view, src.ID) {
			return true
		}
	}
	return false
}

// said writes what a session was told of a presentity, for its way to another
// node.
func (p packer) said(of presence.Entity, v *presence.View) packer {
	p = p.entity(of).bool(v != nil)
	if v == nil {
		return p
	}
	us := uttered(v)
	p = p.num(uint64(len(us)))
	for i := range us {
		p = p.source(us[i].id).bool(us[i].open).bytes(us[i].phrase.rest)
	}
	ts := toldBy(v)
	p = p.num(uint64(len(ts)))
	for i := range ts {
		p = p.str(ts[i].node).bytes(ts[i].bytes)
	}
	return p
}

func (p packer) source(id presence.SourceID) packer {
	return append(p, byte(id.Kind)).str(id.Key)
}

func (u *unpacker) source() presence.SourceID {
	return presence.SourceID{Kind: presence.SourceKind(u.Byte()), Key: u.Text()}
}

// said reads what was told as a view that says the same.
func (u *unpacker) said() (of presence.Entity, v *presence.View) {
	of = u.Entity()
	if !u.Bool() {
		return of, nil
	}
	v = &presence.View{Presentity: of}
	for range u.Count() {
		src := &presence.Source{ID: u.source()}
		open, rest := u.Bool(), u.Bytes()
		src.Doc = &presence.Document{}
		if open {
			src.Native = presence.Payload{Type: nsClient, Bytes: innerOfPhrase(rest)}
		}
		v.Sources = append(v.Sources, src)
	}
	for range u.Count() {
		v.Sources = append(v.Sources, &presence.Source{
			ID:     presence.SourceID{Kind: presence.Extended, Key: u.Text()},
			Native: presence.Payload{Type: ItemType, Bytes: u.Bytes()}, Doc: &presence.Document{},
		})
	}
	if !u.OK() {
		return of, nil
	}
	return of, v
}

// innerOfPhrase takes the content out of the rest of an available presence.
func innerOfPhrase(rest []byte) []byte {
	inner, ok := bytes.CutPrefix(rest, []byte(">"))
	if !ok {
		return nil
	}
	return bytes.TrimSuffix(inner, []byte("</presence>"))
}
