package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/engine"
)

const (
	// MaxNodes bounds the other nodes that a node has links to.
	MaxNodes = 256
	// ForgetAfter is how long nothing has come from a node until its link may make room for another's, where there are MaxNodes:
	// nodes come with ever new names, and do not come back.
	ForgetAfter = 10 * time.Minute
)

// A node says to all that it is there: soon and often after Begin, when the bus may be
// forming yet, and then each second.
const (
	helloFirst = 10 * time.Millisecond
	helloEvery = time.Second
)

// What was taken from one node and not handed over yet is bounded; what comes beyond it is
// sent again.
const (
	maxUndelivered      = 4 * MaxFlyingPieces // frames and broadcasts
	maxUndeliveredBytes = 4 * MaxFlyingBytes
)

// Handlers take what comes over links. For one node they are called one after
// another, in the order in which things have happened, on any goroutine. They must not
// block, but may call all of Links except Flush. None may be nil.
type Handlers struct {
	// Frame takes what the node has sent with Send: in order, each once. The bytes are
	// the callee's.
	Frame func(node string, b []byte)
	// Broadcast takes what the node has sent to all, likewise.
	Broadcast func(node string, b []byte)
	// Missed says that broadcasts of the node may not have come: it was met just now (of
	// what it said before, nothing is known), or its queue for this node had run full. epoch is
	// its incarnation's; before this nothing of the incarnation is handed over.
	Missed func(node string, epoch uint64)
	// Gone says that the node's incarnations before an epoch have ended: that one has spoken, or Fence
	// was called. All that was taken from it has been handed over; what was queued for it and not
	// acknowledged may have been lost.
	Gone func(node string, before uint64)
	// Reached says that the way there and back works, or that nothing has come through
	// for UnreachableAfter. What is queued is kept.
	Reached func(node string, yes bool)
}

// Links carry frames to other nodes, on top of a Bus: in order and each once, as long as neither
// node begins anew. Its methods are safe for concurrent use, and none but Flush waits.
type Links struct {
	bus   Bus
	self  string
	on    Handlers
	began time.Time
	wake  chan struct{} // some end is dirty
	anew  chan struct{} // Begin was called

	mu     sync.RWMutex
	epoch  uint64
	ends   map[string]*end
	closed bool

	malformed, strangers atomic.Uint64
}

// end is a link with what drives it.
type end struct {
	of         *Links
	node       string
	mu         sync.Mutex
	link       link
	in         datagram      // used again and again
	armed      time.Duration // when timer fires
	timer      *time.Timer
	dirty      bool // Run will look for output
	delivering bool
	life       atomic.Uint64 // changes with Begin: what came before is not handed over any more
	closed     bool
	overloads  uint64
	empty      chan struct{} // closed when nothing is queued; nil: nobody waits
}

// NewLinks makes the links of a node. They are silent until Begin. It sets what bus
// calls.
func NewLinks(bus Bus, self string, on Handlers) *Links {
	l := &Links{bus: bus, self: self, on: on, began: time.Now().Add(-time.Millisecond), wake: make(chan struct{}, 1), anew: make(chan struct{}, 1), ends: map[string]*end{}}
	bus.Receive(l.receive)
	return l
}

func (l *Links) now() time.Duration { return time.Since(l.began) }

// Begin gives this node an epoch, higher than any it has had: all others take it for
// begun anew. What was queued or under way in both directions is dropped without a
// word, but for what is just being handed over; whoever begins anew knows that. With 0 it is
// silent again.
func (l *Links) Begin(epoch uint64) {
	l.mu.Lock()
	l.epoch = epoch
	ends := l.all()
	l.mu.Unlock()
	for _, e := range ends {
		e.mu.Lock()
		e.life.Add(1)
		e.link.begin(l.now(), epoch)
		e.done()
	}
	l.hello()
	select {
	case l.anew <- struct{}{}:
	default:
	}
}

// Fence ends the incarnations of a node before epoch: nothing of them is taken any more, what is
// queued for them is dropped, and Gone is called, unless it was when a later one spoke
// or by an earlier Fence. It may return before Gone is called if something of the node is just
// being handed over.
func (l *Links) Fence(node string, epoch uint64) {
	if e, _ := l.end(node); e != nil {
		e.mu.Lock()
		e.link.fence(l.now(), epoch)
		e.done()
	}
}

// Send queues a frame for a node. The error is engine.ErrOverload when the queue is
// full, engine.ErrStopped before Begin and after Run. The bytes are the callee's.
func (l *Links) Send(node string, frame []byte) error {
	if len(frame) > MaxFrame {
		return fmt.Errorf("cluster: a frame of %d bytes is too long", len(frame))
	}
	e, err := l.end(node)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.done()
	if e.closed || e.link.epoch == 0 {
		return engine.ErrStopped
	}
	return e.push(func(now time.Duration) bool { return e.link.push(now, 0, frame) })
}

