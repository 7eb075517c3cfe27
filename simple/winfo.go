package simple

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"time"

	"pharos/presence"
	"pharos/watcherinfo"
)

// winfoPackage is RFC 3857 for presence: who watches a user, for the user itself
// only, which is who §4.6 recommends.
var winfoPackage = &eventPackage{
	name:    presence.WatcherInfo,
	key:     presence.WatcherInfo,
	def:     time.Hour, // RFC 3857 §4.4
	private: true,
	ordered: true, // each transition is told
	bodies:  []bodyType{{name: watcherinfo.Type, tell: tellWatchers}},
}

// maxListed is the number of watchers in one NOTIFY, which so fits into a datagram;
// the others follow in partial ones.
const maxListed = 200

// unlisted are the watchers of a view, from one on, that are still to be told.
type unlisted struct {
	view *presence.View
	from int
}

// tellWatchers writes the watchers whose state has changed, and all of them in
// answer to a SUBSCRIBE and when it is not known what the watcher has (RFC 3857
// §4.3).
func tellWatchers(t *telling) content {
	now := time.Now()
	info := watcherinfo.Info{
		Version: t.version, Resource: aor(t.view.Presentity), Package: presencePackage.name,
	}
	list, from := t.view.Watchers, 0
	if t.before != nil && !t.must {
		if rest, ok := t.dialog.kept().(*unlisted); !ok {
			list, info.Partial = watcherChanges(t.before, t.view)
			if info.Partial && len(list) == 0 {
				return content{nothing: true}
			}
		} else if rest.view == t.view { // else the list has changed meanwhile, and begins anew
			list, from, info.Partial = list[rest.from:], rest.from, true
		}
	}
	t.dialog.keep(nil)
	switch {
	case len(list) <= maxListed:
	case t.final: // nothing can follow, so what is told is not all
		list, info.Partial = nil, true
	default:
		if info.Partial && from == 0 { // so many have changed that all are told
			list, info.Partial = t.view.Watchers, false
		}
		if len(list) > maxListed {
			list = list[:maxListed]
			t.dialog.keep(&unlisted{t.view, from + maxListed})
			t.edge.retell(t.dialog) // goes when this one has been answered
		}
	}
	info.Watchers = make([]watcherinfo.Watcher, len(list))
	for i := range list {
		w := &list[i]
		info.Watchers[i] = watcherinfo.Of(w, token(w.ID), aor(w.Watcher), now)
	}
	return content{body: watcherinfo.Append(nil, &info)}
}

// watcherChanges lists the watchers of v that a reader of before does not know as
// they are now, and those that ended. complete is false, and the list that of all, when
// somebody has gone of whose end v does not tell.
func watcherChanges(before, v *presence.View) (list []presence.Watcher, complete bool) {
	was := make(map[string]*presence.Watcher, len(before.Watchers))
	for i := range before.Watchers {
		was[before.Watchers[i].ID] = &before.Watchers[i]
	}
	for _, w := range v.Watchers {
		// A refresh is no transition (RFC 3857 §4.7.1).
		if o := was[w.ID]; o == nil || o.State != w.State || o.Waiting != w.Waiting || o.Event != w.Event {
			list = append(list, w)
		}
		delete(was, w.ID)
	}
	for _, w := range v.Ended {
		list = append(list, w)
		delete(was, w.ID)
	}
	if len(was) > 0 {
		return v.Watchers, false
	}
	return list, true
}

// token is a subscription's id as RFC 3858 §3 wants it: ours are tokens, those of
// other edges need not be.
func token(id string) string {
	for i := range len(id) {
		c := id[i] | 0x20
		if (c < 'a' || c > 'z') && (id[i] < '0' || id[i] > '9') && !strings.ContainsRune("-.!%*_+`'~", rune(id[i])) {
			h := sha256.Sum256([]byte(id))
			return "x" + hex.EncodeToString(h[:12])
		}
	}
	return id
}
