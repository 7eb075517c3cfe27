package simple

import (
	"context"
	"errors"
	"slices"
	"time"

	"pharos/engine"
	"pharos/presence"
)

// Of several nodes one keeps what a user has registered: the one that owns the user.
// A REGISTER comes to any; the flow that it came on stays there. What the owner knows
// is read from the store when the user's home has come to it, and is the newest as long as
// the home stays (location.term).

// errNotOwner: the user's home has left meanwhile.
var errNotOwner = errors.New("simple: the user's home is elsewhere")

// registrar has a change made where the user's bindings are kept.
func (e *Edge) registrar(u presence.Entity, c *change, now time.Time, done func(registration)) {
	if !e.bindings.shared {
		e.entitled(u, c, now, done)
		return
	}
	for _, b := range c.add {
		b.node = e.engine.Self()
	}
	e.askRegistrar(u, c, 1, done)
}

// Times of a REGISTER whose user's home is on its way, or has just come: the registrar is asked again, after a
// pause that doubles.
const (
	registrarTries = 6
	registrarPause = 50 * time.Millisecond
)

func (e *Edge) askRegistrar(u presence.Entity, c *change, try int, done func(registration)) {
	err := e.engine.CallOwner(u, Name, appendRegister(nil, u, c), func(answer []byte, err error) {
		var g registration
		if g.err = err; err == nil {
			g = decodeRegistration(answer)
		}
		if errors.Is(g.err, errNotOwner) && try < registrarTries {
			time.AfterFunc(registrarPause<<(try-1), func() { e.askRegistrar(u, c, try+1, done) })
			return
		}
		if g.err == nil && g.status == 0 {
			e.visited(u, c)
		}
		done(g)
	})
	if err != nil {
		done(registration{err: err})
	}
}

// entitled is update, or for a change of nothing a look at what there is.
func (e *Edge) entitled(u presence.Entity, c *change, now time.Time, done func(registration)) {
	if !c.all && len(c.add)+len(c.remove) == 0 {
		done(registration{bindings: e.bindings.get(u, now)})
		return
	}
	e.update(u, c, now, done)
}

// atHome calls then when this node knows what the user has registered; false: it does
// not own the user, or the store cannot be read.
func (e *Edge) atHome(u presence.Entity, then func(bool)) {
	term := e.engine.Term(u)
	if term == 0 {
		then(false)
		return
	}
	t := &e.bindings
	t.mu.Lock()
	l := t.users[u]
	if l != nil && l.term == term {
		t.mu.Unlock()
		then(true)
		return
	}
	if l == nil {
		l = &location{}
		t.users[u] = l
	}
	l.readers = append(l.readers, then)
	first := len(l.readers) == 1
	t.mu.Unlock()
	if first {
		go e.readBindings(u, l, term)
	}
}

// readBindings reads what a user has registered whose home has come here.
func (e *Edge) readBindings(u presence.Entity, l *location, term uint64) {
	var bs []*binding
	value, err := e.store.Get(registrationKind, u.String())
	if err == nil && value != nil {
		if bs, err = decodeBindings(value); err != nil {
			e.log.Warn("simple: bindings not restored", "entity", u.String(), "err", err)
			err = nil // as if there were none: the phones will register again
		}
	}
	if err != nil {
		e.log.Error("simple: bindings not read", "entity", u.String(), "err", err)
	}
	ok := err == nil && e.engine.Term(u) == term
	now := time.Now()
	t := &e.bindings
	t.order.Lock()
	t.mu.Lock()
	readers := l.readers
	l.readers = nil
	if ok {
		l.bindings = slices.DeleteFunc(bs, func(b *binding) bool { return !b.expires.After(now) })
		l.term, l.waiting = term, true // a message may have come while nobody knew
	}
	t.mu.Unlock()
	t.order.Unlock()
	for _, f := range readers {
		f(ok)
	}
	e.sweepLater()
}

// read reports whether what a user has registered is known for the term.
func (t *locationTable) read(u presence.Entity, term uint64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.users[u]
	return term != 0 && l != nil && l.term == term
}

// registered reports whether a user has registered, as far as this node knows.
func (t *locationTable) registered(u presence.Entity, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	list := t.here[u]
	if l := t.users[u]; l != nil && !t.shared {
		list = l.bindings
	}
	return slices.ContainsFunc(list, func(b *binding) bool { return b.expires.After(now) })
}

// Prepare reads what a user has registered whose home has come here (engine.Preparer).
func (e *Edge) Prepare(ctx context.Context, u presence.Entity) {
	term := e.engine.Term(u)
	if !e.bindings.shared || term == 0 || e.bindings.read(u, term) {
		return
	}
	ready := make(chan struct{})
	e.atHome(u, func(bool) { close(ready) })
	select {
	case <-ready:
	case <-ctx.Done():
	}
}

