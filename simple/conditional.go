package simple

import (
	"hash/fnv"
	"strconv"
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
func (d *dialog) unchanged(out *presence.Outcome, condition string) bool {
	if condition == "" || out.State != presence.Active {
		return false
	}
	d.mu.Lock()
	f := d.filter()
	d.mu.Unlock()
	for _, n := range out.Notices {
		if n.Answer && n.View != nil && len(n.Targets) > 0 && n.Targets[0].Sub == d.id {
			return condition == anyTag || condition == d.pkg.tag(n.View, f)
		}
	}
	return false
}

// tagOf is the entity-tag of what a watcher with a filter is shown of a view.
func tagOf(v *presence.View, f *filter.Filter) string {
	if f == nil {
		return viewTag(v)
	}
	return entityTag(narrowed(f, renderPIDF(v)))
}
