package engine

import (
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// Held tells of a subscription what its owner knows of it.
type Held uint8

// What an owner may know of a subscription.
const (
	HeldNot       Held = iota // nothing: it has ended
	HeldHere                  // it is of the node that asks
	HeldElsewhere             // it is of another node
)

// MaxHeld is how many subscriptions may be asked about at once.
const MaxHeld = 1000

// Holds asks the owner of a presentity what it knows of subscriptions of this node, MaxHeld at most; done gets
// it in their order. The question keeps its place among what this node has submitted. An owner tells
// those who are with it, when it has come anew, but what its predecessor has ended, and could not tell
// any more, nobody hears of otherwise. The error is that of a Submit that was refused.
func (e *Engine) Holds(of presence.Entity, ids []string, done func([]Held, error)) error {
	q := &question{kind: asksHeld, ids: ids}
	return e.shardOf(of).submit(e.asked(of, q,
		func(p *presence.Presentity, now time.Time, err error) {
			if err != nil {
				done(nil, err)
				return
			}
			list := make([]Held, len(ids))
			for i, id := range ids {
				list[i] = heldOf(p, now, id, e.self)
			}
			done(list, nil)
		},
		func(r *transfer.Reader) {
			list := make([]Held, len(ids))
			for i := range list {
				list[i] = Held(r.Uint())
			}
			done(list, r.Err())
		}))
}

func heldOf(p *presence.Presentity, now time.Time, id, node string) Held {
	switch sub := p.Subscription(now, id); {
	case sub == nil:
		return HeldNot
	case sub.Via.Node == node:
		return HeldHere
	}
	return HeldElsewhere
}
