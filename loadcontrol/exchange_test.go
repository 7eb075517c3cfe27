package loadcontrol

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/loaddoc"
	"pharos/sip"
)

func peersOf(servers ...*server) (ps []Peer) {
	for _, s := range servers {
		ps = append(ps, Peer{s.name, s.uri()})
	}
	return ps
}

// Running servers hear one another: each what the other says of itself, at most once a
// second.
func TestExchange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		all := []*server{n.serve("ps1", "192.0.2.1"), n.serve("ps2", "192.0.2.2"), n.serve("ps3", "192.0.2.3")}
		for _, s := range all {
			defer s.end()
			s.Exchange(peersOf(all...), "ps1")
			s.Exchange(peersOf(all...), "ps1") // the same again changes nothing
		}
		record, _ := n.taken()
		if got := strings.Count(strings.Join(record, "\n"), "NOTIFY"); got != 12 { // six and their answers
			t.Errorf("%d NOTIFYs and answers: %v", got, record)
		}
		for i := range 10 {
			for k := range 5 { // levels change faster than they are told
				for _, s := range all {
					s.set(func(d *loaddoc.Document) { d.Servers[0].Level = float64(10*i + k) })
				}
				time.Sleep(Interval / 5)
			}
		}
		record, _ = n.taken()
		if got := strings.Count(strings.Join(record, "\n"), "ps1>ps2 NOTIFY"); got < 9 || got > 11 {
			t.Errorf("%d NOTIFYs in 10 s", got)
		}
		time.Sleep(2 * Interval)
		for _, s := range all {
			for _, o := range all {
				if s == o {
					continue
				}
				if h := s.hears(o.name); h == nil || len(h.Servers) != 1 || h.Servers[0].Level != 94 {
					t.Errorf("%s heard of %s: %+v", s.name, o.name, h)
				}
			}
		}
		// They go on for hours, refreshed, and a server that left the list is not heard any more.
		time.Sleep(3 * time.Hour)
		for _, s := range all[:2] {
			s.Exchange(peersOf(all[:2]...), "ps1")
		}
		time.Sleep(time.Second)
		n.taken()
		for _, s := range all {
			s.set(func(d *loaddoc.Document) { d.Servers[0].Level = 1 })
		}
		time.Sleep(2 * Interval)
		if h := all[0].hears("ps2"); h.Servers[0].Level != 1 {
			t.Errorf("ps2 after hours: %+v", h)
		}
		if h := all[0].hears("ps3"); h.Servers[0].Level == 1 {
			t.Error("ps3 is heard still")
		}
	})
}

// A server that was away is heard again, whole.
func TestExchangeAgain(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, a, b *server) {
		a.Exchange(peersOf(b), "")
		if h := a.hears("ps2"); h == nil {
			t.Fatal("not heard")
		}
		b.kill()
		time.Sleep(3 * time.Minute)
		b = n.serve("ps2", "192.0.2.2")
		defer b.end()
		b.set(func(d *loaddoc.Document) { d.Servers[0].Level = 33 })
		time.Sleep(25 * time.Second)
		if h := a.hears("ps2"); h.Servers[0].Level != 33 {
			t.Errorf("heard %+v", h)
		}
	})
}

// Changes that are missing: the whole is asked for.
func TestGap(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, a, b *server) {
		a.Exchange(peersOf(b), "")
		time.Sleep(2 * Interval)
		n.taken()
		b.Edge.mu.Lock()
		for _, s := range b.subs { // as if one had got lost in between
			told := *s.told
			told.Version++
			s.told = &told
		}
		b.Edge.mu.Unlock()
		b.set(func(d *loaddoc.Document) { d.Servers[0].Level = 5 })
		time.Sleep(2 * Interval)
		record, _ := n.taken()
		if got := strings.Join(record, ", "); got != "ps2>ps1 NOTIFY, ps1>ps2 SUBSCRIBE, ps1>ps2 200 NOTIFY, ps2>ps1 200 SUBSCRIBE, ps2>ps1 NOTIFY, ps1>ps2 200 NOTIFY" &&
			got != "ps2>ps1 NOTIFY, ps1>ps2 200 NOTIFY, ps1>ps2 SUBSCRIBE, ps2>ps1 200 SUBSCRIBE, ps2>ps1 NOTIFY, ps1>ps2 200 NOTIFY" {
			t.Errorf("sequence %s", got)
		}
		if h := a.hears("ps2"); h.Servers[0].Level != 5 {
			t.Errorf("heard %+v", h)
		}
	})
}

// With more servers than a mesh bears all hear the leader, of everybody.
func TestExchangeOfMany(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, a, b *server) {
		b.set(func(d *loaddoc.Document) {
			for i := range MaxPeers + 1 {
				d.Servers = append(d.Servers, loaddoc.Server{ID: fmt.Sprint("x", i), State: "active", Level: 4})
			}
		})
		peers := peersOf(b)
		for i := range MaxPeers {
			peers = append(peers, Peer{fmt.Sprint("x", i), "sip:192.0.2.200:5060;transport=tcp"})
		}
		a.Exchange(peers, "ps2")
		if h := a.hears("ps2"); h == nil || len(h.Servers) != MaxPeers+2 {
			t.Errorf("heard %+v", h)
		}
		if len(a.peers) != 1 {
			t.Errorf("%d subscriptions", len(a.peers))
		}
	})
}

