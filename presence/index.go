package presence

import (
	"encoding/binary"
	"time"
)

// sub is a subscription with its places in the collections of its presentity.
type sub struct {
	lead uint64 // of ID
	Subscription
	class   Class
	held    bool // restored, and not yet decided by a policy
	leaving bool // ended by the watcher's own word
	group   *group
	inGroup int
	inList  int
	inDue   int // -1: lives as long as its session
	sibling *sub
}

// group is the watchers of one event package on one edge that are always told
// the same thing.
type group struct {
	column     *column
	node, edge string
	class      Class
	held       bool
	subs       []*sub
}

func (g *group) add(s *sub) {
	s.group, s.inGroup = g, len(g.subs)
	g.subs = append(g.subs, s)
}

func (g *group) remove(s *sub) {
	last := len(g.subs) - 1
	g.subs[s.inGroup] = g.subs[last]
	g.subs[s.inGroup].inGroup = s.inGroup
	g.subs[last] = nil
	g.subs = g.subs[:last]
	s.group = nil
}

// index holds the subscriptions of a presentity. Most have a handful: those
// are looked up by going through the list, which costs no memory.
type index struct {
	list      []*sub
	byID      map[string]*sub
	byWatcher map[Entity]*sub // first of a chain by sibling
	due       []*sub          // heap by Expires
}

// smallIndex is the length up to which no maps are made.
const smallIndex = 32

func (x *index) get(id string) *sub {
	if x.byID != nil {
		return x.byID[id]
	}
	lead := leadOf(id)
	for _, s := range x.list {
		if s.lead == lead && s.ID == id {
			return s
		}
	}
	return nil
}

// leadOf is the first octets of an ID, so that a search through a list need not look at
// each ID, which is somewhere else in memory.
func leadOf(id string) uint64 {
	var b [8]byte
	copy(b[:], id)
	return binary.LittleEndian.Uint64(b[:])
}

// eachOf calls fn for the subscriptions of one watcher until it returns false.
func (x *index) eachOf(w Entity, fn func(*sub) bool) {
	if x.byID != nil {
		for s := x.byWatcher[w]; s != nil; s = s.sibling {
			if !fn(s) {
				return
			}
		}
		return
	}
	for _, s := range x.list {
		if s.Watcher == w && !fn(s) {
			return
		}
	}
}

func (x *index) add(s *sub) {
	s.lead, s.inList, s.inDue = leadOf(s.ID), len(x.list), -1
	x.list = append(x.list, s)
	x.schedule(s)
	if x.byID != nil {
		x.enter(s)
	} else if len(x.list) > smallIndex {
		x.byID = make(map[string]*sub, 2*len(x.list))
		x.byWatcher = make(map[Entity]*sub, 2*len(x.list))
		for _, s := range x.list {
			x.enter(s)
		}
	}
}

func (x *index) enter(s *sub) {
	x.byID[s.ID] = s
	s.sibling = x.byWatcher[s.Watcher]
	x.byWatcher[s.Watcher] = s
}

func (x *index) remove(s *sub) {
	last := len(x.list) - 1
	x.list[s.inList] = x.list[last]
	x.list[s.inList].inList = s.inList
	x.list[last] = nil
	x.list = x.list[:last]
	x.unschedule(s)
	if x.byID == nil {
		return
	}
	delete(x.byID, s.ID)
	if x.byWatcher[s.Watcher] == s {
		if s.sibling == nil {
			delete(x.byWatcher, s.Watcher)
		} else {
			x.byWatcher[s.Watcher] = s.sibling
		}
	} else {
		for o := x.byWatcher[s.Watcher]; o != nil; o = o.sibling {
			if o.sibling == s {
				o.sibling = s.sibling
				break
			}
		}
	}
	s.sibling = nil
	if last == 0 {
		x.byID, x.byWatcher = nil, nil
	}
}

// schedule puts s where its Expires belongs in the heap.
func (x *index) schedule(s *sub) {
	switch {
	case s.Expires.IsZero():
		x.unschedule(s)
	case s.inDue < 0:
		s.inDue = len(x.due)
		x.due = append(x.due, s)
		x.up(s.inDue)
	default:
		x.up(s.inDue)
		x.down(s.inDue)
	}
}

func (x *index) unschedule(s *sub) {
	i := s.inDue
	if i < 0 {
		return
	}
	last := len(x.due) - 1
	x.swap(i, last)
	x.due[last] = nil
	x.due = x.due[:last]
	if i < last {
		x.up(i)
		x.down(i)
	}
	s.inDue = -1
}

func (x *index) swap(i, j int) {
	x.due[i], x.due[j] = x.due[j], x.due[i]
	x.due[i].inDue, x.due[j].inDue = i, j
}

func (x *index) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if !x.due[i].Expires.Before(x.due[parent].Expires) {
			return
		}
		x.swap(i, parent)
		i = parent
	}
}

func (x *index) down(i int) {
	for {
		c := 2*i + 1
		if c >= len(x.due) {
			return
		}
		if c+1 < len(x.due) && x.due[c+1].Expires.Before(x.due[c].Expires) {
			c++
		}
		if !x.due[c].Expires.Before(x.due[i].Expires) {
			return
		}
		x.swap(i, c)
		i = c
	}
}

// expired takes out the next subscription that is over at now; nil if none is.
func (x *index) expired(now time.Time) *sub {
	if len(x.due) == 0 || x.due[0].Expires.After(now) {
		return nil
	}
	return x.due[0]
}

// Subscription returns a copy of the subscription with this ID; nil when there is none.
func (p *Presentity) Subscription(now time.Time, id string) *Subscription {
	s := p.subs.get(id)
	if s == nil || !s.Expires.IsZero() && !s.Expires.After(now) {
		return nil
	}
	c := s.Subscription
	return &c
}
