package loadcontrol

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/loaddoc"
	"pharos/sip"
)

type joinEnd struct {
	server string
	err    error
}

func (s *server) join(uri string) chan joinEnd {
	ended := make(chan joinEnd, 2)
	s.Join(uri, func(server string, err error) { ended <- joinEnd{server, err} })
	return ended
}

// Fig. 5 of the paper: INVITE, 200, ACK; SUBSCRIBE, 200; NOTIFY with the whole document, 200;
// later NOTIFYs with the changes.
func TestSequence(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, main, fresh *server) {
		main.set(func(d *loaddoc.Document) {
			d.Addable, d.Users = []string{fresh.uri()}, 100
			d.Servers[0].Level, d.Servers[0].Count = 100, 100
		})
		time.Sleep(300 * time.Millisecond)
		ended := main.join(fresh.uri())
		record, messages := n.taken()
		want := []string{
			"ps1>ps2 INVITE", "ps2>ps1 200 INVITE", "ps1>ps2 ACK",
			"ps2>ps1 SUBSCRIBE", "ps1>ps2 200 SUBSCRIBE",
			"ps1>ps2 NOTIFY", "ps2>ps1 200 NOTIFY",
			"ps1>ps2 BYE", "ps2>ps1 200 BYE",
		}
		if !slices.Equal(record, want) {
			t.Fatalf("sequence\n%s\nwant\n%s", strings.Join(record, "\n"), strings.Join(want, "\n"))
		}
		if e := <-ended; e.server != "ps2" || e.err != nil {
			t.Errorf("Join ended with %+v", e)
		}
		if len(fresh.joined) != 1 || fresh.joined[0] != nil || fresh.got == nil || fresh.got.Users != 100 {
			t.Errorf("joined %v with %+v", fresh.joined, fresh.got)
		}
		invite, subscribe, notify := messages[0], messages[3], messages[5]
		if kind, _ := invite.Get(sip.HContentType); kind != loaddoc.Type {
			t.Errorf("INVITE carries %q", kind)
		}
		if subscribe.URI != "sip:service@example.com" {
			t.Errorf("SUBSCRIBE to %s", subscribe.URI)
		}
		if event, _, _ := subscribe.Event(); event.Package != "presence" {
			t.Errorf("SUBSCRIBE for %s", event.Package)
		}
		d, err := loaddoc.Parse([]byte(notify.Body))
		if err != nil || d.Partial || d.Version != 0 || d.Entity != "pres:service@example.com" || d.Find("ps1").Level != 100 || d.Addable[0] != fresh.uri() {
			t.Errorf("NOTIFY with %+v, %v", d, err)
		}
		// Nothing has changed: nothing is said.
		time.Sleep(5 * time.Second)
		if record, _ = n.taken(); len(record) != 0 {
			t.Errorf("said without a reason: %v", record)
		}
		for i := range 3 {
			main.set(func(d *loaddoc.Document) { d.Servers[0].Level = float64(50 - i) })
			time.Sleep(Interval)
			record, messages = n.taken()
			if !slices.Equal(record, []string{"ps1>ps2 NOTIFY", "ps2>ps1 200 NOTIFY"}) {
				t.Fatalf("after a change: %v", record)
			}
			d, err = loaddoc.Parse([]byte(messages[0].Body))
			if err != nil || !d.Partial || d.Version != uint64(i+1) || len(d.Servers) != 1 {
				t.Errorf("NOTIFY with %+v, %v", d, err)
			}
			if h := fresh.hears("ps1"); h.Find("ps1").Level != float64(50-i) || h.Users != 100 {
				t.Errorf("heard %+v", h)
			}
		}
	})
}

func TestJoinRefused(t *testing.T) {
	for status, want := range map[int]error{486: ErrRefused, 603: ErrRefused} {
		inPair(t, func(t *testing.T, n *network, main, other *server) {
			other.will = status
			ended := main.join(other.uri())
			record, _ := n.taken()
			if e := <-ended; !errors.Is(e.err, want) {
				t.Errorf("ended with %v", e.err)
			}
			if len(record) != 3 || record[2] != "ps1>ps2 ACK" || len(other.joined) != 0 {
				t.Errorf("record %v, joined %v", record, other.joined)
			}
		})
	}
}

// Nobody else's server joins, or has ours join.
func TestJoinStranger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		main, other := n.serve("ps1", "192.0.2.1"), n.serve("ps2", "192.0.2.2", func(c *Config) { c.Key = []byte("another secret") })
		defer main.end()
		defer other.end()
		ended := main.join(other.uri())
		synctest.Wait()
		if e := <-ended; !errors.Is(e.err, ErrStranger) || len(other.joined) != 0 {
			t.Errorf("ended with %v", e.err)
		}
	})
}

