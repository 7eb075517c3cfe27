package jabber

import (
	"context"

	"pharos/markup"
	"pharos/presence"
)

// Features by XEP-0030 of the server, and of each account to those who may see
// its presence. Sorted.
var (
	serverFeatures = []string{
		nsInfo, nsItems,
		nsLast, nsPrivate, nsRoster, nsVersion,
		"msgoffline",
		nsBlocking, nsCarbons, "urn:xmpp:carbons:rules:0", nsCSI,
		nsPing, nsTime, nsVCard,
	}
	accountFeatures = []string{nsInfo, nsItems, nsLast}
	// pepFeatures by XEP-0060 §10, of what XEP-0163 asks for.
	pepFeatures = []string{
		nsPubSub, nsPubSub + "#access-open", nsPubSub + "#access-presence", nsPubSub + "#access-whitelist",
		nsPubSub + "#auto-create", nsPubSub + "#auto-subscribe", nsPubSub + "#config-node",
		nsPubSub + "#create-and-configure", nsPubSub + "#create-nodes", nsPubSub + "#delete-items",
		nsPubSub + "#delete-nodes", nsPubSub + "#filtered-notifications", nsPubSub + "#item-ids",
		nsPubSub + "#last-published", nsPubSub + "#multi-items", nsPubSub + "#persistent-items",
		nsPubSub + "#publish", nsPubSub + "#publish-options", nsPubSub + "#purge-nodes",
		nsPubSub + "#retract-items", nsPubSub + "#retrieve-default", nsPubSub + "#retrieve-items",
		nsVCard, "urn:xmpp:pep-vcard-conversion:0", // XEP-0398 §3
	}
)

// discoInfo answers disco#info (XEP-0030 §3).
func (r *request) discoInfo(ctx context.Context) {
	if node := r.child.Attr("node"); node != "" && !r.server() && !r.set {
		r.discoNode(ctx, node)
		return
	}
	if !r.disco(ctx) {
		return
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<query xmlns='"+nsInfo+"'>"...)
		features := accountFeatures
		if r.server() {
			b = append(b, "<identity category='server' type='im' name='Pharos'/>"...)
			features = serverFeatures
		} else {
			b = append(b, "<identity category='account' type='registered'/>"...)
			b = append(b, "<identity category='pubsub' type='pep'/>"...) // XEP-0163 §6.1
			b = appendFeatures(b, pepFeatures)
		}
		return append(appendFeatures(b, features), "</query>"...)
	})
}

func appendFeatures(b []byte, features []string) []byte {
	for _, f := range features {
		b = append(markup.AppendAttr(append(b, "<feature"...), "var", f), "/>"...)
	}
	return b
}

// discoNode answers for a node of an account (XEP-0060 §5.3) those who may read it.
func (r *request) discoNode(ctx context.Context, name string) {
	n, err := r.readable(ctx, name)
	if err != nil {
		r.refusePubSub(err)
		return
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<query xmlns='"+nsInfo+"'"...)
		b = append(markup.AppendAttr(b, "node", name), "><identity category='pubsub' type='leaf'/>"...)
		return append(appendFeatures(append(b, appendMetaData(nil, n)...), []string{nsPubSub}), "</query>"...)
	})
}

// discoItems answers disco#items: nothing is below the server; below an account are
// its available resources and its nodes, for those who may see its presence. To others
// an account is as empty as one that does not exist (XEP-0030 §8).
func (r *request) discoItems(ctx context.Context) {
	var view *presence.View // nil: nothing is shown
	if !r.server() {
		view = r.glance(ctx, r.to)
	}
	switch node := r.child.Attr("node"); {
	case r.set:
		r.refuse("service-unavailable")
		return
	case node != "" && (view != nil || r.server()):
		r.discoNodeItems(ctx, node)
		return
	}
	var nodes []string
	if view != nil {
		var err error
		if nodes, err = r.visibleNodes(ctx, view); err != nil {
			r.failed("nodes not listed", err)
			return
		}
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<query xmlns='"+nsItems+"'"...)
		b = append(attr(b, "node", r.child.Attr("node")), '>')
		for _, res := range resources(view) {
			b = append(markup.AppendAttr(append(b, "<item"...), "jid", fullName(r.to, res)), "/>"...)
		}
		for _, node := range nodes { // XEP-0060 §5.2
			b = markup.AppendAttr(append(b, "<item"...), "jid", r.to.String())
			b = append(markup.AppendAttr(b, "node", node), "/>"...)
		}
		return append(b, "</query>"...)
	})
}

// discoNodeItems lists the items of a node (XEP-0060 §5.5).
func (r *request) discoNodeItems(ctx context.Context, name string) {
	if r.server() {
		r.refuse("item-not-found")
		return
	}
	n, err := r.readable(ctx, name)
	if err != nil {
		r.refusePubSub(err)
		return
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<query xmlns='"+nsItems+"'"...)
		b = append(markup.AppendAttr(b, "node", name), '>')
		for i := range n.Items {
			b = markup.AppendAttr(append(b, "<item"...), "jid", r.to.String())
			b = append(markup.AppendAttr(b, "name", n.Items[i].ID), "/>"...)
		}
		return append(b, "</query>"...)
	})
}

// disco is false when disco#info was refused: sets, unknown nodes, and accounts
// that do not show themselves to the asker (XEP-0030 §8).
func (r *request) disco(ctx context.Context) bool {
	switch {
	case r.set:
		r.refuse("service-unavailable")
	case !r.server() && !r.own() && r.glance(ctx, r.to) == nil:
		r.refuse("service-unavailable")
	case r.child.Attr("node") != "":
		r.refuse("item-not-found")
	default:
		return true
	}
	return false
}
