package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// town is who lives in ChatTown: storms of circles of 21 who log in together, pairs, publishers who all
// have the same 200 watchers, and strangers.
type town struct{ circles, pairs, meetings int }

const (
	townStorms     = 6 // two for each of three runs
	townCircle     = 21
	townPublishers = 8
	townWatchers   = 200
	townRuns       = 3
)

func townOf(scale float64) town {
	n := func(most, least int) int { return max(int(float64(most)*min(scale, 1)), least) }
	return town{circles: n(20, 2), pairs: n(100, 20), meetings: n(400, 20)}
}

func (t town) storm() int          { return t.circles * townCircle }
func (t town) firstPair() int      { return townStorms * t.storm() }
func (t town) firstPublisher() int { return t.firstPair() + 2*t.pairs }
func (t town) firstWatcher() int   { return t.firstPublisher() + townPublishers }
func (t town) firstStranger() int  { return t.firstWatcher() + townWatchers }

func (t town) contacts(i int) []int {
	switch {
	case i < t.firstPair():
		return span(i/townCircle*townCircle, townCircle, i)
	case i < t.firstPublisher():
		return []int{i ^ 1}
	case i < t.firstWatcher():
		return span(t.firstWatcher(), townWatchers, -1)
	case i < t.firstStranger():
		return span(t.firstPublisher(), townPublishers, -1)
	}
	return nil
}

// span are n numbers, without one.
func span(first, n, but int) []int {
	all := make([]int, 0, n)
	for j := first; j < first+n; j++ {
		if j != but {
			all = append(all, j)
		}
	}
	return all
}

// ChatTown is the population of all measurements of chat of that scale: its users are enough for three
// runs of each.
func ChatTown(scale float64) Population {
	t := townOf(scale)
	return Population{Users: t.firstStranger() + 2*townRuns*t.meetings, Asked: true, Contacts: t.contacts}
}

