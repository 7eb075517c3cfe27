package jabber

import (
	"context"

	"pharos/markup"
)

// Features by XEP-0030 of the server, and of each account to those who may see
// its presence. Sorted.
var (
	serverFeatures = []string{
		nsInfo, nsItems,
		nsLast, nsRoster, nsVersion,
		"msgoffline",
		nsBlocking, nsCarbons, "urn:xmpp:carbons:rules:0", nsCSI,
		nsPing, nsTime,
	}
	accountFeatures = []string{nsInfo, nsItems, nsLast}
)

// discoInfo answers disco#info (XEP-0030 §3).
func (r *request) discoInfo(ctx context.Context) {
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
		}
		for _, f := range features {
			b = append(b, "<feature"...)
			b = markup.AppendAttr(b, "var", f)
			b = append(b, "/>"...)
		}
		return append(b, "</query>"...)
	})
}

// discoItems answers disco#items: nothing is below the server; below an account are
// its available resources, for those who may see its presence. To others an account
// is as empty as one that does not exist (XEP-0030 §8).
func (r *request) discoItems(ctx context.Context) {
	shows := r.own() || !r.server() && r.edge.shows(ctx, r.to, r.user.entity)
	switch node := r.child.Attr("node"); {
	case r.set:
		r.refuse("service-unavailable")
		return
	case node != "" && (shows || r.server()):
		r.refuse("item-not-found")
		return
	}
	r.result(func(b []byte) []byte {
		b = append(b, "<query xmlns='"+nsItems+"'"...)
		b = append(attr(b, "node", r.child.Attr("node")), '>')
		if shows {
			for _, s := range r.edge.reg.user(r.to).list() {
				if s.available() {
					b = markup.AppendAttr(append(b, "<item"...), "jid", s.full)
					b = append(b, "/>"...)
				}
			}
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
	case !r.server() && !r.own() && !r.edge.shows(ctx, r.to, r.user.entity):
		r.refuse("service-unavailable")
	case r.child.Attr("node") != "":
		r.refuse("item-not-found")
	default:
		return true
	}
	return false
}
