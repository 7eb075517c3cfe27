package jabber

import (
	"context"
	"errors"

	"pharos/markup"
	"pharos/presence"
	"pharos/xdm"
)

// An item that contacts are notified of is a source of its owner's presence of
// kind Extended, under its node's name: so it passes the owner's policy, and SIP
// watchers learn what it says in terms of RPID. Its native payload is the child
// of a pubsub#event as they are to get it.
const (
	// ItemType is the type of that payload.
	ItemType = nsPubSubEvent
	// quietType is of an item that newcomers are not told (pubsub#send_last_published_item).
	quietType = ItemType + ";last=never"
	// silentType is of last words that nobody is told.
	silentType = ItemType + ";silent"
)

// RestoreItem makes the document of an Extended source that was read back from
// the store, which keeps what was sent. icon is the URI of the user's status icon, as
// Config.Icon has it. False for another payload.
func RestoreItem(native presence.Payload, icon string) (*presence.Document, bool) {
	if native.Type != ItemType && native.Type != quietType {
		return nil, false
	}
	items, err := markup.ParseIn(native.Bytes, []markup.Decl{{Space: nsPubSubEvent}}, storedOptions)
	if err != nil || !items.Is(nsPubSubEvent, "items") {
		return nil, false
	}
	for p := range items.Child(nsPubSubEvent, "item").Children() {
		doc := extendedDoc(items.Attr("node"), p)
		if p.Is(nodeAvatar, "metadata") {
			addIcon(doc, p, icon)
		}
		return doc, true
	}
	return &presence.Document{}, true
}

// isSource tells whether contacts are notified of an item of a node.
func (n *node) isSource(it *nodeItem) bool {
	if n == nil || it == nil || n.Config.Access == accessWhitelist || len(it.Payload) > MaxPEPSource {
		return false
	}
	// Data of avatars is for those who ask after they were told the metadata
	// (XEP-0084 §3).
	return n.Name != nodeAvatarData
}

func appendItems(b []byte, name string, items ...*nodeItem) []byte {
	b = append(markup.AppendAttr(append(b, "<items"...), "node", name), '>')
	for _, it := range items {
		b = append(markup.AppendAttr(append(b, "<item"...), "id", it.ID), '>')
		b = append(append(b, it.Payload...), "</item>"...)
	}
	return append(b, "</items>"...)
}

func retraction(name, id string) []byte {
	b := append(markup.AppendAttr([]byte("<items"), "node", name), "><retract"...)
	return append(markup.AppendAttr(b, "id", id), "/></items>"...)
}

// sourceID of a node.
func sourceID(name string) presence.SourceID {
	return presence.SourceID{Kind: presence.Extended, Key: name}
}

// published makes the source of a node say what the node says now, and tells the
// user's own clients of an item that is none. it is what was published; nil when
// only the configuration has changed. The user's nodes are locked.
func (e *Edge) published(ctx context.Context, u presence.Entity, before, after *node, it *nodeItem) error {
	last := it
	if last == nil {
		last = after.last()
	}
	is := after.isSource(last)
	var err error
	if is && !isExtension(after.Name) {
		if is, err = e.hasRoom(ctx, u, after.Name); err != nil {
			return err
		}
	}
	switch {
	case is:
		in := presence.Publish{ID: sourceID(after.Name), From: last.Publisher,
			Native: presence.Payload{Type: ItemType, Bytes: appendItems(nil, after.Name, last)}}
		if after.Config.Last != lastOnPresence || !after.Config.Persist {
			in.Native.Type = quietType
		}
		in.Doc, _ = RestoreItem(in.Native, e.iconOf(u))
		if _, err = e.step(ctx, u, in); !errors.Is(err, presence.ErrTooMany) {
			return err
		}
	case it == nil || before.isSource(before.last()):
		// Who is not to see it any more is told that it is gone.
		if _, err := e.step(ctx, u, presence.Retract{ID: sourceID(after.Name)}); err != nil {
			return err
		}
	}
	if it != nil {
		e.tellOwn(u, after.Name, appendItems(nil, after.Name, it))
	}
	return nil
}

// retracted takes back an item. With notify watchers are told so.
func (e *Edge) retracted(ctx context.Context, u presence.Entity, before, after *node, id string, notify bool) error {
	if !before.isSource(before.last()) {
		if notify {
			e.tellOwn(u, before.Name, retraction(before.Name, id))
		}
		return nil
	}
	if before.last().ID != id {
		return nil // watchers have been told of another since
	}
	words := presence.Payload{Type: silentType, Bytes: []byte(silentType)}
	if notify {
		words = presence.Payload{Type: ItemType, Bytes: retraction(before.Name, id)}
	}
	if _, err := e.step(ctx, u, presence.Retract{ID: sourceID(before.Name), Native: words}); err != nil {
		return err
	}
	if after.last() == nil {
		return nil
	}
	return e.published(ctx, u, nil, after, nil)
}

// emptied tells that a node was purged or, after being nil, deleted (XEP-0060
// §8.5.2, §8.4.2).
func (e *Edge) emptied(ctx context.Context, u presence.Entity, before, after *node) error {
	what := "<purge"
	if after == nil {
		what = "<delete"
	}
	words := append(markup.AppendAttr([]byte(what), "node", before.Name), "/>"...)
	// A transient node has a source and no items, so this is tried in any case.
	_, err := e.step(ctx, u, presence.Retract{ID: sourceID(before.Name), Native: presence.Payload{Type: ItemType, Bytes: words}})
	if err != nil {
		return err
	}
	if !before.isSource(before.last()) {
		e.tellOwn(u, before.Name, words)
	}
	return nil
}

// settleSource takes back a source for which there is no item any more: a crash between
// the two commits of a retraction leaves one, and the client that asks again is
// told that there is no such item.
func (e *Edge) settleSource(ctx context.Context, u presence.Entity, name string) {
	n, err := e.node(ctx, u, name)
	if errors.Is(err, xdm.ErrNotFound) {
		n, err = nil, nil
	}
	if err == nil && (n == nil || n.Config.Persist && n.last() == nil) {
		_, err = e.step(ctx, u, presence.Retract{ID: sourceID(name)})
	}
	if err != nil {
		e.log.Error("source of a node not settled", "entity", u.String(), "node", name, "err", err)
	}
}

// hasRoom tells whether one more node without a meaning to SIP may be a source.
func (e *Edge) hasRoom(ctx context.Context, u presence.Entity, name string) (bool, error) {
	view, err := e.look(ctx, u, u)
	if err != nil || view == nil {
		return false, err
	}
	n := 0
	for _, src := range view.Sources {
		switch {
		case src.ID == sourceID(name):
			return true, nil
		case src.ID.Kind == presence.Extended && !isExtension(src.ID.Key):
			n++
		}
	}
	return n < MaxPEPSources, nil
}

// step is engine.Step for an engine that may be overloaded for a moment. It blocks.
func (e *Edge) step(ctx context.Context, to presence.Entity, in presence.Input) (presence.Outcome, error) {
	type answer struct {
		out presence.Outcome
		err error
	}
	c := make(chan answer, 1)
	err := e.submit(ctx, to, in, func(out presence.Outcome, err error) { c <- answer{out, err} })
	if err != nil {
		return presence.Outcome{}, err
	}
	select {
	case a := <-c:
		return a.out, a.err
	case <-ctx.Done():
		return presence.Outcome{}, ctx.Err()
	}
}
