package jabber

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"slices"
	"strconv"
	"sync"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/xmpp"
)

// With several nodes a session is where its stream is, and its user's presentity is
// wherever it may be. Which other nodes a user has sessions at, the presentity
// knows: each session subscribes to presence.Reach of its own user, from before it is
// bound until its end. What is addressed to a user's sessions is done here for those
// that are here, and by a call of the other nodes' edges for those there. What
// follows from a change of roster, block list or documents is no call: every node
// hears of the change itself (heard.go).

// reachMark ends the ids of the subscriptions that say where sessions are.
const reachMark = "&reach"

// far is what a session remembers because its user, and those whom it watches, may live
// on other nodes, which may be lost with all that they were told. A single node
// needs none of it.
type far struct {
	said     *presence.Publish // what was published last; under the session's act
	binding  bool              // until others have said that they do not have the resource; under mu
	beaten   []string          // handles of those who gave it up meanwhile, and may ask for it yet; under mu
	beatenBy bool              // a newer session elsewhere has the resource; under mu
	moving   *departure        // to another node; under mu
	version  uint64            // of the roster, up to which the session has been told; with the user held
}

var _ engine.ClusterEdge = (*Edge)(nil)

// newHandle is never used twice, on no node and in no process.
func (e *Edge) newHandle(full string) string {
	h := full + "#" + strconv.FormatUint(e.seq.Add(1), 36)
	if e.many {
		h += "." + e.life
	}
	return h
}

// newLife is the name of this process among all that there ever were of the service.
func newLife(node string) string {
	var b [5]byte
	rand.Read(b[:])
	return node + "." + base32.StdEncoding.EncodeToString(b[:])
}

// Adopt has nothing to do: no session's subscription outlives its node.
func (e *Edge) Adopt(presence.Entity, []*presence.Subscription) {}

// reachWatch is the subscription that says that a session is here.
func (s *session) reachWatch() presence.Watch {
	return presence.Watch{
		ID: s.handle + reachMark, Watcher: s.user.entity, Private: true, Package: presence.Reach,
		Via: presence.Via{Edge: EdgeName, Handle: s.handle},
	}
}

// leaveReach ends it; done is called when the owner has heard of it, or cannot. act is held.
func (s *session) leaveReach(ctx context.Context, done func()) {
	if s.far == nil {
		done()
		return
	}
	in := presence.Unwatch{ID: s.handle + reachMark, Silent: true}
	if err := s.edge.submit(ctx, s.user.entity, in, func(presence.Outcome, error) { done() }); err != nil {
		s.log().Error("session still known to other nodes", "err", err)
		done()
	}
}

// settling makes a done for a Submit, and what waits until it was called, or for a limit.
func settling() (done func(presence.Outcome, error), settled func(limit time.Duration)) {
	c := make(chan struct{})
	done = func(presence.Outcome, error) { close(c) }
	return done, func(limit time.Duration) {
		t := time.NewTimer(limit)
		defer t.Stop()
		select {
		case <-c:
		case <-t.C:
		}
	}
}

// pass has the other nodes at which a user has sessions do something; nobody
// waits for it.
func (e *Edge) pass(u presence.Entity, request []byte) {
	if !e.many {
		return
	}
	err := e.c.Engine.Reach(u, EdgeName, request, func(_ [][]byte, err error) {
		if err != nil {
			e.log.Warn("sessions on other nodes not reached", "entity", u.String(), "call", string(rune(request[1])), "err", err)
		}
	})
	if err != nil {
		e.log.Warn("sessions on other nodes not reached", "entity", u.String(), "call", string(rune(request[1])), "err", err)
	}
}

// passAll has all other nodes do something, whoever has sessions there.
func (e *Edge) passAll(request []byte) {
	if !e.many {
		return
	}
	for _, node := range e.c.Engine.Nodes() {
		err := e.c.Engine.CallEdge(node, EdgeName, request, func(_ []byte, err error) {
			if err != nil && !errors.Is(err, engine.ErrGone) {
				e.log.Warn("node not reached", "node", node, "call", string(rune(request[1])), "err", err)
			}
		})
		if err != nil {
			e.log.Warn("node not reached", "node", node, "call", string(rune(request[1])), "err", err)
		}
	}
}

// errNoAnswer: CallTime is over.
var errNoAnswer = errors.New("jabber: no answer from another node")

