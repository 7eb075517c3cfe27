package cluster

import (
	"slices"
	"sort"
	"time"
)

// Bounds of a link. Each holds for one other node.
const (
	// MaxFrame is the longest frame, in bytes. Frames longer than what a datagram
	// should be are cut in pieces.
	MaxFrame = 16 << 20
	// MaxQueuedPieces and MaxQueuedBytes bound what waits for a node or for its
	// acknowledgement; more is ErrOverload.
	MaxQueuedPieces = 1 << 16
	MaxQueuedBytes  = 64 << 20
	// MaxFlyingPieces and MaxFlyingBytes bound what was sent and not acknowledged, and
	// what is kept of frames that have come before those which precede them.
	MaxFlyingPieces = 1 << 14
	MaxFlyingBytes  = 8 << 20
)

// Times of a link.
const (
	// UnreachableAfter is how long nothing has made the way there and back until a
	// node is reported unreachable. What is queued for it is kept.
	UnreachableAfter = 3 * time.Second
	// keepalive is how long a link says nothing.
	keepalive = time.Second
	// ackDelay is how long an acknowledgement waits for something to go with.
	ackDelay = 5 * time.Millisecond
	// The time until something is sent again: first, while no round trip is
	// known; then by it, within these bounds; doubled each time up to slowest.
	firstRetry = 200 * time.Millisecond
	minRetry   = 100 * time.Millisecond
	slowest    = time.Second
	// answerEvery bounds the answers to one who has a wrong epoch of this node.
	answerEvery = 10 * time.Millisecond
)

const (
	pieceSize    = 32 << 10 // bytes of a frame in one piece
	datagramSize = 60 << 10 // bytes of pieces in one datagram, unless the only one is longer
	ackEvery     = 64       // pieces that are acknowledged at once
)

// link is one node's end of the way to another: numbers, acknowledgements, what to
// send again and when. It sees no clock and does no I/O: time and datagrams go in,
// datagrams and events come out. Time counts from when the process began.
//
// The state of both ends belongs to one pair of incarnations, the epochs of the two
// nodes, which every datagram carries; with any other pair all begins anew.
type link struct {
	epoch uint64 // of this node; 0: it has none, and is silent
	peer  uint64 // of the other; 0: not known
	floor uint64 // what is lower is dead
	met   bool   // something of this pair has come

	// What goes there: pieces first, first+1, ...; those from next on were never sent.
	queue       []outgoing // from head on
	head        int
	first, next uint64
	bytes       int // queued
	flying      int // bytes sent, neither acknowledged nor given up for lost
	lost        int // pieces given up for lost
	skipped     bool
	retryAt     time.Duration // when what was sent is given up; 0: nothing was
	tries       int           // retries since the last acknowledgement

	// What comes from there.
	come     uint64 // all up to this number
	early    map[uint64]arrived
	earlyLen int
	spans    []span // of early, in order
	whole    []byte // the frame of which pieces have come, nil: none
	tooLong  bool   // it is, and goes nowhere

	// Times of this node: asked with each datagram, and given back.
	heardTime  uint64 // the newest of the other's times
	heardAt    time.Duration
	echoed     uint64 // the newest of ours that came back
	trip, sway time.Duration
	alive      time.Duration // when something has last made the way there and back
	up, down   bool          // as reported
	ackAt      time.Duration // 0: nothing to acknowledge
	acks       int
	ackNow     bool
	keepAt     time.Duration // when to say something
	askAt      time.Duration // when to ask for the other's epoch
	askWait    time.Duration
	answerAt   time.Duration

	buf    []byte
	events []event
	told   int // bytes in events
	count  counts
}

type outgoing struct {
	b     []byte
	flags byte
	state sentState
	sent  time.Duration
}

type sentState byte

const (
	waiting sentState = iota // to be sent, for the first time or again
	flying
	acknowledged
)

// event is what a link tells its node; b is only set with a frame.
type event struct {
	kind  eventKind
	b     []byte
	epoch uint64 // of the other node; with peerGone that before which all is over
}

type eventKind byte

const (
	frameCame eventKind = iota
	broadcastCame
	broadcastsMissed
	peerGone
	peerUp
	peerDown
)

type counts struct {
	sent, received     uint64 // pieces
	datagrams          uint64 // sent
	again, twice       uint64 // pieces sent again; come again
	stale, lateDropped uint64
}

func newLink(epoch uint64, now time.Duration) *link {
	l := &link{epoch: epoch}
	l.reset(now)
	return l
}

// reset begins a new pair of incarnations.
func (l *link) reset(now time.Duration) {
	*l = link{epoch: l.epoch, peer: l.peer, floor: l.floor, first: 1, next: 1, alive: now, keepAt: now + keepalive,
		askWait: minRetry, answerAt: l.answerAt, events: l.events, told: l.told, buf: l.buf, count: l.count}
}

