package simple

import (
	"errors"
	"strings"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// answered takes the end of a NOTIFY transaction.
func (e *Edge) answered(d *dialog, turn uint32, resp *sip.Message, err error) {
	code := uint16(408) // RFC 3261 §8.1.3.1
	switch {
	case err == nil:
		code = uint16(resp.Status)
	case errors.Is(err, sip.ErrClosed):
		return // we are going down; the dialog goes on in the next process
	case !errors.Is(err, sip.ErrTimeout):
		code = 503
	}
	d.mu.Lock()
	if d.ended || turn != d.turn {
		last := d.ended && (turn == d.turn || d.loose && !d.busy && turn+1 == d.turn)
		d.mu.Unlock()
		if last {
			e.lingered(d)
		}
		return // overtaken by the answer to a SUBSCRIBE
	}
	d.code = code
	d.busy, d.loose = false, false
	last := d.now
	d.now = notice{}
	if last.state == presence.Terminated {
		// The subscription ends with this transaction, however it ends
		// (RFC 6665 §4.4.1).
		d.end()
		d.mu.Unlock()
		e.dialogs.remove(d)
		return
	}
	if code < 300 {
		d.fails = 0
		d.confirm(&last)
		e.remind(d)
		ready := d.ready()
		d.mu.Unlock()
		if ready {
			e.out.add([]*dialog{d})
		}
		return
	}
	e.count.failures.Add(1)
	if d.fails < 255 {
		d.fails++
	}
	if gone(code) || e.tired(d, err) {
		d.end()
		d.mu.Unlock()
		e.lose(d, code)
		return
	}
	d.doubt(last)
	if code == 500 && e.bindings.shared && !d.fetch && int(d.fails) < e.limits.Failures {
		e.passedBy(d, backoff(d.fails))
	} else {
		e.again(d, resp, err)
	}
	d.mu.Unlock()
}

// tired reports that d has failed too often. A watcher whose connection has ended
// and who cannot be connected to is waited for until the subscription
// expires: trying costs next to nothing, and it may be back on another
// connection. d.mu is held.
func (e *Edge) tired(d *dialog, err error) bool {
	return int(d.fails) >= e.limits.Failures && (err == nil || errors.Is(err, sip.ErrTimeout) || d.overUDP())
}

// overUDP reports that the last SUBSCRIBE came over UDP. d.mu is held.
func (d *dialog) overUDP() bool {
	s := d.load()
	return strings.HasPrefix(s.part[partFlow], udpToken)
}

// udpToken begins the token of a UDP flow, which stands for an address and is
// found again after a restart (sip.Flow.Token).
const udpToken = "u."

// lose ends a subscription whose watcher does not take its NOTIFYs.
func (e *Edge) lose(d *dialog, code uint16) {
	e.dialogs.remove(d)
	e.count.lost.Add(1)
	e.log.Info("simple: subscription ended, NOTIFY failed", "sub", d.id,
		"watcher", d.watcher.String(), "entity", d.presentity.String(), "code", code)
	if !d.fetch {
		e.forget(d.presentity, d.id)
	}
}

// again has d's next notice sent later. d.mu is held.
func (e *Edge) again(d *dialog, resp *sip.Message, err error) {
	if int(d.fails) >= e.limits.Failures {
		e.strand(d)
		return
	}
	after := backoff(d.fails)
	if resp != nil {
		if sec, ok, err := resp.RetryAfter(); ok && err == nil { // RFC 3261 §20.33
			after = min(max(time.Duration(sec)*time.Second, time.Second), maxBackoff)
		}
	}
	if err != nil { // when the watcher registers, that is a reason to try at once
		e.trouble(d)
	}
	e.wait(d, after)
}

// trouble enters d among those that wait for their watcher. d.mu is held.
func (e *Edge) trouble(d *dialog) {
	if !d.troubled {
		d.troubled = true
		e.dialogs.waitFor(d)
	}
}

// gone lists the answers to a NOTIFY that end the subscription at once
// (RFC 6665 §4.2.2). Every other failure may pass: RFC 6665 would end the
// subscription at the first timeout too ("SHOULD"), but phones that are slow or
// out of coverage then have a dead lamp until they subscribe again, so it takes
// several in a row.
func gone(code uint16) bool {
	switch code {
	case 404, 405, 410, 416, 480, 481, 482, 483, 484, 485, 489, 501, 604:
		return true
	}
	return false
}

// The waits after failures: 5, 10, 20, ... seconds, at most 5 minutes. A timeout
// has taken 32 seconds before.
const (
	firstBackoff = 5 * time.Second
	maxBackoff   = 5 * time.Minute
)

func backoff(fails uint8) time.Duration {
	d := firstBackoff
	for i := uint8(1); i < fails && d < maxBackoff; i++ {
		d *= 2
	}
	return min(d, maxBackoff)
}

// wait lets d be tried again after a while. d.mu is held.
func (e *Edge) wait(d *dialog, after time.Duration) {
	if d.ended || d.retry != nil {
		return
	}
	var t *time.Timer
	t = time.AfterFunc(after, func() {
		d.mu.Lock()
		if d.retry != t {
			d.mu.Unlock()
			return
		}
		d.retry = nil
		ready := d.ready()
		d.mu.Unlock()
		if ready {
			e.out.add([]*dialog{d})
		}
	})
	d.retry = t
}

// strand keeps a dialog whose connection has ended and whose Contact leads
// nowhere: the subscription runs until it expires, nothing is tried, and what it
// missed is told when the watcher refreshes it or registers again. d.mu is held.
func (e *Edge) strand(d *dialog) {
	if d.ended {
		return
	}
	if d.next.state == presence.Terminated { // and nobody to tell
		d.end()
		e.dialogs.remove(d)
		return
	}
	d.stranded = true
	e.trouble(d)
}

// returned goes on with the dialogs of a watcher who has registered: over the
// flow of that registration, where it is the same client's.
func (e *Edge) returned(w presence.Entity) {
	ds := e.dialogs.returned(w)
	n := 0
	for _, d := range ds {
		d.mu.Lock()
		d.troubled = false
		s := d.load()
		if f := e.bindings.flow(w, s.part[partTarget], s.part[partInstance]); f != nil && !d.ended {
			d.flow = f
			s.part[partFlow] = f.Token() // saved with the next block of CSeq
			d.state = s.encode()
			if d.busy && d.fails > 0 { // to where it was before: overtaken
				d.turn++
				d.busy = false
				d.doubt(d.now)
			}
			d.stranded, d.fails = false, 0
			if d.retry != nil {
				d.retry.Stop()
				d.retry = nil
			}
			if d.ready() {
				ds[n] = d
				n++
			}
		} else if !d.ended && (d.stranded || d.retry != nil) {
			e.trouble(d) // another device of the watcher
		}
		d.mu.Unlock()
	}
	e.out.add(ds[:n])
}

// forget ends a subscription at the presentity without telling the watcher, who
// cannot be told.
func (e *Edge) forget(presentity presence.Entity, sub string) {
	in := presence.Unwatch{ID: sub, Reason: presence.Timeout, Silent: true}
	if err := e.engine.Submit(presentity, in, nil); err != nil {
		e.log.Warn("simple: subscription left to expire", "sub", sub, "err", err)
	}
}
