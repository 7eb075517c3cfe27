package sip

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Overload control: a client that says in its Via that it can be asked to hold
// back is told by the same Via of each response how much (RFC 7339). It drops what counts
// least, before it costs us anything; others only learn by 503.

const (
	// overloadFor is how long what a client was told holds (oc-validity).
	overloadFor = 2 * time.Second
	// maxMeters bounds the clients whose rate is measured, since they asked for the
	// algorithm "rate"; others of them are told a loss of nothing.
	maxMeters = 1024
)

// overload says what clients are told.
type overload struct {
	loss func() int // percent

	mu     sync.Mutex
	meters map[netip.Addr]*meter
	seq    int64 // of the last response, in milliseconds since 1970
}

// meter measures the requests of one client that is told a rate.
type meter struct {
	from   time.Time
	count  int
	rate   float64 // of the last whole second, a second
	capped int     // what it was told last; 0: nothing
}

// params are what the response to a request gets in its topmost Via; empty when the
// client has not asked for it (RFC 7339 §5.2).
func (o *overload) params(via *Via, from netip.Addr, now time.Time) string {
	if o == nil || o.loss == nil {
		return ""
	}
	if _, asked := via.Params.Get("oc"); !asked {
		return ""
	}
	algorithms, _ := via.Params.Get("oc-algo")
	first, _, _ := strings.Cut(strings.Trim(algorithms, "\""), ",")
	loss := min(max(o.loss(), 0), 100)
	o.mu.Lock()
	defer o.mu.Unlock()
	algorithm, value, valid := "loss", loss, true
	// Every client knows "loss" (RFC 7339 §4.2). Who names another one first would rather have that.
	if equalFold(strings.TrimSpace(first), "rate") {
		if r, ok := o.rate(from, loss, now); ok {
			algorithm, value, valid = "rate", r, loss > 0
		}
	}
	validity := overloadFor.Milliseconds()
	if !valid { // RFC 7339 §5.3: what was told before is over
		validity = 0
	}
	// It rises with each response, whatever the clock does (RFC 7339 §4.4).
	o.seq = max(o.seq+1, now.UnixMilli())
	b := append([]byte(";oc="), strconv.Itoa(value)...)
	b = append(b, ";oc-algo=\""...)
	b = append(b, algorithm...)
	b = append(b, "\";oc-validity="...)
	b = strconv.AppendInt(b, validity, 10)
	b = append(b, ";oc-seq="...)
	b = strconv.AppendInt(b, o.seq/1000, 10)
	b = append(b, '.')
	b = append(b, strconv.FormatInt(1000+o.seq%1000, 10)[1:]...)
	return string(b)
}

// rate counts a request, and tells how many a second the client may send: what it
// has sent, without the share that is to go (RFC 7415 §3.5). It is not cut down again and again by
// what it already holds back. o.mu is held.
func (o *overload) rate(from netip.Addr, loss int, now time.Time) (int, bool) {
	m := o.meters[from]
	if m == nil {
		if len(o.meters) >= maxMeters {
			for a, old := range o.meters {
				if now.Sub(old.from) > time.Minute {
					delete(o.meters, a)
				}
			}
		}
		if len(o.meters) >= maxMeters {
			return 0, false
		}
		if o.meters == nil {
			o.meters = make(map[netip.Addr]*meter)
		}
		m = &meter{from: now}
		o.meters[from] = m
	}
	m.count++
	passed := now.Sub(m.from)
	if passed >= time.Second {
		m.rate = float64(m.count) / passed.Seconds()
		m.from, m.count = now, 0
	}
	if loss == 0 {
		m.capped = 0
		return 0, true
	}
	if m.capped == 0 {
		rate := m.rate
		if rate == 0 { // within its first second
			rate = float64(m.count)
		}
		m.capped = max(1, int(math.Ceil(rate*float64(100-loss)/100)))
	}
	return m.capped, true
}
