package bench

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// InTime is within what 99 of 100 events must be over where a row is the highest rate "in time".
const InTime = 50 * time.Millisecond

// Measurements that last for a time and not for a number of events, so that servers of any speed take
// equally long.

// closedFor runs jobs in w lanes for a time, or until there are most: lane k does the jobs k, k+w, k+2w... It returns how
// many were done.
func closedFor(d time.Duration, most, w int, start func(i int, done func())) (int, error) {
	var n atomic.Int64
	errs := make(chan error, w)
	until := time.Now().Add(d)
	for lane := range w {
		go func() {
			finished := make(chan struct{}, 1)
			done := func() { finished <- struct{}{} }
			for i := lane; i < most && time.Now().Before(until); i += w {
				start(i, done)
				if err := oneOf(finished); err != nil {
					errs <- fmt.Errorf("%w: job %d", err, i)
					return
				}
				n.Add(1)
			}
			errs <- nil
		}()
	}
	var first error
	for range w {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	return int(n.Load()), first
}

// percentile of durations, which it sorts.
func percentile(ds []time.Duration, p float64) time.Duration {
	if len(ds) == 0 {
		return 0
	}
	slices.Sort(ds)
	return ds[min(int(p*float64(len(ds))), len(ds)-1)]
}

// number is what the digits at the beginning of b say, and the rest.
func number(b []byte) (n int, rest []byte) {
	i := 0
	for ; i < len(b) && b[i] >= '0' && b[i] <= '9'; i++ {
		n = 10*n + int(b[i]-'0')
	}
	return n, b[i:]
}

// dialogOf is the presentity and the watcher of a NOTIFY of a dialog that watch made.
func dialogOf(m []byte) (p, w int, ok bool) {
	id, found := bytes.CutPrefix(line(m, "Call-ID: "), []byte("s"))
	if !found {
		return 0, 0, false
	}
	p, id = number(id)
	if len(id) < 2 || id[0] != '-' {
		return 0, 0, false
	}
	w, _ = number(id[1:])
	return p, w, true
}

// timed runs fn between two readings of the clocks and of the counters of traffic.
func (l *sipLoad) timed(fn func() (events int, err error)) (Row, error) {
	before := l.c.wire()
	r, err := measured(l.Target, "", "", "", fn)
	after := l.c.wire()
	r.Wire = Wire{after.In - before.In, after.Out - before.Out, after.InOctets - before.InOctets, after.OutOctets - before.OutOctets}
	return r, err
}

// crowdOf is so many presentities with so many watchers each, all of whom are told when one changes.
type crowdOf struct {
	*sipLoad
	presentities, watchers int
	failed                 atomic.Int64
	state                  atomic.Int64

	mu   sync.Mutex
	last []int // CSeq by dialog
	now  []change
	took []time.Duration // of NOTIFYs, since their PUBLISH was sent
	told int
}

// change is one under way of a presentity.
type change struct {
	sent time.Time
	left int
	done func()
}

// watch starts a server with its subscriptions.
func watch(ctx context.Context, start Launch, presentities, watchers int) (*crowdOf, error) {
	l, err := newSIPLoad(ctx, start, presentities+watchers, true)
	if err != nil {
		return nil, err
	}
	c := &crowdOf{sipLoad: l, presentities: presentities, watchers: watchers, last: make([]int, presentities*watchers), now: make([]change, presentities)}
	l.c.onNotify = c.notified
	first := make(chan struct{}, presentities*watchers)
	for p := range c.now {
		c.now[p] = change{time.Now(), watchers, func() { first <- struct{}{} }}
	}
	err = closed(presentities*watchers, 128, func(i int, done func()) {
		l.subscribe(presentities+i%watchers, i/watchers, fmt.Sprintf("s%d-%d", i/watchers, i%watchers), &c.failed, done)
	})
	for range presentities {
		if err == nil {
			err = oneOf(first)
		}
	}
	if err == nil {
		err = closed(presentities, min(presentities, 16), c.change) // first states
	}
	if err == nil {
		err = c.refusals(c.failed.Load())
	}
	if err != nil {
		l.stop()
		return nil, err
	}
	return c, nil
}

func (c *crowdOf) notified(m []byte) {
	p, w, ok := dialogOf(m)
	cseq, _ := number(line(m, "CSeq: "))
	if !ok || p >= c.presentities || w >= c.watchers {
		return
	}
	c.mu.Lock()
	if c.last[p*c.watchers+w] >= cseq {
		c.mu.Unlock() // sent again, since our 200 was late
		return
	}
	c.last[p*c.watchers+w] = cseq
	c.told++
	k := &c.now[p]
	c.took = append(c.took, time.Since(k.sent))
	k.left--
	var done func()
	if k.left == 0 {
		done = k.done
	}
	c.mu.Unlock()
	if done != nil {
		done()
	}
}

// change publishes a new state of presentity i and is done when it is answered and all have been told.
func (c *crowdOf) change(i int, done func()) {
	p := i % c.presentities
	var parts atomic.Int32
	part := func() {
		if parts.Add(1) == 2 {
			done()
		}
	}
	c.mu.Lock()
	c.now[p] = change{time.Now(), c.watchers, part}
	c.mu.Unlock()
	// An unchanged state would tell nobody: the number makes each one new.
	c.publish(p, pidfBody(fmt.Sprintf("u%d", p), int(c.state.Add(1))), &c.failed, part)
}

// run changes states for a time, w at once; the events are NOTIFYs.
func (c *crowdOf) run(d time.Duration, w int) (Row, error) {
	r, err := c.timed(func() (int, error) {
		c.mu.Lock()
		before := c.told
		c.took = c.took[:0]
		c.mu.Unlock()
		_, err := closedFor(d, math.MaxInt, w, c.change)
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.told - before, err
	})
	c.mu.Lock()
	r.P99 = percentile(c.took, 0.99)
	c.mu.Unlock()
	if err == nil {
		err = c.refusals(c.failed.Load())
	}
	return r, err
}

// FanOut finds how many NOTIFYs a second a server tells so many watchers of each change while 99 of 100 come
// InTime after their PUBLISH was sent: more changes at once as long as that makes it faster.
func FanOut(ctx context.Context, start Launch, watchers int, scale float64) (Row, error) {
	presentities := map[bool]int{true: 256, false: max(32, 1280/watchers)}[watchers == 1]
	c, err := watch(ctx, start, presentities, watchers)
	if err != nil {
		return Row{}, err
	}
	defer c.stop()
	// At most so many NOTIFYs at once as fit a socket's buffer.
	most := min(presentities, max(2000/watchers, 1), 256)
	at, best := 0, 0.0
	for w := min(most, max(1, 16/watchers)); w <= most; w *= 2 {
		r, err := c.run(seconds(0.2, scale), w)
		if err != nil {
			return r, err
		}
		rate := float64(r.Events) / r.Wall.Seconds()
		if at > 0 && (r.P99 > InTime || rate < 0.9*best) {
			break
		}
		if rate > best {
			at, best = w, rate
		}
	}
	for ; ; at /= 2 {
		r, err := c.run(seconds(1.5, scale), at)
		if err != nil || r.P99 <= InTime || at == 1 {
			r.Note = fmt.Sprintf("%d changes at once", at)
			if again := c.c.repeated(); again > 0 {
				r.Note += fmt.Sprintf(", %d requests sent again", again)
			}
			return r, err
		}
	}
}

func seconds(s, scale float64) time.Duration {
	return max(time.Duration(s*scale*float64(time.Second)), 50*time.Millisecond)
}

// Subscribes measures new subscriptions, each with its 200 and the first NOTIFY, with digest (MD5) or
// without.
func Subscribes(ctx context.Context, start Launch, digest bool, scale float64) (Row, error) {
	l, err := newSubscribing(ctx, start, digest, false)
	if err != nil {
		return Row{}, err
	}
	defer l.stop()
	if err := closed(subscribers, window, l.dialog("warm")); err != nil {
		return Row{}, err
	}
	r, err := l.timed(func() (int, error) { return closedFor(seconds(1.5, scale), subscribed, window, l.dialog("d")) })
	return l.done(r, err)
}

// subscribers is how many users there are to subscribe to each other.
const subscribers = 250

// subscribed is how many subscriptions are made at most: every server has room for them.
const subscribed = 30000

// subscribing is users who subscribe to each other.
type subscribing struct {
	*sipLoad
	failed atomic.Int64
	mu     sync.Mutex
	parts  map[string]func() // by Call-ID
	took   []time.Duration
}

func newSubscribing(ctx context.Context, start Launch, digest, weighed bool) (*subscribing, error) {
	l, err := loadSIP(ctx, start, Population{Users: subscribers, Trusted: !digest, Weighed: weighed})
	if err != nil {
		return nil, err
	}
	if digest {
		if err := l.authenticate(); err != nil {
			l.stop()
			return nil, err
		}
	}
	s := &subscribing{sipLoad: l, parts: map[string]func(){}}
	l.c.onNotify = func(m []byte) {
		id := line(m, "Call-ID: ")
		s.mu.Lock()
		fn := s.parts[string(id)]
		delete(s.parts, string(id))
		s.mu.Unlock()
		if fn != nil {
			fn()
		}
	}
	return s, nil
}

// dialog makes subscriptions whose Call-IDs begin so.
func (s *subscribing) dialog(prefix string) func(i int, done func()) {
	return func(i int, done func()) {
		id := fmt.Sprintf("%s%d", prefix, i)
		sent := time.Now()
		var k atomic.Int32
		part := func() {
			// After a refusal no NOTIFY comes.
			if n := k.Add(1); n == 2 || n == 1 && s.failed.Load() > 0 {
				s.mu.Lock()
				s.took = append(s.took, time.Since(sent))
				s.mu.Unlock()
				done()
			}
		}
		s.mu.Lock()
		s.parts[id] = part
		s.mu.Unlock()
		s.subscribe(i%subscribers, (i/subscribers+i*7+1)%subscribers, id, &s.failed, part)
	}
}

func (s *subscribing) done(r Row, err error) (Row, error) {
	s.mu.Lock()
	r.P99 = percentile(s.took, 0.99)
	s.mu.Unlock()
	if err == nil {
		err = s.refusals(s.failed.Load())
	}
	return r, err
}

// SubscriptionMemory is what one more subscription keeps resident. Answers are kept for 32 s (timer J, RFC 3261
// §17.2.2): memory is read after them, when scale is 1 or more.
func SubscriptionMemory(ctx context.Context, start Launch, scale float64) (Row, error) {
	l, err := newSubscribing(ctx, start, false, true)
	if err != nil {
		return Row{}, err
	}
	defer l.stop()
	if err := closed(subscribers, window, l.dialog("warm")); err != nil {
		return Row{}, err
	}
	before, err := l.Memory()
	if err != nil {
		return Row{}, err
	}
	n := max(int(40000*scale), 500)
	r, err := l.timed(func() (int, error) { return n, closed(n, window, l.dialog("d")) })
	if r, err = l.done(r, err); err != nil {
		return r, err
	}
	select {
	case <-time.After(seconds(36, min(scale, 1))):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	after, err := l.Memory()
	r.Bytes = (after - before) / int64(n)
	return r, err
}

// Publishes measures PUBLISH that nobody watches: changed states, or refreshes.
func Publishes(ctx context.Context, start Launch, refresh bool, scale float64) (Row, error) {
	l, err := newSIPLoad(ctx, start, subscribers, true)
	if err != nil {
		return Row{}, err
	}
	defer l.stop()
	var failed atomic.Int64
	var mu sync.Mutex
	var took []time.Duration
	job := func(i int, done func()) {
		body, sent := "", time.Now()
		p := i % subscribers
		if !refresh || i < subscribers {
			body = pidfBody(fmt.Sprintf("u%d", p), i)
		}
		l.publish(p, body, &failed, func() {
			mu.Lock()
			took = append(took, time.Since(sent))
			mu.Unlock()
			done()
		})
	}
	if err := closed(subscribers, window, job); err != nil {
		return Row{}, err
	}
	r, err := l.timed(func() (int, error) {
		return closedFor(seconds(1.5, scale), math.MaxInt, window, func(i int, done func()) { job(subscribers+i, done) })
	})
	mu.Lock()
	r.P99 = percentile(took, 0.99)
	mu.Unlock()
	if err == nil {
		err = l.refusals(failed.Load())
	}
	return r, err
}
