package jabber

import (
	"context"
	"errors"
	"time"

	"pharos/load"
	"pharos/markup"
	"pharos/presence"
	"pharos/xdm"
	"pharos/xmpp"
)

// pepUsage names the documents in which nodes are kept. It is no application
// usage of XCAP, so no client reaches them by that.
const pepUsage = "pep"

// pubsub answers what every account takes as a pubsub service of its own (XEP-0163 §2.1).
func (r *request) pubsub(ctx context.Context) {
	r.pubsubBy(ctx, (*request).pubsubGet, (*request).pubsubSet)
}

// pubsubOwner answers pubsub#owner (XEP-0060 §8).
func (r *request) pubsubOwner(ctx context.Context) {
	r.pubsubBy(ctx, (*request).ownerGet, (*request).ownerSet)
}

func (r *request) pubsubBy(ctx context.Context, get, set func(*request, context.Context, *markup.Element) error) {
	if r.server() {
		r.refuse("service-unavailable")
		return
	}
	var what *markup.Element
	for c := range r.child.Children() {
		if what = c; c.Space == r.child.Space {
			break
		}
	}
	var err error
	switch {
	case what == nil || what.Space != r.child.Space:
		err = errPlain
	case r.set && !r.own():
		// The owner is the only publisher (XEP-0163 §2.2).
		err = errNotOwner
	case r.set:
		if !r.edge.enter(load.Publish) {
			r.refuse("resource-constraint")
			return
		}
		err = set(r, ctx, what)
	default:
		err = get(r, ctx, what)
	}
	if err != nil {
		r.refusePubSub(err)
	}
}

// refusePubSub answers with what XEP-0060 has for an error.
func (r *request) refusePubSub(err error) {
	var pe *pubsubError
	switch {
	case errors.As(err, &pe):
	case errors.Is(err, xdm.ErrTooMany):
		pe = errTooManyNodes
	case errors.Is(err, xdm.ErrTooLarge):
		pe = errNodeFull
	default:
		r.failed("pubsub request not served", err)
		return
	}
	r.send(xmpp.AppendErrorWith(nil, r.iq, r.iq.Attr("to"), r.full, xmpp.StanzaError{Condition: pe.condition, App: pe.appXML()}))
}

func (r *request) pubsubSet(ctx context.Context, what *markup.Element) error {
	switch what.Local {
	case "publish":
		return r.publishItem(ctx, what, r.child.Child(nsPubSub, "publish-options"))
	case "retract":
		return r.retractItem(ctx, what)
	case "create":
		return r.createNode(ctx, what)
	case "subscribe", "unsubscribe":
		return unsupported("subscribe") // presence and entity capabilities subscribe (XEP-0163 §4.1)
	case "options":
		return unsupported("subscription-options")
	}
	return errPlain
}

func (r *request) pubsubGet(ctx context.Context, what *markup.Element) error {
	switch what.Local {
	case "items":
		return r.items(ctx, what)
	case "subscriptions":
		return unsupported("retrieve-subscriptions")
	case "affiliations":
		return unsupported("retrieve-affiliations")
	case "default":
		return unsupported("retrieve-default-sub")
	case "options":
		return unsupported("subscription-options")
	}
	return errPlain
}

// checkNode reads the node attribute.
func checkNode(what *markup.Element) (string, error) {
	name := what.Attr("node")
	switch {
	case name == "":
		return "", errNodeID
	case len(name) > MaxNodeName:
		return "", errConfig
	}
	return name, nil
}

// publishItem is XEP-0060 §7.1, with auto-creation (§7.1.4) and options (§7.1.5).
func (r *request) publishItem(ctx context.Context, pub, opts *markup.Element) error {
	name, err := checkNode(pub)
	if err != nil {
		return err
	}
	var options []field
	if opts != nil {
		fs, bad := readForm(opts.Child(nsData, "x"), nsPublishOpts)
		if bad != nil {
			return bad
		}
		options = fs
	}
	it, err := r.readItem(pub)
	if err != nil {
		return err
	}
	if err := r.edge.publishItem(ctx, r.user.entity, name, it, options); err != nil {
		return err
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<pubsub xmlns='"+nsPubSub+"'><publish"...)
		b = append(markup.AppendAttr(b, "node", name), "><item"...)
		return append(markup.AppendAttr(b, "id", it.ID), "/></publish></pubsub>"...)
	})
	return nil
}

// readItem reads the one item of a publish request.
func (r *request) readItem(pub *markup.Element) (nodeItem, error) {
	it := nodeItem{Publisher: r.full, At: time.Now()}
	var item *markup.Element
	for c := range pub.Children() {
		if !c.Is(nsPubSub, "item") || item != nil {
			return it, errPayload // one at a time: batches are not announced
		}
		item = c
	}
	if item == nil {
		return it, errItemID // all nodes are persistent or deliver payloads (XEP-0060 §7.1.3.6)
	}
	if it.ID = item.Attr("id"); it.ID == "" {
		it.ID = newResource() // XEP-0060 §7.1.2: the service makes one
	}
	if len(it.ID) > MaxItemID {
		return it, errConfig
	}
	n := 0
	for p := range item.Children() {
		if n++; n > 1 {
			return it, errPayload // XEP-0060 §7.1.3.5
		}
		it.Payload = string(p.Append(nil, nsStoredNode))
	}
	if n == 0 {
		return it, errNeedsPayload
	}
	if len(it.Payload) > MaxPEPNode-4096 {
		return it, errTooBig
	}
	return it, nil
}

// publishItem puts an item on a node of u and tells those who are to know. On
// its return it is committed.
func (e *Edge) publishItem(ctx context.Context, u presence.Entity, name string, it nodeItem, options []field) error {
	release := e.pepLock(u)
	defer release()
	_, err := e.publishLocked(ctx, u, name, it, options)
	return err
}

