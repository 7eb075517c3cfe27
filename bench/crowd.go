package bench

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// phones are SIP users behind one socket, at one node.
type phones struct {
	*sipClient
	mu   sync.Mutex
	etag map[string][]byte // by user
	cseq map[string]int    // by Call-ID
	tag  map[string]string // the service's, by Call-ID
	on   sync.Map          // by Call-ID: func(m []byte) for NOTIFYs
}

func newPhones(n *node) (*phones, error) {
	c, err := newRoamingClient(n.sip())
	if err != nil {
		return nil, err
	}
	p := &phones{sipClient: c, etag: map[string][]byte{}, cseq: map[string]int{}, tag: map[string]string{}}
	c.onNotify = func(m []byte) {
		if fn, ok := p.on.Load(string(line(m, "Call-ID: "))); ok {
			fn.(func([]byte))(m)
		}
	}
	return p, nil
}

// publish says the user's state k; done gets the status.
func (p *phones) publish(user string, k int, done func(status int)) {
	id := "p" + user
	p.mu.Lock()
	p.cseq[id]++
	r := request{method: "PUBLISH", user: user, from: user, callID: id, cseq: p.cseq[id], body: pidfBody(user, k),
		header: "Expires: 3600\r\nContent-Type: application/pidf+xml\r\n"}
	if etag := p.etag[user]; etag != nil {
		r.header += "SIP-If-Match: " + string(etag) + "\r\n"
	}
	p.mu.Unlock()
	p.send(r, func(status int, m []byte) {
		p.mu.Lock()
		switch status {
		case 200:
			p.etag[user] = slices.Clone(line(m, "SIP-ETag: "))
		case 412:
			delete(p.etag, user)
		}
		p.mu.Unlock()
		done(status)
	})
}

// subscribe begins a subscription, or refreshes it when it is there; told gets its NOTIFYs.
func (p *phones) subscribe(watcher, of, callID string, told func(m []byte), done func(status int)) {
	p.on.Store(callID, told)
	p.mu.Lock()
	p.cseq[callID]++
	r := request{method: "SUBSCRIBE", user: of, from: watcher, callID: callID, cseq: p.cseq[callID], toTag: p.tag[callID],
		header: "Expires: 3600\r\nAccept: application/pidf+xml\r\nContact: <sip:" + watcher + "@" + p.local + ">\r\n"}
	p.mu.Unlock()
	p.send(r, func(status int, m []byte) {
		if status/100 == 2 {
			p.mu.Lock()
			p.tag[callID] = string(param(line(m, "To: "), "tag="))
			p.mu.Unlock()
		}
		done(status)
	})
}

// phonesAt has some at each node.
func (s *service) phones() ([]*phones, error) {
	var all []*phones
	for _, n := range s.nodes {
		p, err := newPhones(n)
		if err != nil {
			return all, err
		}
		all = append(all, p)
	}
	return all, nil
}

func closePhones(all []*phones) {
	for _, p := range all {
		p.close()
	}
}

// chats logs users in at nodes, some at a time, and waits until each has been told of so many
// full addresses, his own among them. on gets what comes after that.
func (s *service) chats(names []string, at func(i int) int, sees int, on func(i int, stanza []byte)) ([]*xmppClient, error) {
	cs := make([]*xmppClient, len(names))
	errs := make(chan error, len(names))
	all := make(chan struct{}, len(names))
	var next atomic.Int64
	for range 16 {
		go func() {
			for i := int(next.Add(1)) - 1; i < len(names); i = int(next.Add(1)) - 1 {
				c, err := dialXMPP(s.at(at(i)).xmpp(), names[i], peoplePassword, nil)
				if err != nil {
					errs <- err
					continue
				}
				cs[i] = c
				errs <- c.appear(sees, func() { all <- struct{}{} }, func(st []byte) { on(i, st) })
			}
		}()
	}
	var first error
	for range names {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	for range names {
		if first == nil {
			first = oneOf(all)
		}
	}
	return cs, first
}

// appear asks for the roster and sends presence; whole is called when so many have been seen, on
// gets what comes later.
func (c *xmppClient) appear(sees int, whole func(), on func(stanza []byte)) error {
	seen := map[string]bool{}
	c.run(func(st []byte) {
		if seen == nil {
			on(st)
			return
		}
		if bytes.HasPrefix(st, isPresence) && attr(st, "type=") == nil {
			seen[string(attr(st, "from="))] = true
			if len(seen) >= sees {
				seen = nil
				whole()
			}
		}
	})
	return c.write("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>")
}

// awaited is a watcher who waits for one state.
type awaited struct {
	token atomic.Pointer[[]byte]
	came  chan time.Time
}

func newAwaited() *awaited { return &awaited{came: make(chan time.Time, 1)} }

// heard takes what the watcher was told.
func (a *awaited) heard(m []byte) {
	now := time.Now()
	t := a.token.Load()
	if t != nil && bytes.Contains(m, *t) && a.token.CompareAndSwap(t, nil) {
		a.came <- now
	}
}

// stateToken is what all the bodies of a state have in common.
func stateToken(k int) []byte { return fmt.Appendf(nil, "state %d<", k) }

func (a *awaited) expect(k int) {
	t := stateToken(k)
	a.token.Store(&t)
}

// wait is until it was told; false: it never was.
func (a *awaited) wait(within time.Duration) (time.Time, bool) {
	t := time.NewTimer(within)
	defer t.Stop()
	select {
	case at := <-a.came:
		return at, true
	case <-t.C:
		a.token.Store(nil)
		return time.Time{}, false
	}
}

// quantile of durations; they are sorted.
func quantile(d []time.Duration, q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

// stateOf is the number of the state in a body; 0: none.
func stateOf(m []byte) (k int64) {
	_, rest, _ := bytes.Cut(m, []byte("state "))
	for _, c := range rest {
		if c < '0' || c > '9' {
			break
		}
		k = 10*k + int64(c-'0')
	}
	return k
}
