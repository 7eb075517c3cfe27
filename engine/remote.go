package engine

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// What is submitted here for a presentity that lives elsewhere goes through the shard to
// which it would belong here, so that one goroutine sees all that this node has to say to one
// presentity, wherever that lives, and keeps it in order: while it is not known
// where, while it moves, and when its node dies before it has answered.
//
// To one presentity one request is under way at a time; what comes meanwhile goes with the next, all
// together. The owner takes a request whole, or refuses all of it from some place on, so
// what has to be sent again is always the rest of the line.
//
// An input that was sent to a node which died may have been done, and saved. It is sent
// again to the new owner, which has loaded what was saved. Nearly all inputs may be done twice: a
// Publish names its source, a Watch its subscription, and what is gone stays gone. A Publish with
// IfMatch would find that its own tag has replaced the one that it asks for: then it has been
// done, and is answered so (doneBefore). An event that is told each time (a session's
// presence) may be told twice.

// Bounds and times of what is under way to presentities on other nodes. All of it counts
// as inputs under way of its shard, see DefaultQueue.
const (
	// MaxTogether is how many inputs go to one presentity in one request.
	MaxTogether = 64
	// MaxAway is how many inputs may wait for one presentity that lives elsewhere.
	MaxAway = 4096
	// WaitTime is how long inputs wait for an owner; ErrOverload then.
	WaitTime = 4 * time.Second
	// AnswerTime is how long an owner has time to answer; ErrGone then, and the input may
	// have taken effect.
	AnswerTime = 10 * time.Second
	// PatientTime is how long inputs wait, for an owner or his answer, that take something away
	// or come from a session: nobody would say them again.
	PatientTime = 10 * time.Minute

	// LastTime is how long inputs wait for other nodes once the engine ends: what would be taken away late, the others
	// take away themselves when this node has gone.
	LastTime = 3 * time.Second

	firstRetry = 50 * time.Millisecond // to ask for the owner again; doubles
	lastRetry  = time.Second
)

var (
	// errElsewhere refuses what is not for this node; it was not done. errDropped: it
	// may have been done.
	errElsewhere = errors.New("engine: the presentity lives elsewhere")
	errDropped   = errors.New("engine: the presentity has left this node")
)

// far is what an item has to do with other nodes.
type far struct {
	from    string                   // node where it was submitted; "": this one
	gones   int                      // how many departures were known when it came
	refused *bool                    // of a request, all of it from here on
	again   bool                     // it may have been done before
	light   bool                     // a question that needs neither what was saved nor a policy
	ask     *question                // what look asks, for its way to the owner
	answer  func(r *transfer.Reader) // takes what the owner has said to it
	run     func()                   // something to do in the order of the inbox; all else is zero then
	always  bool                     // of run: also while this node may not act
	late    func()                   // instead of run, when this node may not act for too long; may be nil
}

// remote is what a shard has to do with other nodes.
type remote struct {
	away       map[presence.Entity]*away
	awayDue    time.Time // when to look after them; zero: there are none
	dirty      []*away
	requests   map[uint64]*away
	lastNumber uint64
	out        map[string][]byte        // what this round has for other nodes
	heard      atomic.Int64             // notices in the inbox
	missed     map[presence.Entity]bool // of which notices were dropped; under mu
	terms      map[presence.Entity]uint64
	asking     map[presence.Entity]bool // who are asked to tell again
	departures []string                 // nodes that have gone, since the beginning
	gone       map[string]time.Time     // when
	walks      []walk
	calm       time.Time // who comes to life before this keeps quiet
	strangers  []stranger
	unsure     time.Time // where sessions are is not known for certain before this
	fenced     bool
	standing   bool // this node may not act as an owner
	stoodSince time.Time
	gaveUp     bool      // what waited when it began to stand still was refused
	kept       []item    // what came meanwhile
	last       time.Time // when lines are given up, since the engine ends; zero: it does not
}

func (it *item) foreign() bool { return it.far != nil && it.far.from != "" }