// publishLocked is publishItem with the user's nodes locked.
func (e *Edge) publishLocked(ctx context.Context, u presence.Entity, name string, it nodeItem, options []field) (*node, error) {
	before, after, err := e.updateNode(ctx, u, name, func(n *node) (*node, error) {
		switch {
		case n == nil:
			n = &node{Name: name, Config: defaultConfig, Created: it.At}
			if err := n.Config.configure(options); err != nil {
				return nil, err
			}
		default:
			wanted := n.Config
			if err := wanted.configure(options); err != nil && err != errConfig && err != errAccessModel {
				return nil, err
			} else if err != nil || wanted != n.Config {
				return nil, errPrecondition
			}
		}
		if n.Config.Persist {
			n.put(it)
		}
		return n, nil
	})
	if err != nil {
		return nil, err
	}
	if err := e.published(ctx, u, before, after, &it); err != nil {
		return nil, err
	}
	if err := e.align(ctx, u, name, after); err != nil {
		return nil, err
	}
	if name == nodeAvatar {
		e.avatarFollows(ctx, u)
	}
	return after, nil
}

// retractItem is XEP-0060 §7.2.
func (r *request) retractItem(ctx context.Context, what *markup.Element) error {
	name, err := checkNode(what)
	if err != nil {
		return err
	}
	id := what.Child(nsPubSub, "item").Attr("id")
	if id == "" {
		return errItemID
	}
	notify, _ := boolean(what.Attr("notify"))
	u, e := r.user.entity, r.edge
	release := e.pepLock(u)
	defer release()
	before, after, err := e.updateNode(ctx, u, name, func(n *node) (*node, error) {
		if n == nil {
			return nil, errNoNode
		}
		i := n.find(id)
		if i < 0 {
			return nil, errNoNode
		}
		n.Items = append(n.Items[:i:i], n.Items[i+1:]...)
		return n, nil
	})
	if err == errNoNode {
		e.settleSource(ctx, u, name)
	}
	if err != nil {
		return err
	}
	if err := e.retracted(ctx, u, before, after, id, notify || after.Config.Retract); err != nil {
		return err
	}
	if err := e.align(ctx, u, name, after); err != nil {
		return err
	}
	if name == nodeAvatar {
		e.avatarFollows(ctx, u)
	}
	r.result(nil)
	return nil
}

// createNode is XEP-0060 §8.1, with a configuration (§8.1.3).
func (r *request) createNode(ctx context.Context, what *markup.Element) error {
	if what.Attr("node") == "" {
		return errNoInstant
	}
	name, err := checkNode(what)
	if err != nil {
		return err
	}
	n := &node{Name: name, Config: defaultConfig, Created: time.Now()}
	if c := r.child.Child(nsPubSub, "configure"); c != nil && c.Child(nsData, "x") != nil {
		fs, bad := readForm(c.Child(nsData, "x"), nsNodeConfig)
		if bad == nil {
			bad = n.Config.configure(fs)
		}
		if bad != nil {
			return bad
		}
	}
	release := r.edge.pepLock(r.user.entity)
	defer release()
	_, _, err = r.edge.updateNode(ctx, r.user.entity, name, func(old *node) (*node, error) {
		if old != nil {
			return nil, errNodeExists
		}
		return n, nil
	})
	if err != nil {
		return err
	}
	r.result(nil)
	return nil
}

// pepLock serialises what changes the nodes, the vCard and the avatar of one user
// with what is told of it. It may be held while waiting for a commit and for the
// engine; no other lock of the edge is taken under it but a session's mu.
func (e *Edge) pepLock(u presence.Entity) (release func()) {
	l := e.nodes[e.lockIndex(u)]
	l.Lock()
	return l.Unlock
}

// node reads one node; xdm.ErrNotFound.
func (e *Edge) node(ctx context.Context, u presence.Entity, name string) (*node, error) {
	d, err := e.c.Documents.Get(ctx, xdm.Name{AUID: pepUsage, User: u, Path: nodePath(name)})
	if err != nil {
		return nil, err
	}
	n, ok := readNode(d.Body)
	if !ok {
		return nil, errors.New("jabber: stored node is damaged: " + name)
	}
	return n, nil
}

// updateNode changes one node in one commit. fn gets it (nil: there is none), may
// change it and returns what it is to be; nil deletes it. fn may be called again.
func (e *Edge) updateNode(ctx context.Context, u presence.Entity, name string, fn func(*node) (*node, error)) (before, after *node, err error) {
	_, _, err = e.c.Documents.Update(ctx, xdm.Name{AUID: pepUsage, User: u, Path: nodePath(name)}, func(old *xdm.Document) ([]byte, error) {
		before, after = nil, nil
		var n *node
		if old != nil {
			var ok bool
			if before, ok = readNode(old.Body); !ok {
				return nil, errors.New("jabber: stored node is damaged: " + name)
			}
			n, _ = readNode(old.Body)
		}
		var err error
		if after, err = fn(n); err != nil || after == nil {
			return nil, err
		}
		body := appendNode(make([]byte, 0, 1024), after)
		if len(body) > MaxPEPNode {
			return nil, errNodeFull
		}
		return body, nil
	})
	if err != nil {
		return nil, nil, err
	}
	return before, after, nil
}

// nodeNames lists the nodes of a user.
func (e *Edge) nodeNames(ctx context.Context, u presence.Entity) ([]string, error) {
	ds, err := e.c.Documents.List(ctx, u, pepUsage)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(ds))
	for i := range ds {
		if name, ok := nodeName(ds[i].Path); ok {
			names = append(names, name)
		}
	}
	return names, nil
}
