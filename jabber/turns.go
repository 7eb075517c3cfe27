package jabber

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"pharos/presence"
)

// turns lets one session at a time hand over a user's stored messages, whichever node
// it is on: their user's owner keeps them.
type turns struct {
	mu sync.Mutex
	m  map[presence.Entity]*turn
}

type turn struct {
	who     string // has it
	timer   *time.Timer
	waiting []waiting
}

type waiting struct {
	who     string
	granted func()
}

// take calls granted when it is who's turn.
func (ts *turns) take(u presence.Entity, who string, granted func()) {
	ts.mu.Lock()
	t := ts.m[u]
	if t != nil {
		t.waiting = append(t.waiting, waiting{who, granted})
		ts.mu.Unlock()
		return
	}
	if ts.m == nil {
		ts.m = make(map[presence.Entity]*turn)
	}
	t = &turn{who: who}
	t.timer = time.AfterFunc(TurnTime, func() { ts.next(u, "") })
	ts.m[u] = t
	ts.mu.Unlock()
	granted()
}

// next ends who's turn, or with "" the present one, whose time is up.
func (ts *turns) next(u presence.Entity, who string) {
	ts.mu.Lock()
	t := ts.m[u]
	if t != nil && who != "" && t.who != who { // it waits no more
		i := slices.IndexFunc(t.waiting, func(w waiting) bool { return w.who == who })
		over := func() {}
		if i >= 0 {
			over = t.waiting[i].granted // a call is always answered
			t.waiting = slices.Delete(t.waiting, i, i+1)
		}
		ts.mu.Unlock()
		over()
		return
	}
	if t == nil {
		ts.mu.Unlock()
		return
	}
	if len(t.waiting) == 0 {
		t.timer.Stop()
		delete(ts.m, u)
		ts.mu.Unlock()
		return
	}
	w := t.waiting[0]
	t.waiting = t.waiting[1:]
	t.who = w.who
	t.timer.Reset(TurnTime)
	ts.mu.Unlock()
	w.granted()
}

func (ts *turns) stop() {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.m {
		t.timer.Stop()
	}
}

func (e *Edge) calledTurn(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	if who := in.str(); in.done() == nil {
		e.turns.take(u, who, func() { answer(taken) })
		return
	}
	answer(nil)
}

func (e *Edge) calledTurnOver(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	who := in.str()
	answer(nil)
	if in.done() == nil && who != "" {
		e.turns.next(u, who)
	}
}

// turn waits until no other session of the user, on whatever node, hands over stored
// messages. When that cannot be found out it goes on: rather twice than never. It blocks.
func (s *session) turn(ctx context.Context) (over func()) {
	e, u := s.edge, s.user.entity
	if !e.many {
		return func() {}
	}
	who := s.handle + "#" + strconv.FormatUint(e.seq.Add(1), 36)
	_, err := ask(ctx, func(done func([]byte, error)) error {
		return e.c.Engine.CallOwner(u, EdgeName, newCall(callTurn).entity(u).str(who), done)
	})
	if err != nil {
		s.log().Warn("stored messages are taken out of turn", "err", err)
	}
	return func() {
		_ = e.c.Engine.CallOwner(u, EdgeName, newCall(callTurnOver).entity(u).str(who), func([]byte, error) {})
	}
}

// calledMail hands over messages that were stored while somebody came.
func (e *Edge) calledMail(_ context.Context, u presence.Entity, in *unpacker, answer func([]byte)) {
	answer(nil)
	if in.done() == nil {
		e.calls.spawn(func() { e.mailHere(context.Background(), u) })
	}
}

// mailHere has a session take what is stored, if there is one that may. It blocks.
func (e *Edge) mailHere(ctx context.Context, u presence.Entity) {
	for _, s := range e.reg.user(u).list() {
		if p := s.prio.Load(); p >= 0 && p != unavailable {
			s.takeOffline(ctx)
			return
		}
	}
}
