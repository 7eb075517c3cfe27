package jabber

import (
	"context"
	"errors"

	"pharos/markup"
	"pharos/xdm"
)

// ownerGet answers with configurations (XEP-0060 §8.2, §8.3). Others learn nothing.
func (r *request) ownerGet(ctx context.Context, what *markup.Element) error {
	if !r.own() {
		return errNotOwner
	}
	switch what.Local {
	case "default":
		r.result(func(b []byte) []byte {
			c := defaultConfig
			b = append(b, "<pubsub xmlns='"+nsPubSubOwner+"'><default>"...)
			return append(appendConfigForm(b, &c), "</default></pubsub>"...)
		})
		return nil
	case "configure":
		n, err := r.ownNode(ctx, what)
		if err != nil {
			return err
		}
		r.result(func(b []byte) []byte {
			b = append(b, "<pubsub xmlns='"+nsPubSubOwner+"'><configure"...)
			b = append(markup.AppendAttr(b, "node", n.Name), '>')
			return append(appendConfigForm(b, &n.Config), "</configure></pubsub>"...)
		})
		return nil
	case "affiliations":
		n, err := r.ownNode(ctx, what)
		if err != nil {
			return err
		}
		r.result(func(b []byte) []byte { // XEP-0163 §5: the owner is all there is
			b = append(b, "<pubsub xmlns='"+nsPubSubOwner+"'><affiliations"...)
			b = append(markup.AppendAttr(b, "node", n.Name), "><affiliation"...)
			b = markup.AppendAttr(b, "jid", r.user.bare)
			return append(b, " affiliation='owner'/></affiliations></pubsub>"...)
		})
		return nil
	case "subscriptions":
		return unsupported("manage-subscriptions")
	}
	return errPlain
}

func (r *request) ownNode(ctx context.Context, what *markup.Element) (*node, error) {
	name, err := checkNode(what)
	if err != nil {
		return nil, err
	}
	n, err := r.edge.node(ctx, r.user.entity, name)
	if errors.Is(err, xdm.ErrNotFound) {
		err = errNoNode
	}
	return n, err
}

// ownerSet configures, deletes and purges (XEP-0060 §8.2, §8.4, §8.5).
func (r *request) ownerSet(ctx context.Context, what *markup.Element) error {
	var change func(*node) (*node, error)
	switch what.Local {
	case "configure":
		x := what.Child(nsData, "x")
		if x.Attr("type") == "cancel" { // XEP-0060 §8.2.5.2
			r.result(nil)
			return nil
		}
		fs, bad := readForm(x, nsNodeConfig)
		if bad != nil {
			return bad
		}
		change = func(n *node) (*node, error) {
			if err := n.Config.configure(fs); err != nil {
				return nil, err
			}
			if over := len(n.Items) - n.Config.Max; over > 0 {
				n.Items = n.Items[over:]
			}
			if !n.Config.Persist {
				n.Items = nil
			}
			return n, nil
		}
	case "delete":
		change = func(*node) (*node, error) { return nil, nil }
	case "purge":
		change = func(n *node) (*node, error) {
			n.Items = nil
			return n, nil
		}
	case "affiliations":
		return unsupported("modify-affiliations")
	case "subscriptions":
		return unsupported("manage-subscriptions")
	default:
		return errPlain
	}
	name, err := checkNode(what)
	if err != nil {
		return err
	}
	u, e := r.user.entity, r.edge
	release := e.pepLock(u)
	defer release()
	before, after, err := e.updateNode(ctx, u, name, func(n *node) (*node, error) {
		if n == nil {
			return nil, errNoNode
		}
		return change(n)
	})
	if err == errNoNode {
		e.settleSource(ctx, u, name)
	}
	if err != nil {
		return err
	}
	switch what.Local {
	case "configure":
		err = e.published(ctx, u, before, after, nil)
	default:
		err = e.emptied(ctx, u, before, after)
	}
	if err == nil {
		err = e.align(ctx, u, name, after)
	}
	if err != nil {
		return err
	}
	if name == nodeAvatar {
		e.avatarFollows(ctx, u)
	}
	r.result(nil)
	return nil
}
