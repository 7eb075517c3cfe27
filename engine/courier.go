package engine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"pharos/presence/transfer"
)

// A message goes to the recipient's owner first, so that one place decides about it: what
// the recipient's rules say, who of his devices gets it, and whether it is stored. The owner
// offers it to the edges of its own node and to those on other nodes that have sessions of the
// recipient. A message is handed over once: when the owner dies before it has answered, the
// sender is told ErrGone, and does not know.

// Bounds and times of messages between nodes.
const (
	// MaxMessages is how many messages of other nodes are worked on; ErrOverload beyond.
	MaxMessages = 4096
	// MessageTime is how long one may take.
	MessageTime = 8 * time.Second
	// MaxHanded is how many messages are remembered that edges on other nodes have taken, in
	// case that they come back; beyond, and after HandedTime, a node stores what comes back itself.
	MaxHanded  = 8192
	HandedTime = 10 * time.Minute
)

// origin is where a message came from that an edge of this node was asked to take.
type origin struct {
	node   string
	handed uint64 // as the owner knows it; 0: it does not
}

// errHere has a message that should have gone to another node taken on this one.
var errHere = errors.New("engine: the owner is this node")

// sendFar is Send where there are other nodes.
func (e *Engine) sendFar(ctx context.Context, m *Message) (stored bool, err error) {
	type result struct {
		stored bool
		err    error
	}
	got := make(chan result, 1)
	x := &call{owner: m.To, owned: true, once: true}
	x.make = func(number uint64) []byte {
		return appendInstant(transfer.AppendUint(message(saysMessage), number), m)
	}
	x.here = func() { e.callAnswered(x.number, nil, errHere) }
	x.done = func(answer []byte, err error) { got <- result{len(answer) == 1 && answer[0] == 1, err} }
	if err := e.callOwner(x); err != nil {
		return false, err
	}
	select {
	case r := <-got:
		if errors.Is(r.err, errHere) {
			return e.sendHere(ctx, m)
		}
		return r.stored, r.err
	case <-ctx.Done():
		e.calls.take(x.number)
		return false, ctx.Err()
	}
}

// takeMessage is the owner's part.
func (e *Engine) takeMessage(from string, number uint64, m *Message) {
	e.ifOwner(from, number, m.To, func() {
		if e.carrying.Add(1) > MaxMessages {
			e.carrying.Add(-1)
			e.answer(from, number, nil, ErrOverload)
			return
		}
		e.messages.Go(func() {
			defer e.carrying.Add(-1)
			ctx, cancel := context.WithTimeout(e.work, MessageTime)
			defer cancel()
			stored, err := e.sendHere(ctx, m)
			body := []byte{0}
			if stored {
				body[0] = 1
			}
			e.answer(from, number, body, err)
		})
	})
}

// elsewhere is where the recipient of a message has sessions on other nodes.
func (e *Engine) elsewhere(ctx context.Context, m *Message) []place {
	if e.self == "" || len(e.peers.Nodes()) == 0 {
		return nil
	}
	got := make(chan []place, 1)
	err := e.whereIs(m.To, func(list []place, err error) {
		if err != nil {
			e.log.Warn("where a user has sessions is not known", "of", m.To.String(), "err", err)
		}
		got <- list
	})
	if err != nil {
		return nil
	}
	select {
	case list := <-got:
		return list
	case <-ctx.Done():
		return nil
	}
}

// offerFar offers a message to an edge, "" for all, on other nodes; whether any has taken it.
func (e *Engine) offerFar(ctx context.Context, list []place, edge string, m *Message) bool {
	if len(list) == 0 {
		return false // and nothing is made for it
	}
	var wg sync.WaitGroup
	var taken atomic.Bool
	var handed uint64
	for _, at := range list {
		if edge != "" && at.edge != edge {
			continue
		}
		if handed == 0 && m.keeps() {
			handed = e.handed.add(m)
		}
		atomic.AddInt32(m.takers, 1)
		wg.Add(1)
		x := &call{make: func(number uint64) []byte {
			b := transfer.AppendUint(transfer.AppendUint(message(saysDeliver), number), handed)
			return appendInstant(transfer.AppendString(b, at.edge), m)
		}}
		x.done = func(answer []byte, err error) {
			if err == nil && len(answer) == 1 && answer[0] == 1 {
				taken.Store(true)
			} else {
				atomic.AddInt32(m.takers, -1)
			}
			wg.Done()
		}
		if err := e.call(at.node, x); err != nil {
			x.done(nil, err)
		}
	}
	wg.Wait() // CallTime bounds it
	return taken.Load()
}

