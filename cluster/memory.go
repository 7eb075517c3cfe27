package cluster

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// memoryQueue bounds the datagrams that wait for one node; more are lost, as on any Bus.
const memoryQueue = 1 << 16

// Memory is a Bus within one process, with faults that can be set: for stories and
// tests. It keeps to the clock of testing/synctest, and without faults it delivers
// everything, at once and in order. Its methods are safe for concurrent use.
type Memory struct {
	mu     sync.Mutex
	random *rand.Rand
	nodes  map[string]*memoryBus
	all    Faults
	pairs  map[pair]Faults
	cuts   map[pair]bool
	frozen map[string]bool
	number uint64 // of datagrams, so that those due at once keep their order
}

// Faults of what one node sends to another.
type Faults struct {
	Delay     time.Duration // of each datagram
	Jitter    time.Duration // random, on top of Delay: datagrams overtake each other
	Loss      float64       // share that is lost, 0 to 1
	Duplicate float64       // share that comes twice
}

type pair struct{ from, to string }

// NewMemory makes a bus that nobody has joined. Its random numbers are the same each time.
func NewMemory() *Memory {
	return &Memory{
		random: rand.New(rand.NewPCG(1, 2)), nodes: map[string]*memoryBus{},
		pairs: map[pair]Faults{}, cuts: map[pair]bool{}, frozen: map[string]bool{},
	}
}

// Join makes a node's end of the bus. Who had the name before is off the bus.
func (m *Memory) Join(name string) Bus {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := &memoryBus{m: m, name: name, wake: make(chan struct{}, 1)}
	m.nodes[name] = b
	return b
}

// Seed begins other random numbers.
func (m *Memory) Seed(seed uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.random = rand.New(rand.NewPCG(seed, 2))
}

// Faults sets the faults between all nodes, except those that Between has set.
func (m *Memory) Faults(f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = f
}

// Between sets the faults of what from sends to to; not of the other direction.
func (m *Memory) Between(from, to string, f Faults) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.pairs[pair{from, to}] = f
}

// Cut separates two nodes: nothing gets through in either direction, and what is
// under way is lost.
func (m *Memory) Cut(a, b string) {
	m.CutOneWay(a, b)
	m.CutOneWay(b, a)
}

// CutOneWay loses what from sends to to.
func (m *Memory) CutOneWay(from, to string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cuts[pair{from, to}] = true
}

// Isolate cuts a node off from all others that are on the bus now.
func (m *Memory) Isolate(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for other := range m.nodes {
		if other != name {
			m.cuts[pair{name, other}] = true
			m.cuts[pair{other, name}] = true
		}
	}
}

// Heal ends all cuts and faults; frozen nodes stay so.
func (m *Memory) Heal() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.cuts)
	clear(m.pairs)
	m.all = Faults{}
}

// Freeze makes a node's end stand still, as SIGSTOP does: what is sent to it waits, up to
// a bound, and what it sends waits until Thaw at the others.
func (m *Memory) Freeze(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.frozen[name] = true
}

// Thaw ends Freeze: everything that has waited comes now.
func (m *Memory) Thaw(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.frozen, name)
	for _, b := range m.nodes {
		b.poke()
	}
}

// Stop takes a node off the bus, as kill -9 does: what it still sends goes nowhere,
// and nothing comes to it. The name can Join again.
func (m *Memory) Stop(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.nodes, name)
}

// send is called with mu held.
func (m *Memory) send(from *memoryBus, to *memoryBus, b []byte) {
	p := pair{from.name, to.name}
	f, ok := m.pairs[p]
	if !ok {
		f = m.all
	}
	if m.cuts[p] || f.Loss > 0 && m.random.Float64() < f.Loss {
		return
	}
	copies := 1
	if f.Duplicate > 0 && m.random.Float64() < f.Duplicate {
		copies = 2
	}
	for range copies {
		if len(to.queue) >= memoryQueue {
			return
		}
		due := time.Now().Add(f.Delay)
		if f.Jitter > 0 {
			due = due.Add(time.Duration(m.random.Int64N(int64(f.Jitter))))
		}
		m.number++
		heap.Push(&to.queue, letter{from: from.name, b: bytes.Clone(b), due: due, number: m.number})
	}
	to.poke()
}

