package jabber

import (
	"bytes"
	"time"

	"pharos/markup"
	"pharos/presence"
)

// event is one change of one node as a watcher is told it: the child of
// pubsub#event.
type event struct {
	node  string
	bytes []byte
}

// appendEvent writes the message that brings an event (XEP-0163 §4.3.1).
func appendEvent(b []byte, from presence.Entity, to string, child []byte) []byte {
	b = markup.AppendAttr(append(b, "<message"...), "from", from.String())
	b = markup.AppendAttr(b, "to", to)
	b = append(b, " type='headline'><event xmlns='"+nsPubSubEvent+"'>"...)
	return append(append(b, child...), "</event></message>"...)
}

// tellEvents sends those events that the client wants. mu is held.
func (s *session) tellEvents(of presence.Entity, wanted *capability, events []event) {
	for i := range events {
		if wanted.wants(events[i].node) {
			s.put(nil, appendEvent(nil, of, s.full, events[i].bytes))
		}
	}
}

// told is what a view says of one node.
type told struct {
	node   string
	bytes  []byte
	at     time.Time
	quiet  bool // not for newcomers
	source *presence.Source
}

// toldBy lists what a view says in terms of PEP: items of the user's nodes as they
// came, and what other sources' documents say of mood and the like. Of several that
// speak of one node the last one counts.
func toldBy(v *presence.View) []told {
	if v == nil {
		return nil
	}
	var out []told
	add := func(t told) {
		for i := range out {
			if out[i].node == t.node {
				if t.at.After(out[i].at) {
					out[i] = t
				}
				return
			}
		}
		out = append(out, t)
	}
	for _, src := range v.Sources {
		switch {
		case src.ID.Kind == presence.Session:
			// What a session says of itself is told by its presence.
		case src.Native.Type == ItemType || src.Native.Type == quietType:
			add(told{src.ID.Key, src.Native.Bytes, src.Updated, src.Native.Type == quietType, src})
		default:
			for i := range extensions {
				x := &extensions[i]
				if src.ID.Kind == presence.Extended && src.ID.Key != x.node {
					continue // a filtered item says what is left of its own
				}
				if payload := x.item(src.Doc); payload != nil {
					it := nodeItem{ID: synthesised, Payload: string(payload)}
					add(told{x.node, appendItems(nil, x.node, &it), src.Updated, false, src})
				}
			}
		}
	}
	return out
}

// synthesised is the id of items that we make of documents.
const synthesised = "current"

// changesOf compares by node what a watcher was told with what is to be told.
// words are of sources that went.
func changesOf(prev, view *presence.View, words []presence.LastWord) []event {
	if view == nil || view.Polite() {
		return nil // contacts who are not seen any more take back nothing, nor do those who seem to have gone
	}
	was, is := toldBy(prev), toldBy(view)
	var out []event
	for i := range was {
		if find(is, was[i].node) == nil {
			if b := farewellEvent(&was[i], words); b != nil {
				out = append(out, event{was[i].node, b})
			}
		}
	}
	for i := range is {
		before := find(was, is[i].node)
		if before == nil && prev == nil && is[i].quiet || before != nil && bytes.Equal(before.bytes, is[i].bytes) {
			continue
		}
		out = append(out, event{is[i].node, is[i].bytes})
	}
	return out
}

func find(ts []told, node string) *told {
	for i := range ts {
		if ts[i].node == node {
			return &ts[i]
		}
	}
	return nil
}

// farewellEvent takes back what a watcher was told of a node: as its owner did,
// or by a retraction of the item.
func farewellEvent(t *told, words []presence.LastWord) []byte {
	for i := len(words) - 1; i >= 0; i-- {
		if words[i].ID != t.source.ID {
			continue
		}
		switch words[i].Native.Type {
		case silentType:
			return nil
		case ItemType:
			return words[i].Native.Bytes
		}
	}
	id := synthesised
	if items, err := markup.ParseIn(t.bytes, []markup.Decl{{Space: nsPubSubEvent}}, storedOptions); err == nil {
		id = items.Child(nsPubSubEvent, "item").Attr("id")
	}
	return retraction(t.node, id)
}
