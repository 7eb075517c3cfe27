package engine

import (
	"errors"
	"sync"
	"time"
)

// Bounds of what waits for a node whose link is full.
const (
	// MaxOutbox is how many bytes may wait in front of the full link to one node. Beyond,
	// frames are dropped, and watchers there are told everything again once there is room.
	MaxOutbox = 32 << 20
	// OutboxTime is the time until a full link is tried again.
	OutboxTime = 20 * time.Millisecond
)

// outbox keeps frames while the link to a node is full, in order.
type outbox struct {
	mu    sync.Mutex
	of    map[string]*waitingFrames
	timer *time.Timer // nil: nothing waits
	ended bool
}

type waitingFrames struct {
	frames  [][]byte
	bytes   int
	dropped bool // something was lost, and has to be told again
}

// post sends a frame, or keeps it until there is room. An error: the node is not there.
func (e *Engine) post(node string, frame []byte) error {
	o := &e.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	w := o.of[node]
	if w == nil {
		err := e.peers.Send(node, frame)
		if !errors.Is(err, ErrOverload) || o.ended {
			return err
		}
		w = &waitingFrames{}
		if o.of == nil {
			o.of = make(map[string]*waitingFrames)
		}
		o.of[node] = w
		if o.timer == nil {
			o.timer = time.AfterFunc(OutboxTime, e.sendWaiting)
		}
	}
	if w.bytes+len(frame) > MaxOutbox {
		w.dropped = true
		return ErrOverload
	}
	w.frames = append(w.frames, frame)
	w.bytes += len(frame)
	return nil
}

// sendWaiting tries again.
func (e *Engine) sendWaiting() {
	o := &e.outbox
	o.mu.Lock()
	defer o.mu.Unlock()
	o.timer = nil
	for node, w := range o.of {
		for len(w.frames) > 0 {
			err := e.peers.Send(node, w.frames[0])
			if errors.Is(err, ErrOverload) {
				break
			}
			if err != nil { // it has gone, and everything that it is to hear with it
				w.frames, w.dropped = nil, false
				break
			}
			w.bytes -= len(w.frames[0])
			w.frames[0] = nil
			w.frames = w.frames[1:]
		}
		if len(w.frames) > 0 {
			continue
		}
		delete(o.of, node)
		if w.dropped {
			e.retell(node)
		}
	}
	if len(o.of) > 0 && !o.ended {
		o.timer = time.AfterFunc(OutboxTime, e.sendWaiting)
	}
}

// forget drops what waits for a node that has gone.
func (o *outbox) forget(node string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.of, node)
}

// close is for the end.
func (o *outbox) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if o.timer != nil {
		o.timer.Stop()
		o.timer = nil
	}
	clear(o.of)
}
