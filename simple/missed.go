package simple

import (
	"maps"
	"slices"

	"pharos/presence"
)

// documentsMissed has those looked at who watch documents or lists here, since something that they contain may have
// changed: of one user, or with the zero Entity of all. Subscribers are told what differs from what they know.
func (e *Edge) documentsMissed(u presence.Entity) {
	diffs, lists := []presence.Entity{u}, []presence.Entity{u}
	if u == (presence.Entity{}) {
		diffs, lists = e.diffs.users(), e.lists.owners()
		for _, who := range e.lists.refusers() {
			e.lists.decided(who)
		}
	} else {
		e.lists.decided(u)
	}
	for _, u := range diffs {
		for _, w := range e.diffs.of(u) {
			w.lost()
		}
		e.touchDiffs(u)
	}
	for _, u := range lists {
		e.touchLists(u)
	}
}

// users are those whose documents somebody watches here.
func (dt *diffTable) users() (list []presence.Entity) {
	dt.mu.Lock()
	defer dt.mu.Unlock()
	for u := range dt.by {
		list = append(list, u)
	}
	return list
}

// lost forgets the versions of which patches would be made: there may be gaps between them.
func (w *diffWatch) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.versions)
}

// owners are those who have lists here.
func (t *listTable) owners() (list []presence.Entity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for u := range t.byOwner {
		list = append(list, u)
	}
	return list
}

// refusers are those who have said no to lists here.
func (t *listTable) refusers() []presence.Entity {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Collect(maps.Keys(t.refused))
}