// Broadcast queues b for all nodes that have been met. Who cannot take it is told that it has missed
// something, as soon as it can be told. The bytes are the callee's.
func (l *Links) Broadcast(b []byte) error {
	if len(b) > MaxFrame {
		return fmt.Errorf("cluster: a broadcast of %d bytes is too long", len(b))
	}
	l.mu.RLock()
	ends := l.all()
	stopped := l.closed || l.epoch == 0
	l.mu.RUnlock()
	if stopped {
		return engine.ErrStopped
	}
	for _, e := range ends {
		e.mu.Lock()
		_ = e.push(func(now time.Duration) bool { e.link.broadcast(now, b); return true })
		e.done()
	}
	return nil
}

// push queues something and sends it: at once, if nothing is on its way there, and else
// together with what others queue until Run gets to it.
func (e *end) push(queue func(now time.Duration) bool) error {
	idle := e.link.idle()
	now := e.of.now()
	if !queue(now) {
		e.overloads++
		return engine.ErrOverload
	}
	if idle {
		e.pump(now)
	} else if !e.dirty {
		e.dirty = true
		select {
		case e.of.wake <- struct{}{}:
		default:
		}
	}
	return nil
}

// pump sends what should go out now.
func (e *end) pump(now time.Duration) {
	for b := e.link.output(now); b != nil; b = e.link.output(now) {
		// What the bus cannot take it has lost; links reckon with that.
		_ = e.of.bus.Send(e.node, b)
	}
}

// done arms the timer, hands over what has happened, and unlocks.
func (e *end) done() {
	if e.closed {
		e.mu.Unlock()
		return
	}
	e.pumpDue()
	if e.empty != nil && e.link.queued() == 0 {
		close(e.empty)
		e.empty = nil
	}
	if e.delivering {
		e.mu.Unlock() // whoever does it sees to these, too
		return
	}
	e.delivering = true
	for len(e.link.events) > 0 && !e.closed {
		events := e.link.events
		e.link.events, e.link.told = nil, 0
		life := e.life.Load()
		e.mu.Unlock()
		for i := range events {
			if e.life.Load() != life {
				break
			}
			e.hand(events[i])
		}
		e.mu.Lock()
	}
	e.delivering = false
	e.mu.Unlock()
}

// pumpDue sends what is due already and sets the timer for the rest.
func (e *end) pumpDue() {
	at := e.link.deadline()
	if at == never {
		return // a timer that fires for nothing does no harm
	}
	now := e.of.now()
	if at <= now {
		e.link.tick(now)
		e.pump(now)
		at = max(e.link.deadline(), now+time.Microsecond)
	}
	if at != never && (e.armed <= now || at < e.armed) {
		e.armed = at
		e.timer.Reset(at - now)
	}
}

func (e *end) fire() {
	e.mu.Lock()
	e.armed = 0
	e.done()
}

func (e *end) hand(ev event) {
	on := &e.of.on
	switch ev.kind {
	case frameCame:
		on.Frame(e.node, ev.b)
	case broadcastCame:
		on.Broadcast(e.node, ev.b)
	case broadcastsMissed:
		on.Missed(e.node, ev.epoch)
	case peerGone:
		on.Gone(e.node, ev.epoch)
	case peerUp:
		on.Reached(e.node, true)
	case peerDown:
		on.Reached(e.node, false)
	}
}

// receive takes a datagram from the bus.
func (l *Links) receive(from string, b []byte) {
	e, err := l.end(from)
	if err != nil {
		l.strangers.Add(1)
		return
	}
	e.mu.Lock()
	defer e.done()
	if err := e.in.parse(b); err != nil {
		l.malformed.Add(1)
		return
	}
	if len(e.link.events) < maxUndelivered && e.link.told < maxUndeliveredBytes {
		now := l.now()
		e.link.receive(now, &e.in)
		e.pump(now)
	}
	clear(e.in.pieces) // they keep b
}

// end finds or makes the end of the link to a node.
func (l *Links) end(node string) (*end, error) {
	l.mu.RLock()
	e := l.ends[node]
	l.mu.RUnlock()
	if e != nil {
		return e, nil
	}
	if node == l.self {
		return nil, fmt.Errorf("cluster: %s sends to itself", node)
	}
	if err := CheckName(node); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.ends[node]; e != nil {
		return e, nil
	}
	if l.closed {
		return nil, engine.ErrStopped
	}
	if len(l.ends) >= MaxNodes && !l.makeRoom() {
		return nil, fmt.Errorf("cluster: no link to %s: there are %d already", node, len(l.ends))
	}
	e = &end{of: l, node: node, link: *newLink(l.epoch, l.now())}
	e.timer = time.AfterFunc(time.Hour, e.fire)
	l.ends[node] = e
	return e, nil
}

