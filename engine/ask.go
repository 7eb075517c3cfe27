package engine

import (
	"context"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// question is what may be asked of a presentity's owner, on whichever node.
type question struct {
	kind     uint64
	watcher  presence.Entity
	pkg, tag string
	notice   *presence.Notice
	ids      []string
	from     string // who asks, where he is elsewhere
}

// Kinds of questions. Numbers are never used again.
const (
	asksExplain = iota + 1
	asksWatchers
	asksPublication
	asksReached // where the user has sessions
	asksDirect  // has a notice of directed presence handed to them
	asksAgain   // has the asking node's watchers told everything again
	asksPolicy  // has the policy loaded again
	asksHeld    // which subscriptions there are of the asking node
)

// light questions need neither what was saved of the presentity nor its policy.
func (q *question) light() bool { return q.kind >= asksReached && q.kind != asksHeld }

func (q *question) append(b []byte) []byte {
	b = transfer.AppendUint(b, q.kind)
	switch q.kind {
	case asksExplain:
		b = transfer.AppendString(transfer.AppendEntity(b, q.watcher), q.pkg)
	case asksPublication:
		b = transfer.AppendString(transfer.AppendString(b, q.pkg), q.tag)
	case asksDirect:
		b, _ = transfer.AppendNotice(b, q.notice, 0, 1)
	case asksHeld:
		b = transfer.AppendUint(b, uint64(len(q.ids)))
		for _, id := range q.ids {
			b = transfer.AppendString(b, id)
		}
	}
	return b
}

func readQuestion(r *transfer.Reader, m *transfer.Mirror) *question {
	q := &question{kind: r.Uint()}
	switch q.kind {
	case asksExplain:
		q.watcher, q.pkg = r.Entity(), r.String()
	case asksPublication:
		q.pkg, q.tag = r.String(), r.String()
	case asksDirect:
		if ns := m.Notices(r); len(ns) == 1 {
			q.notice = ns[0]
		}
	case asksHeld:
		for range min(r.Uint(), MaxHeld) {
			if r.Err() != nil {
				break
			}
			q.ids = append(q.ids, r.String())
		}
	}
	return q
}

// answer answers as the owner. p is nil when the question is light and nothing of the
// presentity is in memory.
func (q *question) answer(s *shard, of presence.Entity, p *presence.Presentity, now time.Time) []byte {
	switch q.kind {
	case asksExplain:
		x := p.Explain(now, q.watcher, q.pkg)
		return transfer.AppendExplanation(nil, &x)
	case asksWatchers:
		return transfer.AppendWatchers(nil, p.Watchers(now))
	case asksPublication:
		src := p.Publication(now, q.pkg, q.tag)
		b := transfer.AppendBool(nil, src != nil)
		if src != nil {
			b = transfer.AppendSource(b, src)
		}
		return b
	case asksReached:
		return appendPlaces(nil, s.places(p))
	case asksDirect:
		if q.notice != nil {
			s.handDirect(p, q.notice)
		}
	case asksAgain:
		return transfer.AppendUint(nil, s.e.peers.Term(of))
	case asksHeld:
		var b []byte
		for _, id := range q.ids {
			b = transfer.AppendUint(b, uint64(heldOf(p, now, id, q.from)))
		}
		return b
	case asksPolicy: // at once: what follows is decided by the new one
		s.e.known.forget(of)
		if r := s.residents[of]; r != nil && r.policy != unknown {
			s.load(r)
		}
	}
	return nil
}

// after is what follows when the answer is on its way.
func (q *question) after(s *shard, of presence.Entity, from string) {
	if r := s.residents[of]; q.kind == asksAgain && r != nil {
		s.tellAgain(r, from)
	}
}

// asked makes an item of a question. look is for an owner here, answer for one elsewhere,
// of whose errors look hears too.
func (e *Engine) asked(of presence.Entity, q *question, look func(*presence.Presentity, time.Time, error), answer func(*transfer.Reader)) item {
	it := item{to: of, asked: true, look: look}
	if e.self != "" {
		it.far = &far{ask: q, answer: answer, light: q.light()}
	}
	return it
}

// Explain runs presence.Explain at the owner, for presence.
func (e *Engine) Explain(ctx context.Context, presentity, watcher presence.Entity) (presence.Explanation, error) {
	return e.ExplainPackage(ctx, presentity, watcher, "")
}

// ExplainPackage is Explain for another event package.
func (e *Engine) ExplainPackage(ctx context.Context, presentity, watcher presence.Entity, pkg string) (presence.Explanation, error) {
	return ask(ctx, e, presentity, &question{kind: asksExplain, watcher: watcher, pkg: pkg},
		func(p *presence.Presentity, now time.Time) presence.Explanation { return p.Explain(now, watcher, pkg) },
		(*transfer.Reader).Explanation)
}

// Watchers lists who watches somebody's presence, and who waits for an answer,
// as the owner knows it; the policy is loaded for it.
func (e *Engine) Watchers(ctx context.Context, of presence.Entity) ([]presence.Watcher, error) {
	return ask(ctx, e, of, &question{kind: asksWatchers}, (*presence.Presentity).Watchers, (*transfer.Reader).Watchers)
}

// Publication finds the live publication of a package ("": presence) that has an
// entity-tag, and calls done with it, or with nil when there is none. The error
// is that of a Submit that was refused; done may get ErrStopped.
func (e *Engine) Publication(of presence.Entity, pkg, tag string, done func(*presence.Source, error)) error {
	return e.shardOf(of).submit(e.asked(of, &question{kind: asksPublication, pkg: pkg, tag: tag},
		func(p *presence.Presentity, now time.Time, err error) {
			if err != nil {
				done(nil, err)
				return
			}
			done(p.Publication(now, pkg, tag), nil)
		},
		func(r *transfer.Reader) {
			var src *presence.Source
			if r.Bool() {
				src = r.Source()
			}
			done(src, r.Err())
		}))
}

// ask has the owner of a presentity look at it.
func ask[T any](ctx context.Context, e *Engine, of presence.Entity, q *question,
	look func(*presence.Presentity, time.Time) T, read func(*transfer.Reader) T) (T, error) {
	type answer struct {
		x   T
		err error
	}
	var none T
	got := make(chan answer, 1)
	err := e.shardOf(of).submit(e.asked(of, q,
		func(p *presence.Presentity, now time.Time, err error) {
			if err != nil {
				got <- answer{err: err}
				return
			}
			got <- answer{x: look(p, now)}
		},
		func(r *transfer.Reader) {
			x := read(r)
			got <- answer{x, r.Err()}
		}))
	if err != nil {
		return none, err
	}
	select {
	case a := <-got:
		return a.x, a.err
	case <-ctx.Done():
		return none, ctx.Err()
	}
}
