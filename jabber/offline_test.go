package jabber

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pharos/markup"
)

// pause waits for what goes among nodes, too.
func pause() {
	time.Sleep(50 * time.Millisecond)
	settle()
}

// write has a user be sent messages, of which the first has this number.
func write(from *client, to string, first, n int) {
	for i := range n {
		from.send("<message to='" + to + "@localhost' type='chat' id='m" + strconv.Itoa(first+i) + ".'><body>x</body></message>")
	}
	pause()
}

// letters are the numbers of the messages that came and were not taken; they must be late
// ones.
func (c *client) letters() (all []int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, el := range c.got {
		if el.Local != "message" {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(el.Attr("id"), "m."))
		if err != nil || el.Child(nsDelay, "delay") == nil {
			n = -1
		}
		all = append(all, n)
	}
	return all
}

func (c *client) wants(t *testing.T, what string, first, n int) {
	t.Helper()
	want := make([]int, n)
	for i := range want {
		want[i] = first + i
	}
	if got := c.letters(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %s got %v of %s, want %v", what, c.name, got, c.pending(), want)
	}
}

// ack acknowledges all that came up to a message.
func (c *client) ack(letter int) {
	c.send("<a xmlns='urn:xmpp:sm:3' h='" + strconv.Itoa(c.upTo(0, letter)) + "'/>")
	pause()
}

// upTo is h for all stanzas up to a message, counted on from what was handled on former streams.
func (c *client) upTo(h, letter int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, el := range c.got {
		if el.Space == nsClient && el.Attr("id") != "bind" {
			h++
		}
		if el.Attr("id") == "m"+strconv.Itoa(letter)+"." {
			return h
		}
	}
	c.w.t.Errorf("%s: message %d has not come", c.name, letter)
	return h
}

// pong answers the pings that came.
func (c *client) pong(t *testing.T, typ string) {
	t.Helper()
	n := 0
	for {
		el := c.take(isPing)
		if el == nil {
			break
		}
		n++
		c.send("<iq type='" + typ + "' id='" + el.Attr("id") + "' to='" + el.Attr("from") + "'/>")
	}
	if n != 1 {
		t.Errorf("%s: %d pings in %s", c.name, n, c.pending())
	}
	pause()
}

// A stored message leaves the mailbox when its client is known to have it; else it comes
// again at the next login, in its place.
func TestStoredUntilProved(t *testing.T) {
	const managed, resumable = "<enable xmlns='urn:xmpp:sm:3'/>", "<enable xmlns='urn:xmpp:sm:3' resume='1'/>"
	breaks := func(c *client) { c.conn.Close(); pause() }
	closes := func(c *client) { c.send("</stream:stream>"); pause() }
	tests := []struct {
		name, enable string
		do           func(t *testing.T, c *client)
		left         int
	}{
		{"managed, acknowledges", managed, func(t *testing.T, c *client) { c.ack(2); breaks(c) }, 0},
		{"managed, breaks", managed, func(t *testing.T, c *client) { breaks(c) }, 3},
		{"managed, acknowledges one", managed, func(t *testing.T, c *client) { c.ack(0); breaks(c) }, 2},
		{"managed, closes in order and has not acknowledged", managed, func(t *testing.T, c *client) {
			time.Sleep(2 * ProofTime)
			closes(c)
		}, 3},
		{"resumable, breaks for good", resumable, func(t *testing.T, c *client) { breaks(c); time.Sleep(MaxHibernate + time.Second); pause() }, 3},
		{"resumable, acknowledges one, breaks for good", resumable, func(t *testing.T, c *client) {
			c.ack(0)
			breaks(c)
			time.Sleep(MaxHibernate + time.Second)
			pause()
		}, 2},
		{"answers the ping", "", func(t *testing.T, c *client) { c.pong(t, "result"); breaks(c) }, 0},
		{"does not know pings", "", func(t *testing.T, c *client) { c.pong(t, "error"); breaks(c) }, 0},
		{"breaks", "", func(t *testing.T, c *client) { breaks(c) }, 3},
		{"says something else", "", func(t *testing.T, c *client) {
			c.send("<presence><show>away</show></presence><iq type='result' id='stored-2'/><iq type='result' id='stored-x'/>" +
				"<iq type='result' id='stored-1' to='alice@localhost/a'/><iq type='get' id='stored-1'><ping xmlns='urn:xmpp:ping'/></iq>")
			pause()
			breaks(c)
		}, 3},
		{"closes in order at once", "", func(t *testing.T, c *client) { closes(c) }, 3},
		{"answers no pings and closes in order", "", func(t *testing.T, c *client) { time.Sleep(ProofTime); closes(c) }, 0},
		{"is ended by mistake of its own", "", func(t *testing.T, c *client) {
			time.Sleep(ProofTime)
			c.send("<nonsense/>")
			pause()
		}, 3},
		{"is replaced", "", func(t *testing.T, c *client) { c.w.login("bob", "b"); pause() }, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorlds(t, []string{"alice", "bob"}, func(t *testing.T, w *world) {
				a := w.login("alice", "a")
				write(a, "bob", 0, 3)
				b := w.login("bob", "b")
				if tt.enable != "" {
					b.send(tt.enable)
					b.await("enabled")
				}
				b.send("<presence/>")
				pause()
				b.wants(t, "first", 0, 3)
				if n := w.mail.count("bob"); n != 3 {
					t.Errorf("%d stored while nothing is proved", n)
				}
				tt.do(t, b)
				if n := w.mail.count("bob"); n != tt.left {
					t.Errorf("%d left, want %d", n, tt.left)
				}
				b = w.login("bob", "next")
				b.send("<presence/>")
				pause()
				b.wants(t, "next", 3-tt.left, tt.left)
				if tt.left > 0 {
					b.pong(t, "result")
				}
				if n := w.mail.count("bob"); n != 0 {
					t.Errorf("%d left in the end", n)
				}
			})
		})
	}
}

