package simple

import (
	"strings"

	"pharos/filter"
	"pharos/presence"
)

// A telling is what a NOTIFY to one dialog is made of, where the package's body
// depends on more than the view.
type telling struct {
	edge   *Edge
	dialog *dialog
	state  dialogState

	view *presence.View // never nil
	// before is the view that the watcher is known to have got last. Nil: all is
	// to be told, since it is the first time, the watcher has asked by SUBSCRIBE, or
	// it is not known what has reached it.
	before *presence.View
	// version numbers the NOTIFYs of the subscription from 0, rising by one, and
	// after a failure or a restart by more: then before is nil.
	version uint32
	final   bool // the subscription ends with this NOTIFY
	must    bool // it answers a SUBSCRIBE or is final: content.nothing has no effect
}

// content is the body of one NOTIFY.
type content struct {
	mediaType string // empty: that of the bodyType
	body      []byte // not changed afterwards
	header    string // further header lines, whole
	tag       string // entity-tag of the state, where it is at hand; empty: eventPackage.tag says it
	nothing   bool   // there is nothing to tell: no NOTIFY is sent
}

// maxQueued is the number of notices of an ordered package that wait for the
// NOTIFY under way to one watcher; beyond it all but the newest are dropped, and
// that one is told as full state.
const maxQueued = 16

// memory is what a dialog holds for packages whose NOTIFYs build upon one
// another; dialogs of plain presence have none.
type memory struct {
	queue []notice       // after dialog.next, in order
	told  *presence.View // the last that the watcher has confirmed; nil: unknown
	last  notice         // the last that came
	own   any            // the package's

	state    presence.State // of the last NOTIFY that was confirmed
	filters  *filter.Set    // RFC 4660; nil: none
	seen     *presence.View // the last that the filters looked at
	suppress string         // the watcher's condition (RFC 5839); "": none
	hearing  *hearing       // of a SUBSCRIBE with a condition; nil: none
	mute     bool           // the coming answer to a SUBSCRIBE was answered by 204
	rates    *rates         // RFC 6446; nil: none
}

// remember gives d a memory, where its package, its kind of body or what the
// watcher has asked for needs one, and reads what it has asked for. d.mu is held,
// where others know d.
func (d *dialog) remember(s *dialogState, b *bodyType, condition string) {
	r := ratesOf(s.part[partParams])
	filtering := b.narrowed != nil && s.part[partKept] != ""
	m := d.memory
	if m == nil {
		if !d.pkg.ordered && d.pkg.begin == nil && b.tell == nil && r == nil && !filtering && condition == "" {
			return
		}
		m = &memory{}
		d.memory = m
	}
	m.rates.stop()
	m.rates, m.suppress, m.filters = r, condition, nil
	if filtering || d.pkg.tag != nil && s.part[partKept] != "" {
		m.filters, _ = filters(s.part[partKept]) // was read before it was kept
	}
}

// keep puts what a package with begin wants to hold with the dialog, for kept.
func (d *dialog) keep(own any) {
	d.mu.Lock()
	d.memory.own = own
	d.mu.Unlock()
}

// kept is what keep was given, or nil.
func (d *dialog) kept() any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.memory.own
}

// push enters a notice: behind those that wait, if the package keeps their
// order; else, and when it tells everything anyhow, instead of them. d.mu is held.
func (d *dialog) push(n notice) {
	m := d.memory
	if m == nil {
		d.next = n
		return
	}
	m.last = n
	if d.next.state != 0 && !n.view.Like(d.next.view) {
		// Decided anew: what waits is not for this watcher's eyes any more.
		n.full = true
	}
	switch {
	case !d.pkg.ordered || d.next.state == 0 || n.full || n.state == presence.Terminated:
		n.full = n.full || d.next.full && n.state != presence.Terminated
		d.next, m.queue = n, nil
	case len(m.queue) >= maxQueued:
		n.full = true
		d.next, m.queue = n, nil
	default:
		m.queue = append(m.queue, n)
	}
}

// pop takes the notice that is to be sent now. d.mu is held.
func (d *dialog) pop() {
	d.now, d.next = d.next, notice{}
	if m := d.memory; m != nil && len(m.queue) > 0 {
		d.next = m.queue[0]
		if m.queue = m.queue[1:]; len(m.queue) == 0 {
			m.queue = nil
		}
	}
}

// confirm notes that the watcher has got a notice. d.mu is held.
func (d *dialog) confirm(n *notice) {
	if n.view != nil {
		d.version = n.view.Version
	}
	if d.memory != nil {
		d.memory.told = n.view // nil: the pending body has taken its place
		d.memory.state = n.state
	}
}

// doubt notes that it is unknown whether the watcher has got a notice: what
// comes next tells everything. d.mu is held.
func (d *dialog) doubt(n notice) {
	if m := d.memory; m != nil {
		m.told = nil
		if len(m.queue) > 0 {
			d.next, m.queue = m.queue[len(m.queue)-1], nil
		}
	}
	if d.next.state == 0 {
		d.next = n // nothing newer: the same again
	}
}

// retell has a dialog told its present state once more, since something has
// changed that the view does not hold. Nothing happens before its first notice.
func (e *Edge) retell(d *dialog) {
	d.mu.Lock()
	ready := false
	if m := d.memory; m != nil && !d.ending() && d.next.state == 0 && m.last.state != 0 {
		d.next = m.last
		d.next.full = false
		ready = d.ready()
	}
	d.mu.Unlock()
	if ready {
		e.out.add([]*dialog{d})
	}
}

// ending: the last NOTIFY waits or has been sent. d.mu is held.
func (d *dialog) ending() bool {
	return d.ended || d.next.state == presence.Terminated || d.now.state == presence.Terminated
}

// compose has the package write the body of the notice that is to be sent. d.mu is
// held, and let go meanwhile. ok is false when no NOTIFY is to be sent: there is
// nothing to tell, or the answer to a SUBSCRIBE has overtaken this one.
func (e *Edge) compose(d *dialog, s *dialogState, b *bodyType, turn uint32) (c content, ok bool) {
	t := &telling{edge: e, dialog: d, state: *s, view: d.now.view, version: d.cseq,
		final: d.now.state == presence.Terminated}
	t.must = d.now.full || t.final
	if d.memory != nil && !d.now.full {
		t.before = d.memory.told
	}
	d.mu.Unlock()
	c = b.tell(t)
	if c.mediaType == "" {
		c.mediaType = b.name
	}
	d.mu.Lock()
	if d.ended || turn != d.turn {
		return c, false
	}
	if c.nothing && !t.must {
		d.now, d.busy = notice{}, false
		if d.ready() {
			e.out.add([]*dialog{d})
		}
		return c, false
	}
	return c, true
}

// overUDP reports that NOTIFYs are datagrams.
func (t *telling) overUDP() bool { return strings.HasPrefix(t.state.part[partFlow], udpToken) }
