package simple

import (
	"encoding/binary"
	"math/rand/v2"
	"strings"
	"time"

	"pharos/engine"
	"pharos/load"
	"pharos/presence"
)

// Of several nodes a dialog is at the one to which its watcher is connected. It goes
// to another when that node has died, when the watcher comes to another, or when this
// one has been started anew: its state is saved with the subscription.

// Adopt takes over dialogs whose node has gone (engine.ClusterEdge). Watchers on UDP are
// told from here, with our Contact, so that their next SUBSCRIBE comes here (RFC
// 6665 §4.4.1, RFC 3261 §12.2.1.1: NOTIFY is a target refresh). Those whose connection has gone
// with the node are waited for.
func (e *Edge) Adopt(_ presence.Entity, subs []*presence.Subscription) {
	for _, sub := range subs {
		if sub.Via.Edge == Name && sub.Via.Handle == "" {
			e.adopt(sub)
		}
	}
}

// eraPause is the time until a dialog is tried again while this node may not act, and until an owner is
// asked again who does not answer.
const eraPause = 300 * time.Millisecond

// sure reports that a dialog is this node's. While the node may not act nothing is sent; and when
// it had to stop, others may have adopted the dialog: its owner is asked. d.mu is held.
func (e *Edge) sure(d *dialog) bool {
	era := e.engine.Era()
	switch {
	case era == 0:
		e.asks.pause(e, d)
		return false
	case d.era == era || d.fetch:
		return true
	}
	e.asks.add(e, d, nil)
	return false
}

// old reports that a dialog is of an earlier era.
func (e *Edge) old(d *dialog) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.era != e.engine.Era()
}

// A watcher who says 500 to a NOTIFY may have got one with a higher CSeq (RFC 3261 §12.2.2). Of several nodes two can have
// a dialog: its watcher has got no answer in time and has sent his SUBSCRIBE to another node too, and the one that came to the
// owner last is not the one that he got an answer to last, or the node that he has left has not heard of it. So the owner is asked: the dialog is
// dropped where it is another's, else it goes on above every number that is reserved for it anywhere, at once after the first
// 500, later when after is over. d.mu is held.
func (e *Edge) passedBy(d *dialog, after time.Duration) {
	e.asks.add(e, d, func(sub *presence.Subscription) {
		d.cseq = max(d.cseq, d.ceiling) // what the other has used meanwhile is not more than a block above
		var s dialogState
		if s.decode(sub.Opaque) == nil {
			d.cseq = max(d.cseq, s.ceiling)
		}
		if d.fails > 1 {
			e.wait(d, after)
		}
	})
}

// ask finds out whether a dialog is this node's still. What waits in it is told then, after ours (d.mu is held), else the
// dialog is another's and forgotten.
func (e *Edge) ask(d *dialog, era uint64, ours func(*presence.Subscription)) {
	e.find(d.presentity, d.id, func(sub *presence.Subscription, err error) {
		if err == nil && sub != nil && sub.Via.Node != e.engine.Self() {
			e.dialogs.drop(d)
			e.engine.Left(d.presentity, d.id)
			return
		}
		if err == nil && sub != nil && d.overtaken(sub) {
			if e.adopt(sub) == nil {
				e.dialogs.drop(d)
			}
			return
		}
		d.mu.Lock()
		d.doubted = false
		if err == nil && sub == nil {
			d.era = era
			d.mu.Unlock()
			e.over(d)
			return
		}
		if err != nil {
			e.asks.pause(e, d)
		} else {
			d.era = era
			if ours != nil && !d.ended {
				ours(sub)
			}
		}
		ready := d.ready()
		d.mu.Unlock()
		if ready {
			e.out.add([]*dialog{d})
		}
	})
}

// overtaken reports that others have reserved CSeq for a dialog after this node did: it was theirs meanwhile, though it
// is this node's now. So is one that was handed away while this node stood still, and came back before the owner could be asked.
func (d *dialog) overtaken(sub *presence.Subscription) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.saved != presence.Sum(sub.Opaque)
}

// reserve makes the state with which d takes its next block of CSeq, and says what that replaces: see
// presence.Watch. Of all that would take a block above the same state, on whichever node, one gets it, so that
// no number is two dialogs'. d.mu is held.
func (e *Edge) reserve(d *dialog, s *dialogState) (opaque []byte, was uint64) {
	if !e.bindings.shared {
		return d.save(s), 0
	}
	s.part[partStamp] = newStamp()
	opaque, was = d.save(s), d.saved
	d.saved = presence.Sum(opaque)
	return opaque, was
}

