package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// SIMPLEstone (Singh, Schulzrinne: CUCS-023-06) asks which rate of requests a presence server sustains, of all types
// together and of each. Its report leaves the mix to a workload specification; ours is a user's hour with 20 contacts,
// of whom each watches each: 3 changes, a refresh of the publication, 20 refreshed subscriptions, and once in 8 hours all
// subscriptions ended and made anew. A rate is sustained when requests that are sent at that rate, whatever
// happens, are all accepted, none has to be sent again or finds all users still busy with the one before, and 99
// of 100 answers and NOTIFYs come InTime after their request was due.

// Stone is a type of request, or the mix.
type Stone string

const (
	Mixed   Stone = "mixed"
	Change  Stone = "PUBLISH, changed, 20 watchers"
	Renew   Stone = "PUBLISH, refresh"
	Refresh Stone = "SUBSCRIBE, refresh"
	Come    Stone = "SUBSCRIBE, new and ended"
)

// Stones are all.
var Stones = []Stone{Mixed, Change, Renew, Refresh, Come}

// hour is of how many requests of a user's hour each type has how many eighths: 24 changes, 8 renewals of
// the publication, 160 of subscriptions, 20 made, 20 ended.
var hour = []struct {
	kind Stone
	n    int
}{{Change, 24}, {Renew, 8}, {Refresh, 160}, {Come, 40}}

const (
	stoneUsers    = 240
	stoneWatchers = 20
)

// stones is the users of SIMPLEstone.
type stones struct {
	*sipLoad
	order []Stone // of requests, again and again

	mu      sync.Mutex
	users   []stoneUser
	dialogs []stoneDialog // 20 of each user
	guests  []guest       // subscriptions that were made to be ended
	next    [3]int        // user to change or renew, dialog to refresh, guest to make
	took    []time.Duration
	tally   tally
}

type tally struct{ sent, answered, due, told, busy, refused int }

// stoneUser has a publication; while one is on its way no other begins.
type stoneUser struct {
	sent  time.Time
	state int
	left  int // NOTIFYs of it, and the answer
}

type stoneDialog struct {
	tag     string
	cseq    int // of our SUBSCRIBE
	told    int // CSeq of the last NOTIFY
	state   int // the last that it told
	sent    time.Time
	waiting int // for the answer, and a NOTIFY
}

// guest is a subscription that is made and ended.
type guest struct {
	id      string
	tag     string
	told    int
	sent    time.Time
	waiting int
	ending  bool
}

func newStones(ctx context.Context, start Launch, kind Stone) (*stones, error) {
	l, err := newSIPLoad(ctx, start, stoneUsers, true)
	if err != nil {
		return nil, err
	}
	s := &stones{sipLoad: l, users: make([]stoneUser, stoneUsers), dialogs: make([]stoneDialog, stoneUsers*stoneWatchers)}
	s.order = []Stone{kind}
	if kind == Mixed {
		s.order = evenly()
	}
	l.c.onNotify = s.notified
	var failed atomic.Int64
	err = closed(stoneUsers, 60, func(i int, done func()) { s.publish(i, s.body(i, 0), &failed, done) })
	if err == nil {
		err = closed(len(s.dialogs), 120, func(i int, done func()) { s.refresh(i, time.Now(), done) })
	}
	if err == nil {
		err = s.settle()
	}
	if err == nil {
		err = s.refusals(failed.Load())
	}
	if err != nil {
		l.stop()
		return nil, err
	}
	return s, nil
}

// evenly spreads the types of an hour over it.
func evenly() (order []Stone) {
	total, due := 0, make([]int, len(hour))
	for _, h := range hour {
		total += h.n
	}
	for range total {
		best := 0
		for i, h := range hour {
			due[i] += h.n
			if due[i] > due[best] {
				best = i
			}
		}
		due[best] -= total
		order = append(order, hour[best].kind)
	}
	return order
}

var stateMark = []byte(">state ")

func (s *stones) body(user, state int) string { return pidfBody(fmt.Sprintf("u%d", user), state) }

// one sends the next request of a type that was due then.
func (s *stones) one(kind Stone, due time.Time) {
	s.mu.Lock()
	s.tally.sent++
	switch kind {
	case Change, Renew:
		var i int
		for range stoneUsers {
			s.next[0]++
			if i = s.next[0] % stoneUsers; s.users[i].left == 0 {
				break
			}
		}
		u := &s.users[i]
		if u.left > 0 {
			s.tally.busy++
			s.mu.Unlock()
			return
		}
		u.sent, u.left = due, 1
		if kind == Renew {
			s.tally.due++
			s.mu.Unlock()
			s.say(i, "", due)
			return
		}
		u.state++
		u.left += stoneWatchers
		s.tally.due += 1 + stoneWatchers
		state := u.state
		s.mu.Unlock()
		s.say(i, s.body(i, state), due)
	case Refresh:
		s.next[1]++
		i := s.next[1] % len(s.dialogs)
		busy := s.dialogs[i].waiting > 0
		if busy {
			s.tally.busy++
		}
		s.mu.Unlock()
		if !busy {
			s.refresh(i, due, func() {})
		}
	case Come:
		s.guest(due) // unlocks
	}
}