// ask is a call that is waited for, CallTime at most.
func ask[T any](ctx context.Context, call func(done func(T, error)) error) (T, error) {
	type answer struct {
		v   T
		err error
	}
	var none T
	c := make(chan answer, 1)
	if err := call(func(v T, err error) { c <- answer{v, err} }); err != nil {
		return none, err
	}
	limit := time.NewTimer(CallTime)
	defer limit.Stop()
	select {
	case a := <-c:
		return a.v, a.err
	case <-limit.C:
		return none, errNoAnswer
	case <-ctx.Done():
		return none, ctx.Err()
	}
}

// reach asks the other nodes at which a user has sessions. It blocks.
func (e *Edge) reach(ctx context.Context, u presence.Entity, request []byte) ([][]byte, error) {
	if !e.many {
		return nil, nil
	}
	return ask(ctx, func(done func([][]byte, error)) error {
		return e.c.Engine.Reach(u, EdgeName, request, done)
	})
}

// taken is the answer of a node that has done what it was asked to; of one that has
// not it is empty.
var taken = []byte{1}

// anyTaken tells whether any node has. It blocks.
func (e *Edge) anyTaken(ctx context.Context, u presence.Entity, request []byte) bool {
	answers, err := e.reach(ctx, u, request)
	if err != nil {
		e.log.Warn("sessions on other nodes not reached", "entity", u.String(), "call", string(rune(request[1])), "err", err)
	}
	return anyOf(answers)
}

// callee answers one kind of call. It may wait, but not for a call of its own.
type callee func(e *Edge, ctx context.Context, u presence.Entity, in *unpacker, answer func([]byte))

// callees by kind; each call begins with the user whom it concerns.
var callees = map[byte]callee{
	callMessage:      (*Edge).calledMessage,
	callCopy:         (*Edge).calledCopy,
	callIQ:           (*Edge).calledIQ,
	callSubscription: (*Edge).calledSubscription,
	callEvent:        (*Edge).calledEvent,
	callFind:         (*Edge).calledFind,
	callConflict:     (*Edge).calledConflict,
	callEnd:          (*Edge).calledEnd,
	callSee:          (*Edge).calledSee,
	callMail:         (*Edge).calledMail,
	callCaps:         (*Edge).calledCaps,
	callTurn:         (*Edge).calledTurn,
	callTurnOver:     (*Edge).calledTurnOver,
	callTake:         (*Edge).calledTake,
	callTaken:        (*Edge).calledTaken,
}

// Called takes a call of another node. Those which concern one user are worked on one
// after another, as they came.
func (e *Edge) Called(from string, request []byte, answer func([]byte)) {
	kind, in := openCall(request)
	u := in.Entity()
	f := callees[kind]
	if f == nil || !in.OK() {
		e.log.Warn("call not understood", "node", from, "call", string(rune(kind)))
		answer(nil)
		return
	}
	if !e.calls.put(e.lockIndex(u), func() { f(e, context.Background(), u, in, answer) }) {
		e.log.Warn("call not taken: too many wait", "node", from, "call", string(rune(kind)), "entity", u.String())
		answer(nil)
	}
}

// lanes work on calls, those of one lane in order. A goroutine lives only while there is
// something to do.
type lanes struct {
	all    [64]lane
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup
}

type lane struct {
	mu    sync.Mutex
	queue []func()
	busy  bool
}

// spawn has something done that waits for others; false: the edge is closed.
func (ls *lanes) spawn(f func()) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	if !ls.closed {
		ls.wg.Go(f)
	}
	return !ls.closed
}

// stop waits for all that is under way.
func (ls *lanes) stop() {
	ls.mu.Lock()
	ls.closed = true
	ls.mu.Unlock()
	ls.wg.Wait()
}

// put queues a call for the lane of a number; false: too many wait, or the edge is closed.
func (ls *lanes) put(i uint64, f func()) bool {
	l := &ls.all[i%uint64(len(ls.all))]
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.queue) >= MaxCalls {
		return false
	}
	if !l.busy && !ls.spawn(l.work) {
		return false
	}
	l.busy = true
	l.queue = append(l.queue, f)
	return true
}

func (l *lane) work() {
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		l.busy = len(queue) > 0
		l.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, f := range queue {
			f()
		}
	}
}

