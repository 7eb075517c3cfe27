package bench

import (
	"bytes"
	"context"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// window is how many requests are under way at one time: enough to keep the
// server busy, as a server is that needs its processor time counted.
const window = 250

// measured runs fn between two readings of the clocks.
func measured(s Target, name, goal, peers string, fn func() (events int, err error)) (Row, error) {
	r := Row{Name: name, Goal: goal, Peers: peers}
	before, err := s.CPU()
	if err != nil {
		return r, err
	}
	stop := profile(s, name)
	defer stop()
	own, start := ownCPU(), time.Now()
	if r.Events, err = fn(); err != nil {
		return r, fmt.Errorf("%s: %w", name, err)
	}
	r.Wall, r.Own = time.Since(start), ownCPU()-own
	after, err := s.CPU()
	r.CPU = after - before
	return r, err
}

func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func pidfBody(user string, n int) string {
	return fmt.Sprintf(`<?xml version="1.0" encoding="UTF-8"?>
<presence xmlns="urn:ietf:params:xml:ns:pidf" xmlns:dm="urn:ietf:params:xml:ns:pidf:data-model" xmlns:rpid="urn:ietf:params:xml:ns:pidf:rpid" entity="pres:%s@localhost">
<tuple id="desk"><status><basic>open</basic></status><contact priority="0.8">sip:%[1]s@127.0.0.1</contact><note>state %d</note></tuple>
<dm:person id="p1"><rpid:activities><rpid:on-the-phone/></rpid:activities></dm:person>
</presence>`, user, n)
}

// sipLoad is a server with a client and what the client knows.
type sipLoad struct {
	Target
	c    *sipClient
	etag []string
	cseq []int
	mu   sync.Mutex

	refused atomic.Pointer[int] // the first status that was not 2xx
}

// refusals is the error of so many requests that were refused.
func (l *sipLoad) refusals(n int64) error {
	if status := l.refused.Load(); n > 0 && status != nil {
		return fmt.Errorf("bench: %d requests were refused, the first with %d", n, *status)
	}
	return nil
}

func newSIPLoad(ctx context.Context, start Launch, n int, trusted bool) (*sipLoad, error) {
	return loadSIP(ctx, start, Population{Users: n, Trusted: trusted})
}

func loadSIP(ctx context.Context, start Launch, p Population) (*sipLoad, error) {
	s, err := start(ctx, p)
	if err != nil {
		return nil, err
	}
	c, err := newSIPClient(s.Addr("sip+udp"))
	if err != nil {
		s.Stop()
		return nil, err
	}
	return &sipLoad{Target: s, c: c, etag: make([]string, p.Users), cseq: make([]int, p.Users)}, nil
}

func (l *sipLoad) stop() error { l.c.close(); return l.Stop() }

// publish sends a new state, or a refresh when body is empty.
func (l *sipLoad) publish(i int, body string, failed *atomic.Int64, done func()) {
	u := fmt.Sprintf("u%d", i)
	l.mu.Lock()
	l.cseq[i]++
	r := request{method: "PUBLISH", user: u, from: u, callID: fmt.Sprintf("p%d", i), cseq: l.cseq[i], body: body,
		header: "Expires: 3600\r\nContact: <sip:" + u + "@" + l.c.local + ">\r\n", password: fmt.Sprintf("pw%d", i)}
	if l.etag[i] != "" {
		r.header += "SIP-If-Match: " + l.etag[i] + "\r\n"
	}
	l.mu.Unlock()
	if body != "" {
		r.header += "Content-Type: application/pidf+xml\r\n"
	}
	l.c.send(r, func(status int, m []byte) {
		if status == 200 {
			l.mu.Lock()
			l.etag[i] = string(line(m, "SIP-ETag: "))
			l.mu.Unlock()
		} else {
			failed.Add(1)
			l.refused.CompareAndSwap(nil, &status)
		}
		done()
	})
}

func (l *sipLoad) subscribe(watcher, presentity int, callID string, failed *atomic.Int64, done func()) {
	w := fmt.Sprintf("u%d", watcher)
	l.c.send(request{method: "SUBSCRIBE", user: fmt.Sprintf("u%d", presentity), from: w, callID: callID, cseq: 1,
		header: "Expires: 3600\r\nAccept: application/pidf+xml\r\nContact: <sip:" + w + "@" + l.c.local + ">\r\n", password: fmt.Sprintf("pw%d", watcher)},
		func(status int, m []byte) {
			if status/100 != 2 {
				failed.Add(1)
				l.refused.CompareAndSwap(nil, &status)
			}
			done()
		})
}

// authenticate fetches a nonce.
func (l *sipLoad) authenticate() error {
	got := make(chan *digester, 1)
	l.c.send(request{method: "SUBSCRIBE", user: "u0", from: "u1", callID: "nonce", cseq: 1, header: "Contact: <sip:u1@" + l.c.local + ">\r\n"},
		func(status int, m []byte) {
			for _, v := range bytes.Split(m, []byte("\r\n")) {
				for header, answer := range map[string]string{"WWW-Authenticate: ": "Authorization", "Proxy-Authenticate: ": "Proxy-Authorization"} {
					// MD5 need not be named (RFC 7616 §3.3).
					if bytes.HasPrefix(v, []byte(header)) && !bytes.Contains(v, []byte("SHA")) {
						got <- &digester{strings.Trim(string(param(v, "nonce=")), `"`), answer}
						return
					}
				}
			}
			got <- nil
		})
	select {
	case d := <-got:
		if d == nil {
			return fmt.Errorf("bench: no MD5 challenge")
		}
		l.c.mu.Lock()
		l.c.digest = d
		l.c.mu.Unlock()
		return nil
	case <-time.After(5 * time.Second):
		return fmt.Errorf("bench: no challenge came")
	}
}

// fanout measures PUBLISH to so many watchers each; the event is one NOTIFY
// with its 200 when perNotify, else one change.
func fanout(ctx context.Context, start Launch, watchers, changes int, name, goal, peers string, perNotify bool) (Row, error) {
	presentities := 50
	if watchers == 1 {
		presentities = 500
	}
	l, err := newSIPLoad(ctx, start, presentities+watchers, true)
	if err != nil {
		return Row{}, err
	}
	defer l.stop()
	var failed atomic.Int64
	var told = make([]atomic.Int64, presentities) // NOTIFYs by presentity
	var waiting = make([]atomic.Pointer[func()], presentities)
	goalOf := make([]atomic.Int64, presentities)
	var notifies atomic.Int64
	last := make([]int, presentities*watchers) // CSeq by dialog; the reader's
	l.c.onNotify = func(m []byte) {
		var p, w, cseq int
		if _, err := fmt.Sscanf(string(line(m, "Call-ID: ")), "s%d-%d", &p, &w); err != nil {
			return
		}
		if _, err := fmt.Sscanf(string(line(m, "CSeq: ")), "%d", &cseq); err != nil || last[p*watchers+w] >= cseq {
			return // sent again, since our 200 was late
		}
		last[p*watchers+w] = cseq
		notifies.Add(1)
		if told[p].Add(1) == goalOf[p].Load() {
			if fn := waiting[p].Swap(nil); fn != nil {
				(*fn)()
			}
		}
	}
	err = closed(presentities*watchers, window, func(i int, done func()) {
		l.subscribe(presentities+i%watchers, i/watchers, fmt.Sprintf("s%d-%d", i/watchers, i%watchers), &failed, done)
	})
	if err != nil {
		return Row{}, err
	}
	for t := time.Now(); notifies.Load() < int64(presentities*watchers); time.Sleep(time.Millisecond) {
		if time.Since(t) > 10*time.Second {
			return Row{}, fmt.Errorf("bench: %d of %d first NOTIFYs came", notifies.Load(), presentities*watchers)
		}
	}
	var state atomic.Int64
	change := func(i int, done func()) {
		p := i % presentities
		var parts atomic.Int32
		part := func() {
			if parts.Add(1) == 2 { // the 200 and the last NOTIFY
				done()
			}
		}
		goalOf[p].Store(told[p].Load() + int64(watchers))
		waiting[p].Store(&part)
		// An unchanged state would tell nobody: the number makes each one new.
		l.publish(p, pidfBody(fmt.Sprintf("u%d", p), int(state.Add(1))), &failed, part)
	}
	w := min(window, presentities)
	if watchers > 1 {
		w = 10 // so that no phone's NOTIFYs overflow the socket
	}
	if err := closed(presentities, w, change); err != nil { // first states
		return Row{}, err
	}
	r, err := measured(l.Target, name, goal, peers, func() (int, error) {
		before := notifies.Load()
		err := closed(changes, w, change)
		if perNotify {
			return int(notifies.Load() - before), err
		}
		return changes, err
	})
	if n := failed.Load(); n > 0 && err == nil {
		err = fmt.Errorf("%s: %d requests failed", name, n)
	}
	return r, err
}

// subscriptions measures new subscriptions with their first NOTIFY, and the
// memory that they take.
func subscriptions(ctx context.Context, start Launch, n int, digest, memory bool, name, goal, peers string) (cpu, mem Row, err error) {
	const people = 1000
	l, err := newSIPLoad(ctx, start, people, !digest)
	if err != nil {
		return cpu, mem, err
	}
	defer l.stop()
	if digest {
		if err := l.authenticate(); err != nil {
			return cpu, mem, err
		}
	}
	var failed atomic.Int64
	var mu sync.Mutex
	parts := map[string]func(){}
	l.c.onNotify = func(m []byte) {
		id := string(line(m, "Call-ID: "))
		mu.Lock()
		fn := parts[id]
		delete(parts, id)
		mu.Unlock()
		if fn != nil {
			fn()
		}
	}
	sub := func(prefix string) func(i int, done func()) {
		return func(i int, done func()) {
			id := fmt.Sprintf("%s%d", prefix, i)
			var k atomic.Int32
			part := func() {
				if k.Add(1) == 2 {
					done()
				}
			}
			mu.Lock()
			parts[id] = part
			mu.Unlock()
			l.subscribe(i%people, (i/people+i*7+1)%people, id, &failed, part)
		}
	}
	if err := closed(people, window, sub("warm")); err != nil {
		return cpu, mem, err
	}
	before, err := l.Memory()
	if err != nil {
		return cpu, mem, err
	}
	cpu, err = measured(l.Target, name, goal, peers, func() (int, error) { return n, closed(n, window, sub("d")) })
	if err != nil {
		return cpu, mem, err
	}
	if f := failed.Load(); f > 0 {
		return cpu, mem, fmt.Errorf("%s: %d requests failed", name, f)
	}
	if !memory {
		return cpu, mem, nil
	}
	// Timer J holds answers for 32 s: memory is read after it.
	select {
	case <-time.After(36 * time.Second):
	case <-ctx.Done():
		return cpu, mem, ctx.Err()
	}
	after, err := l.Memory()
	mem = Row{Name: "memory of one SIP subscription (resident, after timer J)", Events: n, Bytes: (after - before) / int64(n), Goal: "≤ 3 KiB", Peers: "Kamailio 23; 9.6 tuned"}
	return cpu, mem, err
}

// publishes measures PUBLISH without watchers: changed states, or refreshes.
func publishes(ctx context.Context, start Launch, n int, refresh bool, name, goal, peers string) (Row, error) {
	const people = 1000
	l, err := newSIPLoad(ctx, start, people, true)
	if err != nil {
		return Row{}, err
	}
	defer l.stop()
	var failed atomic.Int64
	change := func(i int, done func()) {
		p := i % people
		body := ""
		if !refresh {
			body = pidfBody(fmt.Sprintf("u%d", p), people+i)
		}
		l.publish(p, body, &failed, done)
	}
	first := func(i int, done func()) { l.publish(i, pidfBody(fmt.Sprintf("u%d", i), i), &failed, done) }
	if err := closed(people, window, first); err != nil {
		return Row{}, err
	}
	r, err := measured(l.Target, name, goal, peers, func() (int, error) { return n, closed(n, window, change) })
	if f := failed.Load(); f > 0 && err == nil {
		err = fmt.Errorf("%s: %d requests failed", name, f)
	}
	return r, err
}

// SIP runs the SIP measurements whose names match (nil: all); scale multiplies their length (1: some seconds each).
func SIP(ctx context.Context, start Launch, scale float64, memory bool, names *regexp.Regexp, each func(Row)) error {
	n := func(x int) int { return max(int(float64(x)*scale), 200) }
	one := func(r Row, err error) ([]Row, error) { return []Row{r}, err }
	jobs := []struct {
		name string
		run  func(name string) ([]Row, error)
	}{
		{"NOTIFY+200, from PUBLISH with 20 watchers", func(name string) ([]Row, error) {
			return one(fanout(ctx, start, 20, n(10000), name, "≤ 7 µs", "Kamailio 87; 23 tuned", true))
		}},
		{"PUBLISH→200→NOTIFY→200, one watcher", func(name string) ([]Row, error) {
			return one(fanout(ctx, start, 1, n(60000), name, "≤ 20 µs", "Kamailio 246; 62 tuned", false))
		}},
		{"SUBSCRIBE→200→NOTIFY→200", func(name string) ([]Row, error) {
			c, m, err := subscriptions(ctx, start, n(60000), false, memory, name, "≤ 15 µs", "Kamailio 171; 40 tuned")
			if m.Bytes > 0 {
				return []Row{c, m}, err
			}
			return []Row{c}, err
		}},
		{"SUBSCRIBE→200→NOTIFY→200 with digest (MD5)", func(name string) ([]Row, error) {
			c, _, err := subscriptions(ctx, start, n(60000), true, false, name, "≤ 22 µs", "")
			return []Row{c}, err
		}},
		{"PUBLISH→200, changed state, no watcher", func(name string) ([]Row, error) {
			return one(publishes(ctx, start, n(150000), false, name, "≤ 9 µs", "Kamailio 113; 22 tuned"))
		}},
		{"PUBLISH→200, refresh", func(name string) ([]Row, error) {
			return one(publishes(ctx, start, n(200000), true, name, "≤ 6 µs", "Kamailio 109; 11 tuned"))
		}},
	}
	for _, j := range jobs {
		if names != nil && !names.MatchString(j.name) {
			continue
		}
		rows, err := j.run(j.name)
		if err != nil {
			return err
		}
		for _, r := range rows {
			each(r)
		}
	}
	return nil
}
