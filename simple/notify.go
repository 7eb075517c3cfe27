package simple

import (
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// Notify takes what the engine tells a group of watchers. It only notes it at
// each dialog, the newest winning, and leaves the sending to the outbox.
func (e *Edge) Notify(n *presence.Notice) {
	if n.Direct != nil {
		return // XMPP directed presence; SIP has no such thing
	}
	e.count.notices.Add(uint64(len(n.Targets)))
	batch := batches.Get().(*[]*dialog)
	ready := (*batch)[:0]
	for i := range n.Targets {
		t := &n.Targets[i]
		if t.Handle != "" {
			e.noteMember(n, t)
			continue
		}
		d := e.dialogs.get(t.Sub)
		if d == nil {
			if n.State != presence.Terminated && !e.recover(n, t) {
				// Nobody can be told any more: the dialog has ended meanwhile, or
				// could not be restored.
				e.forget(n.Presentity, t.Sub)
			}
			continue
		}
		if d.pkg.touch != nil && n.State == presence.Active && (!n.Answer || e.starting()) {
			// After a restart nobody is told of a touch before the policy is known: then
			// presence.Renotify stands for it.
			d.pkg.touch(e, d)
			if !n.Answer {
				continue
			}
		}
		if n.State == presence.Terminated && !t.Expires.IsZero() && t.Expires.UnixNano() < e.restored.Load() {
			e.dialogs.drop(d) // it ran out while no server ran, and the watcher has forgotten it
			continue
		}
		if !d.heard(n, t) && d.note(n, t) {
			ready = append(ready, d)
		}
	}
	e.out.add(ready)
	clear(ready)
	*batch = ready[:0]
	batches.Put(batch)
}

var batches = sync.Pool{New: func() any { return new([]*dialog) }}

// note keeps what is to be told; true when d has to go to the outbox.
func (d *dialog) note(n *presence.Notice, t *presence.Target) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unheard = false
	if d.ended || d.next.state == presence.Terminated {
		return false
	}
	if m := d.memory; m != nil && m.mute && n.Answer {
		m.mute = false // the 204 has said it all
		return false
	}
	next := notice{view: n.View, state: n.State, reason: n.Reason, full: n.Answer}
	if !t.Expires.IsZero() {
		next.expires = t.Expires.Unix()
		d.until = next.expires
	}
	if d.fetch && next.state != presence.Terminated {
		next.state, next.reason = presence.Terminated, presence.Timeout // RFC 6665 §4.4.3
	}
	next.neutral = n.State == presence.Pending
	if next.neutral {
		next.view = nil
	}
	d.push(next)
	if n.Answer {
		// The watcher is there: a NOTIFY that is being repeated to where it was
		// before is overtaken.
		d.loose = d.loose || d.busy
		d.turn++
		d.busy, d.fails = false, 0
	}
	if n.Answer || d.next.state == presence.Terminated {
		d.stranded = false // nothing is to be waited for any more
		if d.retry != nil {
			d.retry.Stop()
			d.retry = nil
		}
	}
	return d.ready()
}

// ready reports that d has to go to the outbox, and marks it. d.mu is held.
func (d *dialog) ready() bool {
	if d.queued || d.busy || d.ended || d.stranded || d.held || d.doubted || d.paused || d.passing || d.retry != nil || d.next.state == 0 {
		return false
	}
	d.queued = true
	return true
}

// outbox holds the dialogs that have something to send, each at most once, so
// that it is bounded by their number. A few goroutines empty it and end.
type outbox struct {
	edge    *Edge
	mu      sync.Mutex
	waiting []*dialog
	senders int
}

// maxSenders is the number of goroutines that send at one time.
const maxSenders = 4

// add queues dialogs, which are marked as queued.
func (o *outbox) add(ds []*dialog) {
	if len(ds) == 0 {
		return
	}
	o.mu.Lock()
	o.waiting = append(o.waiting, ds...)
	start := o.senders < maxSenders && (o.senders == 0 || len(o.waiting) > 64*o.senders)
	if start {
		o.senders++
	}
	o.mu.Unlock()
	if start {
		go o.run()
	}
}