// Who has joined hears the main server once; when that has gone and come back, as any other.
func TestJoinedExchange(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, main, fresh *server) {
		<-main.join(fresh.uri())
		for _, s := range []*server{main, fresh} {
			s.Exchange(peersOf(main, fresh), "ps1")
		}
		time.Sleep(2 * Interval)
		n.taken()
		main.set(func(d *loaddoc.Document) { d.Servers[0].Level = 12 })
		time.Sleep(2 * Interval)
		record, _ := n.taken()
		if !slices.Equal(record, []string{"ps1>ps2 NOTIFY", "ps2>ps1 200 NOTIFY"}) {
			t.Errorf("a change is told as %v", record)
		}
		main.kill()
		time.Sleep(3 * time.Minute)
		main = n.serve("ps1", "192.0.2.1")
		defer main.end()
		main.set(func(d *loaddoc.Document) { d.Servers[0].Level = 13 })
		for range 30 { // as the table of nodes is read
			fresh.Exchange(peersOf(main, fresh), "ps1")
			time.Sleep(time.Second)
		}
		if h := fresh.hears("ps1"); h.Find("ps1").Level != 13 {
			t.Errorf("heard %+v", h)
		}
	})
}

// A candidate that is not there, and one that dies between its answer and its SUBSCRIBE.
func TestJoinNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		main := n.serve("ps1", "192.0.2.1")
		defer main.end()
		ended := main.join("sip:192.0.2.3:5060;transport=tcp")
		synctest.Wait()
		if e := <-ended; !errors.Is(e.err, ErrNoAnswer) {
			t.Errorf("ended with %v", e.err)
		}
		// One that answers only, as a program of somebody else's might.
		l := n.listen("ps4", "192.0.2.4:5060")
		stack := sip.NewStack(sip.Config{Dial: n.dialer("192.0.2.4"), Handler: sip.HandlerFunc(func(tx *sip.ServerTx, m *sip.Message) {
			if m.Method == "INVITE" {
				tx.Accept(sip.Response{Status: 200, Header: []byte("Contact: <sip:192.0.2.4:5060;transport=tcp>\r\n")}, func(error) {})
			} else {
				tx.Respond(sip.Response{Status: 200})
			}
		})})
		go stack.ServeListener(l, "TCP")
		defer stack.Close()
		defer l.Close()
		n.taken()
		start := time.Now()
		ended = main.join("sip:192.0.2.4:5060;transport=tcp")
		e := <-ended
		if !errors.Is(e.err, ErrNotJoined) || time.Since(start) > JoinTime+Interval {
			t.Errorf("ended with %v after %v", e.err, time.Since(start))
		}
		record, _ := n.taken()
		if want := []string{"ps1>ps4 INVITE", "ps4>ps1 200 INVITE", "ps1>ps4 ACK", "ps1>ps4 BYE", "ps4>ps1 200 BYE"}; !slices.Equal(record, want) {
			t.Errorf("record %v", record)
		}
	})
}

// The main server dies when it has been promised, before it hears of it: the candidate is a standby again.
func TestInviterDies(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, main, other *server) {
		other.Edge.c.Join = func(string, *loaddoc.Document) int {
			main.kill()
			return 200
		}
		main.join(other.uri())
		time.Sleep(JoinTime + 40*time.Second)
		synctest.Wait()
		other.mu.Lock()
		defer other.mu.Unlock()
		if len(other.joined) != 1 || !errors.Is(other.joined[0], ErrNotJoined) {
			t.Errorf("joined: %v", other.joined)
		}
		if len(other.invites) != 0 || len(other.watches) != 0 {
			t.Errorf("%d dialogs, %d subscriptions left", len(other.invites), len(other.watches))
		}
	})
}

// Clocks that differ cost a challenge, not the exchange.
func TestClocksDiffer(t *testing.T) {
	inPair(t, func(t *testing.T, n *network, main, other *server) {
		main.Edge.skew, other.Edge.skew = -time.Hour, time.Hour
		ended := main.join(other.uri())
		synctest.Wait()
		if e := <-ended; e.err != nil {
			t.Fatalf("ended with %v", e.err)
		}
		main.set(func(d *loaddoc.Document) { d.Servers[0].Level = 7 })
		time.Sleep(2 * time.Second)
		if h := other.hears("ps1"); h == nil || h.Find("ps1").Level != 7 {
			t.Errorf("heard %+v", h)
		}
	})
}