func newStamp() string {
	return string(binary.BigEndian.AppendUint64(nil, rand.Uint64()))
}

// unsaved says that a state has not been saved, as far as is known. d.mu is held.
func (d *dialog) unsaved(opaque []byte, was uint64) {
	if was != 0 && d.saved == presence.Sum(opaque) {
		d.saved = was
	}
}

// adopt makes a dialog of what was saved of it; nil when it cannot be read. One of an earlier era, or from before
// another node had it, ends: what its watcher may not have got yet is told in the new one.
func (e *Edge) adopt(sub *presence.Subscription) *dialog {
	var waits notice
	if d := e.dialogs.get(sub.ID); d != nil {
		if !e.old(d) && !d.overtaken(sub) {
			return d
		}
		d.mu.Lock()
		waits = d.waits()
		d.mu.Unlock()
	}
	d := e.revive(sub)
	if d == nil {
		return nil
	}
	e.enter(d)
	e.tellAgain(d, waits)
	return d
}

// tellAgain tells in a dialog what its watcher may not have got in the one that it comes from.
func (e *Edge) tellAgain(d *dialog, waits notice) {
	if waits.state == 0 || waits.state == presence.Terminated {
		return
	}
	d.mu.Lock()
	switch {
	case d.next.state != 0:
		d.next.full = true // it is newer
	case !d.busy:
		waits.full = true
		d.push(waits)
	}
	ready := d.ready()
	d.mu.Unlock()
	if ready {
		e.out.add([]*dialog{d})
	}
}

// waits is the newest notice that the watcher may not have got. d.mu is held.
func (d *dialog) waits() notice {
	if m := d.memory; m != nil && len(m.queue) > 0 {
		return m.queue[len(m.queue)-1]
	}
	if d.next.state == 0 && d.busy {
		return d.now
	}
	return d.next
}

// revive is a dialog of which nobody knows yet, made of what was saved; nil when that cannot be read.
func (e *Edge) revive(sub *presence.Subscription) *dialog {
	d, err := restored(sub)
	if err != nil {
		e.log.Warn("simple: dialog not taken over", "sub", sub.ID, "watcher", sub.Watcher.String(), "err", err)
		return nil
	}
	e.retarget(d)
	d.era, d.saved = e.engine.Era(), presence.Sum(sub.Opaque)
	return d
}

// retarget gives a dialog that was another node's our address. Nobody knows d yet. Where the listeners
// are not open yet, flowHere does so later.
func (e *Edge) retarget(d *dialog) {
	s := d.load()
	if !e.flowHere(d, &s) && !strings.HasPrefix(s.part[partFlow], udpToken) && e.address != "" {
		s.part[partContact] = e.address
		d.state = s.encode()
	}
}

// flowHere finds a way from a socket of this node to a watcher on UDP who spoke to another node.
// d.mu is held, where others know d.
func (e *Edge) flowHere(d *dialog, s *dialogState) bool {
	f, ok := e.stack.FlowLike(s.part[partFlow])
	if !ok {
		return false
	}
	d.flow = f
	s.part[partFlow], s.part[partContact] = f.Token(), "sip:"+e.contact(f)
	d.state = s.encode()
	return true
}

// Lost says again what the edge has told owners who have gone, and what is not saved
// (engine.ClusterEdge): the lists' subscriptions to their members.
func (e *Edge) Lost(lost func(presence.Entity) bool) {
	e.doubt()
	e.expectWord(lost)
	for _, l := range e.lists.all() {
		var ask []*member
		l.mu.Lock()
		for who, m := range l.list.members {
			if !l.over && !m.asked && m.state != 0 && m.state != presence.Terminated && lost(who) {
				m.asked = true
				l.waiting++
				ask = append(ask, m)
			}
		}
		l.mu.Unlock()
		if len(ask) > 0 {
			// It may wait: see listing.watch.
			e.lists.background(func() {
				for _, m := range ask {
					l.watch(m)
				}
			})
		}
	}
}

// doubt finds the dialogs that are of an earlier era, so that they do not stay when they are
// others' by now.
func (e *Edge) doubt() {
	era := e.engine.Era()
	if era == 0 {
		return
	}
	var old []*dialog
	for i := range e.dialogs.shard {
		s := &e.dialogs.shard[i]
		s.RLock()
		for _, d := range s.byID {
			d.mu.Lock()
			if d.doubtful(era) {
				old = append(old, d)
			}
			d.mu.Unlock()
		}
		s.RUnlock()
	}
	e.asks.all(e, old)
}

