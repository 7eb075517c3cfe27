package soak

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"pharos/bench"
	"pharos/bench/client"
	"pharos/markup"
)

const (
	// tryFor is how long a client tries one server before it asks the next.
	tryFor = 3 * time.Second
	// loginWithin bounds a login: servers are slow while everybody comes.
	loginWithin = 20 * time.Second
)

// chat is an XMPP client. Where its connection ends and it wants to be there, it comes back at the next node.
type chat struct {
	r       *run
	u       *user
	home    int // node that it goes to, where it can
	watches []*watch
	sip     [][]heard // by watch: what phones of the contact say; the reader's own

	mu     sync.Mutex
	wants  bool
	wake   chan struct{}
	conn   net.Conn
	online bool
	at     int
	last   int32             // number said last
	names  map[string]*entry // by contact: what its name in the roster was set to

	queries client.Queries
}

// heard is what one resource of a contact says.
type heard struct {
	resource string
	n        int32
}

func newChat(r *run, u *user, home int, watches []*watch) *chat {
	return &chat{r: r, u: u, home: home, watches: watches, sip: make([][]heard, len(watches)), wake: make(chan struct{}, 1),
		names: map[string]*entry{}, at: home}
}

// want says whether the client is to be there.
func (c *chat) want(yes bool) {
	c.mu.Lock()
	c.wants = yes
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run has it connected as long as it wants to be, until ctx ends.
func (c *chat) run(ctx context.Context) {
	for tries := 0; ctx.Err() == nil; {
		c.mu.Lock()
		wants := c.wants
		c.mu.Unlock()
		if !wants {
			select {
			case <-c.wake:
			case <-ctx.Done():
			}
			continue
		}
		at := (c.home + tries) % len(c.r.nodes)
		if c.serve(ctx, at) {
			tries = 0
			c.r.count.ended.Add(1)
		} else {
			tries++
			c.r.count.refused.Add(1)
			pause(ctx, c.r.backoff(tries))
		}
	}
}

// serve is one connection; false: nobody was logged in.
func (c *chat) serve(ctx context.Context, at int) bool {
	d := net.Dialer{Timeout: tryFor}
	conn, err := d.DialContext(ctx, "tcp4", c.r.nodes[at].XMPP().String())
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	sc := markup.NewScanner(conn, markup.Options{})
	_ = conn.SetDeadline(time.Now().Add(loginWithin))
	roster, err := login(conn, sc, c.u.name, bench.Password)
	if err != nil {
		c.r.trouble("login", err)
		return false
	}
	_ = conn.SetDeadline(time.Time{})
	// What we were told before this connection does not count: of whom nothing comes is away.
	for i, w := range c.watches {
		c.sip[i] = nil
		w.extra.Store(0)
		for k := range kinds {
			w.told[k].Store(0)
		}
	}
	c.u.says[byChat].at.Store(int32(at))
	c.mu.Lock()
	c.conn, c.online, c.at = conn, true, at
	c.mu.Unlock()
	c.r.count.online.Add(1)
	for item := range roster.Children() {
		c.rosterItem(item, true)
	}
	c.say()
	for {
		e, err := sc.Next()
		if err != nil {
			break
		}
		c.take(e)
	}
	c.gone()
	return true
}

// gone is after the connection: everybody but the service knows at once.
func (c *chat) gone() {
	c.r.count.online.Add(-1)
	c.mu.Lock()
	c.conn, c.online = nil, false
	c.mu.Unlock()
	c.queries.End()
	for _, w := range c.watches {
		w.stands.Store(false)
	}
	t := &c.u.says[byChat]
	t.said.Store(0)
	t.unsure.Store(false)
	c.r.messages.away(c.u.name)
}

// login is until the session is bound and has its roster, which it returns.
func login(conn net.Conn, sc *markup.Scanner, name, password string) (*markup.Element, error) {
	e, err := client.Login(conn, sc, bench.Domain, name, password, "r")
	if err != nil {
		return nil, err
	}
	if q := e.Child(client.NSRoster, "query"); q != nil && e.Attr("type") == "result" {
		return q, nil
	}
	return nil, client.Refusal(e)
}

// watchOf is that of a contact; nil: we watch nobody of that name.
func (c *chat) watchOf(name string) (int, *watch) {
	for i, w := range c.watches {
		if w.of.name == name {
			return i, w
		}
	}
	return -1, nil
}

func (c *chat) take(e *markup.Element) {
	from, resource, _ := strings.Cut(e.Attr("from"), "/")
	who, _, _ := strings.Cut(from, "@")
	switch e.Local {
	case "presence":
		c.presence(e, who, resource)
	case "message":
		if b := e.Child(client.NSClient, "body"); b != nil && e.Attr("type") != "error" {
			c.r.messages.came(c.u.name, b.Text())
		} else {
			c.r.messages.returned(e.Attr("id"))
		}
	case "iq":
		if c.queries.Answered(e) {
			return
		}
		if q := e.Child(client.NSRoster, "query"); q != nil {
			for item := range q.Children() {
				c.rosterItem(item, false)
			}
		}
		c.send("<iq type='result' id='%s'/>", e.Attr("id"))
	}
}

// rosterItem looks at whether a contact may be seen.
func (c *chat) rosterItem(item *markup.Element, whole bool) {
	who, _, _ := strings.Cut(item.Attr("jid"), "@")
	_, w := c.watchOf(who)
	if w == nil {
		return
	}
	s := item.Attr("subscription")
	see := s == "both" || s == "to"
	c.mu.Lock()
	w.subscription = s
	c.mu.Unlock()
	w.stands.Store(see)
	if whole && !see { // what was begun on an earlier connection
		c.send("<presence type='subscribe' to='%s@%s'/>", who, bench.Domain)
	}
}

// again asks for a subscription where the roster does not have it, after an error.
func (c *chat) again(w *watch) {
	c.mu.Lock()
	s, online := w.subscription, c.online
	c.mu.Unlock()
	switch {
	case !online:
	case s == "both" || s == "to":
		w.stands.Store(true)
	default:
		c.send("<presence type='subscribe' to='%s@%s'/>", w.of.name, bench.Domain)
	}
}

func (c *chat) presence(e *markup.Element, who, resource string) {
	n := int32(0)
	if s := e.Child(client.NSClient, "status"); s != nil {
		n = token(byPhone, s.Text()) + token(byChat, s.Text())
	}
	typ := e.Attr("type")
	switch {
	case who == c.u.name || who == "":
		switch {
		case typ == "" && resource == "r":
			c.said(n) // RFC 6121 §4.2.2: it comes back to us when the service has it
		case typ == "error":
			c.r.trouble("presence", client.Refusal(e))
			c.r.later(c.r.ctx, within(2*time.Second), c.say)
		}
		return
	case typ == "subscribe":
		c.send("<presence type='subscribed' to='%s@%s'/>", who, bench.Domain)
		return
	}
	i, w := c.watchOf(who)
	if w == nil {
		return
	}
	if typ == "error" { // to what we asked of the contact: nothing has changed
		c.r.trouble("presence", client.Refusal(e))
		c.r.later(c.r.ctx, within(2*time.Second), func() { c.again(w) })
		return
	}
	if typ != "" && typ != "unavailable" {
		return
	}
	if typ != "" {
		n = 0
	}
	switch {
	case resource == "" && typ != "":
		c.sip[i] = nil
		w.told[byChat].Store(0)
		w.told[byPhone].Store(0)
		w.extra.Store(0)
	case !strings.HasPrefix(resource, "sip-"):
		w.told[byChat].Store(n)
	default:
		c.phoneSays(i, resource, n)
	}
}

// phoneSays takes what a resource that stands for a publication says; 0: it has gone. The newest is what counts.
func (c *chat) phoneSays(i int, resource string, n int32) {
	var left []heard
	for _, h := range c.sip[i] {
		if h.resource != resource {
			left = append(left, h)
		}
	}
	if n > 0 {
		left = append(left, heard{resource, n})
	}
	c.sip[i] = left
	told := int32(0)
	for _, h := range left {
		told = max(told, h.n)
	}
	w := c.watches[i]
	w.told[byPhone].Store(told)
	w.extra.Store(int32(max(0, len(left)-1)))
}

// token is the number that one kind of client says: "~p12~" is a phone's.
func token(k kind, s string) (n int32) {
	mark := "~" + k.String()[:1]
	for {
		_, rest, ok := strings.Cut(s, mark)
		if !ok {
			return n
		}
		v, after, ok := strings.Cut(rest, "~")
		if !ok {
			return n
		}
		if x, err := strconv.Atoi(v); err == nil {
			n = max(n, int32(x))
		}
		s = after
	}
}

func say(k kind, n int32) string { return "~" + k.String()[:1] + strconv.Itoa(int(n)) + "~" }

// said: the service has it.
func (c *chat) said(n int32) {
	t := &c.u.says[byChat]
	c.mu.Lock()
	last := c.last == n
	c.mu.Unlock()
	t.said.Store(n)
	if last {
		t.unsure.Store(false)
	}
}

// say sends the next presence.
func (c *chat) say() {
	c.mu.Lock()
	c.last++
	n := c.last
	if c.conn != nil {
		c.u.says[byChat].unsure.Store(true)
	}
	c.mu.Unlock()
	c.send("<presence><status>%s</status></presence>", say(byChat, n))
}

// send writes to the connection, if there is one; one that does not take it is ended by its reader.
func (c *chat) send(format string, args ...any) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return false
	}
	_ = c.conn.SetWriteDeadline(time.Now().Add(loginWithin))
	_, err := fmt.Fprintf(c.conn, format, args...)
	return err == nil
}

// leave ends the connection: in order, or as a lost network does.
func (c *chat) leave(orderly bool) {
	if orderly && c.send("<presence type='unavailable'/></stream:stream>") {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != nil {
		c.conn.Close()
	}
}

func (c *chat) is() (online bool, at int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.online, c.at
}

// query sends an iq and waits for the answer; nil: none came, and it may or may not have had its effect.
func (c *chat) query(typ, payload string, within time.Duration) *markup.Element {
	return c.queries.Ask(typ, payload, within, func(stanza string) bool { return c.send("%s", stanza) })
}
