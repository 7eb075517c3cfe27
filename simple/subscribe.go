package simple

import (
	"errors"
	"slices"
	"time"

	"pharos/load"
	"pharos/presence"
	"pharos/sip"
)

// subscribe is RFC 6665 §4.2.1.
func (r *request) subscribe() {
	if !r.findPackage() {
		return
	}
	if tag := r.msg.To().Tag(); tag != "" {
		r.resubscribe(tag)
		return
	}
	from, ok := r.sender()
	if !ok || !r.enter(load.Newcomer) {
		return
	}
	r.authenticate(from, (*request).subscribeAs)
}

// subscribeAs goes on for an authenticated watcher.
func (r *request) subscribeAs() {
	if r.msg.Body == "" && hasTag(r.msg, sip.HRequire, containedTag) {
		r.fail(400, "No List") // RFC 5367 §3: with a body, whatever the package
		return
	}
	if r.pkg.choose != nil {
		r.pkg.choose(r, (*request).subscribeTo)
		return
	}
	r.subscribeTo()
}

// subscribeTo goes on where the row of the package is certain.
func (r *request) subscribeTo() {
	var ok bool
	if r.body, ok = r.accept(r.pkg); !ok {
		return
	}
	kept, there, ok := r.keptBody(r.pkg)
	if !ok {
		return
	}
	if there {
		r.kept = kept
	}
	if r.lifetime, ok = r.expires(r.pkg.def); !ok {
		return
	}
	r.existing(r.to, (*request).watch)
}

// watch makes the subscription, its dialog known before the presentity can say
// anything to it. Lifetime 0 asks once (RFC 6665 §4.4.3).
func (r *request) watch() {
	d, ok := r.newDialog()
	if !ok {
		return
	}
	e, lifetime := r.edge, r.lifetime
	if !e.dialogs.reserve(r.who, e.limits.Subscriptions) {
		r.fail(403, "Too Many Subscriptions")
		return
	}
	d.fetch = lifetime == 0
	state := d.load()
	contact := state.part[partContact]
	d.era = e.engine.Era()
	e.dialogs.add(d)
	in := presence.Watch{
		ID: d.id, Watcher: d.watcher, Via: presence.Via{Edge: Name},
		Lifetime: lifetime, Fetch: d.fetch, Package: d.pkg.key, Private: d.pkg.private,
	}
	if !d.fetch {
		in.Durable, in.Opaque = true, d.state
		if e.bindings.shared {
			d.saved = presence.Sum(d.state)
		}
	}
	err := e.engine.Submit(d.presentity, in, func(out presence.Outcome, err error) {
		switch {
		case err != nil:
			e.dialogs.drop(d)
			r.failed(err)
		case out.State == presence.Terminated:
			// The policy is known and says no: 403 at once (RFC 6665 §4.2.1.3).
			// Who is to be left in the dark is given polite-block instead.
			e.dialogs.drop(d)
			r.fail(403, "")
		default:
			lifetime := granted(lifetime, out.Lifetime)
			e.runsOut(d, lifetime)
			r.subscribed(d, 200, contact, lifetime)
			if d.pkg.begin != nil && (!d.fetch || d.pkg.members != nil) {
				d.pkg.begin(e, d)
			}
		}
	})
	if err != nil {
		e.dialogs.drop(d)
		r.failed(err)
	}
}

// granted is the wish, or less when the presentity says so.
func granted(wish, out time.Duration) time.Duration {
	if out > 0 && wish > 0 {
		return min(wish, out)
	}
	return wish
}

// subscribed answers 200, for pending subscriptions too (RFC 6665 §8.3.1 has
// retired 202); the NOTIFY follows at once.
func (r *request) subscribed(d *dialog, status int, contact string, lifetime time.Duration) {
	b := make([]byte, 0, 320)
	b = sip.AppendNumber(b, sip.HExpires, seconds(lifetime))
	b = append(b, "Contact: <"...)
	b = append(b, contact...)
	b = append(b, ">\r\n"...)
	b = append(b, allowEvents...) // RFC 6665 §8.2.2: where dialogs begin
	b = append(b, d.pkg.header...)
	r.edge.count.answered(status)
	phrase := ""
	if status == 204 {
		phrase = "No Notification" // RFC 5839 §7.1
	}
	r.tx.Respond(sip.Response{Status: status, Reason: phrase, ToTag: d.id, Header: b})
}

// resubscribe refreshes or ends a subscription (RFC 6665 §4.2.1.4). The dialog
// is found by its tags and Call-ID whatever the request-URI is: libpurple puts
// the presentity there instead of our Contact.
func (r *request) resubscribe(tag string) {
	d := r.edge.dialogs.get(tag)
	switch {
	case r.edge.bindings.shared && (d == nil || !d.fetch && r.edge.old(d)):
		r.claim(tag, (*request).resubscribeIn)
	case d == nil || d.fetch:
		r.fail(481, "")
	default:
		r.resubscribeIn(d)
	}
}

// resubscribeIn goes on in a dialog that is known here.
func (r *request) resubscribeIn(d *dialog) {
	d.mu.Lock()
	s := d.load()
	ended, left := d.ending(), d.ended
	d.mu.Unlock()
	if left && r.edge.bindings.shared && r.tries < maxTries { // it may have gone to another node just now
		r.tries++
		r.claim(d.id, (*request).resubscribeIn)
		return
	}
	// The Event must be the subscription's (RFC 6665 §4.4.1): one more in the same
	// dialog would be dialog reuse, which is forbidden (§4.5).
	same := s.part[partCallID] == r.msg.CallID() && s.part[partRemoteTag] == r.msg.From().Tag() &&
		sameEvent(s.part[partEvent], r.event)
	if ended || !same {
		r.fail(481, "")
		return
	}
	if r.msg.CSeq() < s.remoteCSeq {
		r.fail(500, "CSeq Went Back") // RFC 3261 §12.2.2; equal: repeated with credentials
		return
	}
	body, ok := r.accept(d.pkg)
	if !ok {
		return
	}
	from, ok := r.sender()
	if !ok || !r.enter(load.Refresh) {
		return
	}
	r.to, r.dialog, r.body = d.presentity, d, body
	r.authenticate(from, (*request).resubscribeAs)
}