// The session was resumed: what the client has is not sent again, the rest is, and leaves the
// mailbox when it is acknowledged; on the node of the session or another one.
func TestStoredAndResumed(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"bob": "c"}, func(ns *nodes) {
		mail := ns.worlds["a"].mail
		a := ns.login("a", "alice", "a")
		write(a, "bob", 0, MaxHanded+10)
		b := ns.login("a", "bob", "b")
		token := b.manage(t)
		b.send("<presence/>")
		pause()
		b.wants(t, "first", 0, MaxHanded)
		h := b.upTo(0, 99)
		b.conn.Close()
		pause()
		b = b.resumeAt(ns, "a", "bob", token, h)
		pause()
		if n := mail.count("bob"); n != MaxHanded+10-100 {
			t.Errorf("%d left after the first resumption", n)
		}
		b.wants(t, "resumed", 100, MaxHanded-100)
		h = b.upTo(h, 149)
		b.conn.Close()
		pause()
		b = b.resumeAt(ns, "b", "bob", token, h)
		pause()
		if n := mail.count("bob"); n != MaxHanded+10-150 {
			t.Errorf("%d left after the second resumption", n)
		}
		b.wants(t, "resumed elsewhere", 150, MaxHanded-150)
		b.send("<a xmlns='urn:xmpp:sm:3' h='" + strconv.Itoa(b.upTo(h, MaxHanded-1)) + "'/>")
		pause()
		b.wants(t, "resumed elsewhere", 150, MaxHanded+10-150)
		b.send("<a xmlns='urn:xmpp:sm:3' h='" + strconv.Itoa(b.upTo(h, MaxHanded+9)) + "'/>")
		pause()
		if n := mail.count("bob"); n != 0 {
			t.Errorf("%d left in the end", n)
		}
		for name, w := range ns.worlds {
			if n := len(w.edge.turns.m); n != 0 {
				t.Errorf("%d turns at %s", n, name)
			}
		}
	})
}