// memoryBus is one node's end. All but name and wake is guarded by Memory's mutex.
type memoryBus struct {
	m       *Memory
	name    string
	receive func(string, []byte)
	running bool
	queue   letters
	wake    chan struct{}
}

func (b *memoryBus) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// Send is Bus's.
func (b *memoryBus) Send(node string, d []byte) error {
	if err := sendable(b.name, node, d); err != nil {
		return err
	}
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if to := b.m.nodes[node]; to != nil && b.m.nodes[b.name] == b {
		b.m.send(b, to, d)
	}
	return nil
}

// Broadcast is Bus's.
func (b *memoryBus) Broadcast(d []byte) error {
	if err := sendable(b.name, "", d); err != nil {
		return err
	}
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	if b.m.nodes[b.name] != b {
		return nil
	}
	for _, to := range b.m.nodes {
		if to != b {
			b.m.send(b, to, d)
		}
	}
	return nil
}

// Receive is Bus's.
func (b *memoryBus) Receive(f func(string, []byte)) {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	b.receive = f
}

// Reached is true while both run and nothing separates them.
func (b *memoryBus) Reached(node string) bool {
	b.m.mu.Lock()
	defer b.m.mu.Unlock()
	m, to := b.m, b.m.nodes[node]
	return to != nil && to != b && to.running && m.nodes[b.name] == b && !m.frozen[node] && !m.frozen[b.name] &&
		!m.cuts[pair{b.name, node}] && !m.cuts[pair{node, b.name}]
}

// Run delivers until ctx ends.
func (b *memoryBus) Run(ctx context.Context) error {
	b.m.mu.Lock()
	b.running = true
	b.m.mu.Unlock()
	defer func() {
		b.m.mu.Lock()
		defer b.m.mu.Unlock()
		b.running = false
		if b.m.nodes[b.name] == b {
			delete(b.m.nodes, b.name)
		}
	}()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		d, receive, wait, ok := b.next()
		if ok {
			if receive != nil {
				receive(d.from, d.b)
			}
			if ctx.Err() != nil {
				return nil
			}
			continue
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return nil
		case <-b.wake:
		case <-timer.C:
		}
	}
}

// next takes the datagram that is due, or says how long there is none.
func (b *memoryBus) next() (d letter, receive func(string, []byte), wait time.Duration, ok bool) {
	m := b.m
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.frozen[b.name] || m.nodes[b.name] != b {
		return d, nil, time.Hour, false
	}
	var held letters // of those who are frozen: they come when these thaw
	defer func() {
		for _, h := range held {
			heap.Push(&b.queue, h)
		}
	}()
	for len(b.queue) > 0 {
		if wait := time.Until(b.queue[0].due); wait > 0 {
			return d, nil, wait, false
		}
		d := heap.Pop(&b.queue).(letter)
		switch {
		case m.cuts[pair{d.from, b.name}]: // cut while it was under way
		case m.frozen[d.from]:
			held = append(held, d)
		default:
			return d, b.receive, 0, true
		}
	}
	return d, nil, time.Hour, false
}

// letter is a datagram under way.
type letter struct {
	from   string
	b      []byte
	due    time.Time
	number uint64
}

// letters is a heap, the earliest first.
type letters []letter

func (q letters) Len() int { return len(q) }
func (q letters) Less(i, j int) bool {
	if !q[i].due.Equal(q[j].due) {
		return q[i].due.Before(q[j].due)
	}
	return q[i].number < q[j].number
}
func (q letters) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *letters) Push(x any)   { *q = append(*q, x.(letter)) }
func (q *letters) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = letter{}
	*q = old[:len(old)-1]
	return last
}

// sendable tells whether a Bus can ever carry b; node is "" for a broadcast.
func sendable(self, node string, b []byte) error {
	switch {
	case len(b) > MaxDatagram:
		return fmt.Errorf("cluster: a datagram of %d bytes is more than the bus carries", len(b))
	case node == self:
		return fmt.Errorf("cluster: %s sends to itself", self)
	}
	return nil
}