// Users in detail go part by part, and those of other servers are what those have said.
func TestUsersInDetail(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, a, b *server) {
		names := func(prefix string, k int) (us []loaddoc.User) {
			for i := range k {
				us = append(us, loaddoc.User{ID: fmt.Sprintf("%s%03d@example.com", prefix, i), SIP: true, Resources: 1})
			}
			return us
		}
		for _, s := range []*server{a, b} {
			s.set(func(d *loaddoc.Document) {
				other := loaddoc.Server{ID: "ps1", State: "active", Count: 100}
				if s == a {
					other.ID = "ps2"
				}
				d.Servers = append(d.Servers, other)
				d.Servers[0].Users, d.Servers[0].Count, d.Users = names(s.name, 100), 100, 200
			})
		}
		a.Exchange(peersOf(a, b), "")
		b.Exchange(peersOf(a, b), "")
		if h := a.hears("ps2"); len(h.Servers) != 1 || len(h.Servers[0].Users) != 100 {
			t.Fatalf("heard %d servers", len(h.Servers))
		}
		time.Sleep(2 * Interval)
		a.Edge.mu.Lock()
		d := a.part(a.current(time.Now()), false, usersFew)
		a.Edge.mu.Unlock()
		if u := d.Find("ps2").Users; len(u) != 100 || u[0].ID != "ps2000@example.com" {
			t.Errorf("%d users of the other server", len(u))
		}
		// Too many to be named.
		b.set(func(d *loaddoc.Document) {
			d.Servers[0].Users, d.Servers[0].Count, d.Users = names("b", 1000), 1000, 1100
		})
		time.Sleep(2 * Interval)
		if h := a.hears("ps2"); len(h.Servers[0].Users) != 0 || h.Servers[0].Count != 1000 {
			t.Errorf("%d of %d users named", len(h.Servers[0].Users), h.Servers[0].Count)
		}
		// Who asks for all gets them, part by part, none of the messages too large.
		n.taken()
		b.Edge.mu.Lock()
		for _, s := range b.subs {
			s.users = usersAll
		}
		b.Edge.mu.Unlock()
		time.Sleep(10 * Interval)
		if h := a.hears("ps2"); len(h.Servers[0].Users) != 1000 {
			t.Errorf("%d of 1000 users named", len(h.Servers[0].Users))
		}
		_, messages := n.taken()
		parts := 0
		for _, m := range messages {
			if m.Method == "NOTIFY" && m.IsRequest() {
				parts++
				if len(m.Body) > sip.MaxMessage-8000 {
					t.Errorf("a NOTIFY of %d octets", len(m.Body))
				}
			}
		}
		if parts < 3 {
			t.Errorf("%d parts", parts)
		}
	})
}

// A subscriber that answers nothing is given up, and one that says 481 at once.
func TestDeadSubscriber(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, a, b *server) {
		a.Exchange(peersOf(b), "")
		b.Exchange(peersOf(a), "")
		synctest.Wait()
		b.kill()
		for i := range 300 {
			a.set(func(d *loaddoc.Document) { d.Servers[0].Level = float64(i) })
			time.Sleep(Interval)
		}
		a.Edge.mu.Lock()
		defer a.Edge.mu.Unlock()
		if len(a.subs) != 0 {
			t.Errorf("%d subscriptions of a dead server", len(a.subs))
		}
	})
}

// At the end everybody is told.
func TestLeave(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, a, b *server) {
		a.Exchange(peersOf(b), "")
		b.Exchange(peersOf(a), "")
		n.taken()
		b.end()
		_, messages := n.taken()
		ended := 0
		for _, m := range messages {
			if state, ok, _ := m.SubscriptionState(); ok && state.State == "terminated" && state.Reason == "timeout" {
				ended++
			}
			if sec, ok, _ := m.Seconds(sip.HExpires); ok && m.Method == "SUBSCRIBE" && m.IsRequest() && sec == 0 {
				ended++
			}
		}
		a.Edge.mu.Lock()
		defer a.Edge.mu.Unlock()
		if ended < 2 || len(a.subs) != 0 || len(a.watches) != 0 {
			t.Errorf("%d endings, %d and %d subscriptions left", ended, len(a.subs), len(a.watches))
		}
	})
}

// However large the service: a document fits into a SIP message.
func TestLargestDocument(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, a, b *server) {
		b.set(func(d *loaddoc.Document) {
			d.Servers[0].Users = nil
			for i := range 1000 {
				uri := fmt.Sprintf("sip:server-%04d.presence.example.com:5060;transport=tcp", i)
				d.Addable = append(d.Addable, uri)
				s := loaddoc.Server{ID: fmt.Sprintf("server-%04d", i), URI: uri, State: "draining", Level: 123456.78, Max: 100000, Count: 100000}
				for k := range 30 {
					s.Users = append(s.Users, loaddoc.User{ID: fmt.Sprintf("user%d-%d@example.com", i, k), XMPP: true, SIP: true, Presence: "<basic>open</basic>"})
				}
				d.Servers = append(d.Servers, s)
			}
		})
		<-b.join(a.uri())
		time.Sleep(3 * Interval)
		_, messages := n.taken()
		largest := 0
		for _, m := range messages {
			largest = max(largest, len(m.Append(nil)))
		}
		if largest > sip.MaxMessage || largest < 40_000 {
			t.Errorf("the largest message has %d octets", largest)
		}
		if a.got == nil || len(a.got.Servers) != MaxServers {
			t.Errorf("it has not arrived: %v, %d", a.joined, largest)
		}
	})
}