// makeRoom forgets the node of which nothing has been heard for longest; false: all have been heard of lately. It is called
// with mu held.
func (l *Links) makeRoom() bool {
	var oldest *end
	since := l.now() - ForgetAfter
	for _, e := range l.ends {
		e.mu.Lock()
		if !e.link.up && !e.delivering && e.link.alive <= since {
			oldest, since = e, e.link.alive
		}
		e.mu.Unlock()
	}
	if oldest == nil {
		return false
	}
	oldest.mu.Lock()
	oldest.end()
	oldest.mu.Unlock()
	delete(l.ends, oldest.node)
	return true
}

// end has nothing sent or handed over any more. e.mu is held.
func (e *end) end() {
	e.closed = true
	e.timer.Stop()
	if e.empty != nil {
		close(e.empty)
		e.empty = nil
	}
}

// all is called with mu held.
func (l *Links) all() []*end {
	ends := make([]*end, 0, len(l.ends))
	for _, e := range l.ends {
		ends = append(ends, e)
	}
	return ends
}

// hello says to all who listen that this node is there.
func (l *Links) hello() {
	l.mu.RLock()
	d := datagram{epoch: l.epoch, time: micros(l.now())}
	silent := l.epoch == 0 || l.closed
	l.mu.RUnlock()
	if !silent {
		_ = l.bus.Broadcast(d.appendHead(nil))
	}
}

// Run keeps the links going until ctx ends. Nothing is sent or handed over afterwards, except
// what is just being handed over.
func (l *Links) Run(ctx context.Context) error {
	defer l.close()
	wait := helloFirst
	hello := time.NewTimer(wait)
	defer hello.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.anew:
			wait = helloFirst
			hello.Reset(wait)
		case <-hello.C:
			l.hello()
			wait = min(2*wait, helloEvery)
			hello.Reset(wait)
		case <-l.wake:
			l.mu.RLock()
			ends := l.all()
			l.mu.RUnlock()
			for _, e := range ends {
				e.mu.Lock()
				if e.dirty {
					e.dirty = false
					e.pump(l.now())
				}
				e.done()
			}
		}
	}
}

func (l *Links) close() {
	l.mu.Lock()
	l.closed = true
	ends := l.all()
	l.mu.Unlock()
	for _, e := range ends {
		e.mu.Lock()
		e.end()
		e.mu.Unlock()
	}
}

// Flush waits until all that was queued for the nodes that are reached has been
// acknowledged. It must not be called by a handler.
func (l *Links) Flush(ctx context.Context) error {
	l.mu.RLock()
	ends := l.all()
	l.mu.RUnlock()
	for _, e := range ends {
		e.mu.Lock()
		if e.closed || e.link.queued() == 0 || !e.link.up {
			e.mu.Unlock()
			continue
		}
		if e.empty == nil {
			e.empty = make(chan struct{})
		}
		empty := e.empty
		e.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-empty:
		}
	}
	return nil
}

// LinkStats is how a link does. All counts are since the node was first met.
type LinkStats struct {
	Node        string
	Epoch       uint64 // of the other; 0: never heard of, or fenced
	Reached     bool
	RTT         time.Duration // smoothed; 0: not known
	Queued      int           // pieces that wait to be sent or acknowledged
	QueuedBytes int
	Sent        uint64 // pieces
	Received    uint64
	Datagrams   uint64 // sent
	Again       uint64 // pieces sent again
	Twice       uint64 // pieces that came again
	Overloads   uint64 // frames refused
}

// Stats tells of all links, by name.
func (l *Links) Stats() []LinkStats {
	l.mu.RLock()
	ends := l.all()
	l.mu.RUnlock()
	stats := make([]LinkStats, 0, len(ends))
	for _, e := range ends {
		e.mu.Lock()
		k := &e.link
		stats = append(stats, LinkStats{Node: e.node, Epoch: k.peer, Reached: k.up, RTT: k.trip, Queued: k.queued(), QueuedBytes: k.bytes,
			Sent: k.count.sent, Received: k.count.received, Datagrams: k.count.datagrams, Again: k.count.again, Twice: k.count.twice,
			Overloads: e.overloads})
		e.mu.Unlock()
	}
	slices.SortFunc(stats, func(a, b LinkStats) int { return cmp.Compare(a.Node, b.Node) })
	return stats
}

// Malformed counts what came and was no datagram of a link, or came from more than MaxNodes.
func (l *Links) Malformed() uint64 { return l.malformed.Load() + l.strangers.Load() }

var errName = errors.New("cluster: the name of a node has 1 to 63 characters: letters, digits and '-'")

// CheckName tells whether a node may be called so. Such a name is good in a subject of
// NATS and in a certificate.
func CheckName(name string) error {
	if len(name) == 0 || len(name) > 63 {
		return errName
	}
	for _, c := range []byte(name) {
		switch {
		case c == '-', '0' <= c && c <= '9', 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z':
		default:
			return errName
		}
	}
	return nil
}
