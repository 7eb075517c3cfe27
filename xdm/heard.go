package xdm

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
)

// maxHeard bounds the changes of other nodes that wait to be told here. When there
// are more, all are given up, and the listeners told that they have missed some.
const maxHeard = 10_000

// hearing tells the listeners what other nodes have changed, one change after the
// other, on a goroutine that lives as long as there is something to tell: whoever
// brings the changes must not wait for users that are held.
type hearing struct {
	mu     sync.Mutex
	queue  []*Change
	missed bool
	busy   bool
	wg     sync.WaitGroup
}

// Heard takes a change that was made on another node: listeners are told of it with
// Remote set and the user held, in the order in which the changes came. Those of different nodes may
// overtake one another, so that Version may be less than one that was told before.
// It does not block.
func (d *Documents) Heard(c *Change) {
	c.Remote = true
	d.heard(func(h *hearing) {
		if len(h.queue) >= maxHeard {
			h.queue, h.missed = nil, true
			return
		}
		h.queue = append(h.queue, c)
	})
}

// Missed says that changes on other nodes may have been lost: everything that was
// read before counts as changed. Listeners are told a Change with Remote and without
// User. It does not block.
func (d *Documents) Missed() {
	d.heard(func(h *hearing) { h.queue, h.missed = nil, true })
}

func (d *Documents) heard(add func(*hearing)) {
	h := &d.hearing
	h.mu.Lock()
	defer h.mu.Unlock()
	add(h)
	if !h.busy {
		h.busy = true
		h.wg.Go(d.tellHeard)
	}
}

// Settle waits until everything is told that was heard. It is for the end, when
// nothing more comes.
func (d *Documents) Settle() { d.hearing.wg.Wait() }

func (d *Documents) tellHeard() {
	h := &d.hearing
	for {
		h.mu.Lock()
		queue, missed := h.queue, h.missed
		h.queue, h.missed = nil, false
		if len(queue) == 0 && !missed {
			h.busy = false
			h.mu.Unlock()
			return
		}
		h.mu.Unlock()
		if missed {
			d.listened(&Change{Remote: true})
		}
		for _, c := range queue {
			_, release := d.Hold(context.Background(), c.User)
			d.listened(c)
			release()
		}
	}
}

// listened calls the listeners.
func (d *Documents) listened(c *Change) {
	for _, f := range d.listeners {
		f(c)
	}
}

// changeVersion begins what Encode writes. A node of another version passes over
// what it does not know, and takes it as missed.
const changeVersion = 1

// Encode writes a change for other nodes: documents without their bodies, which are in
// the store.
func (c *Change) Encode() []byte {
	o := *c
	o.Documents = make([]DocumentChange, len(c.Documents))
	for i, d := range c.Documents {
		o.Documents[i] = DocumentChange{d.Before.head(), d.After.head()}
	}
	b, err := json.Marshal(&o)
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return append([]byte{changeVersion}, b...)
}

// DecodeChange reads what Encode has written on another node.
func DecodeChange(b []byte) (*Change, error) {
	if len(b) == 0 || b[0] != changeVersion {
		return nil, fmt.Errorf("xdm: a change in a form that this version does not know")
	}
	c := new(Change)
	if err := json.Unmarshal(b[1:], c); err != nil {
		return nil, fmt.Errorf("xdm: change of another node: %w", err)
	}
	for _, d := range c.Documents {
		if d.Before == nil && d.After == nil {
			return nil, fmt.Errorf("xdm: change of another node: of no document")
		}
	}
	return c, nil
}

// head is a document without its body; nil-safe.
func (d *Document) head() *Document {
	if d == nil {
		return nil
	}
	h := *d
	h.Body = nil
	return &h
}