// begin gives this node a new epoch. Nothing is told of what came before.
func (l *link) begin(now time.Duration, epoch uint64) {
	l.events, l.told = nil, 0
	l.epoch = epoch
	l.reset(now)
	l.ackNow = true
}

// fence ends the other's incarnations before epoch.
func (l *link) fence(now time.Duration, epoch uint64) {
	if epoch <= l.peer || epoch <= l.floor {
		return
	}
	l.floor, l.peer = epoch, 0
	l.reset(now)
	l.tell(peerGone, nil)
}

func (l *link) tell(k eventKind, b []byte) {
	l.events = append(l.events, event{k, b, max(l.peer, l.floor)})
	l.told += len(b)
}

// queued is how many pieces wait to be sent or acknowledged.
func (l *link) queued() int { return len(l.queue) - l.head }

// sent are the pieces that were sent once at least.
func (l *link) sent() []outgoing { return l.queue[l.head:][:l.next-l.first] }

// push queues a frame; false: it does not fit.
func (l *link) push(now time.Duration, flags byte, b []byte) bool {
	pieces := max(1, (len(b)+pieceSize-1)/pieceSize)
	if l.queued()+pieces > MaxQueuedPieces || l.bytes+len(b) > MaxQueuedBytes {
		return false
	}
	if l.peer == 0 && l.queued() == 0 {
		l.alive, l.askAt, l.askWait = now, now, minRetry
	}
	l.bytes += len(b)
	for ; pieces > 1; pieces-- {
		l.queue = append(l.queue, outgoing{b: b[:pieceSize:pieceSize], flags: flags | pieceMore})
		b = b[pieceSize:]
	}
	l.queue = append(l.queue, outgoing{b: b, flags: flags})
	return true
}

// broadcast queues what is for everybody, unless the other cannot take it soon: then
// it is told, when it can, that it has missed something. Who has not been met yet
// will be told so in any case.
func (l *link) broadcast(now time.Duration, b []byte) {
	switch {
	case l.peer == 0:
	case l.skipped || l.down || l.queued() > MaxQueuedPieces/2 || l.bytes+len(b) > MaxQueuedBytes/2 || !l.push(now, pieceBroadcast, b):
		l.skipped = true
	}
}

// idle tells whether nothing is on its way, so that a frame need not wait for others.
func (l *link) idle() bool { return l.flying == 0 && l.tries == 0 }

// receive takes a datagram. The pieces are kept.
func (l *link) receive(now time.Duration, d *datagram) {
	if l.epoch == 0 {
		return
	}
	if d.epoch < l.peer || d.epoch < l.floor {
		l.count.stale++
		return
	}
	if d.epoch > l.peer {
		known := l.peer != 0
		l.peer, l.alive = d.epoch, now
		if known {
			l.reset(now)
			l.tell(peerGone, nil)
		}
		l.ackNow = true
	}
	if d.to != l.epoch {
		// It does not know this node, or knew it before it began anew.
		if (d.to != 0 || d.ask) && now >= l.answerAt {
			l.answerAt = now + answerEvery
			l.ackNow = true
		}
		return
	}
	if !l.met {
		l.met = true
		l.ackNow = true // so that the other, too, knows that the way there and back works
		l.tell(broadcastsMissed, nil)
	}
	if d.time > l.heardTime {
		l.heardTime, l.heardAt = d.time, now
	}
	l.ackNow = l.ackNow || d.ask
	l.measure(now, d)
	l.acknowledge(now, d)
	for _, p := range d.pieces {
		if len(d.pieces) > 1 {
			p.b = slices.Clone(p.b) // so that none keeps all others in memory
		}
		l.take(now, p)
	}
	if l.skipped && !l.down && l.queued() <= MaxQueuedPieces/4 && l.bytes <= MaxQueuedBytes/4 && l.push(now, pieceMissed, nil) {
		l.skipped = false
	}
}

// measure reads the round trip off a time of ours that has come back.
func (l *link) measure(now time.Duration, d *datagram) {
	if d.echo <= l.echoed || d.echo > micros(now) {
		return
	}
	l.echoed, l.alive = d.echo, now
	if !l.up {
		l.up, l.down = true, false
		l.tell(peerUp, nil)
	}
	round := max(now-time.Duration(d.echo)*time.Microsecond, time.Microsecond)
	if held := time.Duration(min(d.held, uint64(time.Hour/time.Microsecond))) * time.Microsecond; held < round {
		round -= held
	}
	// RFC 6298 §2.3
	if l.trip == 0 {
		l.trip, l.sway = round, round/2
		return
	}
	l.sway += ((l.trip - round).Abs() - l.sway) / 4
	l.trip += (round - l.trip) / 8
}

