package transfer

import (
	"sync"

	"pharos/presence"
)

// Mirror makes of the notices that come from other nodes what local ones would be:
// a source that has not changed is the same pointer as in the view before, a view that comes
// with several notices is the same View, and Target.Shown is what this subscription
// was told last. It holds one view per subscription of this node, most of them shared, until
// Forget or a notice that ends it. It is safe for concurrent use; notices of one
// presentity must come in order.
type Mirror struct {
	mu sync.Mutex
	of map[presence.Entity]*image
}

// image is what the watchers of this node know of one presentity.
type image struct {
	subs map[string]*presence.View
}

// NewMirror makes an empty one.
func NewMirror() *Mirror { return &Mirror{of: map[presence.Entity]*image{}} }

// Notices reads a notice. Where its targets were told different things before, there
// is one for each of these.
func (m *Mirror) Notices(r *Reader) []*presence.Notice { panic("contract") }

// Forget lets go what a subscription was told: it has ended without a notice (Unwatch
// with Silent, when its outcome has come).
func (m *Mirror) Forget(of presence.Entity, sub string) { panic("contract") }

// Learn is for a presentity that was exported here and lives elsewhere from now on:
// what its subscriptions at this node (by Via.Node) have been told locally.
func (m *Mirror) Learn(h *presence.Holding, self string) { panic("contract") }

// Settle is for a presentity that is to be assumed here: in what comes from the
// other node, the views and sources that subscriptions of this node have been told become
// the ones which this mirror has given out, and are then forgotten.
func (m *Mirror) Settle(h *presence.Holding, self string) { panic("contract") }