// deliver offers a message to an edge of this node, for the recipient's owner.
func (e *Engine) deliver(from string, number, handed uint64, edge string, m *Message) {
	m.takers, m.origin = new(int32), &origin{from, handed}
	*m.takers = 1
	body := []byte{0}
	for i := range e.edges {
		if e.edges[i].name == edge && e.edges[i].Deliver(m) {
			body[0] = 1
		}
	}
	e.answer(from, number, body, nil)
}

// giveBack returns what could not be delivered to the owner that had handed it over; whether
// it may be asked. If it does not know of it any more, it is stored from here.
func (e *Engine) giveBack(m *Message) bool {
	if m.origin == nil || m.origin.handed == 0 {
		return false
	}
	x := &call{make: func(number uint64) []byte {
		return transfer.AppendUint(transfer.AppendUint(message(saysBack), number), m.origin.handed)
	}}
	x.done = func(_ []byte, err error) {
		if err != nil {
			e.putBack(m)
		}
	}
	return e.call(m.origin.node, x) == nil
}

// cameBack takes back a message that another node could not deliver.
func (e *Engine) cameBack(from string, number, handed uint64) {
	m := e.handed.get(handed)
	if m == nil {
		e.answer(from, number, nil, errUnknown)
		return
	}
	e.Undelivered(m)
	e.answer(from, number, nil, nil)
}

// handed remembers messages that other nodes have been asked to take.
type handed struct {
	mu   sync.Mutex
	m    map[uint64]*Message
	list []handedAt // in the order of time
	last uint64
}

type handedAt struct {
	number uint64
	at     time.Time
}

func (h *handed) add(m *Message) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.m == nil {
		h.m = make(map[uint64]*Message)
	}
	now := time.Now()
	for len(h.list) > 0 && (len(h.list) >= MaxHanded || now.Sub(h.list[0].at) > HandedTime) {
		delete(h.m, h.list[0].number)
		h.list = h.list[1:]
	}
	h.last++
	h.m[h.last] = m
	h.list = append(h.list, handedAt{h.last, now})
	return h.last
}

func (h *handed) get(number uint64) *Message {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.m[number]
}

// appendInstant writes a message.
func appendInstant(b []byte, m *Message) []byte {
	b = transfer.AppendEntity(transfer.AppendEntity(b, m.From), m.To)
	for _, s := range [...]string{m.FromResource, m.ToResource, m.ID, m.Type, m.Subject, m.Body, m.Lang, m.Thread, m.ContentType, m.Native.Type, m.Edge} {
		b = transfer.AppendString(b, s)
	}
	b = transfer.AppendBytes(b, m.Native.Bytes)
	b = transfer.AppendBool(transfer.AppendBool(b, m.NoStore), m.NoCopy)
	return transfer.AppendTime(transfer.AppendTime(b, m.Sent), m.Expires)
}

func readMessage(r *transfer.Reader) *Message {
	m := &Message{From: r.Entity(), To: r.Entity()}
	for _, s := range [...]*string{&m.FromResource, &m.ToResource, &m.ID, &m.Type, &m.Subject, &m.Body, &m.Lang, &m.Thread, &m.ContentType, &m.Native.Type, &m.Edge} {
		*s = r.String()
	}
	m.Native.Bytes = r.Bytes()
	m.NoStore, m.NoCopy = r.Bool(), r.Bool()
	m.Sent, m.Expires = r.Time(), r.Time()
	return m
}