// retry is how long to wait for an acknowledgement.
func (l *link) retry() time.Duration {
	if l.trip == 0 {
		return min(firstRetry<<min(l.tries, 8), slowest)
	}
	r := max(minRetry, l.trip+max(4*l.sway, 2*ackDelay)+ackDelay)
	return min(r<<min(l.tries, 8), max(slowest, r))
}

// acknowledge lets go what has arrived, and finds what must have been lost: what was
// sent well before a datagram that has arrived, and has not arrived itself.
func (l *link) acknowledge(now time.Duration, d *datagram) {
	if d.ack >= l.next || len(d.ranges) > 0 && d.ranges[len(d.ranges)-1].to > l.next {
		return // of what was never sent
	}
	news := 0
	for l.first <= d.ack {
		p := &l.queue[l.head]
		news += l.let(p)
		l.bytes -= len(p.b)
		*p = outgoing{}
		l.head++
		l.first++
	}
	sent := l.sent()
	for _, r := range d.ranges {
		for n := max(r.from, l.first); n < r.to; n++ {
			news += l.let(&sent[n-l.first])
		}
	}
	l.compact()
	sent = l.sent()
	if news > 0 {
		l.tries = 0
		l.retryAt = now + l.retry()
	}
	if l.first == l.next {
		l.retryAt = 0
	} else if l.tries > 1 {
		// It speaks again: no need to wait out the long time.
		l.retryAt = min(l.retryAt, now+minRetry)
	}
	arrived := time.Duration(d.echo)*time.Microsecond - l.trip/4
	if len(d.ranges) == 0 && (len(sent) == 0 || sent[0].sent >= arrived) {
		return
	}
	for i := range sent {
		if p := &sent[i]; p.state == flying && p.sent < arrived {
			l.giveUp(p)
		}
	}
}

// compact makes room at the end of the queue: each piece is moved once at most, and
// what a long queue took is given back.
func (l *link) compact() {
	if l.head <= len(l.queue)/2 {
		return
	}
	left := l.queue[l.head:]
	if n := cap(l.queue); n > 1024 && len(left) < n/8 {
		l.queue = append(make([]outgoing, 0, n/4), left...)
	} else {
		n := copy(l.queue, left)
		clear(l.queue[n:])
		l.queue = l.queue[:n]
	}
	l.head = 0
}

// let marks a piece as arrived, and counts it if that is new.
func (l *link) let(p *outgoing) int {
	switch p.state {
	case acknowledged:
		return 0
	case flying:
		l.flying -= len(p.b)
	case waiting:
		l.lost--
	}
	p.state = acknowledged
	return 1
}

func (l *link) giveUp(p *outgoing) {
	p.state = waiting
	l.flying -= len(p.b)
	l.lost++
}

// take takes a piece: in order, or to be kept until those before it have come.
func (l *link) take(now time.Duration, p arrived) {
	l.acks++
	if l.acks >= ackEvery {
		l.ackNow = true
	}
	if l.ackAt == 0 {
		l.ackAt = now + ackDelay
	}
	if p.number != l.come+1 {
		l.ackNow = true // so that the other sees the gap, or that it has sent too much
		l.keep(p)
		return
	}
	for ok := true; ok; p, ok = l.early[l.come+1] {
		l.come++
		l.deliver(p)
	}
	for len(l.spans) > 0 && l.spans[0].from <= l.come {
		for n := l.spans[0].from; n < l.spans[0].to; n++ {
			l.earlyLen -= len(l.early[n].b)
			delete(l.early, n)
		}
		l.spans = l.spans[1:]
	}
}

// keep keeps a piece that came before its time.
func (l *link) keep(p arrived) {
	_, known := l.early[p.number]
	if p.number <= l.come || known {
		l.count.twice++
		return
	}
	if p.number > l.come+MaxFlyingPieces || l.earlyLen+len(p.b) > MaxFlyingBytes {
		l.count.lateDropped++
		return
	}
	if l.early == nil {
		l.early = map[uint64]arrived{}
	}
	l.early[p.number] = p
	l.earlyLen += len(p.b)
	i := sort.Search(len(l.spans), func(i int) bool { return l.spans[i].to >= p.number })
	switch {
	case i == len(l.spans) || l.spans[i].from > p.number+1:
		l.spans = slices.Insert(l.spans, i, span{p.number, p.number + 1})
	case l.spans[i].to == p.number:
		l.spans[i].to++
		if i+1 < len(l.spans) && l.spans[i+1].from == l.spans[i].to {
			l.spans[i].to = l.spans[i+1].to
			l.spans = slices.Delete(l.spans, i+1, i+2)
		}
	default:
		l.spans[i].from--
	}
}

