package bench

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// crowd logs in users 0..n-1, some at a time.
func crowd(s Target, scheme string, n int, secure func(net.Conn) net.Conn) ([]*xmppClient, error) {
	cs := make([]*xmppClient, n)
	errs := make(chan error, 32)
	var next atomic.Int64
	for range cap(errs) {
		go func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					errs <- nil
					return
				}
				c, err := dialXMPP(s.Addr(scheme), User(i), PasswordOf(i), secure)
				if err != nil {
					errs <- err
					return
				}
				cs[i] = c
			}
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			return nil, err
		}
	}
	return cs, nil
}

func closeAll(cs []*xmppClient) {
	for _, c := range cs {
		if c != nil {
			c.close()
		}
	}
}

var isPresence = []byte("<presence")

// login measures users with contacts each, from the connection until every
// one has the presence of all contacts.
func login(ctx context.Context, start Launch, n, contacts int) (Row, error) {
	size := contacts + 1
	n = max(n/size, 1) * size
	s, err := start(ctx, Population{Users: n, Group: size})
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	var cs []*xmppClient
	defer func() { closeAll(cs) }()
	return measured(s, fmt.Sprintf("login (PLAIN, bind, roster, presence) with %d contacts", contacts), "≤ 400 µs", "ejabberd 3750; Prosody 8700", func() (int, error) {
		var err error
		if cs, err = crowd(s, "xmpp+insecure", n, nil); err != nil {
			return 0, err
		}
		all := make(chan struct{}, n)
		for _, c := range cs {
			// Own presence and that of each contact; each first one counts.
			seen := map[string]bool{}
			c.run(func(st []byte) {
				if !bytes.HasPrefix(st, isPresence) {
					return
				}
				from := string(attr(st, "from="))
				if !seen[from] {
					if seen[from] = true; len(seen) == size {
						all <- struct{}{}
					}
				}
			})
			if err := c.write("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>"); err != nil {
				return 0, err
			}
		}
		for range n {
			if err := oneOf(all); err != nil {
				return 0, err
			}
		}
		return n, nil
	})
}

// attr is an attribute's value, in either quote.
func attr(b []byte, name string) []byte {
	i := bytes.Index(b, []byte(" "+name))
	if i < 0 {
		return nil
	}
	b = b[i+1+len(name):]
	if e := bytes.IndexByte(b[1:], b[0]); e >= 0 {
		return b[1 : e+1]
	}
	return nil
}

// ready logs in a crowd and waits until all have been told of all.
func ready(s Target, n, size int, on func(i int, c *xmppClient, st []byte)) ([]*xmppClient, error) {
	cs, err := crowd(s, "xmpp+insecure", n, nil)
	if err != nil {
		return nil, err
	}
	all := make(chan struct{}, n)
	for i, c := range cs {
		seen, whole := map[string]bool{}, false
		c.run(func(st []byte) {
			if whole {
				on(i, c, st)
				return
			}
			if bytes.HasPrefix(st, isPresence) {
				seen[string(attr(st, "from="))] = true
				if whole = len(seen) == size; whole {
					all <- struct{}{}
				}
			}
		})
		if err := c.write("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence/>"); err != nil {
			return cs, err
		}
	}
	for range n {
		if err := oneOf(all); err != nil {
			return cs, err
		}
	}
	return cs, nil
}

// broadcast measures a presence change to so many contacts. Each user's change
// is waited for before its next.
func broadcast(ctx context.Context, start Launch, contacts, changes int, name, goal, peers string, perDelivery bool) (Row, error) {
	size := contacts + 1
	n := 20 * size
	if contacts == 1 {
		n = 200
	}
	s, err := start(ctx, Population{Users: n, Group: size})
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	var delivered atomic.Int64
	var mu sync.Mutex
	left := make([]int, n)
	dones := make([]func(), n) // of the change under way
	cs, err := ready(s, n, size, func(_ int, _ *xmppClient, st []byte) {
		if !bytes.HasPrefix(st, isPresence) {
			return
		}
		var from int
		fmt.Sscanf(string(attr(st, "from=")), "u%d@", &from)
		delivered.Add(1)
		mu.Lock()
		left[from]--
		var done func()
		if left[from] == 0 {
			done = dones[from]
		}
		mu.Unlock()
		if done != nil {
			done()
		}
	})
	defer closeAll(cs)
	if err != nil {
		return Row{}, err
	}
	var werr error
	change := func(i int, done func()) {
		u := i % n
		mu.Lock()
		left[u], dones[u] = size, done // the sender's own copy too (RFC 6121 §4.4.2)
		mu.Unlock()
		show := "away"
		if i/n%2 == 1 {
			show = "dnd"
		}
		if err := cs[u].write("<presence><show>%s</show><status>change %d</status></presence>", show, i); err != nil {
			werr = err
		}
	}
	r, err := measured(s, name, goal, peers, func() (int, error) {
		before := delivered.Load()
		err := closed(changes, 20, change)
		if perDelivery {
			return int(delivered.Load() - before), err
		}
		return changes, err
	})
	if err == nil {
		err = werr
	}
	return r, err
}

