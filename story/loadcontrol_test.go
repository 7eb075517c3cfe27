package story

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pharos/cluster"
	"pharos/config"
	"pharos/loaddoc"
	"pharos/markup"
	"pharos/memnet"
	"pharos/server"
	"pharos/sip"
	"pharos/store"
)

// tap records the SIP messages on the connections that servers open to one another.
type tap struct {
	mu       sync.Mutex
	record   []string
	messages []*sip.Message
}

func (t *tap) taken() ([]string, []*sip.Message) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r, m := t.record, t.messages
	t.record, t.messages = nil, nil
	return r, m
}

// tapped is the network as a server sees it that is listened in on.
type tapped struct {
	memnet.Host
	tap *tap
}

func (h tapped) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	c, err := h.Host.Dial(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &tappedConn{Conn: c, tap: h.tap, out: h.IP.String(), in: netip.MustParseAddrPort(address).Addr().String()}, nil
}

type tappedConn struct {
	net.Conn
	tap     *tap
	out, in string
	sent    sip.Framer
	got     sip.Framer
}

func (c *tappedConn) note(f *sip.Framer, from, to string, b []byte) {
	c.tap.mu.Lock()
	defer c.tap.mu.Unlock()
	f.Feed(b)
	for {
		raw, _, err := f.Next()
		if err != nil || raw == nil {
			return
		}
		m, err := sip.Parse(raw)
		if err != nil {
			continue
		}
		what := m.Method
		if !m.IsRequest() {
			what = fmt.Sprint(m.Status, " ", m.Method)
		}
		c.tap.record = append(c.tap.record, from[len("192.0.2."):]+">"+to[len("192.0.2."):]+" "+what)
		c.tap.messages = append(c.tap.messages, m)
	}
}

func (c *tappedConn) Write(b []byte) (int, error) {
	c.note(&c.sent, c.out, c.in, b)
	return c.Conn.Write(b)
}

func (c *tappedConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.note(&c.got, c.in, c.out, b[:n])
	return n, err
}

// fleet is servers of one service, some of which wait to be added.
type fleet struct {
	*world
	tap *tap
}

