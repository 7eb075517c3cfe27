package jabber

import (
	"context"
	"sync"
	"time"

	"pharos/presence"
)

// leaving is the sessions that have ended, for as long as their owners may not have heard what they had
// to say last. A source is known by its resource: what the last session with a resource says must not come
// behind what the next one does, here or at another node, lest it be taken for the next one's.
// There are no more than inputs may wait in the engine.
type leaving struct {
	mu sync.Mutex
	of map[seat][]*leave
}

// seat is what there is one session for at a time.
type seat struct {
	user     presence.Entity
	resource string
}

// leave is a session that gets up from it.
type leave struct {
	said  chan struct{} // closed when the engine of this node has it, which keeps the order
	heard chan struct{} // closed when the owner has, or cannot be asked
}

// begin notes a session that ends, before anybody may see that it has.
func (l *leaving) begin(at seat) *leave {
	v := &leave{said: make(chan struct{}), heard: make(chan struct{})}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.of == nil {
		l.of = make(map[seat][]*leave)
	}
	l.of[at] = append(l.of[at], v)
	return v
}

// over ends it.
func (l *leaving) over(at seat, v *leave) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var left []*leave
	for _, o := range l.of[at] {
		if o != v {
			left = append(left, o)
		}
	}
	if l.of[at] = left; len(left) == 0 {
		delete(l.of, at)
	}
	close(v.heard)
}

func (l *leaving) list(at seat) []*leave {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.of[at] // never changed in place
}

// waitSaid waits until the engine has the last words of sessions that had a seat.
func (l *leaving) waitSaid(ctx context.Context, at seat) {
	for _, v := range l.list(at) {
		select {
		case <-v.said: // within MaxSubmitWait
		case <-ctx.Done():
			return
		}
	}
}

// waitHeard waits until their owners have, CallTime at most.
func (l *leaving) waitHeard(at seat) {
	limit := time.NewTimer(CallTime)
	defer limit.Stop()
	for _, v := range l.list(at) {
		select {
		case <-v.heard:
		case <-limit.C:
			return
		}
	}
}

func (s *session) seat() seat { return seat{s.user.entity, s.resource} }

// sayLast has the owner take back what the session has said, and forget where it is. The latter comes last, so its
// answer says that all was heard.
func (s *session) sayLast(ctx context.Context, v *leave) {
	e := s.edge
	e.reg.remove(s)
	s.act.Lock()
	s.depart(ctx, presence.Payload{})
	s.leaveReach(ctx, func() { e.leaving.over(s.seat(), v) })
	s.act.Unlock()
	close(v.said)
}
