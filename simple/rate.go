package simple

import (
	"math"
	"strconv"
	"time"

	"pharos/presence"
	"pharos/sip"
)

// rateParams are the parameters of Event by which a watcher bounds how often it is
// told (RFC 6446 §4 to §6), in NOTIFYs a second.
var rateParams = []string{"max-rate", "min-rate", "adaptive-min-rate"}

// Bounds of rates. Wishes beyond them are adjusted, and the watcher is told so
// (RFC 6446 §4.3).
const (
	maxMinRate     = 1.0               // NOTIFYs a second that a min-rate makes us send
	minRate        = 1.0 / (24 * 3600) // one a day
	adaptivePeriod = time.Minute       // over which the adaptive rate is measured (RFC 6446 §6.4)
)

// rates are what a watcher has asked for; 0 is nothing.
type rates struct {
	max, min, adaptive float64
	sent               []time.Time // within adaptivePeriod, for adaptive
	timer              *time.Timer // of min and adaptive
}

// ratesOf reads the parameters that are kept with a dialog; nil when there are none.
func ratesOf(params string) *rates {
	if params == "" {
		return nil
	}
	p := sip.Params(params)
	r := rates{max: rate(p, "max-rate"), min: rate(p, "min-rate"), adaptive: rate(p, "adaptive-min-rate")}
	if r.max == 0 && r.min == 0 && r.adaptive == 0 {
		return nil
	}
	r.min, r.adaptive = math.Min(r.min, maxMinRate), math.Min(r.adaptive, maxMinRate)
	if r.max > 0 { // what is asked for at least cannot be more than at most
		r.min, r.adaptive = math.Min(r.min, r.max), math.Min(r.adaptive, r.max)
	}
	return &r
}

// rate reads one; what is not a positive number is as good as none.
func rate(p sip.Params, name string) float64 {
	v, ok := p.Get(name)
	if !ok {
		return 0
	}
	f, err := strconv.ParseFloat(v, 64)
	if err != nil || !(f > 0) || math.IsInf(f, 0) {
		return 0
	}
	return math.Max(f, minRate)
}

// append writes the rates that count into Subscription-State (RFC 6446 §4.3).
func (r *rates) append(b []byte) []byte {
	for _, p := range [...]struct {
		name  string
		value float64
	}{{"max-rate", r.max}, {"min-rate", r.min}, {"adaptive-min-rate", r.adaptive}} {
		if p.value > 0 {
			b = append(append(append(b, ';'), p.name...), '=')
			b = strconv.AppendFloat(b, p.value, 'f', -1, 64)
		}
	}
	return b
}

// pause is how long a NOTIFY has to wait for max-rate. What answers a SUBSCRIBE
// and what ends the subscription does not wait (RFC 6446 §4.3). d.mu is held.
func (d *dialog) pause(now time.Time) time.Duration {
	m := d.memory
	if m == nil || m.rates == nil || m.rates.max == 0 || d.next.full || d.next.state == presence.Terminated || d.sent == 0 {
		return 0
	}
	interval := time.Duration(float64(time.Second) / m.rates.max)
	return time.Unix(0, d.sent).Add(interval).Sub(now)
}

// counted notes a NOTIFY that was sent. d.mu is held.
func (r *rates) counted(now time.Time) {
	if r.adaptive == 0 {
		return
	}
	keep := r.sent[:0]
	for _, t := range r.sent {
		if now.Sub(t) < adaptivePeriod {
			keep = append(keep, t)
		}
	}
	r.sent = append(keep, now)
}

// due is when the state is to be told even if nothing changes; 0 for never. The
// adaptive interval grows with what was told anyway (RFC 6446 §6.4).
func (r *rates) due() time.Duration {
	var every time.Duration
	if r.min > 0 {
		every = time.Duration(float64(time.Second) / r.min)
	}
	if r.adaptive > 0 {
		n := math.Max(1, float64(len(r.sent)))
		t := time.Duration(n / (r.adaptive * r.adaptive * adaptivePeriod.Seconds()) * float64(time.Second))
		t = max(t, time.Second) // bounded as maxMinRate
		if every == 0 || t < every {
			every = t
		}
	}
	return every
}

// remind has the state told again when a min-rate asks for it. d.mu is held.
func (e *Edge) remind(d *dialog) {
	m := d.memory
	if m == nil || m.rates == nil || d.ended {
		return
	}
	after := m.rates.due()
	if after == 0 {
		return
	}
	if m.rates.timer != nil {
		m.rates.timer.Stop()
	}
	var t *time.Timer
	t = time.AfterFunc(after, func() {
		d.mu.Lock()
		ready := false
		if m := d.memory; m.rates != nil && m.rates.timer == t && !d.ending() && d.next.state == 0 && m.last.state == presence.Active {
			d.next = m.last
			d.next.full = true // RFC 6446 §5.3: full state
			ready = d.ready()
		}
		d.mu.Unlock()
		if ready {
			e.out.add([]*dialog{d})
		}
	})
	m.rates.timer = t
}

// stop ends the reminders. Nil-safe; d.mu is held.
func (r *rates) stop() {
	if r != nil && r.timer != nil {
		r.timer.Stop()
		r.timer = nil
	}
}
