package jabber

import (
	"context"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"
)

// h counts modulo 2^32 (XEP-0198 §4).
func TestAckWraps(t *testing.T) {
	m := management{acked: math.MaxUint32 - 1}
	for range 4 {
		m.keep(nil, [][]byte{[]byte("<x/>")})
	}
	if m.ack(math.MaxUint32 - 2) {
		t.Error("an acknowledgement of less than before was taken")
	}
	if !m.ack(1) || len(m.queue) != 1 || m.bytes != 4 {
		t.Errorf("after h=1: %d in the queue, %d bytes", len(m.queue), m.bytes)
	}
	if m.ack(3) {
		t.Error("an acknowledgement of what was not sent was taken")
	}
	if !m.ack(2) || len(m.queue) != 0 || m.bytes != 0 {
		t.Errorf("after h=2: %d in the queue", len(m.queue))
	}
}

func (c *client) manage(t testing.TB) (token string) {
	c.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
	return c.await("enabled").Attr("id")
}

// A message that a hibernating session never gets goes to another session of the
// user when there is one, else it is stored.
func TestRedelivery(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		a := w.login("alice", "a")
		b1, b2 := w.login("bob", "one"), w.login("bob", "two")
		b1.manage(t)
		for _, c := range []*client{b1, b2} {
			c.send("<presence/>")
		}
		settle()
		b1.conn.Close()
		settle()
		b2.drop()
		a.send("<message to='bob@localhost/one' type='chat' id='full'><body>x</body></message>" +
			"<message to='bob@localhost' type='chat' id='bare'><body>x</body></message>")
		settle()
		if got := b2.pending(); strings.Contains(got, "id='full'") || !strings.Contains(got, "id='bare'") {
			t.Errorf("before the time is up two got %s", got)
		}
		b2.drop()
		time.Sleep(MaxHibernate)
		settle()
		// What both were handed, and one has, is not told twice.
		if got := b2.pending(); !strings.Contains(got, "id='full'") || strings.Contains(got, "id='bare'") {
			t.Errorf("after the time is up two got %s", got)
		}
		if n := w.mail.count("bob"); n != 0 {
			t.Errorf("%d stored", n)
		}
	})
}

// Two hibernating sessions that were handed the same message: it is stored once,
// when the last of them is given up.
func TestRedeliveryOnce(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		a := w.login("alice", "a")
		for _, r := range []string{"one", "two"} {
			b := w.login("bob", r)
			b.manage(t)
			b.send("<presence/>")
			settle()
			b.conn.Close()
		}
		settle()
		a.send("<message to='bob@localhost' type='chat' id='bare'><body>x</body></message>")
		settle()
		if n := w.mail.count("bob"); n != 0 {
			t.Errorf("%d stored while it may still be taken", n)
		}
		time.Sleep(2 * MaxHibernate)
		settle()
		if n := w.mail.count("bob"); n != 1 {
			t.Errorf("%d stored", n)
		}
		if n, _ := w.edge.Count(); n != 1 {
			t.Errorf("%d sessions left", n)
		}
	})
}

// A client that takes and never acknowledges is ended; its messages are stored.
func TestUnackedBound(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		a, b := w.login("alice", "a"), w.login("bob", "b")
		b.manage(t)
		b.send("<presence/>")
		settle()
		for i := range MaxUnacked + 10 {
			a.send("<message to='bob@localhost' type='chat' id='" + strconv.Itoa(i) + "'><body>x</body></message>")
		}
		settle()
		if n := w.mail.count("bob"); n != MaxUnacked+10 {
			t.Errorf("%d stored", n)
		}
		if got := b.pending(); !strings.Contains(got, "resource-constraint") {
			t.Error("no stream error")
		}
		if n, _ := w.edge.Count(); n != 1 {
			t.Errorf("%d sessions left", n)
		}
	})
}

// The same for one that hibernates.
func TestHibernatingBound(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		a, b := w.login("alice", "a"), w.login("bob", "b")
		b.manage(t)
		b.send("<presence/>")
		settle()
		b.conn.Close()
		settle()
		for i := range MaxUnacked + 10 {
			a.send("<message to='bob@localhost' type='chat' id='" + strconv.Itoa(i) + "'><body>x</body></message>")
		}
		settle()
		if n := w.mail.count("bob"); n != MaxUnacked+10 {
			t.Errorf("%d stored", n)
		}
		if n, _ := w.edge.Count(); n != 1 {
			t.Errorf("%d sessions left", n)
		}
	})
}

// Close ends hibernating sessions too, and stores what they have not taken.
func TestCloseStores(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		a, b := w.login("alice", "a"), w.login("bob", "b")
		b.manage(t)
		b.send("<presence/>")
		settle()
		b.conn.Close()
		settle()
		a.send("<message to='bob@localhost' type='chat'><body>x</body></message>")
		settle()
		if n, hib := w.edge.Count(); n != 2 || hib != 1 {
			t.Errorf("%d sessions, %d hibernating", n, hib)
		}
		if err := w.edge.Close(context.Background()); err != nil {
			t.Error(err)
		}
		settle()
		if !strings.Contains(a.pending(), "system-shutdown") {
			t.Error("alice was not told")
		}
		if n := w.mail.count("bob"); n != 1 {
			t.Errorf("%d stored", n)
		}
		if n, _ := w.edge.Count(); n != 0 {
			t.Errorf("%d sessions left", n)
		}
	})
}

// A new session with the resource of a hibernating one takes its place.
func TestConflictWithHibernating(t *testing.T) {
	inWorld(t, []string{"alice", "bob"}, func(w *world) {
		w.befriend("alice", "bob")
		a, b := w.login("alice", "a"), w.login("bob", "b")
		token := b.manage(t)
		a.send("<presence/>")
		b.send("<presence/>")
		settle()
		b.conn.Close()
		settle()
		a.drop()
		b = w.login("bob", "b")
		b.send("<presence><show>away</show></presence>")
		settle()
		got := a.pending()
		gone, back := strings.Index(got, "unavailable"), strings.Index(got, "away")
		if gone < 0 || back < gone {
			t.Errorf("alice got %s", got)
		}
		thief := w.dial("x", "bob")
		thief.send("<resume xmlns='urn:xmpp:sm:3' previd='" + token + "' h='0'/>")
		if el := thief.await("failed"); el.Attr("h") != "1" {
			t.Error(el.Source())
		}
	})
}

func TestForgotten(t *testing.T) {
	var f forgotten
	for i := range MaxForgotten + 1 {
		f.put(strconv.Itoa(i), entity("a"), uint32(i))
	}
	if f.get("0", entity("a")) != -1 || f.get("1", entity("a")) != 1 || f.get("1", entity("b")) != -1 {
		t.Error("wrong memories")
	}
	if len(f.m) != MaxForgotten {
		t.Errorf("%d remembered", len(f.m))
	}
}