// away is a presentity that lives elsewhere, or nobody knows where, while something waits for it.
type away struct {
	of       presence.Entity
	queue    []item
	number   uint64 // of the request under way; 0: none
	node     string // to which it went
	sent     int    // how many of the queue are in it
	fates    []fate // of these
	left     int    // of these, without an answer
	astray   bool   // what Owner says was wrong
	deferred bool   // the owner has too much to do: not before due
	locating bool
	tries    int
	since    time.Time // when it began to wait
	sentAt   time.Time // of the request
	due      time.Time // when to look after it
	dirty    bool
	warned   bool
}

type fate uint8

const (
	waits fate = iota
	answered
	refused // it is not for that node
	dropped // it may have been done
	busy    // the owner has too much to do; it was not done
)

// put has something done in the order of the inbox. It is not for clients: nothing bounds it.
func (s *shard) put(run func(), always bool) { s.putFar(&far{run: run, always: always}) }

func (s *shard) putFar(f *far) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	s.inbox = append(s.inbox, item{far: f})
	s.rouse()
}

// putItem is submit for what this node has to say itself.
func (s *shard) putItem(it item) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return
	}
	it.asked = true
	s.open.Add(1)
	s.inbox = append(s.inbox, it)
	s.rouse()
}

// here tells whether an item is for this node; if not, it has been taken care of.
func (s *shard) here(it *item) bool {
	if it.far != nil && it.far.run != nil {
		it.far.run()
		return false
	}
	if a := s.away[it.to]; a != nil {
		s.wait(a, it)
		return false
	}
	if s.residents[it.to] != nil {
		return true
	}
	node, ok := s.e.peers.Owner(it.to)
	if ok && node == s.e.self && (it.far == nil || it.far.refused == nil || !*it.far.refused) {
		return true
	}
	if ok && it.foreign() {
		s.refuse(it, errElsewhere)
		return false
	}
	a := &away{of: it.to, since: s.now}
	s.away[it.to] = a
	s.wait(a, it)
	return false
}

// refuse answers an item that was not done.
func (s *shard) refuse(it *item, err error) {
	if it.far != nil && it.far.refused != nil {
		*it.far.refused = true
	}
	s.drop(it, err)
}

// drop answers an item without the presentity.
func (s *shard) drop(it *item, err error) {
	if it.look != nil {
		it.look(nil, s.now, err)
	} else if it.done != nil {
		it.done(presence.Outcome{}, err)
	}
	if it.asked {
		s.open.Add(-1)
	}
}

// wait puts an item at the end of the line.
func (s *shard) wait(a *away, it *item) {
	if len(a.queue) >= MaxAway {
		s.count.overloads.Add(1)
		s.refuse(it, ErrOverload)
		return
	}
	a.queue = append(a.queue, *it)
	s.tidy(a)
}

// tidy has a line looked at before the round ends.
func (s *shard) tidy(a *away) {
	if !a.dirty {
		a.dirty = true
		s.dirty = append(s.dirty, a)
	}
}

// dispatch lets the lines go on, and sends what the round has for other nodes.
func (s *shard) dispatch() {
	for len(s.dirty) > 0 {
		n := len(s.dirty) - 1
		a := s.dirty[n]
		s.dirty[n] = nil // nor what its queue had room for
		s.dirty = s.dirty[:n]
		a.dirty = false
		s.goOn(a)
	}
	for node, frame := range s.out {
		if len(frame) > 0 {
			s.ship(node, frame)
			s.out[node] = nil
		}
	}
	if len(s.dirty) > 0 { // what was shipped to nobody
		s.dispatch()
	}
}

// send puts a message into the frame for a node.
func (s *shard) send(node string, m []byte) {
	frame := appendMessage(s.out[node], m)
	if len(frame) >= maxFrame {
		s.ship(node, frame)
		frame = nil
	}
	s.out[node] = frame
}

func (s *shard) ship(node string, frame []byte) {
	if err := s.e.post(node, frame); err != nil && !errors.Is(err, ErrOverload) {
		s.unsent(node)
	}
}