// atOnce is the number of NOTIFYs that are gathered before they leave.
const atOnce = 64

// Hold and Release bracket what is to be sent in one go; see engine.Holder.
func (e *Edge) Hold() { e.stack.Hold() }

// Release ends a Hold.
func (e *Edge) Release() { e.stack.Release() }

// run sends until nothing waits.
func (o *outbox) run() {
	var mine []*dialog
	buf := make([]byte, 0, 1024)
	for {
		o.mu.Lock()
		n := min(len(o.waiting), atOnce)
		if n == 0 {
			o.waiting = nil
			o.senders--
			o.mu.Unlock()
			return
		}
		mine = append(mine[:0], o.waiting[:n]...)
		clear(o.waiting[:n])
		o.waiting = o.waiting[n:]
		o.mu.Unlock()
		o.edge.stack.Hold()
		for _, d := range mine {
			buf = o.edge.send(d, buf[:0])
		}
		o.edge.stack.Release()
	}
}

// send sends d's next notice, if it still has one. buf is scratch.
func (e *Edge) send(d *dialog, buf []byte) []byte {
	d.mu.Lock()
	d.queued = false
	if d.next.state == 0 || d.busy || d.ended || d.doubted || d.passing {
		d.mu.Unlock()
		return buf
	}
	if e.bindings.shared && !e.sure(d) {
		d.mu.Unlock()
		return buf
	}
	// The last NOTIFY needs no reservation: nothing is left that could repeat its number.
	if d.next.state != presence.Terminated {
		if d.cseq+cseqBlock/2 >= d.ceiling && !d.keeping && !d.fetch {
			e.keep(d)
		}
		if d.cseq >= d.ceiling {
			d.mu.Unlock()
			return buf // goes on when the reservation is saved
		}
	}
	now := time.Now()
	if pause := d.pause(now); pause > 0 {
		e.wait(d, pause) // RFC 6446 §4.3; the newest state is told then
		d.mu.Unlock()
		return buf
	}
	s := d.load()
	body := d.pkg.body(s.part[partAccept])
	if body.narrowed != nil && s.part[partKept] != "" {
		body = body.narrowed
	}
	out, ok := e.route(d, &s)
	if !ok {
		if e.starting() && strings.HasPrefix(s.part[partFlow], udpToken) {
			e.wait(d, startPause)
		} else {
			e.strand(d)
		}
		d.mu.Unlock()
		return buf
	}
	d.pop()
	d.busy = true
	d.turn++
	turn, n := d.turn, d.now
	c := content{mediaType: body.name}
	if (n.view != nil || d.pkg.members != nil) && body.tell != nil {
		if c, ok = e.compose(d, &s, body, turn); !ok {
			d.mu.Unlock()
			return buf
		}
	}
	bodyless := false
	if d.memory != nil && d.memory.suppress != "" {
		if bodyless, ok = e.conditional(d, &n, turn); !ok {
			d.mu.Unlock()
			return buf
		}
	}
	d.cseq++
	d.sent = now.UnixNano()
	if d.memory != nil && d.memory.rates != nil {
		d.memory.rates.counted(now)
	}
	buf = d.head(buf, &s, now)
	f := d.filter()
	d.mu.Unlock()

	if n.view != nil && d.pkg.tag != nil {
		tag := c.tag
		if tag == "" {
			tag = d.pkg.tag(n.view, f)
		}
		buf = sip.AppendHeader(buf, sip.HSIPETag, tag) // RFC 5839 §6.2
	}
	switch {
	case bodyless:
		c.body = nil
	case n.view != nil && body.tell == nil:
		c.body = body.view(n.view)
	case n.neutral && d.pkg.pending != nil:
		c.mediaType, c.body = d.pkg.bodies[0].name, d.pkg.pending(d.presentity, s.part[partAgent])
	}
	if buf = append(buf, c.header...); c.body != nil {
		buf = append(buf, "Content-Type: "...)
		buf = append(buf, c.mediaType...)
		buf = append(buf, "\r\n"...)
	}
	out.Header, out.Body = buf, c.body
	e.count.notifies.Add(1)
	e.stack.Request(out, func(resp *sip.Message, err error) { e.answered(d, turn, resp, err) })
	return buf
}

