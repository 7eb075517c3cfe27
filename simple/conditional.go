package simple

import (
	"hash/fnv"
	"strconv"
	"sync"
	"time"
	"unsafe"

	"pharos/filter"
	"pharos/presence"
)

// Conditional notification (RFC 5839): a NOTIFY names the state that it brings by
// an entity-tag, and a watcher that has this state already says so.

// anyTag is the condition that always holds.
const anyTag = "*"

// entityTag names a state by what its document says, so that it is the same after
// a restart. 64 bits: what collides was written by the publisher himself.
func entityTag(doc []byte) string {
	h := fnv.New64a()
	h.Write(doc)
	return strconv.FormatUint(h.Sum64(), 36)
}

// viewTag is entityTag of what a view renders to, made once for all watchers.
func viewTag(v *presence.View) string {
	doc := renderPIDF(v) // not within Render, which is not to be nested
	b := v.Render("SIP-ETag", func(*presence.View) []byte { return []byte(entityTag(doc)) })
	return unsafe.String(unsafe.SliceData(b), len(b)) // never changed; this runs for each NOTIFY
}

// condition reads Suppress-If-Match of a SUBSCRIBE (RFC 5839 §5.2); empty for
// none, and where the package's NOTIFYs have no entity-tags.
func (r *request) condition(p *eventPackage) string {
	if p.tag == nil {
		return ""
	}
	tag, _ := r.msg.GetName("Suppress-If-Match")
	return tag
}

// conditional looks whether the watcher's condition holds for a notice that is to
// be sent now: then it goes without a body, or, where the subscription itself has
// no news, not at all (ok is false). The condition ends when it no longer holds
// (RFC 5839 §5.2). d.mu is held, and let go meanwhile.
func (e *Edge) conditional(d *dialog, n *notice, turn uint32) (bodyless, ok bool) {
	if n.view == nil || d.pkg.tag == nil {
		return false, true
	}
	f := d.filter()
	d.mu.Unlock()
	tag := d.pkg.tag(n.view, f)
	d.mu.Lock()
	if d.ended || turn != d.turn {
		return false, false
	}
	m := d.memory
	if m.suppress != anyTag && m.suppress != tag {
		m.suppress = ""
		return false, true
	}
	if n.full || n.state == presence.Terminated || m.state != n.state {
		return true, true
	}
	d.now, d.busy = notice{}, false
	if d.ready() {
		e.out.add([]*dialog{d})
	}
	return false, false
}

// unchanged tells whether a refresh may be answered 204: the condition holds for
// what the engine would have told the watcher (RFC 5839 §6.3).
func (d *dialog) unchanged(v *presence.View, condition string) bool {
	if v == nil {
		return false
	}
	d.mu.Lock()
	f := d.filter()
	d.mu.Unlock()
	return condition == anyTag || condition == d.pkg.tag(v, f)
}

// conditionTime is how long the answer to a SUBSCRIBE with a condition waits for what the
// presentity's owner on another node has to tell: less than the client's first retransmission.
const conditionTime = 300 * time.Millisecond

// A hearing is a SUBSCRIBE with a condition, where the owner may be another node: whether the
// condition holds is known with his notice, which may come before his answer. It is kept until it is known
// whether the watcher is to be told.
type hearing struct {
	notice *presence.Notice // that came; its only target is the dialog
	decide func(*presence.View)
}

// awaits begins a hearing. d.mu is held.
func (e *Edge) awaits(d *dialog, condition string) {
	if condition != "" && e.bindings.shared {
		d.memory.hearing = &hearing{}
	}
}

// heard keeps or uses the notice of a hearing; true: it is not to be told now.
func (d *dialog) heard(n *presence.Notice, t *presence.Target) bool {
	if !n.Answer {
		return false
	}
	d.mu.Lock()
	h := (*hearing)(nil)
	if d.memory != nil {
		h = d.memory.hearing
	}
	switch {
	case h == nil:
		d.mu.Unlock()
		return false
	case h.decide == nil:
		one := *n
		one.Targets = []presence.Target{*t}
		h.notice = &one
		d.mu.Unlock()
		return true
	}
	d.memory.hearing = nil
	d.mu.Unlock()
	h.decide(n.View)
	return false // 204 has muted it
}

// refreshed finishes a refresh when it is known whether the condition holds.
func (e *Edge) refreshed(d *dialog, out *presence.Outcome, condition string, finish func(status int)) {
	if condition == "" {
		h := d.overheard()
		finish(200)
		e.told(d, h)
		return
	}
	var once sync.Once
	decide := func(v *presence.View) {
		once.Do(func() {
			if d.unchanged(v, condition) {
				finish(204) // RFC 5839 §6.3: and no NOTIFY
			} else {
				finish(200)
			}
		})
	}
	answer := (*presence.Notice)(nil)
	for _, n := range out.Notices {
		if n.Answer && len(n.Targets) > 0 && n.Targets[0].Sub == d.id {
			answer = n
		}
	}
	d.mu.Lock()
	h := (*hearing)(nil)
	if d.memory != nil {
		h = d.memory.hearing
	}
	if h != nil && out.State == presence.Active && answer == nil && h.notice == nil {
		h.decide = decide
		d.mu.Unlock()
		time.AfterFunc(conditionTime, func() { decide(nil) })
		return
	}
	if h != nil {
		d.memory.hearing = nil
	}
	d.mu.Unlock()
	switch {
	case out.State != presence.Active:
		finish(200)
	case answer != nil:
		decide(answer.View)
	case h != nil:
		decide(h.notice.View)
	default:
		finish(200)
	}
	e.told(d, h)
}

// unheard ends a hearing whose SUBSCRIBE has failed.
func (e *Edge) unheard(d *dialog) { e.told(d, d.overheard()) }

// overheard ends a hearing and returns it; nil: there was none.
func (d *dialog) overheard() (h *hearing) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.memory != nil {
		h, d.memory.hearing = d.memory.hearing, nil
	}
	return h
}

// told passes on a notice that was kept.
func (e *Edge) told(d *dialog, h *hearing) {
	if h != nil && h.notice != nil && d.note(h.notice, &h.notice.Targets[0]) {
		e.out.add([]*dialog{d})
	}
}

// tagOf is the entity-tag of what a watcher with a filter is shown of a view.
func tagOf(v *presence.View, f *filter.Filter) string {
	if f == nil {
		return viewTag(v)
	}
	return entityTag(narrowed(f, renderPIDF(v)))
}
