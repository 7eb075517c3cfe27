package simple

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/store"
)

// homes are the peers of a node that owns everybody, in a term that a test can change.
type homes struct {
	engine.Alone
	term  atomic.Uint64
	leave atomic.Int64 // the term rises after so many looks at it
}

func (h *homes) Self() string { return "n1" }

func (h *homes) Owner(presence.Entity) (string, bool) { return "n1", true }

func (h *homes) Locate(_ presence.Entity, done func(string, error)) { go done("n1", nil) }

func (h *homes) Term(presence.Entity) uint64 {
	if h.leave.Add(-1) == 0 {
		return h.term.Add(1) - 1
	}
	return h.term.Load()
}

func newHomes() *homes {
	h := new(homes)
	h.term.Store(1)
	return h
}

// A REGISTER that is saved when its user's home has left already is not acknowledged: whoever has the home may have
// read what was saved before. It is made again of him, and what he finds done he says so of.
func TestRegisterWhileHomeLeaves(t *testing.T) {
	h := newHomes()
	inWorldOf(t, Config{}, h, func(w *world) {
		now := time.Now()
		change := func() *change {
			b := &binding{contact: "sip:alice@192.0.2.10", callID: "c", cseq: 7, expires: now.Add(time.Hour), updated: now, node: "n1"}
			return &change{add: []*binding{b}, callID: "c", cseq: 7}
		}
		ask := func(how func(done func(registration))) (g registration) {
			how(func(x registration) { g = x })
			synctest.Wait()
			return g
		}
		h.leave.Store(1) // after update has begun
		if g := ask(func(done func(registration)) { w.edge.update(aliceHere, change(), now, done) }); !errors.Is(g.err, errNotOwner) {
			t.Errorf("acknowledged by who has not the user any more: %+v", g)
		}
		// The same request once more, to who has read it by now.
		g := ask(func(done func(registration)) { w.edge.registrar(aliceHere, change(), now, done) })
		if g.err != nil || g.status != 0 || len(g.bindings) != 1 {
			t.Errorf("%+v", g)
		}
		// An older one is refused as ever (RFC 3261 §10.3 step 7).
		old := change()
		old.cseq, old.add[0].cseq = 6, 6
		if g := ask(func(done func(registration)) { w.edge.registrar(aliceHere, old, now, done) }); g.status != 500 {
			t.Errorf("%+v", g)
		}
	})
}

// While the home is on its way a REGISTER waits for it.
func TestRegisterWaitsForHome(t *testing.T) {
	h := newHomes()
	inWorldOf(t, Config{}, h, func(w *world) {
		now := time.Now()
		ask := func() (g registration) {
			b := &binding{contact: "sip:alice@192.0.2.10", callID: "c", cseq: 7, expires: now.Add(time.Hour), updated: now}
			done := make(chan registration, 1)
			w.edge.registrar(aliceHere, &change{add: []*binding{b}, callID: "c", cseq: 7}, now, func(g registration) { done <- g })
			return <-done
		}
		h.term.Store(0)
		time.AfterFunc(time.Second, func() { h.term.Store(3) })
		if g := ask(); g.err != nil || len(g.bindings) != 1 {
			t.Errorf("%+v", g)
		}
		h.term.Store(0)
		if g := ask(); g.err == nil || !passes(g.err) {
			t.Errorf("%+v", g)
		}
	})
}

// What fails at the registrar and passes by itself is 503 where the client is, not 500.
func TestRegistrarErrors(t *testing.T) {
	for _, err := range []error{store.ErrBusy, fmt.Errorf("store: %w", store.ErrUnknown), engine.ErrGone, errNotOwner} {
		if g := decodeRegistration(appendRegistration(nil, registration{err: err})); g.err == nil || !passes(g.err) {
			t.Errorf("%v became %v", err, g.err)
		}
	}
	if g := decodeRegistration(appendRegistration(nil, registration{err: errors.New("disk full")})); g.err == nil || passes(g.err) {
		t.Errorf("%v", g.err)
	}
}