// claim makes it known that a session is here, and has other nodes give up its
// resource: the newer one stays (RFC 6120 §7.7.2.2). False: a newer one is elsewhere, or
// the user has MaxResources. It blocks.
func (e *Edge) claim(ctx context.Context, s *session) (condition string) {
	if !e.many {
		return ""
	}
	_, err := ask(ctx, func(done func(presence.Outcome, error)) error {
		return e.submit(ctx, s.user.entity, s.reachWatch(), done)
	})
	if err != nil {
		// The owner is not known at present. When there is one, the session will be
		// said again, and a conflict found then.
		s.log().Warn("session is not known to other nodes", "err", err)
	}
	return s.contend(ctx)
}

// contend asks the other nodes for the session's resource. "": it has it.
func (s *session) contend(ctx context.Context) (condition string) {
	s.mu.Lock()
	binding, ended := s.far.binding, s.ended
	s.mu.Unlock()
	if ended {
		return "conflict"
	}
	answers, err := s.edge.reach(ctx, s.user.entity, s.conflictCall(binding))
	if err != nil {
		s.log().Warn("resource not asked for on other nodes", "err", err)
	}
	return s.contended(answers)
}

func (s *session) conflictCall(binding bool) []byte {
	return newCall(callConflict).entity(s.user.entity).str(s.resource).bool(binding).time(s.since).str(s.handle)
}

// contended judges the answers, which say how many sessions of the user each node has, and
// whether one of them keeps the resource.
func (s *session) contended(answers [][]byte) (condition string) {
	n := len(s.user.list())
	for _, a := range answers {
		in := newUnpacker(a)
		what, others, beaten := in.Uint(), in.Uint(), in.Text()
		if beaten != "" {
			s.mu.Lock()
			s.far.beaten = append(s.far.beaten[max(0, len(s.far.beaten)-MaxResources):], beaten)
			s.mu.Unlock()
		}
		switch {
		case !in.Done():
		case what == conflictKept:
			return "conflict"
		case what == conflictMoved:
			return "moved"
		}
		n += int(min(others, MaxResources))
	}
	s.mu.Lock()
	binding := s.far.binding
	s.far.binding = false
	s.mu.Unlock()
	if binding && n > MaxResources {
		return "resource-constraint"
	}
	return ""
}

// Answers to callConflict.
const (
	conflictFree  = iota // the resource is not in use, or not any more; with the number of the user's sessions, and who gave it up
	conflictKept         // a newer session has it
	conflictMoved        // the same session does
)

// calledConflict gives up a resource that is bound elsewhere. A session that is there
// already yields to one that is being bound. Of two that are being bound at once, and of two
// that find one another when a cut network is whole again, the newer one stays; both
// sides judge alike.
func (e *Edge) calledConflict(ctx context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	resource, binding, since, handle := in.Text(), in.Bool(), in.time(), in.Text()
	if !in.Done() {
		answer(nil)
		return
	}
	rec := e.reg.user(u)
	s := rec.resource(resource)
	if s != nil && s.handle == handle {
		// The session itself was here in the eyes of one node and there in those of another.
		answer(packer(nil).num(conflictMoved).num(0).str(""))
		return
	}
	if s == nil {
		at := seat{u, resource}
		free := func() { answer(packer(nil).num(conflictFree).num(uint64(len(rec.list()))).str("")) }
		if len(e.leaving.list(at)) == 0 {
			free()
		} else if !e.calls.spawn(func() { e.leaving.waitHeard(at); free() }) {
			answer(nil)
		}
		return
	}
	s.mu.Lock()
	newer := s.since.After(since) || s.since.Equal(since) && s.handle > handle
	keep := newer && (s.far.binding || !binding) || slices.Contains(s.far.beaten, handle)
	s.mu.Unlock()
	if keep {
		answer(packer(nil).num(conflictKept).num(0).str(""))
		return
	}
	// The answer waits until its presence is taken back, lest that come after the other's, here and above.
	if !e.calls.spawn(func() {
		s.endWith(ctx, &xmpp.StreamError{Condition: "conflict"}, true)
		answer(packer(nil).num(conflictFree).num(uint64(len(rec.list()))).str(s.handle))
	}) {
		answer(nil)
	}
}

// calledEnd ends all sessions of a user.
func (e *Edge) calledEnd(ctx context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	condition := in.Text()
	answer(nil)
	if in.Done() {
		e.endHere(ctx, u, condition)
	}
}
