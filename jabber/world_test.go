package jabber

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/account"
	"pharos/engine"
	"pharos/markup"
	"pharos/policy"
	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
	"pharos/xmpp"
)

// world is an edge with all that stands behind it, and a stand-in for the SIP
// edge; clients come over in-memory connections.
type world struct {
	t         testing.TB
	store     *store.Store
	documents *xdm.Documents
	engine    *engine.Engine
	edge      *Edge
	sip       *sipEdge
	acc       *xmpp.Acceptor
	mail      *mailbox
	ctx       context.Context
	stop      context.CancelFunc
	ran       chan error
	owned     bool // the store is its own
	closed    bool
	dies      bool // its engine cannot do all that it has to
	conns     sync.WaitGroup

	clients map[string]*client

	name  string // of the node; "": it is alone
	peers *testPeers
	among *nodes // clients connect to one node after the other
	dials int
}

const domain = "localhost"

func entity(name string) presence.Entity { return presence.Entity{User: name, Domain: domain} }

// newWorld makes a world in which the users have accounts.
func newWorld(t testing.TB, users ...string) *world {
	t.Helper()
	st, err := store.Open(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	addUsers(t, st, users)
	w := startWorld(t, st, &mailbox{}, &sipEdge{}, nil, "")
	w.owned = true
	return w
}

func addUsers(t testing.TB, st *store.Store, users []string) {
	t.Helper()
	var as []store.Account
	for _, u := range users {
		a, err := account.Derive(entity(u), "secret")
		if err != nil {
			t.Fatal(err)
		}
		as = append(as, a)
	}
	if err := st.PutAccounts(context.Background(), as); err != nil {
		t.Fatal(err)
	}
}

// startWorld makes one that is perhaps a node of several.
func startWorld(t testing.TB, st *store.Store, mail *mailbox, sip *sipEdge, peers *testPeers, name string) *world {
	t.Helper()
	w := &world{t: t, store: st, sip: sip, mail: mail, clients: map[string]*client{}, ran: make(chan error, 1), name: name, peers: peers}
	w.ctx, w.stop = context.WithCancel(context.Background())
	accounts := account.New(w.store, []string{domain})
	ec := engine.Config{
		Save: w.store, Mailbox: w.mail,
		Policies: &policy.Loader{Store: w.store, Default: presence.Confirm},
	}
	xc := xdm.Config{Store: w.store, Default: presence.Confirm}
	address := ""
	if peers != nil {
		ec.Peers, ec.Loader, xc.Tell = peers, savedItems{w.store}, peers.tell
		address = name + ".example:5222"
	}
	w.engine = engine.New(ec)
	w.documents = xdm.New(xc)
	w.documents.Listen(func(c *xdm.Change) { // as the server does
		switch {
		case c.Remote && c.User.Domain == "":
			w.engine.PoliciesMissed()
		case c.Remote && (c.Policy || len(c.Items) > 0 || len(c.Documents) > 0):
			w.engine.PolicyHeard(c.User)
		case c.Policy && c.ByXCAP:
			w.engine.PolicyChanged(c.User)
		}
	})
	var level slog.Level = slog.LevelWarn
	w.edge = New(Config{
		Engine: w.engine, Accounts: accounts, Store: w.store, Documents: w.documents, Domains: []string{domain}, Version: "test",
		Address: address,
		Log:     slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level})),
	})
	w.engine.Register(EdgeName, w.edge)
	w.engine.Register("sip", w.sip)
	go func() { w.ran <- w.engine.Run(w.ctx) }()
	w.acc = &xmpp.Acceptor{
		Domains: []string{domain}, Auth: openDoor{}, Features: w.edge.Features(), Serve: w.edge.Serve,
	}
	return w
}

// closeEdge may be called more than once.
func (w *world) closeEdge() {
	w.t.Helper()
	if w.closed {
		return
	}
	w.closed = true
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := w.edge.Close(ctx); err != nil {
		w.t.Error("edge:", err)
	}
}

func (w *world) close() {
	w.t.Helper()
	w.closeEdge()
	for _, c := range w.clients {
		c.conn.Close()
		<-c.gone
	}
	w.conns.Wait()
	w.stop()
	if err := <-w.ran; err != nil && !w.dies {
		w.t.Error("engine:", err)
	}
	w.documents.Settle()
	if !w.owned {
		return
	}
	if err := w.store.Close(); err != nil {
		w.t.Error("store:", err)
	}
}

// inWorld runs a test in a bubble: time passes only when nothing else can.
func inWorld(t *testing.T, users []string, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, users...)
		defer w.close()
		f(w)
	})
}

// settle waits until nothing moves any more. The bubble's clock stands while
// anything runs, so this sleeps for no real time.
func settle() {
	time.Sleep(100 * time.Millisecond)
	synctest.Wait()
}

// openDoor lets everybody in.
type openDoor struct{}

func (openDoor) Plain(context.Context, net.Addr, string, string, string) error { return nil }
func (openDoor) Scram(context.Context, net.Addr, string, string, string) (xmpp.ScramKeys, error) {
	return xmpp.ScramKeys{}, errors.New("not here")
}
func (openDoor) Failed(net.Addr, string, string)    {}
func (openDoor) Succeeded(net.Addr, string, string) {}

// mailbox keeps messages in memory.
type mailbox struct {
	mu  sync.Mutex
	m   map[presence.Entity][]engine.Stored
	n   int64
	max int
	err error // of Remove
}

func (b *mailbox) count(user string) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.m[entity(user)])
}

func (b *mailbox) Put(_ context.Context, m *engine.Message) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.m == nil {
		b.m = map[presence.Entity][]engine.Stored{}
	}
	if b.max > 0 && len(b.m[m.To]) >= b.max {
		return engine.ErrMailboxFull
	}
	b.n++
	b.m[m.To] = append(b.m[m.To], engine.Stored{Message: m, Number: b.n})
	return nil
}

