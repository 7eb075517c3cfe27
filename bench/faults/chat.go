package faults

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/bench/client"
	"pharos/markup"
)

// chat is an XMPP client. When its connection ends it comes back at the next server,
// unless it is one that stays away: then whoever watches it has to be told so.
type chat struct {
	o     *oracle
	user  string
	from  netip.Addr
	nodes []netip.AddrPort
	of    []string // contacts, both ways
	stays bool     // away, when its connection has ended
	left  bool     // of its own will
	ctx   context.Context

	mu     sync.Mutex
	at     int
	conn   net.Conn
	online bool
	said   int
	ended  chan struct{}

	queries client.Queries

	seen map[string]map[string]int // of the goroutine of run: what the available resources of each contact say
}

func newChat(ctx context.Context, o *oracle, user string, from netip.Addr, nodes []netip.AddrPort, at int, of []string, stays bool) *chat {
	c := &chat{o: o, user: user, from: from, nodes: nodes, of: of, stays: stays, ctx: ctx, at: at, seen: map[string]map[string]int{}, ended: make(chan struct{})}
	return c
}

// run stays connected until the context ends.
func (c *chat) run() {
	defer close(c.ended)
	for c.ctx.Err() == nil {
		first := c.serve()
		c.mu.Lock()
		was, stays, left := c.online, c.stays, c.left
		c.online, c.conn = false, nil
		n := c.said
		c.mu.Unlock()
		c.queries.End()
		for _, of := range c.of {
			c.o.stands(c.user, of, false)
		}
		if c.ctx.Err() != nil {
			return
		}
		if was && stays || left {
			c.o.says(c.user, n, true) // nobody but the service can know
			return
		}
		if !first || !was {
			sleep(c.ctx, 200*time.Millisecond)
		}
		c.mu.Lock()
		c.at = (c.at + 1) % len(c.nodes)
		c.mu.Unlock()
	}
}

// leave goes offline for good, in order.
func (c *chat) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stays, c.left = true, true
	if c.conn != nil {
		_ = c.conn.SetWriteDeadline(time.Now().Add(tryFor)) // that of the last word is over
		fmt.Fprintf(c.conn, "<presence type='unavailable'/></stream:stream>")
	}
}

// serve is one connection; false: there was none.
func (c *chat) serve() bool {
	c.mu.Lock()
	to := c.nodes[c.at]
	c.mu.Unlock()
	d := net.Dialer{Timeout: tryFor, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.from, 0))}
	conn, err := d.DialContext(c.ctx, "tcp4", to.String())
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(c.ctx, func() { conn.Close() })
	defer stop()
	sc := markup.NewScanner(conn, markup.Options{})
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := client.Login(conn, sc, domain, c.user, password, "o"); err != nil {
		return false
	}
	_ = conn.SetDeadline(time.Time{})
	// What we were told before this connection does not count: a contact of whom nothing comes
	// is away.
	clear(c.seen)
	for _, of := range c.of {
		c.o.told(c.user, of, -1, true, c.user+" is connected to "+to.Addr().String())
		c.o.stands(c.user, of, true)
	}
	c.mu.Lock()
	left := c.left // in the meantime
	if !left {
		c.conn, c.online = conn, true
	}
	c.mu.Unlock()
	if left {
		return true
	}
	go func() { _ = c.say() }()
	for {
		e, err := sc.Next()
		if err != nil {
			return true
		}
		c.take(e)
	}
}

func (c *chat) take(e *markup.Element) {
	switch {
	case e.Is(client.NSClient, "presence"):
		bare, resource, _ := strings.Cut(e.Attr("from"), "/")
		who, _, _ := strings.Cut(bare, "@")
		n := -1
		if s := e.Child(client.NSClient, "status"); s != nil {
			if m := number.FindStringSubmatch(s.Text()); m != nil {
				n, _ = strconv.Atoi(m[1])
			}
		}
		switch e.Attr("type") {
		case "":
			if who == c.user {
				// RFC 6121 §4.2.2: it comes back to us when the service has it.
				c.o.says(c.user, n, false)
				return
			}
			c.sees(who, resource, n, true)
		case "unavailable":
			if who != c.user {
				c.sees(who, resource, n, false)
			}
		}
	case e.Is(client.NSClient, "iq"):
		if c.queries.Answered(e) {
			return
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conn != nil {
			fmt.Fprintf(c.conn, "<iq type='result' id='%s'/>", e.Attr("id"))
		}
	}
}

// sees takes what one of a contact's resources says. A contact has as many as he has sessions and publications, and is away
// when none is left (RFC 6121 §4.5). A phone that has not waited for the answer to a PUBLISH that had its effect has two
// publications, until the one that it does not know of expires (RFC 3903 §6).
func (c *chat) sees(who, resource string, n int, available bool) {
	all := c.seen[who]
	switch {
	case available && all == nil:
		c.seen[who] = map[string]int{resource: n}
	case available:
		all[resource] = n
	case resource == "":
		delete(c.seen, who)
	default:
		delete(all, resource)
	}
	newest := -1
	for _, said := range c.seen[who] {
		newest = max(newest, said)
	}
	left := len(c.seen[who])
	c.o.told(c.user, who, newest, left == 0, fmt.Sprintf("%s gets %s/%s: n%d, available=%t; resources that are: %d", c.user, who, resource, n, available, left))
}

// say sends the next presence.
func (c *chat) say() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return net.ErrClosed
	}
	c.said++
	_ = c.conn.SetWriteDeadline(time.Now().Add(tryFor))
	_, err := fmt.Fprintf(c.conn, "<presence><status>n%d</status></presence>", c.said)
	return err
}

// query sends an iq and waits for the answer; nil: the connection has ended, or time was up, so
// that it may or may not have had its effect.
func (c *chat) query(typ, payload string, within time.Duration) *markup.Element {
	return c.queries.Ask(typ, payload, within, func(stanza string) bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conn == nil {
			return false
		}
		_ = c.conn.SetWriteDeadline(time.Now().Add(tryFor))
		_, err := fmt.Fprint(c.conn, stanza)
		return err == nil
	})
}
