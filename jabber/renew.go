package jabber

import (
	"context"
	"errors"
	"sync"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/xmpp"
)

// renewal says again what owners have lost: first where sessions are and what they
// say of themselves, then what they watch. It works on a goroutine that lives as long
// as there is something to do.
type renewal struct {
	mu   sync.Mutex
	lost []func(presence.Entity) bool
	busy bool
	said int // since the last pause
}

// Lost has sessions say again what concerns presentities whose owner knows nothing of it any
// more (engine.ClusterEdge).
func (e *Edge) Lost(lost func(presence.Entity) bool) {
	r := &e.renewal
	r.mu.Lock()
	defer r.mu.Unlock()
	if e.closing.Load() {
		return
	}
	if len(r.lost) >= MaxLost {
		r.lost = []func(presence.Entity) bool{func(presence.Entity) bool { return true }}
	} else {
		r.lost = append(r.lost, lost)
	}
	if !r.busy {
		r.busy = e.calls.spawn(e.renew)
	}
}

func (e *Edge) renew() {
	ctx, r := context.Background(), &e.renewal
	for {
		r.mu.Lock()
		lost := r.lost
		r.lost = nil
		if len(lost) == 0 || e.closing.Load() {
			r.busy = false
			r.mu.Unlock()
			return
		}
		r.mu.Unlock()
		any := func(u presence.Entity) bool {
			for _, f := range lost {
				if f(u) {
					return true
				}
			}
			return false
		}
		all := e.reg.all()
		for _, s := range all {
			s.doubt(any)
		}
		var cleared []func(time.Duration)
		for _, s := range all {
			if any(s.user.entity) {
				cleared = append(cleared, e.renewPlace(ctx, s))
			} else {
				cleared = append(cleared, nil)
			}
		}
		until := time.Now().Add(CallTime)
		for i, s := range all {
			if cleared[i] != nil && !e.closing.Load() {
				cleared[i](time.Until(until))
				e.renewSelf(ctx, s)
			}
		}
		for _, s := range all {
			e.renewWatches(ctx, s, any)
		}
		e.calls.spawn(func() { e.trust(all) })
	}
}

// pace pauses, so that no more than RenewRate inputs a second are submitted.
func (r *renewal) pace() {
	const chunk = RenewRate / 100
	if r.said++; r.said >= chunk {
		r.said = 0
		time.Sleep(time.Second / 100)
	}
}

// say submits an input, in whatever time that takes. gone tells that it need not be
// any more. lock is the session's act, which its reader may hold for long.
func (e *Edge) say(ctx context.Context, s *session, to presence.Entity, done func(presence.Outcome, error), input func() presence.Input) {
	for !e.closing.Load() {
		e.renewal.pace()
		var err error
		if !s.act.TryLock() {
			err = engine.ErrOverload
		} else {
			if in := input(); in != nil {
				err = e.c.Engine.Submit(to, in, done)
			}
			s.act.Unlock()
		}
		if !errors.Is(err, engine.ErrOverload) {
			if err != nil {
				s.log().Error("not said again", "presentity", to.String(), "err", err)
			}
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// renewPlace says again that a session is here. Another one may have been bound to its
// resource while its owner was away; cleared waits until that is known, and one of them has
// ended, for a limit.
func (e *Edge) renewPlace(ctx context.Context, s *session) (cleared func(limit time.Duration)) {
	s.mu.Lock()
	binding := s.far.binding
	s.mu.Unlock()
	if binding {
		return nil // does so by itself
	}
	u := s.user.entity
	done, cleared := settling()
	clear := func() { done(presence.Outcome{}, nil) }
	e.say(ctx, s, u, func(_ presence.Outcome, err error) {
		if err == nil {
			err = e.c.Engine.Reach(u, EdgeName, s.conflictCall(false), func(answers [][]byte, err error) {
				if err == nil {
					e.yield(s, s.contended(answers))
				}
				clear()
			})
		}
		if err != nil {
			s.log().Warn("session is not known to other nodes", "err", err)
			clear()
		}
	}, func() presence.Input {
		if s.over() {
			clear()
			return nil
		}
		return s.reachWatch()
	})
	return cleared
}

// yield ends a session here that has been found to be elsewhere, or a newer one with its
// resource.
func (e *Edge) yield(s *session, condition string) {
	switch condition {
	case "conflict":
		s.mu.Lock()
		s.far.beatenBy = true
		s.mu.Unlock()
		e.calls.spawn(func() { s.end(context.Background(), &xmpp.StreamError{Condition: "conflict"}) })
	case "moved":
		s.moved()
	}
}

// renewSelf says again what a session says of itself and to whom.
func (e *Edge) renewSelf(ctx context.Context, s *session) {
	u := s.user.entity
	e.say(ctx, s, u, nil, func() presence.Input {
		if s.far.said == nil || s.over() {
			return nil
		}
		in := *s.far.said
		in.Again = true
		return in
	})
	s.mu.Lock()
	var shown []xmpp.JID
	for to := range s.directed {
		shown = append(shown, to)
	}
	s.mu.Unlock()
	for _, to := range shown {
		e.say(ctx, s, u, nil, func() presence.Input {
			s.mu.Lock()
			in := s.directed[to]
			s.mu.Unlock()
			if in == nil {
				return nil
			}
			again := *in
			again.Again = true
			return again
		})
	}
}

// renewWatches watches again those whom any names.
func (e *Edge) renewWatches(ctx context.Context, s *session, any func(presence.Entity) bool) {
	for _, contact := range s.watched() {
		if !any(contact) {
			continue
		}
		e.say(ctx, s, contact, nil, func() presence.Input {
			s.mu.Lock()
			_, still := s.watches[contact]
			s.mu.Unlock()
			if !still || s.over() {
				return nil
			}
			return s.watchOf()
		})
	}
}

// over tells whether the session has ended or lives elsewhere.
func (s *session) over() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended || s.far.beatenBy || s.far.moving != nil
}

// doubt holds back what is told of contacts until their sessions have said again what they
// say, lest the client see them go and come.
func (s *session) doubt(lost func(presence.Entity) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for contact, told := range s.watches {
		if told != nil && lost(contact) {
			s.hold(contact, told).doubtful = DoubtRounds
		}
	}
}

// hold is the held notice of a contact, of whom the client was told prev. mu is held.
func (s *session) hold(of presence.Entity, prev *presence.View) *heldNotice {
	h := s.held[of]
	if h == nil {
		if s.held == nil {
			s.held = make(map[presence.Entity]*heldNotice)
		}
		h = &heldNotice{prev: prev, view: prev}
		s.held[of] = h
	}
	return h
}

// trust ends the doubts, after DoubtTime; those who have not been heard of at all keep them
// for longer.
func (e *Edge) trust(all []*session) {
	for more := true; more && !e.closing.Load(); {
		time.Sleep(DoubtTime)
		more = false
		for _, s := range all {
			s.mu.Lock()
			more = s.trust() || more
			s.mu.Unlock()
		}
	}
}

// trust is a round of that. mu is held.
func (s *session) trust() (more bool) {
	for of, h := range s.held {
		if h.doubtful == 0 {
			continue
		}
		if h.doubtful--; h.heard {
			h.doubtful = 0
		}
		if h.doubtful > 0 {
			more = true
		} else if !s.ended && !s.holding() {
			s.release(of, h)
		}
	}
	return more
}