// goOn does the next thing with a line.
func (s *shard) goOn(a *away) {
	switch {
	case s.away[a.of] != a || a.number != 0:
		return
	case len(a.queue) == 0:
		delete(s.away, a.of)
		return
	case a.locating || a.due.After(s.now) && (a.astray || a.deferred):
		return
	}
	node, ok := s.e.peers.Owner(a.of)
	switch {
	case s.residents[a.of] != nil || ok && node == s.e.self:
		if s.standing {
			s.look(a, s.now.Add(standTime))
			return
		}
		s.comeHome(a)
	case ok && !a.astray:
		s.request(a, node)
	default:
		s.locate(a)
	}
}

// comeHome takes a line here.
func (s *shard) comeHome(a *away) {
	delete(s.away, a.of)
	for i := range a.queue {
		s.take(&a.queue[i])
	}
}

// locate asks for the owner.
func (s *shard) locate(a *away) {
	a.locating = true
	until := a.since.Add(WaitTime)
	if !until.After(s.now) {
		until = s.now.Add(lastRetry)
	}
	s.look(a, until)
	of := a.of
	s.e.peers.Locate(of, func(node string, err error) {
		s.put(func() { s.located(of, node, err) }, false)
	})
}

func (s *shard) located(of presence.Entity, node string, err error) {
	a := s.away[of]
	if a == nil || !a.locating {
		return
	}
	a.locating = false
	switch {
	case err != nil:
		s.later(a)
	case node == s.e.self:
		if n, ok := s.e.peers.Owner(of); ok && n == s.e.self {
			s.comeHome(a)
			return
		}
		s.later(a) // it is on its way
	case a.number == 0:
		s.request(a, node)
	}
}

// later has the owner asked for again, after a while that grows.
func (s *shard) later(a *away) {
	a.astray = true
	s.look(a, s.now.Add(a.pause()))
}

// pause is how long to wait before the next try.
func (a *away) pause() time.Duration {
	d := min(firstRetry<<min(a.tries, 8), lastRetry)
	a.tries++
	return d
}

// look has a line looked after by t.
func (s *shard) look(a *away, t time.Time) {
	if !s.last.IsZero() && t.After(s.last) {
		t = s.last
	}
	a.due = t
	s.lookAt(t)
}

// lookAt has lookAfter look by t.
func (s *shard) lookAt(t time.Time) {
	if s.awayDue.IsZero() || t.Before(s.awayDue) {
		s.awayDue = t
	}
}

// lookAfter finds lines that have waited for too long, or may try again.
func (s *shard) lookAfter() {
	s.awayDue = time.Time{}
	if len(s.strangers) > 0 && s.mayAct() {
		s.meet()
	}
	for _, a := range s.away {
		if a.due.After(s.now) || a.due.IsZero() {
			if !a.due.IsZero() {
				s.look(a, a.due)
			}
			continue
		}
		switch {
		case !s.last.IsZero() && !s.last.After(s.now):
			s.lastOf(a)
		case a.number != 0:
			s.unanswered(a)
		case s.now.Sub(a.since) >= WaitTime:
			s.notFound(a)
		default:
			s.tidy(a)
		}
	}
}

// unanswered has those who wait for an owner's answer wait no longer, but for those who can.
func (s *shard) unanswered(a *away) {
	s.log("an owner does not answer", a)
	if s.now.Sub(a.sentAt) >= PatientTime {
		s.settleRequest(a, waits)
		return
	}
	queue := a.queue[:a.sent]
	for i := range a.queue {
		it := &a.queue[i]
		switch {
		case i >= a.sent && it.patient():
			queue = append(queue, *it)
		case i >= a.sent:
			s.refuse(it, ErrOverload)
		case a.fates[i] == waits && !it.patient():
			a.fates[i] = answered
			a.left--
			s.drop(it, ErrGone)
			*it = item{}
		}
	}
	clear(a.queue[len(queue):])
	if a.queue = queue; a.left == 0 {
		s.settleRequest(a, answered)
		return
	}
	s.look(a, s.now.Add(AnswerTime))
}

