package engine

import (
	"errors"
	"slices"
	"sync"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// Bounds and times of calls between edges.
const (
	// MaxCalls is how many calls of this node may be under way; ErrOverload beyond.
	MaxCalls = 1 << 14
	// CallTime is how long a call may take; ErrGone then.
	CallTime = 10 * time.Second

	callCheck = time.Second // between two looks for calls that are too old
)

// errUnknown: the other node does not know what it is asked about.
var errUnknown = errors.New("engine: unknown")

// calls are those that this node has made and that were not answered yet.
type calls struct {
	mu    sync.Mutex
	under map[uint64]*call
	last  uint64
	timer *time.Timer // nil: there are none
	ended bool
}

type call struct {
	number uint64
	node   string // that was asked; "": none at present
	until  time.Time
	owner  presence.Entity // to be found again when it changes
	owned  bool            // owner is set
	once   bool            // not to be made again when the owner dies: it may have been done
	tries  int
	make   func(number uint64) []byte // the message
	here   func()                     // instead, when this node is the owner; on its shard
	done   func(answer []byte, err error)
}

// add counts a call in.
func (c *calls) add(x *call) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ended {
		return ErrStopped
	}
	if len(c.under) >= MaxCalls {
		return ErrOverload
	}
	c.last++
	x.number, x.until = c.last, time.Now().Add(CallTime)
	if c.under == nil {
		c.under = make(map[uint64]*call)
	}
	c.under[x.number] = x
	if c.timer == nil {
		c.timer = time.AfterFunc(callCheck, func() { c.check() })
	}
	return nil
}

// take ends a call; nil: it has ended.
func (c *calls) take(number uint64) *call {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.under[number]
	delete(c.under, number)
	return x
}

// sentTo notes where a call goes; false: it has ended.
func (c *calls) sentTo(x *call, node string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.under[x.number] != x {
		return false
	}
	x.node = node
	return true
}

// check ends calls that have taken too long.
func (c *calls) check() {
	now := time.Now()
	c.mu.Lock()
	var over []*call
	for number, x := range c.under {
		if !x.until.After(now) {
			over = append(over, x)
			delete(c.under, number)
		}
	}
	c.timer = nil
	if len(c.under) > 0 && !c.ended {
		c.timer = time.AfterFunc(callCheck, func() { c.check() })
	}
	c.mu.Unlock()
	for _, x := range over {
		x.done(nil, ErrGone)
	}
}

// to takes the calls to one node out; "" stands for all.
func (c *calls) to(node string) (list []*call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, x := range c.under {
		if node == "" || x.node == node {
			list = append(list, x)
		}
	}
	slices.SortFunc(list, func(a, b *call) int { return int(a.number) - int(b.number) })
	return list
}

// close ends all calls.
func (c *calls) close() {
	c.mu.Lock()
	c.ended = true
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
	c.mu.Unlock()
	for _, x := range c.to("") {
		if c.take(x.number) != nil {
			x.done(nil, ErrStopped)
		}
	}
}

// callAnswered ends a call with its answer, or makes it of another owner.
func (e *Engine) callAnswered(number uint64, answer []byte, err error) {
	c := &e.calls
	c.mu.Lock()
	x := c.under[number]
	again := x != nil && x.owned && (errors.Is(err, errElsewhere) || errors.Is(err, ErrStopped))
	if !again {
		delete(c.under, number)
	}
	c.mu.Unlock()
	switch {
	case x == nil:
	case again:
		e.callAgain(x)
	default:
		x.done(answer, err)
	}
}

// callsGone ends the calls to a node that has gone, or makes them of the owner that follows it.
func (e *Engine) callsGone(node string) {
	for _, x := range e.calls.to(node) {
		if x.owned && !x.once {
			e.callAgain(x)
		} else if e.calls.take(x.number) != nil {
			x.done(nil, ErrGone)
		}
	}
}

// CallEdge asks an edge on another node something: its Called gets the request. done
// is called once, and never from within CallEdge: with the answer, or with ErrGone when the
// node goes first or CallTime passes. ErrOverload at once means that done will not be called.
func (e *Engine) CallEdge(node, edge string, request []byte, done func(answer []byte, err error)) error {
	x := &call{done: done}
	x.make = func(number uint64) []byte {
		m := transfer.AppendUint(message(saysCall), number)
		return transfer.AppendBytes(transfer.AppendString(m, edge), request)
	}
	return e.call(node, x)
}

// call makes a call of a node.
func (e *Engine) call(node string, x *call) error {
	x.node = node
	if err := e.calls.add(x); err != nil {
		return err
	}
	if err := e.post(node, frameOf(x.make(x.number))); err != nil {
		if e.calls.take(x.number) != nil {
			return err
		}
	}
	return nil
}