func (s *stones) say(i int, body string, due time.Time) {
	var failed atomic.Int64
	s.publish(i, body, &failed, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.users[i].left--
		s.over(due)
		s.tally.refused += int(failed.Load())
	})
}

// over notes an answer or a NOTIFY of what was due then; s.mu is held.
func (s *stones) over(due time.Time) {
	s.tally.answered++
	s.took = append(s.took, time.Since(due))
}

// refresh makes or refreshes dialog i.
func (s *stones) refresh(i int, due time.Time, done func()) {
	p, w := i/stoneWatchers, i%stoneWatchers
	watcher := fmt.Sprintf("u%d", (p/stoneWatchers*stoneWatchers+w)%stoneUsers)
	s.mu.Lock()
	d := &s.dialogs[i]
	d.cseq++
	d.sent, d.waiting = due, 2
	s.tally.due += 2
	r := request{method: "SUBSCRIBE", user: fmt.Sprintf("u%d", p), from: watcher, callID: fmt.Sprintf("s%d-%d", p, w), cseq: d.cseq, toTag: d.tag, header: s.watchHeader(watcher, 3600)}
	s.mu.Unlock()
	s.c.send(r, func(status int, m []byte) {
		s.mu.Lock()
		if status/100 != 2 {
			s.tally.refused++
			s.refused.CompareAndSwap(nil, &status)
		}
		if d.tag == "" {
			d.tag = string(param(line(m, "To: "), "tag="))
		}
		d.waiting--
		s.over(due)
		s.mu.Unlock()
		done()
	})
}

func (s *stones) watchHeader(watcher string, expires int) string {
	return fmt.Sprintf("Expires: %d\r\nAccept: application/pidf+xml\r\nContact: <sip:%s@%s>\r\n", expires, watcher, s.c.local)
}

// guest makes a subscription, or ends the oldest of those made, in turns. s.mu is held, and released.
func (s *stones) guest(due time.Time) {
	s.next[2]++
	k := s.next[2]
	i := k / 2
	if k%2 == 0 {
		s.guests = append(s.guests, guest{id: fmt.Sprintf("g%d", len(s.guests))})
		i = len(s.guests) - 1
	} else if i -= 200; i < 0 || i >= len(s.guests) { // first there must be some
		s.guests = append(s.guests, guest{id: fmt.Sprintf("g%d", len(s.guests))})
		i = len(s.guests) - 1
	}
	g := &s.guests[i]
	if g.waiting > 0 || g.ending {
		s.tally.busy++
		s.mu.Unlock()
		return
	}
	watcher := fmt.Sprintf("u%d", i*7%stoneUsers)
	r := request{method: "SUBSCRIBE", user: fmt.Sprintf("u%d", i%stoneUsers), from: watcher, callID: g.id, cseq: 1, toTag: g.tag, header: s.watchHeader(watcher, 3600)}
	if g.tag != "" {
		g.ending, r.cseq, r.header = true, 2, s.watchHeader(watcher, 0)
	}
	g.sent, g.waiting = due, 2
	s.tally.due += 2
	s.mu.Unlock()
	s.c.send(r, func(status int, m []byte) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if status/100 != 2 {
			s.tally.refused++
			s.refused.CompareAndSwap(nil, &status)
		}
		g := &s.guests[i]
		g.tag = string(param(line(m, "To: "), "tag="))
		g.waiting--
		s.over(due)
	})
}

// notified counts a NOTIFY for the change that it tells first, and for the SUBSCRIBE that waits for one.
func (s *stones) notified(m []byte) {
	cseq, _ := number(line(m, "CSeq: "))
	p, w, ok := dialogOf(m)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tally.told++
	if !ok {
		id := line(m, "Call-ID: ")
		if len(id) == 0 || id[0] != 'g' {
			return
		}
		if i, _ := number(id[1:]); i < len(s.guests) && s.guests[i].told < cseq {
			g := &s.guests[i]
			g.told = cseq
			if g.waiting > 0 && (!g.ending || bytes.HasPrefix(line(m, "Subscription-State: "), []byte("terminated"))) {
				g.waiting--
				s.over(g.sent)
			}
		}
		return
	}
	i := p*stoneWatchers + w
	if p >= stoneUsers || w >= stoneWatchers || s.dialogs[i].told >= cseq {
		return
	}
	d := &s.dialogs[i]
	d.told = cseq
	if at := bytes.Index(m, stateMark); at >= 0 {
		if state, _ := number(m[at+len(stateMark):]); state > d.state {
			d.state = state
			if u := &s.users[p]; u.state == state {
				u.left--
				s.over(u.sent)
			}
		}
	}
	if d.waiting > 0 {
		d.waiting--
		s.over(d.sent)
	}
}