func (b *mailbox) List(_ context.Context, of presence.Entity) ([]engine.Stored, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.m[of]), nil
}

func (b *mailbox) Remove(_ context.Context, of presence.Entity, numbers []int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return b.err
	}
	b.m[of] = slices.DeleteFunc(b.m[of], func(m engine.Stored) bool { return slices.Contains(numbers, m.Number) })
	return nil
}

// sipEdge stands in for the other edge.
type sipEdge struct {
	mu         sync.Mutex
	registered map[presence.Entity]bool
	notices    []*presence.Notice
	messages   []*engine.Message
}

func (s *sipEdge) Notify(n *presence.Notice) {
	s.mu.Lock()
	s.notices = append(s.notices, n)
	s.mu.Unlock()
}
func (s *sipEdge) WatcherChanged(presence.WatcherChange) {}
func (s *sipEdge) Deliver(m *engine.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.registered[m.To] || m.Body == "" {
		return false
	}
	s.messages = append(s.messages, m)
	return true
}

// client is an XMPP client over one connection.
type client struct {
	w    *world
	host *world // to which it is connected
	name string
	conn net.Conn
	gone chan struct{} // the reader has left

	reading chan struct{} // holds a token while the client may read

	// For tests that resume (XEP-0198) and that replay what was said.
	token, said string

	mu  sync.Mutex
	got []*markup.Element
	n   uint32 // stanzas that came since <enabled/> or <resumed/>
	err error
}

// dial connects and authenticates; nothing is bound yet.
func (w *world) dial(name, user string) *client {
	w.t.Helper()
	near, far := net.Pipe()
	host := w
	if w.among != nil {
		for host == w || w.among.down[host.name] {
			host = w.among.worlds[w.among.names[w.dials%len(w.among.names)]]
			w.dials++
			if host == w {
				break
			}
		}
	}
	host.conns.Go(func() { host.acc.Handle(host.ctx, far, xmpp.Insecure) })
	c := &client{w: w, host: host, name: name, conn: near, gone: make(chan struct{}), reading: make(chan struct{}, 1)}
	c.reading <- struct{}{}
	go c.read()
	header := "<stream:stream to='localhost' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
	c.send(header)
	c.await("features")
	c.send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>" + plain(user) + "</auth>")
	c.await("success")
	c.send(header)
	c.await("features")
	w.clients[name] = c
	return c
}

// login is dial and bind.
func (w *world) login(user, resource string) *client {
	w.t.Helper()
	c := w.dial(user+"/"+resource, user)
	c.send("<iq type='set' id='bind'><bind xmlns='" + nsBind + "'><resource>" + resource + "</resource></bind></iq>")
	if el := c.await("iq"); el.Attr("type") != "result" {
		w.t.Fatalf("%s: bind: %s", c.name, el.Source())
	}
	return c
}

// pause makes the client stop reading until the function returned is called.
func (c *client) pause() (release func()) {
	<-c.reading
	return func() { c.reading <- struct{}{} }
}

// Read is the connection's, while the client is not paused.
func (c *client) Read(b []byte) (int, error) {
	n, err := c.conn.Read(b)
	<-c.reading
	c.reading <- struct{}{}
	return n, err
}

func (c *client) read() {
	defer close(c.gone)
	sc := markup.NewScanner(c, markup.Options{})
	fresh := func() error {
		_, err := sc.Header()
		return err
	}
	err := fresh()
	for err == nil {
		var el *markup.Element
		if el, err = sc.Next(); err != nil {
			break
		}
		c.mu.Lock()
		c.got = append(c.got, el)
		switch {
		case el.Local == "enabled":
			c.n = 0
		case el.Space == nsClient:
			c.n++
		}
		c.mu.Unlock()
		if el.Local == "success" {
			sc.Restart()
			err = fresh()
		}
	}
	c.mu.Lock()
	c.err = err
	c.mu.Unlock()
}

func (c *client) send(s string) {
	c.w.t.Helper()
	c.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.conn.Write([]byte(s)); err != nil {
		c.w.t.Errorf("%s cannot send: %v", c.name, err)
	}
}

// await returns the next element when it comes, which must have this name.
func (c *client) await(local string) *markup.Element {
	c.w.t.Helper()
	for range 2000 {
		c.mu.Lock()
		if len(c.got) > 0 {
			el := c.got[0]
			c.got = c.got[1:]
			c.mu.Unlock()
			if el.Local != local {
				c.w.t.Fatalf("%s: got %s, wanted <%s/>", c.name, el.Source(), local)
			}
			return el
		}
		err := c.err
		c.mu.Unlock()
		if err != nil {
			c.w.t.Fatalf("%s: %v, wanted <%s/>", c.name, err, local)
		}
		time.Sleep(5 * time.Millisecond)
	}
	c.w.t.Fatalf("%s: nothing came, wanted <%s/>", c.name, local)
	return nil
}

// drop forgets what came.
func (c *client) drop() { c.mu.Lock(); c.got = nil; c.mu.Unlock() }

// take removes and returns the first element that fits.
func (c *client) take(fits func(*markup.Element) bool) *markup.Element {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, el := range c.got {
		if fits(el) {
			c.got = append(c.got[:i:i], c.got[i+1:]...)
			return el
		}
	}
	return nil
}

// pending is what came and was not taken.
func (c *client) pending() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	for _, el := range c.got {
		fmt.Fprintf(&b, "\n\t%s", el.Source())
	}
	if c.err != nil {
		fmt.Fprintf(&b, "\n\t(%v)", c.err)
	}
	return b.String()
}
