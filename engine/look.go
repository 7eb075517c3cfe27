package engine

import (
	"time"

	"pharos/presence"
)

// Subscription finds a subscription of a presentity that this node owns, and calls done
// with a copy, or with nil when there is none. The error is that of a Submit that was
// refused; done may get ErrStopped.
func (e *Engine) Subscription(of presence.Entity, id string, done func(*presence.Subscription, error)) error {
	return e.shardOf(of).submit(item{to: of, asked: true, look: func(p *presence.Presentity, now time.Time, err error) {
		if err != nil {
			done(nil, err)
			return
		}
		done(p.Subscription(now, id), nil)
	}})
}
