package engine

import (
	"errors"
	"time"

	"pharos/presence"
	"pharos/presence/transfer"
)

// requested takes a request of another node, on the goroutine that has received it.
func (s *shard) requested(node string, to presence.Entity, number uint64, r *transfer.Reader) {
	n := r.Uint()
	if n > MaxTogether {
		n = 0
	}
	items := make([]item, 0, n)
	refused := new(bool)
	for i := range n {
		it := item{to: to, asked: true, far: &far{from: node, refused: refused}}
		question := r.Bool()
		it.far.again = r.Bool()
		if question {
			q := readQuestion(r, s.e.mirror)
			it.far.light, q.from = q.light(), node
			it.look = func(p *presence.Presentity, now time.Time, err error) {
				var body []byte
				if err == nil {
					body = q.answer(s, to, p, now)
				}
				s.answerRequest(node, number, i, false, err, body)
				if err == nil {
					q.after(s, to, node)
				}
			}
		} else {
			it.in = r.Input()
			it.done = func(out presence.Outcome, err error) {
				var body []byte
				if err == nil {
					body = transfer.AppendOutcome(nil, &out)
				}
				s.answerRequest(node, number, i, false, err, body)
			}
		}
		items = append(items, it)
	}
	err := r.Err()
	if err == nil && n == 0 {
		err = transfer.ErrMalformed
	}
	s.mu.Lock()
	switch {
	case err != nil:
	case s.stopped:
		err = ErrStopped
	case s.open.Load()+int64(n) > s.e.queue:
		s.count.overloads.Add(n)
		err = ErrOverload
	}
	if err != nil {
		s.mu.Unlock()
		_ = s.e.post(node, frameOf(reply(number, 0, true, err, nil))) // who cannot be told hears of our end
		return
	}
	s.open.Add(int64(n))
	late := func() {
		for i := range items {
			s.refuse(&items[i], errElsewhere) // who has sent it knows how long it may wait
		}
	}
	s.inbox = append(s.inbox, item{far: &far{run: func() { s.takeRequest(to, items) }, late: late, from: node}})
	s.rouse()
}

// takeRequest takes the items of a request, or none.
func (s *shard) takeRequest(to presence.Entity, items []item) {
	if s.residents[to] == nil {
		if node, ok := s.e.peers.Owner(to); ok && node != s.e.self {
			*items[0].far.refused = true
		}
	}
	for i := range items {
		items[i].far.gones = len(s.departures)
		if *items[i].far.refused {
			s.refuse(&items[i], errElsewhere)
			continue
		}
		s.take(&items[i])
	}
}

func reply(number, place uint64, rest bool, err error, body []byte) []byte {
	m := transfer.AppendUint(message(saysReply), number)
	m = transfer.AppendUint(m, place)
	m = transfer.AppendBool(m, rest)
	return append(wireErrors.Append(m, err), body...)
}

// answerRequest answers one item of another node's request.
func (s *shard) answerRequest(node string, number, place uint64, rest bool, err error, body []byte) {
	s.send(node, reply(number, place, rest, s.e.abroad(err), body))
}

// doneBefore is for an input that may have been done by an owner that has died before it
// could say so, and now fails.
func (s *shard) doneBefore(r *resident, it *item, err error) (presence.Outcome, error) {
	switch in := it.in.(type) {
	case presence.Publish:
		// RFC 3903 §4.4: the tag that was asked for is gone, since the one that replaces it is there.
		if errors.Is(err, presence.ErrNoMatch) && in.NewTag != "" && r.p.Publication(s.now, in.Package, in.NewTag) != nil {
			return presence.Outcome{Tag: in.NewTag, Lifetime: in.Lifetime}, nil
		}
	case presence.Retract:
		if errors.Is(err, presence.ErrNoMatch) {
			return presence.Outcome{}, nil
		}
	case presence.Unwatch:
		if errors.Is(err, presence.ErrNoSubscription) {
			return presence.Outcome{State: presence.Terminated}, nil
		}
	}
	return presence.Outcome{}, err
}