func newFleet(t *testing.T, set func(number int, c *config.Cluster), servers int, users ...string) *fleet {
	t.Helper()
	log := new(journal)
	w := &world{t: t, net: memnet.New(), data: t.TempDir(), log: log, chatters: map[string]*chatter{}}
	f := &fleet{w, new(tap)}
	t.Cleanup(func() {
		if t.Failed() && testing.Verbose() {
			t.Logf("the servers' log:\n%s", log)
		}
	})
	var err error
	if w.store, err = store.Open(context.Background(), w.data); err != nil {
		t.Fatal(err)
	}
	w.bus = cluster.NewMemory()
	for i := range servers {
		n := &node{w: w, number: i + 1, ip: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 1)})}
		w.nodes = append(w.nodes, n)
	}
	for _, n := range w.nodes {
		o := server.Options{Config: config.Defaults(), Data: t.TempDir(), Version: "story", Log: w.logger(n.number), Network: tapped{w.net.Host(n.ip.String()), f.tap},
			Share: w.store.Node(), Bus: w.bus.Join(n.name())}
		o.Config.Domains = []string{home}
		o.Config.Listen = []string{"sip+udp://" + n.at(sipPort).String(), "sip+tcp://" + n.at(sipPort).String(), "xmpp+insecure://" + n.at(xmppPort).String(),
			"sips://" + n.at(sipsPort).String()}
		o.Config.Cluster.Node, o.Config.Cluster.Secret = n.name(), "a secret of all servers"
		set(n.number, &o.Config.Cluster)
		if n.server, err = server.New(o); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancelCause(context.Background())
		n.stop, n.ended = cancel, make(chan error, 1)
		go func() { n.ended <- n.server.Run(ctx) }()
		<-n.server.Ready()
	}
	for _, u := range users {
		if err := w.nodes[0].server.Admin().Add(t.Context(), u+"@"+home, password); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// come has users log in at a server, with initial presence.
func (f *fleet) come(at int, users ...string) {
	f.t.Helper()
	for i, u := range users {
		c := &chatter{w: f.world, name: u, user: u + "@" + home, resource: "home", from: netip.AddrFrom4([4]byte{198, 51, 100, byte(10*at + i)}), node: f.nodes[at-1]}
		f.chatters[u] = c
		if err := c.connect(false); err != nil {
			f.t.Fatal(err)
		}
		c.stanza("presence", "", "", "")
		time.Sleep(100 * time.Millisecond)
	}
}

func (f *fleet) row(at int, name string) server.ClusterNode {
	for _, n := range f.nodes[at-1].server.Status(context.Background()).Cluster.Nodes {
		if n.Name == name {
			return n
		}
	}
	return server.ClusterNode{}
}

// The paper: the main server reaches its maximum, adds the next of its list (Fig. 5: INVITE, then
// SUBSCRIBE and NOTIFY), newcomers go there, and users move until both are even; when they have
// gone, the added server is given up.
func TestLoadControl(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c", "d", "e", "f", "g", "h"}
		f := newFleet(t, func(number int, c *config.Cluster) {
			c.Max, c.Users, c.Records = 6, 1, 0
			c.Standby = []string{"sip:192.0.2.2:5060;transport=tcp"}
			c.Standing = number == 2
		}, 2, names...)
		defer f.close()
		time.Sleep(5 * time.Second)
		if r, _ := f.tap.taken(); len(r) > 0 || f.row(1, "n2").State != "standby" {
			t.Fatalf("before anything is to be done: %v, %+v", r, f.row(1, "n2"))
		}
		f.come(1, names[:6]...)
		time.Sleep(5 * time.Second)
		record, messages := f.tap.taken()
		want := []string{
			"1>2 INVITE", "2>1 200 INVITE", "1>2 ACK",
			"2>1 SUBSCRIBE", "1>2 200 SUBSCRIBE",
			"1>2 NOTIFY", "2>1 200 NOTIFY",
			"1>2 BYE", "2>1 200 BYE",
		}
		if len(record) < len(want) || !slices.Equal(record[:len(want)], want) {
			t.Fatalf("sequence\n%s", strings.Join(record, "\n"))
		}
		d, err := loaddoc.Parse([]byte(messages[5].Body))
		if err != nil || d.Partial || d.Find("n1") == nil || d.Find("n1").Level < 6 || d.Users < 6 || len(d.Find("n1").Users) == 0 {
			t.Errorf("NOTIFY with %+v, %v", d, err)
		}
		if !slices.Contains(record[len(want):], "1>2 NOTIFY") {
			t.Errorf("no changes are told:\n%s", strings.Join(record, "\n"))
		}
		if f.row(1, "n2").State != "active" {
			t.Fatalf("n2 is %+v", f.row(1, "n2"))
		}
		f.come(1, names[6:]...)
		time.Sleep(20 * time.Second)
		one, two := f.row(1, "n1"), f.row(1, "n2")
		if one.Users+two.Users < len(names) || two.Users < 3 || one.Users < 3 {
			t.Errorf("levels are not even: %+v, %+v", one, two)
		}
		for _, c := range f.chatters {
			c.close()
		}
		time.Sleep(time.Minute)
		if one, two = f.row(1, "n1"), f.row(1, "n2"); one.State != "active" || two.State != "standby" {
			t.Errorf("at the end: %+v, %+v", one, two)
		}
		f.come(1, names[:5]...) // nobody is at home any more at the server that was given up
		time.Sleep(5 * time.Second)
		if one, two = f.row(1, "n1"), f.row(1, "n2"); one.Users < 5 || two.Users > 0 || two.State != "standby" {
			t.Errorf("who comes back: %+v, %+v", one, two)
		}
	})
}

// A server that has joined is given up when there is little to do also by a leader that has not added it and has it in no
// list: which may be given up is in the table of servers.
func TestLoadControlNextLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		f := newFleet(t, func(number int, c *config.Cluster) {
			c.Max, c.Users, c.Records = 2, 1, 0
			c.Standing = number == 4
		}, 4, names...)
		defer f.close()
		f.come(1, names[:2]...)
		f.come(2, names[2:4]...)
		f.come(3, names[4:]...)
		time.Sleep(10 * time.Second)
		if four := f.row(4, "n4"); four.State != "active" {
			t.Fatalf("n4 is %+v", four)
		}
		leader, err := f.node("leader")
		if err != nil {
			t.Fatal(err)
		}
		leader.halt()
		at := f.nodes[0]
		if at == leader {
			at = f.nodes[1]
		}
		time.Sleep(10 * time.Second)
		if next, err := f.node("leader"); err != nil || next == leader {
			t.Fatalf("no other leads: %v", err)
		}
		for _, c := range f.chatters {
			c.close()
		}
		time.Sleep(2 * time.Minute)
		for _, n := range f.nodes {
			want := "active"
			switch n {
			case leader:
				want = "dead"
			case f.nodes[3]:
				want = "standby"
			}
			if row := f.row(at.number, n.name()); row.State != want {
				t.Errorf("%+v, want %s", row, want)
			}
		}
	})
}