// arrive logs users in, so many at the same time, and waits until each has seen the presence of
// so many, his own among them. on gets what comes after that, k being the place in users. Those
// who are in are returned with an error too.
func arrive(t Target, users []int, sees func(user int) int, on func(k int, c *xmppClient, st []byte)) ([]*xmppClient, error) {
	const lanes = 64
	cs := make([]*xmppClient, len(users))
	errs := make(chan error, lanes)
	whole := make(chan struct{}, len(users))
	var next atomic.Int64
	for range lanes {
		go func() {
			errs <- func() error {
				for k := int(next.Add(1)) - 1; k < len(users); k = int(next.Add(1)) - 1 {
					c, err := dialXMPP(t.Addr("xmpp+insecure"), User(users[k]), PasswordOf(users[k]), nil)
					if err != nil {
						return err
					}
					cs[k] = c
					if err := c.appear(sees(users[k]), func() { whole <- struct{}{} }, func(st []byte) { on(k, c, st) }); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	var first error
	for range lanes {
		first = errors.Join(first, <-errs)
	}
	for range users {
		if first == nil {
			first = oneOf(whole)
		}
	}
	return cs, first
}

func ignore(int, *xmppClient, []byte) {}

// from is the number of the user that a stanza comes from; -1: nobody's.
func from(st []byte) int {
	a := attr(st, "from=")
	if len(a) < 2 || a[0] != 'u' {
		return -1
	}
	n := 0
	for _, c := range a[1:] {
		if c == '@' {
			return n
		}
		if c < '0' || c > '9' {
			break
		}
		n = 10*n + int(c-'0')
	}
	return -1
}

func scaledTime(scale float64) time.Duration {
	return max(time.Duration(2*scale*float64(time.Second)), 100*time.Millisecond)
}

// counted measures fn, and takes a profile of that name where Profiles is set. What the server still does within 100 ms is counted too.
func counted(t *Lasting, name string, fn func() (events int, wall time.Duration, err error)) (Row, error) {
	var r Row
	before, err := t.CPU()
	if err != nil {
		return r, err
	}
	wait := profile(t.Target, name)
	defer wait()
	own := ownCPU()
	if r.Events, r.Wall, err = fn(); err != nil {
		return r, err
	}
	r.Own = ownCPU() - own
	time.Sleep(100 * time.Millisecond)
	after, err := t.CPU()
	r.CPU = after - before
	return r, err
}

// sustained keeps w jobs under way, one in each lane, for a time and until there have been most of
// them. start begins job k of a lane.
func sustained(d time.Duration, w, most int, start func(lane, k int, done func()) error) (int, time.Duration, error) {
	errs := make(chan error, w)
	var jobs atomic.Int64
	began := time.Now()
	for lane := range w {
		go func() {
			finished := make(chan struct{}, 1)
			done := func() { finished <- struct{}{} }
			errs <- func() error {
				for k := 0; time.Since(began) < d && int(jobs.Add(1)) <= most; k++ {
					if err := start(lane, k, done); err != nil {
						return err
					}
					if err := oneOf(finished); err != nil {
						return err
					}
				}
				return nil
			}()
		}()
	}
	var first error
	for range w {
		first = errors.Join(first, <-errs)
	}
	return min(int(jobs.Load()), most), time.Since(began), first
}

// ChatStorm measures logins of users with 20 contacts, 420 at once, who have not been there
// before, from the connection until each has the presence of all contacts. It is repeated for a while.
func ChatStorm(ctx context.Context, start Launch, scale float64) (Row, error) {
	s, err := lasting(ctx, start, ChatTown(scale))
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	var sum Row
	town := townOf(scale)
	for range townStorms / townRuns {
		users := span(s.cold%townStorms*town.storm(), town.storm(), -1)
		s.cold++
		var cs []*xmppClient
		r, err := counted(s, "chat login", func() (int, time.Duration, error) {
			began := time.Now()
			var err error
			cs, err = arrive(s, users, func(int) int { return townCircle }, ignore)
			return len(users), time.Since(began), err
		})
		closeAll(cs)
		if err != nil {
			return r, err
		}
		sum.Events, sum.CPU, sum.Wall, sum.Own = sum.Events+r.Events, sum.CPU+r.CPU, sum.Wall+r.Wall, sum.Own+r.Own
		if err := rest(ctx, s); err != nil || sum.Wall > scaledTime(scale) {
			return sum, err
		}
	}
	return sum, nil
}

// ChatFanout measures a presence change to so many contacts: 1, 20 or 200. The event is a delivery to
// a contact; the copy that the user himself gets comes on top. P99 is from the writing of a change to its deliveries.
func ChatFanout(ctx context.Context, start Launch, contacts int, scale float64) (Row, error) {
	s, err := lasting(ctx, start, ChatTown(scale))
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	town := townOf(scale)
	users, lanes, senders := span(0, town.storm(), -1), town.circles, townCircle // senders of each lane, next to each other
	switch contacts {
	case 1:
		users, lanes, senders = span(town.firstPair(), 2*town.pairs, -1), 20, 2*town.pairs/20
	case 200:
		users, lanes, senders = span(town.firstPublisher(), townPublishers+townWatchers, -1), townPublishers/2, 2
	}
	var delivered atomic.Int64
	var begun atomic.Bool // before, who came at the same time may be told of each other twice; it ends with the changes
	under := make([]said, len(users))
	took := make([][]time.Duration, len(users)) // by receiver: each has one reader
	cs, err := arrive(s, users, func(i int) int { return len(town.contacts(i)) + 1 }, func(k int, _ *xmppClient, st []byte) {
		if !bytes.HasPrefix(st, isPresence) {
			return
		}
		i := from(st) - users[0]
		if i < 0 || i >= len(users) || i == k || !begun.Load() {
			return // or his own copy
		}
		c := &under[i]
		took[k] = append(took[k], time.Duration(time.Now().UnixNano()-c.at.Load()))
		delivered.Add(1)
		if c.left.Add(-1) == 0 {
			(*c.done.Load())()
		}
	})
	defer closeAll(cs)
	if err != nil {
		return Row{}, err
	}
	if err := rest(ctx, s); err != nil {
		return Row{}, err
	}
	changes := 0
	begun.Store(true)
	r, err := counted(s, fmt.Sprintf("chat presence to %d", contacts), func() (int, time.Duration, error) {
		n, wall, err := sustained(scaledTime(scale), lanes, 1<<30, func(lane, k int, done func()) error {
			i := lane*senders + k%senders
			c := &under[i]
			c.left.Store(int64(contacts))
			c.done.Store(&done)
			c.at.Store(time.Now().UnixNano())
			show := [...]string{"away", "dnd", "xa"}[k%3]
			return cs[i].write("<presence><show>%s</show><status>change %d</status></presence>", show, k)
		})
		changes = n
		return n * contacts, wall, err
	})
	begun.Store(false) // that they leave is no delivery
	if err != nil {
		return r, err
	}
	if got := int(delivered.Load()); got != changes*contacts {
		return r, fmt.Errorf("bench: %d changes to %d contacts each were delivered %d times", changes, contacts, got)
	}
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	r.P99 = quantile(all, 0.99)
	closeAll(cs)
	return r, rest(ctx, s)
}

// said is what a user has said last.
type said struct {
	left atomic.Int64 // contacts who have not got it
	at   atomic.Int64 // when it was written
	done atomic.Pointer[func()]
}

// ChatMessages measures messages between pairs, to full addresses, 20 under way. P99 is from the
// writing to the arrival.
func ChatMessages(ctx context.Context, start Launch, scale float64) (Row, error) {
	const lanes = 20
	s, err := lasting(ctx, start, ChatTown(scale))
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	town := townOf(scale)
	users := span(town.firstPair(), 2*town.pairs, -1)
	under := make([]said, len(users))
	took := make([][]time.Duration, len(users))
	var came atomic.Int64
	cs, err := arrive(s, users, func(int) int { return 2 }, func(k int, _ *xmppClient, st []byte) {
		if bytes.HasPrefix(st, []byte("<message")) {
			c := &under[k]
			took[k] = append(took[k], time.Duration(time.Now().UnixNano()-c.at.Load()))
			came.Add(1)
			(*c.done.Load())()
		}
	})
	defer closeAll(cs)
	if err != nil {
		return Row{}, err
	}
	if err := rest(ctx, s); err != nil {
		return Row{}, err
	}
	r, err := counted(s, "chat messages", func() (int, time.Duration, error) {
		return sustained(scaledTime(scale), lanes, 1<<30, func(lane, k int, done func()) error {
			each := len(users) / lanes
			to := lane*each + k%each
			c := &under[to]
			c.done.Store(&done)
			c.at.Store(time.Now().UnixNano())
			return cs[to^1].write("<message type='chat' id='m%d' to='%s@localhost/r'><body>A message of usual length, as people write them, number %d.</body></message>", k, User(users[to]), k)
		})
	})
	if err != nil {
		return r, err
	}
	if int(came.Load()) != r.Events {
		return r, fmt.Errorf("bench: %d messages came %d times", r.Events, came.Load())
	}
	var all []time.Duration
	for _, t := range took {
		all = append(all, t...)
	}
	r.P99 = quantile(all, 0.99)
	closeAll(cs)
	return r, rest(ctx, s)
}

// ChatHandshakes measures strangers who meet: subscribe, subscribed, and the first presence, with
// the roster pushes of both, 32 under way.
func ChatHandshakes(ctx context.Context, start Launch, scale float64) (Row, error) {
	s, err := lasting(ctx, start, ChatTown(scale))
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	town := townOf(scale)
	pairs := town.meetings
	users := span(town.firstStranger()+2*(s.pairs%(townRuns*pairs)), 2*pairs, -1)
	s.pairs += pairs
	dones := make([]atomic.Pointer[func()], len(users))
	var asked, told atomic.Int64
	var mu sync.Mutex
	var werr error
	cs, err := arrive(s, users, func(int) int { return 1 }, func(k int, c *xmppClient, st []byte) {
		if !bytes.HasPrefix(st, isPresence) {
			return
		}
		switch typ := string(attr(st, "type=")); {
		case k%2 == 1 && typ == "subscribe": // the asked one answers
			asked.Add(1)
			if err := c.write("<presence to='%s' type='subscribed'/>", attr(st, "from=")); err != nil {
				mu.Lock()
				werr = err
				mu.Unlock()
			}
		case k%2 == 0 && typ == "" && from(st) == users[k]+1: // done with the contact's first presence
			told.Add(1)
			if fn := dones[k].Swap(nil); fn != nil {
				(*fn)()
			}
		}
	})
	defer closeAll(cs)
	if err != nil {
		return Row{}, err
	}
	if err := rest(ctx, s); err != nil {
		return Row{}, err
	}
	r, err := counted(s, "chat handshakes", func() (int, time.Duration, error) {
		var next atomic.Int64
		return sustained(scaledTime(scale), 32, pairs, func(_, _ int, done func()) error {
			k := 2 * int(next.Add(1)-1)
			dones[k].Store(&done)
			return cs[k].write("<presence to='%s@localhost' type='subscribe'/>", User(users[k+1]))
		})
	})
	mu.Lock()
	err = errors.Join(err, werr)
	mu.Unlock()
	if err != nil {
		return r, err
	}
	if a, b := int(asked.Load()), int(told.Load()); a != r.Events || b != r.Events {
		return r, fmt.Errorf("bench: in %d handshakes %d were asked and %d told", r.Events, a, b)
	}
	closeAll(cs)
	return r, rest(ctx, s)
}

// ChatIdle measures the memory of sessions that only wait, over that of the server with fifty users
// who have come and gone.
func ChatIdle(ctx context.Context, start Launch, secure bool, scale float64) (Row, error) {
	return idle(ctx, start, max(int(2000*scale), 50), secure, time.Duration(min(scale, 1)*float64(idleSettle)), "", "", "")
}