// messages measures chat messages to full addresses of contacts.
func messages(ctx context.Context, start Launch, count int) (Row, error) {
	const n = 200
	s, err := start(ctx, Population{Users: n, Group: 2})
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	dones := make([]atomic.Pointer[func()], n)
	cs, err := ready(s, n, 2, func(i int, _ *xmppClient, st []byte) {
		if bytes.HasPrefix(st, []byte("<message")) {
			if fn := dones[i].Swap(nil); fn != nil {
				(*fn)()
			}
		}
	})
	defer closeAll(cs)
	if err != nil {
		return Row{}, err
	}
	return measured(s, "message between two XMPP users", "≤ 12 µs", "ejabberd 97; Prosody 303", func() (int, error) {
		return count, closed(count, 20, func(i int, done func()) {
			to := i % n
			from := to ^ 1
			dones[to].Store(&done)
			cs[from].write("<message type='chat' id='m%d' to='u%d@localhost/r'><body>A message of usual length, as people write them, number %d.</body></message>", i, to, i)
		})
	})
}

// handshakes measures subscribe, subscribed, and both directions' pushes.
func handshakes(ctx context.Context, start Launch, count int) (Row, error) {
	n := 2 * count
	s, err := start(ctx, Population{Users: n, Asked: true})
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	dones := make([]atomic.Pointer[func()], n)
	cs, err := ready(s, n, 1, func(i int, c *xmppClient, st []byte) {
		if !bytes.HasPrefix(st, isPresence) {
			return
		}
		switch typ := string(attr(st, "type=")); {
		case i%2 == 1 && typ == "subscribe": // the asked one answers
			c.write("<presence to='%s' type='subscribed'/>", attr(st, "from="))
		case i%2 == 0 && typ == "": // done with the contact's first presence
			if fn := dones[i].Swap(nil); fn != nil {
				(*fn)()
			}
		}
	})
	defer closeAll(cs)
	if err != nil {
		return Row{}, err
	}
	return measured(s, "subscribe handshake (subscribe, subscribed, presence)", "≤ 300 µs", "ejabberd 4300; Prosody 6600", func() (int, error) {
		return count, closed(count, 32, func(i int, done func()) {
			dones[2*i].Store(&done)
			cs[2*i].write("<presence to='u%d@localhost' type='subscribe'/>", 2*i+1)
		})
	})
}

const idleSettle = 10 * time.Second

// idle measures the memory of sessions that only wait.
func idle(ctx context.Context, start Launch, n int, secure bool, settle time.Duration, name, goal, peers string) (Row, error) {
	s, err := start(ctx, Population{Users: n + 50})
	if err != nil {
		return Row{}, err
	}
	defer s.Stop()
	scheme, wrap := "xmpp+insecure", (func(net.Conn) net.Conn)(nil)
	if secure {
		scheme = "xmpp"
		cfg := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: nil}
		wrap = func(c net.Conn) net.Conn { return tls.Client(c, cfg) }
	}
	warm, err := crowd(s, scheme, 50, wrap)
	if err != nil {
		return Row{}, err
	}
	closeAll(warm)
	time.Sleep(time.Second)
	before, err := s.Memory()
	if err != nil {
		return Row{}, err
	}
	cs, err := crowd(s, scheme, n, wrap)
	defer closeAll(cs)
	if err != nil {
		return Row{}, err
	}
	for _, c := range cs {
		if err := c.write("<presence/>"); err != nil {
			return Row{}, err
		}
	}
	pauseFor(ctx, settle) // buffers and stacks shrink with the next collections
	after, err := s.Memory()
	return Row{Name: name, Events: n, Bytes: (after - before) / int64(n), Goal: goal, Peers: peers}, err
}

// XMPP runs all XMPP measurements.
func XMPP(ctx context.Context, start Launch, scale float64, memory bool, each func(Row)) error {
	n := func(x int) int { return max(int(float64(x)*scale), 100) }
	jobs := []func() (Row, error){
		func() (Row, error) {
			return broadcast(ctx, start, 20, n(15000), "presence change to 20 contacts, per delivery", "≤ 6 µs", "ejabberd 46; Prosody 346", true)
		},
		func() (Row, error) {
			return broadcast(ctx, start, 1, n(80000), "presence change to one contact", "≤ 20 µs", "ejabberd 158; Prosody 997", false)
		},
		func() (Row, error) { return messages(ctx, start, n(150000)) },
		func() (Row, error) { return login(ctx, start, n(4200), 20) },
		func() (Row, error) { return handshakes(ctx, start, n(3000)) },
	}
	if memory {
		jobs = append(jobs,
			func() (Row, error) {
				return idle(ctx, start, n(10000), false, idleSettle, "memory of one idle XMPP session (resident)", "≤ 16 KiB", "ejabberd 162; Prosody 143")
			},
			func() (Row, error) {
				return idle(ctx, start, n(5000), true, idleSettle, "memory of one idle XMPP session with TLS (resident)", "≤ 40 KiB", "ejabberd 48; Prosody 61")
			})
	}
	for _, j := range jobs {
		r, err := j()
		if err != nil {
			return err
		}
		each(r)
	}
	return nil
}