// notFound has those who wait for an owner wait no longer, but for those who can.
func (s *shard) notFound(a *away) {
	s.log("no owner is found", a)
	queue := a.queue[:0]
	for i := range a.queue {
		switch it := &a.queue[i]; {
		case it.foreign():
			s.refuse(it, errElsewhere) // it is asked for there
		case it.patient() && s.now.Sub(a.since) < PatientTime:
			queue = append(queue, *it)
		case it.far != nil && it.far.again:
			s.refuse(it, ErrGone)
		default:
			s.count.overloads.Add(1)
			s.refuse(it, ErrOverload)
		}
	}
	clear(a.queue[len(queue):])
	if a.queue = queue; a.locating && len(queue) > 0 {
		s.look(a, s.now.Add(lastRetry))
		return
	}
	a.locating = false
	s.tidy(a)
}

// patient inputs wait long rather than being refused: those that take something away, lest
// ghosts stay, and what sessions say, for which no client waits and which nobody would say again.
func (it *item) patient() bool {
	switch in := it.in.(type) {
	case presence.Publish:
		return it.done == nil || in.ID.Kind == presence.Session && in.IfMatch == ""
	case presence.Watch:
		return it.done == nil || in.Lifetime == 0 && !in.Fetch
	case presence.Direct:
		return true
	case nil:
		return false
	}
	return it.done == nil || takesAway(it)
}

func (s *shard) log(msg string, a *away) {
	if a.warned {
		return
	}
	a.warned = true
	s.e.log.Warn(msg, "entity", a.of.String(), "node", a.node, "inputs", len(a.queue))
}

// request sends the head of a line to a node.
func (s *shard) request(a *away, node string) {
	for i := range a.queue {
		if a.queue[i].foreign() {
			s.withoutForeign(a)
			break
		}
	}
	body := make([]byte, 0, 512)
	n := 0
	for n < len(a.queue) && n < MaxTogether && len(body) < maxFrame {
		b, err := appendItem(body, &a.queue[n])
		if err != nil {
			it := a.queue[n]
			a.queue = append(a.queue[:n], a.queue[n+1:]...)
			s.drop(&it, err)
			continue
		}
		body = b
		n++
	}
	if n == 0 {
		delete(s.away, a.of)
		return
	}
	s.lastNumber++
	a.number = s.lastNumber*uint64(len(s.e.shards)) + uint64(s.index)
	a.node, a.sent, a.left, a.astray = node, n, n, false
	a.fates = append(a.fates[:0], make([]fate, n)...)
	s.requests[a.number] = a
	a.sentAt = s.now
	s.look(a, s.now.Add(AnswerTime))
	m := transfer.AppendEntity(message(saysRequest), a.of)
	m = transfer.AppendUint(m, a.number)
	m = transfer.AppendUint(m, uint64(n))
	s.send(node, append(m, body...))
}

// withoutForeign refuses what others have sent here for a presentity that lives elsewhere.
func (s *shard) withoutForeign(a *away) {
	keep := a.queue[:0]
	for i := range a.queue {
		if it := &a.queue[i]; it.foreign() {
			s.refuse(it, errElsewhere)
		} else {
			keep = append(keep, *it)
		}
	}
	clear(a.queue[len(keep):])
	a.queue = keep
}

// appendItem writes an item as a part of a request.
func appendItem(b []byte, it *item) ([]byte, error) {
	again := it.far != nil && it.far.again
	if it.look != nil {
		if it.far == nil || it.far.ask == nil {
			return b, fmt.Errorf("engine: this cannot be asked elsewhere")
		}
		return it.far.ask.append(transfer.AppendBool(append(b, 1), again)), nil
	}
	in, err := transfer.AppendInput(transfer.AppendBool(append(b, 0), again), it.in)
	if err != nil {
		return b, err
	}
	return in, nil
}

// shardOfNumber is the shard that has given a number to a request.
func (e *Engine) shardOfNumber(number uint64) *shard {
	return e.shards[number%uint64(len(e.shards))]
}
