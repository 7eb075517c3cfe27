package jabber

import (
	"context"
	"errors"
	"slices"
	"strconv"

	"pharos/markup"
	"pharos/presence"
	"pharos/xdm"
)

// items answers a request for the items of a node (XEP-0060 §6.5): all, those
// with an id, or the newest.
func (r *request) items(ctx context.Context, what *markup.Element) error {
	name, err := checkNode(what)
	if err != nil {
		return err
	}
	most := MaxPEPItems
	if v := what.Attr("max_items"); v != "" { // XEP-0060 §6.5.7
		n, err := strconv.ParseUint(v, 10, 31)
		if err != nil || n == 0 {
			return errPlain
		}
		most = min(int(n), most)
	}
	n, err := r.readable(ctx, name)
	if err != nil {
		return err
	}
	var ids []string
	for c := range what.Children() {
		if c.Is(nsPubSub, "item") && c.Attr("id") != "" {
			ids = append(ids, c.Attr("id"))
		}
	}
	var found []*nodeItem
	for i := range n.Items {
		if it := &n.Items[i]; len(ids) == 0 || slices.Contains(ids, it.ID) {
			found = append(found, it)
		}
	}
	if len(ids) > 0 && len(found) == 0 {
		return errNoNode
	}
	found = found[max(len(found)-most, 0):]
	r.result(func(b []byte) []byte {
		b = append(b, "<pubsub xmlns='"+nsPubSub+"'>"...)
		return append(appendItems(b, name, found...), "</pubsub>"...)
	})
	return nil
}

// readable is a node as far as the one who asks may read it.
func (r *request) readable(ctx context.Context, name string) (*node, error) {
	n, err := r.edge.node(ctx, r.to, name)
	if errors.Is(err, xdm.ErrNotFound) {
		n, err = nil, nil
	}
	if err != nil {
		return nil, err
	}
	if r.own() {
		if n == nil {
			return nil, errNoNode
		}
		return n, nil
	}
	// What is open is for everybody who is not blocked; but what says where the
	// user is or how is for those whom the policy lets see it, however the
	// node is configured.
	open := n != nil && n.Config.Access == accessOpen
	if open && (!isExtension(name) || name == nodeAvatar) {
		return n, nil
	}
	view, err := r.edge.look(ctx, r.to, r.user.entity)
	if err != nil {
		return nil, err
	}
	if view == nil {
		return nil, errNoPresence // the same where there is no such node or account
	}
	return r.readableIn(ctx, view, name, n)
}

// readableIn is readable for one who is shown view.
func (r *request) readableIn(ctx context.Context, view *presence.View, name string, n *node) (*node, error) {
	if n != nil && n.Config.Access == accessWhitelist {
		return nil, errClosed
	}
	shown := name
	if name == nodeAvatarData {
		shown = nodeAvatar // who sees one sees the other
	}
	t := find(toldBy(view), shown)
	whole := t != nil && t.source.ID == sourceID(shown) && t.source.Native.Type != ""
	switch {
	case n != nil && whole:
		return n, nil
	case t != nil && shown == name:
		return toldNode(t)
	case n != nil && !isExtension(name) && name != nodeAvatarData && !n.isSource(n.last()):
		// No source: for those only from whom nothing is hidden.
		x, err := r.edge.c.Engine.Explain(ctx, r.to, r.user.entity)
		if err != nil {
			return nil, err
		}
		if x.Decision.Class == (presence.Class{Handling: presence.Allow}) {
			return n, nil
		}
	}
	return nil, errNoNode
}

// toldNode is a node made of what a view says.
func toldNode(t *told) (*node, error) {
	items, err := markup.ParseIn(t.bytes, []markup.Decl{{Space: nsPubSubEvent}}, storedOptions)
	if err != nil {
		return nil, err
	}
	n := &node{Name: t.node, Config: defaultConfig}
	for c := range items.Children() {
		it := nodeItem{ID: c.Attr("id"), At: t.at}
		for p := range c.Children() {
			it.Payload = string(p.Append(nil, nsStoredNode))
		}
		n.Items = append(n.Items, it)
	}
	return n, nil
}

// visibleNodes are those that disco#items lists to one who is shown view.
func (r *request) visibleNodes(ctx context.Context, view *presence.View) ([]string, error) {
	names, err := r.edge.nodeNames(ctx, r.to)
	if err != nil || r.own() {
		return names, err
	}
	var out []string
	for _, name := range names {
		n, err := r.edge.node(ctx, r.to, name)
		if errors.Is(err, xdm.ErrNotFound) {
			continue // gone meanwhile
		}
		if err == nil {
			_, err = r.readableIn(ctx, view, name, n)
		}
		if err == nil {
			out = append(out, name)
		} else if pe := (*pubsubError)(nil); !errors.As(err, &pe) {
			return nil, err
		}
	}
	return out, nil
}