// Clients that announce the feature are told by the IQ where their user lives, when he has
// moved to the server that was added; others notice nothing.
func TestLoadControlRedirect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		f := newFleet(t, func(number int, c *config.Cluster) {
			c.Max, c.Users, c.Records, c.Moves = 6, 1, 0, 1
			c.Standing = number == 2 // in nobody's list: it is found in the table
		}, 2, names...)
		defer f.close()
		var mu sync.Mutex
		told := map[string]string{}
		f.come(1, names...)
		for name, c := range f.chatters {
			feature := "urn:pharos:redirect:1"
			if name == "f" {
				feature = "urn:example:other"
			}
			c.mu.Lock()
			c.each = func(e *markup.Element) {
				if e.Child(nsInfo, "query") != nil && e.Attr("type") == "get" {
					c.write("<iq type='result' id='" + e.Attr("id") + "'><query xmlns='" + nsInfo + "'><identity category='client' type='pc'/><feature var='" + feature + "'/></query></iq>")
				}
				if r := e.Child("urn:pharos:redirect:1", "redirect"); r != nil {
					mu.Lock()
					told[name] = r.Text()
					mu.Unlock()
				}
			}
			c.mu.Unlock()
			c.stanza("presence", "", "", "<c xmlns='http://jabber.org/protocol/caps' hash='sha-1' node='n' ver='"+name+"'/>")
		}
		time.Sleep(20 * time.Second)
		two := f.row(1, "n2")
		if two.State != "active" || two.Users < 2 {
			t.Fatalf("n2: %+v", two)
		}
		mu.Lock()
		defer mu.Unlock()
		if len(told) < two.Users-1 || len(told) > two.Users || told["f"] != "" {
			t.Errorf("told %v, %d users have moved", told, two.Users)
		}
		for name, host := range told {
			if host != "192.0.2.2:5222" {
				t.Errorf("%s is sent to %s", name, host)
			}
		}
		if n := f.nodes[0].server.Status(context.Background()).Cluster.Redirects["redirected"]; n != uint64(len(told)) {
			t.Errorf("%d redirects are counted, %d were sent", n, len(told))
		}
		for _, name := range names { // all are served where they are
			c := f.chatters[name]
			if c.mu.Lock(); !c.online {
				t.Errorf("%s is not connected any more", name)
			}
			c.mu.Unlock()
		}
	})
}

// Between the servers over TLS: both show certificates that follow from the secret.
func TestLoadControlTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t, func(number int, c *config.Cluster) {
			c.Max, c.Users, c.Records = 2, 1, 0
			c.SIP = fmt.Sprintf("sips:192.0.2.%d:%d", number, sipsPort)
			c.Standing = number == 2
		}, 2, "a", "b")
		defer f.close()
		f.come(1, "a", "b")
		time.Sleep(10 * time.Second)
		if two := f.row(1, "n2"); two.State != "active" {
			t.Errorf("n2: %+v", two)
		}
		if record, _ := f.tap.taken(); len(record) > 0 {
			t.Errorf("in the clear: %v", record)
		}
	})
}

// All are above the maximum, and nobody is left to be added: newcomers are refused, and who
// is there goes on.
func TestLoadControlFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		names := []string{"a", "b", "c", "d", "e", "f"}
		f := newFleet(t, func(_ int, c *config.Cluster) { c.Max, c.Users, c.Records = 5, 1, 0 }, 2, append(names, "g", "h", "i", "j", "k", "l", "late")...)
		defer f.close()
		f.come(1, names...)
		f.come(2, "g", "h", "i", "j", "k", "l") // twelve, where ten are the maximum
		time.Sleep(5 * time.Second)
		late := &chatter{w: f.world, name: "late", user: "late@" + home, resource: "home", from: netip.MustParseAddr("198.51.100.99"), node: f.nodes[0]}
		defer late.close()
		if err := late.connect(false); err == nil || !strings.Contains(err.Error(), "resource-constraint") || !strings.Contains(err.Error(), "wait") {
			t.Errorf("a newcomer: %v", err)
		}
		for _, name := range names {
			c := f.chatters[name]
			c.stanza("presence", "", "", "<status>still here</status>")
			if err := c.query("get", "<query xmlns='"+nsRoster+"'/>"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, c := range f.chatters { // room again
			c.close()
		}
		time.Sleep(15 * time.Second)
		if err := late.connect(false); err != nil {
			t.Errorf("when there is room again: %v", err)
		}
	})
}
