package jabber

import (
	"context"
	"strconv"
	"strings"
	"time"

	"pharos/presence"
	"pharos/xmpp"
)

// lookMark begins the handles of those who look once.
const lookMark = "?look "

// look asks what a watcher may see of a presentity now, deciding as for every
// watch. Nil without an error: nothing, since the watcher has no permission. It blocks.
func (e *Edge) look(ctx context.Context, of, watcher presence.Entity) (*presence.View, error) {
	handle := lookMark + strconv.FormatUint(e.seq.Add(1), 36)
	c := make(chan *presence.View, 1)
	e.looks.Store(handle, c)
	defer e.looks.Delete(handle)
	failed := make(chan error, 1)
	err := e.submit(ctx, of, presence.Watch{
		ID: handle, Watcher: watcher, Fetch: true, Via: presence.Via{Edge: EdgeName, Handle: handle},
	}, func(_ presence.Outcome, err error) {
		if err != nil {
			failed <- err
		}
	})
	if err != nil {
		return nil, err
	}
	limit := time.NewTimer(MaxSubmitWait) // the owner's node may go between its two answers
	defer limit.Stop()
	select {
	case v := <-c:
		return v, nil
	case err := <-failed:
		return nil, err
	case <-limit.C:
		return nil, errNoAnswer
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// looked hands the answer over; false when nobody looked.
func (e *Edge) looked(n *presence.Notice, t *presence.Target) bool {
	if !strings.HasPrefix(t.Handle, lookMark) {
		return false
	}
	if c, ok := e.looks.LoadAndDelete(t.Handle); ok {
		c.(chan *presence.View) <- n.View
	}
	return true
}

// glance is look for the answer to a question in passing: an error counts as nothing.
func (s *session) glance(ctx context.Context, of presence.Entity) *presence.View {
	v, err := s.edge.look(ctx, of, s.user.entity)
	if err != nil {
		s.log().Error("presence not looked at", "presentity", of.String(), "err", err)
	}
	return v
}

// refuses tells whether a rule of a user's blocks somebody: one of the document may, too,
// and is not in the block list where it has conditions. What cannot be decided is refused.
func (e *Edge) refuses(ctx context.Context, u, who presence.Entity) bool {
	no, err := e.c.Engine.Refuses(ctx, u, who)
	if err != nil {
		e.log.Error("policy not loaded", "entity", u.String(), "err", err)
	}
	return no
}

// hides tells whether a session must look to somebody as if it were not there:
// he is blocked politely (RFC 5025 §3.2.1), or by a rule, and was not shown the
// session by directed presence (RFC 6121 §4.6).
func (s *session) hides(ctx context.Context, from presence.Entity, resource string) bool {
	if s.user.entity == from {
		return false
	}
	switch s.edge.decision(ctx, s.user.entity, from) {
	case presence.PoliteBlock:
	case presence.Block:
		return s.edge.refuses(ctx, s.user.entity, from)
	default:
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	to := xmpp.JID{Local: from.User, Domain: from.Domain}
	_, shown := s.directed[to]
	if !shown {
		to.Resource = resource
		_, shown = s.directed[to]
	}
	return !shown
}

// resources are the sessions that a view shows, by resource. Nil-safe.
func resources(v *presence.View) (out []string) {
	if v == nil {
		return nil
	}
	for _, src := range v.Sources {
		if src.ID.Kind == presence.Session && isOpen(src) {
			out = append(out, src.ID.Key)
		}
	}
	return out
}
