package cluster

import (
	"sync"

	"pharos/fields"
	"pharos/presence"
)

// arrivals is the side that takes: states that others have sent, until they say
// whose home has moved. As long as one is here its presentity is not taken on any other way.
type arrivals struct {
	mu     sync.Mutex
	groups map[groupKey]*group
	of     map[presence.Entity]*group
	alone  []presence.Entity // of groups whose sender has died
	bytes  int
}

type groupKey struct {
	from   string
	number uint64
}

type group struct {
	era    uint64
	b      []byte
	states map[presence.Entity][]byte // when all has come
}

func (a *arrivals) init() {
	a.groups = map[groupKey]*group{}
	a.of = map[presence.Entity]*group{}
}

// clear forgets everything: an era has ended.
func (a *arrivals) clear() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.init()
	a.alone, a.bytes = nil, 0
}

// drop ends a group. It is called with mu held.
func (a *arrivals) drop(k groupKey) {
	g := a.groups[k]
	if g == nil {
		return
	}
	delete(a.groups, k)
	a.bytes -= len(g.b)
	for e := range g.states {
		if a.of[e] == g {
			delete(a.of, e)
		}
	}
}

// orphan ends the groups of a node that has died. Whether their homes have moved is in the
// registry.
func (a *arrivals) orphan(from string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for k, g := range a.groups {
		if k.from == from {
			for e := range g.states {
				a.alone = append(a.alone, e)
			}
			a.drop(k)
		}
	}
}

// orphans are those of whom it has to be found out.
func (a *arrivals) orphans() []presence.Entity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]presence.Entity(nil), a.alone...)
}

// adopted says that it was found out about the first of them.
func (a *arrivals) adopted(of []presence.Entity) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(of) > 0 && len(a.alone) >= len(of) {
		a.alone = a.alone[len(of):]
	}
}

// arrive enters a home that was found in the registry, unless the state of its presentity is
// here and waits for the word of its sender.
func (n *Node) arrive(e presence.Entity, epoch, era uint64, k *ticket) bool {
	n.arrived.mu.Lock()
	defer n.arrived.mu.Unlock()
	return n.arrived.of[e] == nil && n.have(e, epoch, era, k)
}

// staged takes a part of a group.
func (n *Node) staged(from string, m message) {
	k := groupKey{from, m.number}
	a := &n.arrived
	a.mu.Lock()
	g := a.groups[k]
	if g == nil && m.term == 0 && n.willing() {
		g = &group{era: n.era.Load()}
		a.groups[k] = g
	}
	if g == nil || g.states != nil || m.term != uint64(len(g.b)) {
		a.mu.Unlock()
		if m.flag {
			n.answerStage(from, m.number, false)
		}
		return
	}
	if len(g.b)+len(m.bytes) > maxGroup+stagePart || a.bytes+len(m.bytes) > MaxStaged {
		a.drop(k)
		a.mu.Unlock()
		if m.flag {
			n.answerStage(from, m.number, false)
		}
		return
	}
	g.b = append(g.b, m.bytes...)
	a.bytes += len(m.bytes)
	if !m.flag {
		a.mu.Unlock()
		return
	}
	ok := g.parse()
	if ok {
		for e := range g.states {
			a.of[e] = g
			// What others send here before its home is known to be here waits with Locate.
			n.hints.forget(n.hints.hash(e))
		}
	} else {
		a.drop(k)
	}
	a.mu.Unlock()
	n.answerStage(from, m.number, ok)
}

// willing tells whether this node takes users of others.
func (n *Node) willing() bool {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return n.era.Load() != 0 && n.Valid() && (n.state == Active || n.state == Joining) && !n.leaving
}

func (n *Node) answerStage(to string, number uint64, ok bool) {
	if err := n.say(to, message{kind: sayStaged, number: number, flag: ok}); err != nil {
		n.log.Warn("a node cannot be answered", "node", to, "err", err) // it gives up by itself
	}
}

// parse takes the states out of what has come.
func (g *group) parse() bool {
	r := fields.Of(g.b)
	g.states = map[presence.Entity][]byte{}
	for r.Len() > 0 {
		e := r.Entity()
		g.states[e] = r.Bytes()
	}
	return r.OK()
}

// taken takes the homes of a group that have moved here, and drops what has not.
func (n *Node) taken(from string, m message) {
	k := groupKey{from, m.number}
	a := &n.arrived
	a.mu.Lock()
	g := a.groups[k]
	if g == nil {
		a.mu.Unlock()
		return // of an earlier era, whose homes have heirs; or refused
	}
	a.drop(k)
	var lost []presence.Entity
	for i, e := range m.of {
		// Between being staged and now this era has lasted, so nobody has inherited the home.
		state, ok := g.states[e]
		if !ok || n.era.Load() != g.era {
			continue
		}
		if len(state) > 0 {
			if err := n.engine.Import(e, state); err != nil {
				n.log.Error("a presentity that has moved here cannot be read; what is durable of it is loaded", "entity", e.String(), "err", err)
				lost = append(lost, e)
			}
		}
		n.have(e, m.epochs[i], g.era, nil)
	}
	a.mu.Unlock()
	n.count.came.Add(uint64(len(m.of)))
	n.engine.Found(m.of)
	if len(lost) > 0 {
		n.engine.Arrive(lost)
		n.sayLost(lost)
	}
	n.locator.again()
}