// deliver hands over the piece that is next.
func (l *link) deliver(p arrived) {
	l.count.received++
	b := p.b
	if p.flags&pieceMore != 0 || l.whole != nil {
		if len(l.whole)+len(b) > MaxFrame {
			l.whole, b, l.tooLong = l.whole[:0], nil, true
		}
		if l.whole == nil {
			l.whole = []byte{}
		}
		l.whole = append(l.whole, b...)
		if p.flags&pieceMore != 0 {
			return
		}
		b, l.whole = l.whole, nil
		if l.tooLong {
			l.tooLong = false
			return
		}
	}
	switch {
	case p.flags&pieceMissed != 0:
		l.tell(broadcastsMissed, nil)
	case p.flags&pieceBroadcast != 0:
		l.tell(broadcastCame, b)
	default:
		l.tell(frameCame, b)
	}
}

// output is the next datagram that should go out now, nil if there is none. It holds until
// the next call.
func (l *link) output(now time.Duration) []byte {
	if l.epoch == 0 {
		return nil
	}
	d := datagram{epoch: l.epoch, to: l.peer, time: micros(now)}
	if l.peer == 0 {
		if l.queued() == 0 || now < l.askAt {
			return nil
		}
		l.askAt, l.askWait = now+l.askWait, min(2*l.askWait, slowest)
		d.ask = true
		return l.say(now, &d)
	}
	if l.lost == 0 && !l.more() {
		if !l.ackNow && (l.ackAt == 0 || now < l.ackAt) && now < l.keepAt {
			return nil
		}
		return l.say(now, &d)
	}
	l.say(now, &d)
	size, before := 0, uint64(0)
	put := func(number uint64) bool {
		p := &l.queue[l.head+int(number-l.first)]
		if size > 0 && size+len(p.b) > datagramSize {
			return false
		}
		l.buf = appendPiece(l.buf, before, number, p.flags, p.b)
		size, before = size+len(p.b)+4, number
		p.state, p.sent = flying, now
		l.flying += len(p.b)
		l.count.sent++
		return true
	}
	for n := l.first; l.lost > 0; n++ {
		if l.queue[l.head+int(n-l.first)].state != waiting {
			continue
		}
		if !put(n) {
			return l.buf
		}
		l.lost--
		l.count.again++
	}
	for l.more() && put(l.next) {
		l.next++
	}
	if l.retryAt == 0 {
		l.retryAt = now + l.retry()
	}
	return l.buf
}

// more tells whether there is something to be sent for the first time, and leave to.
func (l *link) more() bool {
	flying := int(l.next - l.first)
	return l.tries == 0 && flying < l.queued() && flying < MaxFlyingPieces && l.flying < MaxFlyingBytes
}

// say begins a datagram with what acknowledges and keeps alive.
func (l *link) say(now time.Duration, d *datagram) []byte {
	d.ack, d.ranges = l.come, l.spans[:min(len(l.spans), maxRanges)]
	if l.heardTime != 0 {
		d.echo, d.held = l.heardTime, micros(now-l.heardAt)
	}
	l.ackNow, l.ackAt, l.acks = false, 0, 0
	l.keepAt = now + keepalive
	l.count.datagrams++
	l.buf = d.appendHead(l.buf[:0])
	return l.buf
}

// tick does what is due by time; output follows.
func (l *link) tick(now time.Duration) {
	if l.epoch == 0 {
		return
	}
	if !l.down && now >= l.alive+UnreachableAfter && (l.peer != 0 || l.queued() > 0) {
		l.up, l.down = false, true
		l.tell(peerDown, nil)
	}
	if l.retryAt == 0 || now < l.retryAt {
		return
	}
	// Only as much as one datagram: when it gets through, acknowledge finds what else
	// was lost.
	l.tries++
	l.retryAt = now + l.retry()
	size := 0
	for i, sent := 0, l.sent(); i < len(sent) && size < datagramSize; i++ {
		if p := &sent[i]; p.state == flying {
			l.giveUp(p)
			size += len(p.b) + 4
		}
	}
}

// deadline is when to tick and look for output again.
func (l *link) deadline() time.Duration {
	if l.epoch == 0 || l.peer == 0 && l.queued() == 0 {
		return never
	}
	if l.ackNow {
		return 0
	}
	at := never
	due := func(t time.Duration) { at = min(at, t) }
	if !l.down {
		due(l.alive + UnreachableAfter)
	}
	if l.peer == 0 {
		due(l.askAt)
		return at
	}
	due(l.keepAt)
	if l.ackAt != 0 {
		due(l.ackAt)
	}
	if l.retryAt != 0 {
		due(l.retryAt)
	}
	return at
}

const never = time.Duration(1<<63 - 1)
