package simple

import (
	"context"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// fetchMail hands a user who has registered the messages that were stored,
// one after the other, in their order. What cannot be handed over is stored
// again; nothing is taken out of the mailbox before that is certain.
func (e *Edge) fetchMail(u presence.Entity) {
	select {
	case e.messages <- struct{}{}:
	default: // too busy: at the next REGISTER
		e.bindings.wait(u)
		return
	}
	go func() {
		defer func() { <-e.messages }()
		ctx, cancel := context.WithTimeout(context.Background(), messageWait)
		defer cancel()
		ms, taken, err := e.engine.Take(ctx, u)
		if err != nil {
			e.log.Warn("simple: stored messages not read", "entity", u.String(), "err", err)
			e.bindings.wait(u)
			return
		}
		if len(ms) == 0 {
			return
		}
		for i, m := range ms {
			if !e.handOver(u, m) {
				for _, m := range ms[i:] {
					e.undelivered(m)
				}
				break
			}
		}
		if err := taken(); err != nil {
			e.log.Warn("simple: stored messages not removed", "entity", u.String(), "err", err)
		}
	}()
}

// handOver sends a stored message to the user's contacts and waits for one of
// them to take it.
func (e *Edge) handOver(u presence.Entity, m *engine.Message) bool {
	var to []*binding
	for _, b := range e.bindings.get(u, time.Now()) {
		if b.takesMessages() && e.reachable(b) {
			to = append(to, b)
		}
	}
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

// wait has the next REGISTER of a user look for stored messages.
func (t *locationTable) wait(u presence.Entity) {
	t.mu.Lock()
	if l := t.users[u]; l != nil {
		l.waiting = true
	}
	t.mu.Unlock()
}
