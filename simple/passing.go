package simple

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pharos/presence"
)

// A dialog goes from node to node when its watcher's SUBSCRIBE comes to another one, perhaps to several at the same
// time. Two things keep its CSeq rising (RFC 3261 §12.2.1.1):
//
// A number is one holder's only. Blocks of them are taken by replacing the very state of the subscription that was read
// (Edge.reserve, presence.Watch.Was): whoever comes second has to look again, and begins above the block of the first.
//
// The new holder sends nothing before the one that it has the dialog from has let it go, and that one before it was let go
// itself; else a lower number could still come after a higher one. Who does not answer within engine.CallTime is not waited for.
//
// Of all that the nodes say to each other about a dialog the ceiling of CSeq tells what is newer: it rises with each holder.

// handovers are what this node waits for before it says anything in a dialog, or lets it be taken over: that a former
// holder lets it go, or that the watcher answers what was said last.
type handovers struct {
	mu      sync.Mutex
	of      map[string][]*handover // by tag
	sending map[*dialog]*handover  // of dialogs that have ended while a NOTIFY was under way
}

// answerWithin is how long the answer to a former holder's last NOTIFY is waited for.
const answerWithin = 500 * time.Millisecond

type handover struct {
	ceiling uint32   // of what it was taken over from
	waiting []func() // who has it next waits for its end
}

func (p *handovers) begin(id string, ceiling uint32) *handover {
	x := &handover{ceiling: ceiling}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil {
		p.of = map[string][]*handover{}
	}
	p.of[id] = append(p.of[id], x)
	return x
}

// end says that the former holder sends nothing any more, or that the dialog was not taken over. It reports whether
// that was the last that this node has waited for.
func (p *handovers) end(id string, x *handover) (last bool) {
	p.mu.Lock()
	list := slices.DeleteFunc(p.of[id], func(o *handover) bool { return o == x })
	if last = len(list) == 0; last {
		delete(p.of, id)
	} else {
		p.of[id] = list
	}
	p.mu.Unlock()
	for _, f := range x.waiting {
		f()
	}
	return last
}

func (p *handovers) under(id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.of[id]) > 0
}

// after calls done when all has ended that was begun below a ceiling.
func (p *handovers) after(id string, below uint32, done func()) {
	left := new(atomic.Int32)
	left.Store(1)
	count := func() {
		if left.Add(-1) == 0 {
			done()
		}
	}
	p.mu.Lock()
	for _, x := range p.of[id] {
		if x.ceiling < below {
			left.Add(1)
			x.waiting = append(x.waiting, count)
		}
	}
	p.mu.Unlock()
	count()
}

// linger notes that a dialog ends at this node, or begins anew, while a NOTIFY is under way: the last one, or one before that nobody
// waits for any more and that may not even have left. d.mu is held.
func (e *Edge) linger(d *dialog) {
	if !e.bindings.shared || !d.busy && !d.loose || d.ended {
		return
	}
	x := e.passes.begin(d.id, d.ceiling)
	e.passes.mu.Lock()
	if e.passes.sending == nil {
		e.passes.sending = map[*dialog]*handover{}
	}
	e.passes.sending[d] = x
	e.passes.mu.Unlock()
	time.AfterFunc(answerWithin, func() { e.lingered(d) })
}

// lingered says that the NOTIFY was answered, or that nobody waits any more.
func (e *Edge) lingered(d *dialog) {
	e.passes.mu.Lock()
	x := e.passes.sending[d]
	delete(e.passes.sending, d)
	e.passes.mu.Unlock()
	if x != nil {
		e.passed(d.id, x)
	}
}

// enter makes a dialog known that was revived. It is told nothing while this node waits for another to let it go.
func (e *Edge) enter(d *dialog) {
	e.restored.Store(time.Now().UnixNano())
	e.dialogs.reserve(d.watcher, int(^uint(0)>>1))
	d.passing = true
	e.dialogs.add(d)
	e.lookLater()
	if d.pkg.begin != nil {
		d.pkg.begin(e, d)
	}
	if !e.passes.under(d.id) {
		e.letGo(d)
	}
}

// letGo lets a dialog be told that no other node has any more.
func (e *Edge) letGo(d *dialog) {
	d.mu.Lock()
	d.passing = false
	ready := d.ready()
	d.mu.Unlock()
	if ready {
		e.out.add([]*dialog{d})
	}
}

// leaveTo has the node that had a dialog let it go, and what is below a ceiling. What waits in the dialog here is told then. Had
// that one nothing, it may be another yet: see letGoElsewhere.
func (e *Edge) leaveTo(former, id string, ceiling uint32, x *handover) {
	done := func(err error) {
		if err != nil {
			e.log.Info("simple: the dialog's former node does not answer", "sub", id, "node", former, "err", err)
		}
		e.passed(id, x)
	}
	err := e.engine.CallEdge(former, Name, appendDrop(nil, id, ceiling), func(answer []byte, err error) {
		if done(err); err == nil && len(answer) == 1 && answer[0] == droppedNone {
			e.dropElsewhere(id, ceiling, former)
		}
	})
	if err != nil {
		done(err)
	}
}

// letGoElsewhere has all other nodes let go of a dialog that its owner holds to be this node's, if nobody knows it here: it was taken
// over by a SUBSCRIBE whose outcome did not get here, so that who had it was not told. They are not waited for: the owner tells them
// nothing any more.
func (e *Edge) letGoElsewhere(sub *presence.Subscription) {
	var s dialogState
	if e.dialogs.get(sub.ID) != nil || s.decode(sub.Opaque) != nil {
		return
	}
	e.dropElsewhere(sub.ID, s.ceiling, "")
}

// dropElsewhere tells all other nodes but one to let a dialog go.
func (e *Edge) dropElsewhere(id string, ceiling uint32, but string) {
	for _, node := range e.engine.Nodes() {
		if node == but {
			continue
		}
		if err := e.engine.CallEdge(node, Name, appendDrop(nil, id, ceiling), func([]byte, error) {}); err != nil {
			e.log.Info("simple: a node is not told that a dialog is not its own", "sub", id, "node", node, "err", err)
		}
	}
}

// passed ends a pass.
func (e *Edge) passed(id string, x *handover) {
	if !e.passes.end(id, x) {
		return
	}
	if d := e.dialogs.get(id); d != nil {
		e.letGo(d)
	}
}

// What a node answers that was told to let a dialog go; earlier versions say nothing.
const (
	droppedNone = iota // it had no such dialog
	droppedSome
)

// dropped lets a dialog go that another node has taken over with a ceiling, and answers when this node is sure to send nothing below
// that any more. One that has come back here meanwhile is newer, and stays.
func (e *Edge) dropped(id string, ceiling uint32, answer func([]byte)) {
	had := byte(droppedNone)
	if d := e.dialogs.get(id); d != nil {
		had = droppedSome
		d.mu.Lock()
		older := d.ceiling < ceiling
		if older {
			e.linger(d)
			d.end()
		}
		d.mu.Unlock()
		if older {
			e.dialogs.remove(d)
			e.engine.Left(d.presentity, d.id)
		}
	}
	e.passes.after(id, ceiling, func() { answer([]byte{had}) })
}
