package jabber

import (
	"context"
	"slices"
	"sync"
	"time"

	"pharos/presence"
)

// turns let one session at a time have a user's stored messages, whichever node
// it is on: their user's owner keeps them. A session's turn goes on until its client is known to
// have what it was handed, or the session ends, or for TurnTime. Who asks meanwhile is not kept
// waiting: all sessions of the user look again when it is over.
type turns struct {
	mu sync.Mutex
	m  map[presence.Entity]*turn
}

type turn struct {
	who    string // handle of the session
	number uint64 // of its turn
	node   string
	asked  bool // somebody else would have it
	timer  *time.Timer
}

// take tells whether it is who's turn from now on. over is called when a turn is over that
// another has asked for; alive tells whether a node is.
func (ts *turns) take(u presence.Entity, who, node string, number uint64, alive func(node string) bool, over func()) bool {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.m[u]
	if t != nil && t.who != who && alive(t.node) {
		t.asked = true
		return false
	}
	if ts.m == nil {
		ts.m = make(map[presence.Entity]*turn)
	}
	next := &turn{who: who, number: number, node: node, asked: t != nil && t.asked}
	if t != nil {
		t.timer.Stop()
	}
	next.timer = time.AfterFunc(TurnTime, func() {
		if ts.end(u, who, number) {
			over()
		}
	})
	ts.m[u] = next
	return true
}

// end ends a turn; true if another has asked for it. A session that has meanwhile
// begun another turn keeps that.
func (ts *turns) end(u presence.Entity, who string, number uint64) (asked bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	t := ts.m[u]
	if t == nil || t.who != who || t.number != number {
		return false
	}
	t.timer.Stop()
	delete(ts.m, u)
	return t.asked
}

func (ts *turns) stop() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.m {
		t.timer.Stop()
	}
}

// takeTurn is for the user's owner.
func (e *Edge) takeTurn(u presence.Entity, who, node string, number uint64) bool {
	return e.turns.take(u, who, node, number, e.alive, func() { e.mailAgain(u) })
}

func (e *Edge) endTurn(u presence.Entity, who string, number uint64) {
	if e.turns.end(u, who, number) {
		e.mailAgain(u)
	}
}

// alive tells whether a node is this one or one that is reached.
func (e *Edge) alive(node string) bool {
	return node == e.c.Engine.Self() || slices.Contains(e.c.Engine.Nodes(), node)
}

// mailAgain has all sessions of a user look for stored messages. It does not block.
func (e *Edge) mailAgain(u presence.Entity) {
	if e.closing.Load() {
		return
	}
	e.calls.spawn(func() { e.mailHere(context.Background(), u) })
	if e.many {
		e.pass(u, newCall(callMail).entity(u))
	}
}

// Answers to callTurn.
var (
	turnTaken   = []byte{1}
	turnRefused = []byte{2}
)

func (e *Edge) calledTurn(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	who, node, number := in.Text(), in.Text(), in.Uint()
	switch {
	case !in.Done():
		answer(nil)
	case e.takeTurn(u, who, node, number):
		answer(turnTaken)
	default:
		answer(turnRefused)
	}
}

func (e *Edge) calledTurnOver(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	who, number := in.Text(), in.Uint()
	answer(nil)
	if in.Done() {
		e.endTurn(u, who, number)
	}
}

// turn asks for the user's stored messages. Its number, or 0: another session has them at
// present, on whatever node. When that cannot be found out it goes on: rather twice than never. It blocks.
func (s *session) turn(ctx context.Context) (number uint64) {
	e, u := s.edge, s.user.entity
	number = e.seq.Add(1)
	node := e.c.Engine.Self()
	if !e.many {
		if !e.takeTurn(u, s.handle, node, number) {
			return 0
		}
		return number
	}
	b, err := ask(ctx, func(done func([]byte, error)) error {
		return e.c.Engine.CallOwner(u, EdgeName, newCall(callTurn).entity(u).str(s.handle).str(node).num(number), done)
	})
	if err != nil {
		s.log().Warn("stored messages are taken out of turn", "err", err)
	} else if slices.Equal(b, turnRefused) {
		return 0
	}
	return number
}

// turnOver lets others have the user's stored messages.
func (s *session) turnOver(number uint64) {
	e, u := s.edge, s.user.entity
	switch {
	case number == 0:
	case e.many:
		_ = e.c.Engine.CallOwner(u, EdgeName, newCall(callTurnOver).entity(u).str(s.handle).num(number), func([]byte, error) {})
	default:
		e.endTurn(u, s.handle, number)
	}
}

// calledMail hands over messages that were stored while somebody came.
func (e *Edge) calledMail(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	answer(nil)
	if in.Done() {
		e.calls.spawn(func() { e.mailHere(context.Background(), u) })
	}
}

// mailHere has the user's sessions here that may take what is stored (RFC 6121 §8.5.2.1.1: not those of negative
// priority). It blocks.
func (e *Edge) mailHere(ctx context.Context, u presence.Entity) {
	for _, s := range e.reg.user(u).list() {
		if s.prio.Load() >= 0 { // unavailable is far below
			s.takeStored(ctx)
		}
	}
}