func (t *listTable) all() []*listing {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	all := make([]*listing, 0, len(t.byID))
	for _, l := range t.byID {
		all = append(all, l)
	}
	return all
}

// claim takes over the dialog of a SUBSCRIBE that has come to this node, though it was another's:
// the watcher has lost his connection to that one, or was sent here. Who it is is
// proved first. There is none: 481.
func (r *request) claim(tag string, next func(*request, *dialog)) {
	presentity, ok := entityOf(r.msg.To().URI)
	from, known := r.sender()
	if !known {
		return
	}
	if !ok || !r.edge.ours(presentity.Domain) {
		r.fail(481, "")
		return
	}
	if !r.enter(load.Refresh) {
		return
	}
	r.authenticate(from, func(r *request) { r.take(presentity, tag, next) })
}

// maxTries is how often a dialog that others take over meanwhile is looked up anew for one SUBSCRIBE.
const maxTries = 3

// take finds the dialog of a SUBSCRIBE at the owner of the presentity. One of another node is known here only from refresh on, and is this
// node's when that is saved: until then it goes on where it is.
func (r *request) take(presentity presence.Entity, tag string, next func(*request, *dialog)) {
	e := r.edge
	r.former = ""
	e.findFor(r.who, presentity, tag, func(sub *presence.Subscription, err error) {
		if err != nil {
			r.failed(err)
			return
		}
		d := (*dialog)(nil)
		switch {
		case sub == nil || sub.Via.Edge != Name || sub.Watcher != r.who:
		case sub.Via.Node == e.engine.Self():
			e.letGoElsewhere(sub)
			d = e.adopt(sub)
		default:
			if d = e.revive(sub); d != nil {
				r.former = sub.Via.Node
			}
		}
		if d == nil {
			if d := e.dialogs.get(tag); d != nil {
				e.dialogs.drop(d) // of an earlier era
			}
			r.fail(481, "")
			return
		}
		next(r, d)
	})
}

// recover takes over a dialog that the owner of the presentity takes to be here, and
// passes on what it was to be told; false where there is one node only.
func (e *Edge) recover(n *presence.Notice, t *presence.Target) bool {
	if !e.bindings.shared {
		return false
	}
	one := *n
	one.Targets = []presence.Target{*t}
	one.Answer = true // what the watcher was told last, nobody knows here: he is told everything
	e.find(n.Presentity, t.Sub, func(sub *presence.Subscription, err error) {
		switch {
		case err != nil:
			e.log.Warn("simple: watcher not told: dialog not found", "sub", t.Sub, "err", err)
		case sub == nil || sub.Via.Node != e.engine.Self():
			e.engine.Left(n.Presentity, one.Targets[0].Sub) // ended, or at another node by now
		case len(sub.Opaque) == 0:
			e.forget(n.Presentity, one.Targets[0].Sub) // a fetch
		default:
			e.letGoElsewhere(sub)
			if e.adopt(sub) == nil {
				e.forget(n.Presentity, one.Targets[0].Sub) // not to be read
				return
			}
			e.Notify(&one)
		}
	})
	return true
}

// find asks the owner of a presentity for a subscription; nil: there is none.
func (e *Edge) find(presentity presence.Entity, sub string, done func(*presence.Subscription, error)) {
	err := e.engine.CallOwner(presentity, Name, appendFind(nil, presentity, sub), func(answer []byte, err error) {
		if err == nil && len(answer) == 0 {
			err = engine.ErrTransient // it could not look
		}
		if err != nil {
			done(nil, err)
			return
		}
		done(decodeFound(answer))
	})
	if err != nil {
		done(nil, err)
	}
}

// findFor is find for a watcher's dialog: that of a list is with a URI of the list's own, and is the watcher's subscription to himself.
func (e *Edge) findFor(watcher, presentity presence.Entity, sub string, done func(*presence.Subscription, error)) {
	e.find(presentity, sub, func(found *presence.Subscription, err error) {
		if err != nil || found != nil || presentity == watcher {
			done(found, err)
			return
		}
		e.find(watcher, sub, done)
	})
}

// found answers find.
func (e *Edge) found(presentity presence.Entity, id string, answer func([]byte)) {
	err := e.engine.Subscription(presentity, id, func(sub *presence.Subscription, err error) {
		if err != nil {
			answer(nil)
			return
		}
		answer(appendFound(nil, sub))
	})
	if err != nil {
		answer(nil)
	}
}
