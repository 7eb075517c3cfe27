package engine

import (
	"sync"

	"pharos/presence"
)

// Resident is one who lives here, for those who run the service.
type Resident struct {
	Entity    presence.Entity
	XMPP, SIP bool // worlds that its presence comes from
	Open      bool
	Resources int // sources and subscriptions
}

// Roll lists those who live here and have something registered, at most limit of each shard,
// in any order. done is called once, on another goroutine; never after Run has ended.
func (e *Engine) Roll(limit int, done func([]Resident)) {
	var mu sync.Mutex
	var all []Resident
	left := len(e.shards)
	for _, s := range e.shards {
		s.put(func() {
			var some []Resident
			for of, r := range s.residents {
				if len(some) >= limit {
					break
				}
				if r.sources+r.subscriptions == 0 || r.moving != nil {
					continue
				}
				x := Resident{Entity: of}
				x.XMPP, x.SIP, x.Open, x.Resources = r.p.Here()
				some = append(some, x)
			}
			mu.Lock()
			all = append(all, some...)
			left--
			last := left == 0
			mu.Unlock()
			if last {
				go done(all)
			}
		}, true)
	}
}