// called has an edge of this node answer another node.
func (e *Engine) called(from string, number uint64, edge string, request []byte) {
	c := e.clusterEdge(edge)
	if c == nil {
		e.answer(from, number, nil, errUnknown)
		return
	}
	c.Called(from, request, func(answer []byte) { e.answer(from, number, answer, nil) })
}

func (e *Engine) clusterEdge(name string) ClusterEdge {
	for i := range e.edges {
		if e.edges[i].name == name {
			return e.edges[i].cluster
		}
	}
	return nil
}

// CallOwner is CallEdge at the owner of an entity, which may be this node; when the
// owner changes meanwhile, the new one is asked. Calls about one entity may overtake each
// other when its owner changes.
func (e *Engine) CallOwner(of presence.Entity, edge string, request []byte, done func(answer []byte, err error)) error {
	x := &call{owner: of, owned: true, done: done}
	x.make = func(number uint64) []byte {
		m := transfer.AppendUint(message(saysCallOwner), number)
		m = transfer.AppendString(transfer.AppendEntity(m, of), edge)
		return transfer.AppendBytes(m, request)
	}
	x.here = func() {
		c := e.clusterEdge(edge)
		if c == nil {
			e.callAnswered(x.number, nil, errUnknown)
			return
		}
		c.Called(e.self, request, func(answer []byte) { e.callAnswered(x.number, answer, nil) })
	}
	return e.callOwner(x)
}

func (e *Engine) callOwner(x *call) error {
	if err := e.calls.add(x); err != nil {
		return err
	}
	e.toOwner(x, false)
	return nil
}

// toOwner takes a call to the owner; astray: what Owner says of others was wrong.
func (e *Engine) toOwner(x *call, astray bool) {
	if node, ok := e.peers.Owner(x.owner); ok && (node == e.self || !astray) {
		e.callAt(x, node)
		return
	}
	e.peers.Locate(x.owner, func(node string, err error) {
		if err != nil {
			e.callAgain(x)
			return
		}
		e.callAt(x, node)
	})
}

func (e *Engine) callAt(x *call, node string) {
	if !e.calls.sentTo(x, node) {
		return
	}
	if node == e.self {
		e.asOwner(x.owner, x.here, func() { e.callAgain(x) }, func() { e.callAnswered(x.number, nil, ErrOverload) })
		return
	}
	switch err := e.post(node, frameOf(x.make(x.number))); {
	case errors.Is(err, ErrOverload):
		e.callAnswered(x.number, nil, err)
	case err != nil:
		e.callAgain(x)
	}
}

// asOwner has something done in the order of what is submitted to a presentity, if this node
// owns it then. late is called instead when this node may not act for too long.
func (e *Engine) asOwner(of presence.Entity, do, elsewhere, late func()) {
	run := func() {
		if node, ok := e.peers.Owner(of); ok && node == e.self {
			do()
		} else {
			elsewhere()
		}
	}
	e.shardOf(of).putFar(&far{run: run, late: late})
}

// callAgain makes a call of the owner once more, after a while that grows. CallTime bounds it.
func (e *Engine) callAgain(x *call) {
	if !e.calls.sentTo(x, "") {
		return
	}
	x.tries++
	if x.tries == 1 {
		e.toOwner(x, true)
		return
	}
	time.AfterFunc(min(firstRetry<<min(x.tries-2, 8), lastRetry), func() {
		if e.calls.sentTo(x, "") {
			e.toOwner(x, true)
		}
	})
}

// calledAsOwner answers another node's CallOwner.
func (e *Engine) calledAsOwner(from string, number uint64, of presence.Entity, edge string, request []byte) {
	c := e.clusterEdge(edge)
	if c == nil {
		e.answer(from, number, nil, errUnknown)
		return
	}
	e.ifOwner(from, number, of, func() {
		c.Called(from, request, func(answer []byte) {
			if !e.peers.Valid() { // what it says may be old
				e.answer(from, number, nil, errElsewhere)
				return
			}
			e.answer(from, number, answer, nil)
		})
	})
}

// ifOwner has something done that another node has asked the owner for, or refuses.
func (e *Engine) ifOwner(from string, number uint64, of presence.Entity, do func()) {
	elsewhere := func() { e.answer(from, number, nil, errElsewhere) }
	late := func() { e.answer(from, number, nil, ErrOverload) }
	node, ok := e.peers.Owner(of)
	switch {
	case !ok: // perhaps it has just been settled here
		e.peers.Locate(of, func(node string, err error) {
			if err != nil || node != e.self {
				elsewhere()
				return
			}
			e.asOwner(of, do, elsewhere, late)
		})
	case node != e.self:
		elsewhere()
	default:
		e.asOwner(of, do, elsewhere, late)
	}
}
