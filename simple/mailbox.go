package simple

import (
	"context"

	"pharos/engine"
	"pharos/presence"
)

// fetchMail hands a user who has registered the messages that were stored,
// one after the other, in their order. Each leaves the mailbox when a phone has
// taken it (RFC 3428 §7: with a 2xx); when none has, the next REGISTER goes on from there.
func (e *Edge) fetchMail(u presence.Entity) {
	if !e.bindings.beginMail(u) {
		return // at work already, or nobody there
	}
	select {
	case e.messages <- struct{}{}:
	default:
		e.bindings.endMail(u, false)
		return
	}
	go func() {
		defer func() { <-e.messages }()
		e.bindings.endMail(u, e.deliverMail(u))
	}()
}

// deliverMail is false when something is left in the mailbox.
func (e *Edge) deliverMail(u presence.Entity) bool {
	ctx, cancel := context.WithTimeout(context.Background(), messageWait)
	defer cancel()
	ms, err := e.engine.Stored(ctx, u)
	if err != nil {
		e.log.Warn("simple: stored messages not read", "entity", u.String(), "err", err)
		return false
	}
	for _, m := range ms {
		if !e.bindings.handed(u, m.Number) {
			if !e.handOver(u, m.Message) {
				return false
			}
			e.bindings.hand(u, m.Number)
		}
		if err := e.engine.RemoveStored(ctx, u, m.Number); err != nil {
			e.log.Warn("simple: stored message not removed", "entity", u.String(), "err", err)
			return false
		}
	}
	return true
}

// handOver sends a stored message to the user's contacts and waits for one of
// them to take it.
func (e *Edge) handOver(u presence.Entity, m *engine.Message) bool {
	to := e.takers(u)
	answers := make(chan bool, len(to))
	for _, b := range to {
		e.sendMessage(m, b, true, func(ok bool) { answers <- ok })
	}
	for range to {
		if <-answers {
			return true
		}
	}
	return false
}

// beginMail is true for the one who may deliver.
func (t *locationTable) beginMail(u presence.Entity) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.users[u]
	if l == nil {
		return false
	}
	if l.fetching {
		l.waiting = true
		return false
	}
	l.fetching, l.waiting = true, false
	return true
}

// endMail notes whether all is delivered; else the next REGISTER tries again.
func (t *locationTable) endMail(u presence.Entity, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.users[u]; l != nil {
		l.fetching = false
		l.waiting = l.waiting || !all
		if all {
			l.handed = nil
		}
	}
}

// hand remembers a message that was handed over, should the store not remove it.
func (t *locationTable) hand(u presence.Entity, number int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.users[u]; l != nil {
		if l.handed == nil {
			l.handed = make(map[int64]bool)
		}
		l.handed[number] = true
	}
}

func (t *locationTable) handed(u presence.Entity, number int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.users[u]
	return l != nil && l.handed[number]
}

// wait has the next REGISTER of a user look for stored messages.
func (t *locationTable) wait(u presence.Entity) {
	t.mu.Lock()
	if l := t.users[u]; l != nil {
		l.waiting = true
	}
	t.mu.Unlock()
}