// head appends the header lines of a NOTIFY but those of its body (RFC 6665
// §4.2.2, RFC 3261 §12.2.1.1). d.mu is held.
func (d *dialog) head(b []byte, s *dialogState, now time.Time) []byte {
	b = append(b, "From: <"...)
	b = append(b, s.part[partLocalURI]...)
	b = append(b, ">;tag="...)
	b = append(b, d.id...)
	b = append(b, "\r\nTo: <"...)
	b = append(b, s.part[partRemoteURI]...)
	if s.part[partRemoteTag] != "" {
		b = append(b, ">;tag="...)
		b = append(b, s.part[partRemoteTag]...)
	} else {
		b = append(b, '>') // RFC 3261 §12.1.1: a peer of RFC 2543
	}
	b = append(b, "\r\nCall-ID: "...)
	b = append(b, s.part[partCallID]...)
	b = append(b, "\r\nCSeq: "...)
	b = strconv.AppendUint(b, uint64(d.cseq), 10)
	b = append(b, " NOTIFY\r\nContact: <"...)
	b = append(b, s.part[partContact]...)
	b = append(b, ">\r\nEvent: "...)
	b = append(b, s.part[partEvent]...)
	b = append(b, "\r\nSubscription-State: "...)
	switch d.now.state {
	case presence.Terminated:
		b = append(b, "terminated"...)
		if text := reasonText(d.now.reason); text != "" {
			b = append(b, ";reason="...)
			b = append(b, text...)
		}
		if d.now.reason == presence.Probation || d.now.reason == presence.Giveup {
			b = append(b, ";retry-after="...)
			b = strconv.AppendInt(b, int64(probation/time.Second), 10)
		}
	case presence.Pending:
		b = append(b, "pending;expires="...)
		b = strconv.AppendInt(b, max(0, d.now.expires-now.Unix()), 10)
	default:
		b = append(b, "active;expires="...)
		b = strconv.AppendInt(b, max(0, d.now.expires-now.Unix()), 10)
	}
	if d.memory != nil && d.memory.rates != nil && d.now.state != presence.Terminated {
		b = d.memory.rates.append(b)
	}
	b = append(b, "\r\n"...)
	if routes, _ := routeSet(s); routes != "" {
		b = append(b, "Route: "...)
		b = append(b, routes...)
		b = append(b, "\r\n"...)
	}
	return b
}

// probation is the retry-after with reasons that ask to come again later.
const probation = 5 * time.Minute

// reasonText is the reason parameter (RFC 6665 §4.1.3). Deactivated, for which
// Jitsi deletes the contact, is told as timeout: both ask to subscribe again.
func reasonText(r presence.Reason) string {
	if r == presence.Deactivated {
		r = presence.Timeout
	}
	return r.String()
}

// routeSet is the value of Route and the request-URI (RFC 3261 §12.2.1.1): with a
// strict router in front, which has no lr, that one becomes the request-URI.
func routeSet(s *dialogState) (routes, uri string) {
	routes, uri = s.part[partRoutes], s.part[partTarget]
	if routes == "" {
		return routes, uri
	}
	first, rest := firstRoute(routes)
	a, ok := sip.ParseAddress(first)
	if !ok {
		return routes, uri
	}
	if u, err := a.ParseURI(); err == nil && !u.Params.Has("lr") {
		if rest != "" {
			rest += ", "
		}
		return rest + "<" + uri + ">", a.URI
	}
	return routes, uri
}