// deliverLater takes a message for a user of whom it is not known yet what there is
// registered, since his home came here after Prepare. Where nothing is, the message is given back.
func (e *Edge) deliverLater(m *engine.Message) bool {
	if e.engine.Term(m.To) == 0 {
		return false // another node's
	}
	e.atHome(m.To, func(ok bool) {
		if !ok || !e.deliver(m) {
			e.engine.Undelivered(m)
		}
	})
	return true
}

// visited notes the flows of what was registered over this node, and watches those
// that bindings end with.
func (e *Edge) visited(u presence.Entity, c *change) {
	t := &e.bindings
	t.mu.Lock()
	var cancel []func()
	list := slices.DeleteFunc(slices.Clone(t.here[u]), func(old *binding) bool {
		gone := c.all
		for _, b := range c.remove {
			gone = gone || b.replaces(old) || sameURI(b.contact, old.contact)
		}
		for _, b := range c.add {
			gone = gone || b.replaces(old)
		}
		if gone && old.cancel != nil {
			cancel = append(cancel, old.cancel)
		}
		return gone
	})
	list = append(list, c.add...)
	if n := len(list) - e.limits.Bindings; n > 0 {
		list = slices.Delete(list, 0, n)
	}
	if len(list) == 0 {
		delete(t.here, u)
	} else {
		t.here[u] = list
	}
	t.mu.Unlock()
	for _, f := range cancel {
		f()
	}
	for _, b := range c.add {
		if b.flow == nil || !b.outbound() && !b.onlyFlow() {
			continue
		}
		stop := b.flow.OnClose(func() { go e.leave(u, b) }) // may call at once
		t.mu.Lock()
		b.cancel = stop
		t.mu.Unlock()
	}
	e.sweepLater()
}

// leave tells the owner of a user that a flow here has ended on which a binding
// stands.
func (e *Edge) leave(u presence.Entity, b *binding) {
	t := &e.bindings
	t.mu.Lock()
	list := slices.DeleteFunc(slices.Clone(t.here[u]), func(x *binding) bool { return x == b })
	if len(list) == 0 {
		delete(t.here, u)
	} else {
		t.here[u] = list
	}
	t.mu.Unlock()
	err := e.engine.CallOwner(u, Name, appendClosed(nil, u, b), func(_ []byte, err error) {
		if err != nil { // found dead when it is tried
			e.log.Warn("simple: the end of a flow is not known to the registrar", "entity", u.String(), "err", err)
		}
	})
	if err != nil {
		e.log.Warn("simple: the end of a flow is not known to the registrar", "entity", u.String(), "err", err)
	}
}

// closed removes a binding whose flow has ended on another node, unless it has been
// replaced since.
func (e *Edge) closed(u presence.Entity, gone *binding) {
	t := &e.bindings
	t.mu.Lock()
	var b *binding
	if l := t.users[u]; l != nil {
		for _, x := range l.bindings {
			if x.contact == gone.contact && x.callID == gone.callID && x.cseq == gone.cseq && x.token == gone.token {
				b = x
			}
		}
	}
	t.mu.Unlock()
	if b != nil {
		e.flowClosed(u, b)
	}
}

// removeEverywhere has the owner let go of what a user had registered.
func (e *Edge) removeEverywhere(u presence.Entity) {
	err := e.engine.CallOwner(u, Name, appendRemoved(nil, u), func(_ []byte, err error) {
		if err != nil {
			e.log.Warn("simple: bindings of a removed user stay until they expire", "entity", u.String(), "err", err)
		}
	})
	if err != nil {
		e.log.Warn("simple: bindings of a removed user stay until they expire", "entity", u.String(), "err", err)
	}
}

// elsewhere reports whether the flow of a binding is on another node.
func (e *Edge) elsewhere(b *binding) bool { return b.node != "" && b.node != e.engine.Self() }

// flowLives reports whether the flow of a binding may still be there.
func (e *Edge) flowLives(b *binding) bool {
	if e.elsewhere(b) {
		return slices.Contains(e.engine.Nodes(), b.node)
	}
	return e.flowOf(b) != nil
}

// sendFrom sends a MESSAGE from the node on which the contact's flow is.
func (e *Edge) sendFrom(b *binding, header, body []byte, done func(status int, err error)) {
	err := e.engine.CallEdge(b.node, Name, appendSend(nil, b, header, body), func(answer []byte, err error) {
		status, failed := decodeStatus(answer)
		if err == nil {
			err = failed
		}
		done(status, err)
	})
	if err != nil {
		done(0, err)
	}
}
