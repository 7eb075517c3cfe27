package simple

import (
	"context"
	"errors"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// doubt has a refusal looked at once more after listAgain. It is told when it has been
// saved, and the member's policy may have changed in between: of that change
// decided heard when the member had not refused yet. l.mu is held.
func (l *listing) doubt(m *member) {
	m.doubt = true
	if l.check == nil && !l.over {
		l.check = time.AfterFunc(listAgain, func() { l.edge.lists.background(l.recheck) })
	}
}

// background does something that close waits for.
func (t *listTable) background(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.loads.Go(f)
	}
}

// recheck asks those again who have refused and would not do so now. Nobody else is
// asked: a refusal is to be answered for by the member once.
func (l *listing) recheck() {
	l.mu.Lock()
	l.check = nil
	var ms []*member
	for _, m := range l.list.members {
		if m.doubt && m.state == presence.Terminated && !m.asked {
			ms = append(ms, m)
		}
		m.doubt = false
	}
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), listRead)
	defer cancel()
	for _, m := range ms {
		x, err := l.edge.engine.ExplainPackage(ctx, m.entity, l.owner, l.key)
		l.mu.Lock()
		still := l.list.members[m.entity] == m && !m.asked && m.state == presence.Terminated && !l.over
		again := still && err == nil && x.State == presence.Active
		switch {
		case again:
			m.asked = true
			l.waiting++
		case still && err != nil && !errors.Is(err, engine.ErrStopped):
			l.doubt(m)
		}
		l.mu.Unlock()
		if again {
			l.watch(m)
		}
	}
}