// firstRoute cuts the first route off. Commas stand only between routes or in
// angle brackets, where a route set always has its URIs.
func firstRoute(routes string) (first, rest string) {
	for i, angle := 0, false; i < len(routes); i++ {
		switch routes[i] {
		case '<':
			angle = true
		case '>':
			angle = false
		case ',':
			if !angle {
				for rest = routes[i+1:]; rest != "" && rest[0] == ' '; rest = rest[1:] {
				}
				return routes[:i], rest
			}
		}
	}
	return routes, ""
}

// route says how the next NOTIFY goes: over the flow that the last SUBSCRIBE came
// on, while it lives; else over a flow on which the same client has registered
// meanwhile; else to the first route or the remote target. ok is false when none
// leads to the watcher. d.mu is held.
func (e *Edge) route(d *dialog, s *dialogState) (out sip.OutRequest, ok bool) {
	out.Method, out.Brief = "NOTIFY", true
	_, uri := routeSet(s)
	out.URI = requestURI(uri)
	if d.flow != nil && d.flow.Alive() {
		out.Flow = d.flow
	} else if f, ok := e.stack.FlowByToken(s.part[partFlow]); ok && f.Alive() {
		d.flow, out.Flow = f, f
	} else if e.bindings.shared && e.flowHere(d, s) {
		out.Flow = d.flow
	} else {
		d.flow = nil
		if f := e.bindings.flow(d.watcher, s.part[partTarget], s.part[partInstance]); f != nil {
			d.flow, out.Flow = f, f
		}
	}
	if out.Flow == nil && e.starting() && strings.HasPrefix(s.part[partFlow], udpToken) {
		return out, false // its socket is about to be opened; the Contact may be a private address
	}
	hop := s.part[partTarget]
	if s.part[partRoutes] != "" {
		first, _ := firstRoute(s.part[partRoutes])
		if a, ok := sip.ParseAddress(first); ok {
			hop = a.URI
		}
	}
	if u, err := sip.ParseURI(hop); err == nil && !unreachable(u.Host) {
		if t := u.Transport(); t != "WS" && t != "WSS" {
			out.NextHop = hop
		}
	}
	return out, out.Flow != nil || out.NextHop != ""
}

// After a restart the listeners open while the first NOTIFYs are due already.
const (
	startTime  = 10 * time.Second
	startPause = 100 * time.Millisecond
)

// starting reports that listeners may not be open yet.
func (e *Edge) starting() bool { return time.Now().UnixNano()-e.restored.Load() < int64(startTime) }

// keep saves a higher ceiling for CSeq. d.mu is held.
func (e *Edge) keep(d *dialog) {
	s := d.load()
	opaque, was := e.reserve(d, &s)
	in := presence.Keep{ID: d.id, Opaque: opaque, Was: was}
	reserved := s.ceiling
	d.keeping = true
	err := e.engine.Submit(d.presentity, in, func(_ presence.Outcome, err error) {
		d.mu.Lock()
		d.keeping = false
		if err == nil {
			d.ceiling = max(d.ceiling, reserved)
		} else {
			e.notKept(d, opaque, was, err)
		}
		ready := d.ready()
		d.mu.Unlock()
		if ready {
			e.out.add([]*dialog{d})
		}
	})
	if err != nil {
		d.keeping = false
		e.notKept(d, opaque, was, err)
	}
}

// notKept goes on when a ceiling could not be saved. d.mu is held.
func (e *Edge) notKept(d *dialog, opaque []byte, was uint64, err error) {
	d.unsaved(opaque, was)
	switch {
	case d.ended || d.doubted:
	case e.bindings.shared && (errors.Is(err, presence.ErrOvertaken) || errors.Is(err, presence.ErrNoSubscription)):
		e.asks.add(e, d, nil) // it may be another node's by now
	case d.cseq >= d.ceiling:
		e.wait(d, keepAgain)
	}
}

// keepAgain is the pause before a ceiling that could not be saved is tried anew.
const keepAgain = time.Second

// instanceEqual compares +sip.instance values (RFC 5626 §4.1). They are URNs, in
// practice of UUIDs, where case does not count (RFC 4122 §3).
func instanceEqual(a, b string) bool { return a != "" && strings.EqualFold(a, b) }