// settle waits until all that is due has come.
func (s *stones) settle() error {
	for until := time.Now().Add(2 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		s.mu.Lock()
		left := s.tally.due - s.tally.answered
		s.mu.Unlock()
		if left <= 0 {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("bench: %d answers and NOTIFYs did not come", left)
		}
	}
}

// try sends at a rate for a time. failure says why it was not sustained.
func (s *stones) try(rate float64, d time.Duration) (r Row, failure string, err error) {
	s.mu.Lock()
	s.tally, s.took = tally{}, s.took[:0]
	s.mu.Unlock()
	again := s.c.repeated()
	r, err = s.timed(func() (int, error) {
		begin, n := time.Now(), 0
		for now := begin; now.Sub(begin) < d; now = time.Now() {
			for ; float64(n) < rate*now.Sub(begin).Seconds(); n++ {
				s.one(s.order[n%len(s.order)], begin.Add(time.Duration(float64(n)/rate*float64(time.Second))))
			}
			time.Sleep(time.Millisecond / 2)
		}
		return n, nil
	})
	if err != nil {
		return r, "", err
	}
	lost := s.settle()
	s.mu.Lock()
	defer s.mu.Unlock()
	r.P99 = percentile(s.took, 0.99)
	var why []string
	if s.tally.refused > 0 {
		why = append(why, fmt.Sprintf("%d refused", s.tally.refused))
	}
	if s.tally.busy > 0 {
		why = append(why, fmt.Sprintf("%d found all users busy", s.tally.busy))
	}
	if n := s.c.repeated() - again; n > 0 {
		why = append(why, fmt.Sprintf("%d sent again", n))
	}
	if r.P99 > InTime {
		why = append(why, fmt.Sprintf("p99 %v", r.P99.Round(time.Millisecond)))
	}
	if lost != nil {
		why = append(why, lost.Error())
		s.forget()
	}
	return r, strings.Join(why, ", "), nil
}

// forget gives up what does not come; s.mu is held.
func (s *stones) forget() {
	for i := range s.users {
		s.users[i].left = 0
	}
	for i := range s.dialogs {
		s.dialogs[i].waiting = 0
	}
	for i := range s.guests {
		s.guests[i].waiting = 0
	}
}

// SIMPLEstone finds the highest rate of requests of a type that a server sustains: from a low rate upwards, doubled until
// one is not, then between. A rate that was just missed is tried twice, since a machine has hiccups.
func SIMPLEstone(ctx context.Context, start Launch, kind Stone, scale float64) (Row, error) {
	s, err := newStones(ctx, start, kind)
	if err != nil {
		return Row{}, err
	}
	defer s.stop()
	if scale <= brief {
		return s.short(ctx, kind, scale)
	}
	low, high := 0.0, 0.0
	var best Row
	var why string
	rate := map[Stone]float64{Mixed: 2000, Change: 400, Renew: 2000, Refresh: 3000, Come: 3000}[kind]
	for tries, failed := 0, 0; tries < 20 && ctx.Err() == nil && (low == 0 || high == 0 || high/low > 1.08); tries++ {
		r, failure, err := s.try(rate, seconds(0.5, scale))
		if err != nil {
			return r, err
		}
		switch {
		case failure == "":
			low, best, failed = rate, r, 0
		case failed == 0 && r.P99 < 4*InTime:
			failed++
			continue
		default:
			high, why, failed = rate, failure, 0
		}
		switch {
		case high == 0:
			rate *= 2
		case low == 0:
			rate /= 2
		default:
			rate = (low + high) / 2
		}
	}
	if low == 0 && ctx.Err() == nil {
		return best, fmt.Errorf("bench: %s: not even %.0f requests a second: %s", kind, rate, why)
	}
	best.Note = fmt.Sprintf("at %.0f/s: %s", high, why)
	return best, ctx.Err()
}

// short looks at counts only: all is accepted, answered and told, at a rate that anything sustains.
func (s *stones) short(ctx context.Context, kind Stone, scale float64) (Row, error) {
	r, _, err := s.try(400, seconds(10, scale))
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tally; err == nil && (t.refused > 0 || t.due != t.answered || t.sent-t.busy == 0) {
		err = fmt.Errorf("bench: %s: %+v", kind, t)
	}
	return r, errors.Join(err, ctx.Err())
}