// Of several sessions the first that may is handed what is stored; the others when it ends
// without proof, or does not give it in time.
func TestStoredForSeveral(t *testing.T) {
	tests := []struct {
		name  string
		do    func(t *testing.T, one *client)
		two   int
		after int // in the mailbox
	}{
		{"proves", func(t *testing.T, one *client) { one.pong(t, "result") }, 0, 0},
		{"breaks", func(t *testing.T, one *client) { one.conn.Close(); pause() }, 3, 3},
		{"does nothing", func(t *testing.T, one *client) { time.Sleep(TurnTime); pause() }, 3, 3},
		{"proves late", func(t *testing.T, one *client) { time.Sleep(TurnTime); pause(); one.pong(t, "result") }, 3, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inWorlds(t, []string{"alice", "bob"}, func(t *testing.T, w *world) {
				a := w.login("alice", "a")
				write(a, "bob", 0, 3)
				low, one, two := w.login("bob", "low"), w.login("bob", "one"), w.login("bob", "two")
				low.send("<presence><priority>-1</priority></presence>")
				pause()
				one.send("<presence/>")
				pause()
				two.send("<presence/>")
				pause()
				one.wants(t, "first", 0, 3)
				two.wants(t, "first", 0, 0)
				tt.do(t, one)
				two.wants(t, "then", 0, tt.two)
				if n := w.mail.count("bob"); n != tt.after {
					t.Errorf("%d left, want %d", n, tt.after)
				}
				if tt.two > 0 {
					two.pong(t, "result")
				}
				if n := w.mail.count("bob"); n != 0 {
					t.Errorf("%d left in the end", n)
				}
				time.Sleep(3 * TurnTime)
				low.send("<presence/>")
				pause()
				one.wants(t, "in the end", 0, 3)
				two.wants(t, "in the end", 0, tt.two)
				low.wants(t, "in the end", 0, 0)
			})
		})
	}
}

// A client gets no more at once than it can take, and the next when it has these.
func TestStoredPortions(t *testing.T) {
	inWorlds(t, []string{"alice", "bob"}, func(t *testing.T, w *world) {
		a := w.login("alice", "a")
		write(a, "bob", 0, 2*MaxHanded+10)
		large := strings.Repeat("x", MaxHandedBytes/4)
		for i := range 8 {
			a.send("<message to='bob@localhost' id='m" + strconv.Itoa(2*MaxHanded+10+i) + ".'><body>" + large + "</body></message>")
		}
		pause()
		b := w.login("bob", "b")
		b.send("<presence/>")
		got := 0
		for _, n := range []int{MaxHanded, MaxHanded, 10 + 4, 4} {
			pause()
			b.wants(t, "portion", got, n)
			if left := w.mail.count("bob"); left != 2*MaxHanded+18-got {
				t.Errorf("%d left", left)
			}
			el := b.take(isPing)
			if el == nil {
				t.Fatal("no ping")
			}
			b.drop()
			b.send("<iq type='result' id='" + el.Attr("id") + "'/>")
			got += n
		}
		pause()
		b.wants(t, "in the end", got, 0)
		if left := w.mail.count("bob"); left != 0 {
			t.Errorf("%d left in the end", left)
		}
	})
}

// What the store cannot remove is not handed over twice to one session, and is removed later.
func TestStoredNotRemoved(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		fails := func(err error) {
			w.mail.mu.Lock()
			w.mail.err = err
			w.mail.mu.Unlock()
		}
		a := w.login("alice", "a")
		write(a, "bob", 0, 2)
		b := w.login("bob", "b")
		b.send("<presence/>")
		pause()
		fails(errors.New("away"))
		b.pong(t, "result")
		b.send("<presence><priority>-1</priority></presence><presence/>")
		pause()
		b.wants(t, "once", 0, 2)
		if n := w.mail.count("bob"); n != 2 {
			t.Errorf("%d left", n)
		}
		fails(nil)
		b.conn.Close()
		pause()
		if n := w.mail.count("bob"); n != 0 {
			t.Errorf("%d left in the end", n)
		}
	})
}

// The node of the session dies before the client has said that it has the messages; with the
// user's owner, or without.
func TestStoredWhenNodeDies(t *testing.T) {
	for _, home := range []string{"a", "b", "c"} {
		t.Run("home at "+home, func(t *testing.T) {
			amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"bob": home}, func(ns *nodes) {
				a := ns.login("a", "alice", "a")
				write(a, "bob", 0, 3)
				b := ns.login("b", "bob", "b")
				b.manage(t)
				b.send("<presence/>")
				pause()
				b.wants(t, "first", 0, 3)
				b.ack(0)
				ns.kill("b", "c")
				pause()
				if n := ns.worlds["a"].mail.count("bob"); n != 2 {
					t.Errorf("%d left", n)
				}
				b = ns.login("c", "bob", "b")
				b.manage(t)
				b.send("<presence/>")
				pause()
				b.wants(t, "again", 1, 2)
				b.ack(2)
				if n := ns.worlds["a"].mail.count("bob"); n != 0 {
					t.Errorf("%d left in the end", n)
				}
			})
		})
	}
}

func isPing(el *markup.Element) bool { return el.Child(nsPing, "ping") != nil }