// resubscribeAs goes on for who has proven to be somebody.
func (r *request) resubscribeAs() {
	d := r.dialog
	if r.who != d.watcher {
		r.fail(403, "Not Your Subscription")
		return
	}
	var ok bool
	if r.lifetime, ok = r.expires(d.pkg.def); !ok {
		return
	}
	if r.lifetime == 0 {
		r.unsubscribe(d)
		return
	}
	r.refresh(d)
}

func sameEvent(saved string, ev sip.Event) bool {
	if ev.ID == "" {
		return len(saved) == len(ev.Package) && packageOf(saved) == packageOf(ev.Package)
	}
	return saved == string(sip.AppendParam([]byte(ev.Package), "id", ev.ID))
}

// refresh prolongs the subscription, takes the new remote target (RFC 3261
// §12.2.2), the flow that the request came on and what it asks for, and reserves
// CSeq anew. Without a body what the last one said stays.
func (r *request) refresh(d *dialog) {
	e, body, lifetime := r.edge, r.body, r.lifetime
	d.mu.Lock()
	was := d.load()
	d.mu.Unlock()
	r.kept = was.part[partKept]
	kept, changed, ok := r.keptBody(d.pkg)
	if !ok {
		return
	}
	params := d.pkg.keptParams(r.event)
	if r.tooLong("Event", params) {
		return
	}
	d.mu.Lock()
	s := d.load()
	if _, has := r.msg.Get(sip.HContact); has {
		d.mu.Unlock()
		target, ok := r.target()
		if !ok || r.tooLong("Contact", target.URI) {
			return
		}
		d.mu.Lock()
		s = d.load()
		s.part[partTarget], s.part[partInstance] = target.URI, target.Instance()
	}
	s.remoteCSeq = max(s.remoteCSeq, r.msg.CSeq())
	d.flow, s.part[partFlow] = r.wayBack(s.part[partTarget])
	contact := r.ourContact() // of the transport that is used now
	s.part[partContact] = contact
	s.part[partAccept], s.part[partParams] = d.pkg.saved(body), params
	if changed {
		s.part[partKept] = kept
	}
	condition := r.condition(d.pkg)
	d.remember(&s, body, condition)
	e.awaits(d, condition)
	opaque, before := e.reserve(d, &s)
	in := presence.Watch{
		ID: d.id, Watcher: d.watcher, Via: presence.Via{Edge: Name},
		Lifetime: lifetime, Durable: true, Opaque: opaque, Was: before, Package: d.pkg.key, Private: d.pkg.private,
	}
	reserved, pass := s.ceiling, (*handover)(nil)
	if r.former != "" {
		pass = e.passes.begin(d.id, d.ceiling)
	}
	d.mu.Unlock()
	if pass != nil {
		e.enter(d)
	}
	failed := func(err error) {
		e.unheard(d)
		d.mu.Lock()
		d.unsaved(opaque, before)
		d.mu.Unlock()
		if pass != nil {
			e.dialogs.drop(d)
			e.passed(d.id, pass)
		}
		if !errors.Is(err, presence.ErrOvertaken) || r.tries == maxTries {
			r.failed(err)
			return
		}
		r.tries++
		r.take(d.presentity, d.id, (*request).refresh)
	}
	err := e.engine.Submit(d.presentity, in, func(out presence.Outcome, err error) {
		if err != nil {
			failed(err)
			return
		}
		d.mu.Lock()
		d.ceiling = max(d.ceiling, reserved)
		d.mu.Unlock()
		if pass != nil {
			e.leaveTo(r.former, d.id, reserved, pass)
		}
		if out.State == presence.Terminated {
			e.unheard(d)
			r.fail(403, "")
			return
		}
		lifetime := granted(lifetime, out.Lifetime)
		e.runsOut(d, lifetime)
		e.refreshed(d, &out, condition, func(status int) {
			d.mu.Lock()
			if d.memory != nil {
				d.memory.mute = status == 204
			}
			d.mu.Unlock()
			r.subscribed(d, status, contact, lifetime)
			if d.pkg.refresh != nil {
				d.pkg.refresh(e, d)
			}
		})
	})
	if err != nil {
		failed(err)
	}
}

// unsubscribe ends the subscription at the watcher's wish; a last NOTIFY follows
// (RFC 6665 §4.2.1.4), which tells the state once more.
func (r *request) unsubscribe(d *dialog) {
	d.mu.Lock()
	s := d.load()
	d.flow, _ = r.wayBack(s.part[partTarget])
	d.mu.Unlock()
	err := r.edge.engine.Submit(d.presentity, presence.Unwatch{ID: d.id, Reason: presence.Timeout},
		func(_ presence.Outcome, err error) {
			if err != nil {
				r.failed(err)
				return
			}
			r.subscribed(d, 200, r.ourContact(), 0)
			if r.former != "" && !slices.Contains(r.edge.engine.Nodes(), r.former) {
				r.edge.enter(d) // else who has the dialog says the last word
				r.edge.over(d)
			}
		})
	if err != nil {
		r.failed(err)
	}
}
