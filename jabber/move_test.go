package jabber

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"
)

// resumeAt has the client come back at a node.
func (c *client) resumeAt(ns *nodes, node, user, token string, h int) *client {
	ns.t.Helper()
	w := ns.worlds[node]
	n := w.dial(c.name+"@"+node+strconv.Itoa(len(w.clients)), user)
	n.send("<resume xmlns='urn:xmpp:sm:3' previd='" + token + "' h='" + strconv.Itoa(h) + "'/>")
	return n
}

// A session is resumed on another node: what was not acknowledged is sent again, what came
// meanwhile is told, and nobody sees its user go.
func TestResumeElsewhere(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob", "carol"}, map[string]string{"alice": "a", "bob": "c", "carol": "c"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		ns.friends("alice", "carol")
		bob, carol := ns.arrive("b", "bob", "w"), ns.arrive("c", "carol", "w")
		alice := ns.login("a", "alice", "phone")
		alice.send("<enable xmlns='urn:xmpp:sm:3' resume='true'/>")
		enabled := alice.await("enabled")
		token := enabled.Attr("id")
		if enabled.Attr("location") != "a.example:5222" {
			t.Errorf("location %q", enabled.Attr("location"))
		}
		alice.send("<iq type='get' id='r'><query xmlns='jabber:iq:roster'/></iq><presence><status>here</status></presence>" +
			"<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq><presence to='carol@localhost/w'><status>psst</status></presence>")
		settle()
		bob.drop()
		carol.drop()
		alice.mu.Lock()
		h := alice.n
		alice.mu.Unlock()
		bob.send("<message to='alice@localhost' type='chat' id='m1'><body>1</body></message><message to='alice@localhost/phone' type='chat' id='m2'><body>2</body></message>")
		settle()
		alice.has(t, "unacknowledged", "id='m1'", "id='m2'")
		alice.conn.Close()
		settle()
		// While nobody is there.
		bob.send("<message to='alice@localhost' type='chat' id='m3'><body>3</body></message><presence><show>dnd</show></presence>")
		carol.conn.Close()
		settle()
		back := alice.resumeAt(ns, "b", "alice", token, int(h))
		settle()
		got := back.pending()
		if !strings.Contains(got, "<resumed") || !strings.Contains(got, "h='4'") {
			t.Fatalf("resumed: %s", got)
		}
		for i, m := range []string{"id='m1'", "id='m2'", "id='m3'"} {
			if strings.Count(got, m) != 1 {
				t.Errorf("message %d came %d times: %s", i+1, strings.Count(got, m), got)
			}
		}
		if a, b, c := strings.Index(got, "id='m1'"), strings.Index(got, "id='m2'"), strings.Index(got, "id='m3'"); a > b || b > c {
			t.Errorf("not in order: %s", got)
		}
		if strings.Count(got, "<show>dnd</show>") != 1 || strings.Count(got, "from='carol@localhost/w' to='alice@localhost' type='unavailable'") != 1 {
			t.Errorf("presence: %s", got)
		}
		back.drop()
		bob.has(t, "move", "!alice@localhost")
		if ns.worlds["a"].edge.reg.user(entity("alice")) != nil {
			t.Error("the session is still at its former node")
		}
		// All works from there: messages, copies, pushes, presence.
		bob2 := ns.arrive("c", "alice", "desk")
		settle()
		back.drop()
		bob2.drop()
		bob.send("<message to='alice@localhost/desk' type='chat' id='m4'><body>4</body></message><presence><show>away</show></presence>")
		bob2.send("<iq type='set' id='s'><query xmlns='jabber:iq:roster'><item jid='bob@localhost' name='Bobby'/></query></iq>")
		settle()
		back.has(t, "after", "<received", "id='m4'", "<show>away</show>", "name='Bobby'")
		ns.kill("a", "b") // nothing of it is there any more
		time.Sleep(4 * time.Second)
		settle()
		bob.has(t, "former node dead", "!from='alice@localhost/phone' to='bob@localhost' type='unavailable'")
		// It may go on from there, though the token names the first node.
		back.conn.Close()
		settle()
		again := alice.resumeAt(ns, "c", "alice", token, 0)
		settle()
		again.has(t, "third node", "handled-count-too-high", "!<resumed")
	})
}

// From node to node and back; the token names none of them in between.
func TestResumeOnwards(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "bob"}, map[string]string{"alice": "c"}, func(ns *nodes) {
		bob := ns.arrive("c", "bob", "w")
		alice := ns.login("a", "alice", "phone")
		token := alice.manage(t)
		alice.send("<presence/>")
		settle()
		alice.conn.Close()
		c := alice
		sent := 0
		for i, node := range []string{"b", "c", "a", "a", "b"} {
			id := "m" + strconv.Itoa(i)
			c.mu.Lock()
			sent += int(c.n)
			c.mu.Unlock()
			bob.send("<message to='alice@localhost' type='chat' id='" + id + "'><body>x</body></message>")
			settle()
			next := c.resumeAt(ns, node, "alice", token, sent)
			settle()
			got := next.pending()
			if !strings.Contains(got, "<resumed") || strings.Count(got, "<message") != 1 || !strings.Contains(got, "id='"+id+"'") {
				t.Fatalf("at %s: %s", node, got)
			}
			c = next
		}
		if n := ns.worlds["a"].mail.count("alice"); n != 0 {
			t.Errorf("%d stored", n)
		}
	})
}

// The client comes back before its old connection is known to be lost.
func TestResumeElsewhereFromLiving(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, nil, func(ns *nodes) {
		bob := ns.arrive("b", "bob", "w")
		alice := ns.login("a", "alice", "phone")
		token := alice.manage(t)
		alice.send("<presence/>")
		settle()
		alice.mu.Lock()
		h := alice.n
		alice.mu.Unlock()
		stop := make(chan struct{})
		go func() { // messages all the while
			defer close(stop)
			for i := range 40 {
				bob.send("<message to='alice@localhost' type='chat' id='n" + strconv.Itoa(i) + "-'><body>x</body></message>")
				time.Sleep(200 * time.Microsecond)
			}
		}()
		time.Sleep(3 * time.Millisecond)
		back := alice.resumeAt(ns, "b", "alice", token, int(h))
		<-stop
		settle()
		got := back.pending()
		last := -1
		for i := range 40 {
			m := "id='n" + strconv.Itoa(i) + "-'"
			at := strings.Index(got, m)
			if strings.Count(got, m) != 1 || at < last {
				t.Errorf("%s came %d times, at %d after %d", m, strings.Count(got, m), at, last)
			}
			last = at
		}
		if n := ns.worlds["a"].mail.count("alice"); n != 0 {
			t.Errorf("%d stored", n)
		}
		alice.has(t, "old stream", "<conflict")
		if t.Failed() {
			t.Log(got)
		}
	})
}

// A node that has taken a session over dies with it in hand: the first one goes on.
func TestHandedOverInVain(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, map[string]string{"alice": "a", "bob": "a"}, func(ns *nodes) {
		ns.friends("alice", "bob")
		bob := ns.arrive("a", "bob", "w")
		alice := ns.arrive("a", "alice", "phone")
		settle()
		token := func() string {
			alice.drop()
			return alice.manage(t)
		}()
		alice.conn.Close()
		settle()
		e := ns.worlds["b"].edge
		state := e.askFor(context.Background(), entity("alice"), token, 0)
		in := newUnpacker(state)
		if in.Uint() != takeState {
			t.Fatal("not handed over")
		}
		in.Text()
		s := e.unpack(entity("alice"), in)
		if s == nil {
			t.Fatal("cannot be read")
		}
		if _, condition := e.add(context.Background(), s, s.jidOf(entity("alice"))); condition != "" {
			t.Fatal(condition)
		}
		e.settleIn(context.Background(), s)
		close(s.reader)
		settle()
		ns.kill("b", "a")
		time.Sleep(MoveTime + 3*time.Second)
		settle()
		bob.drop()
		bob.send("<message to='alice@localhost' type='chat' id='m'><body>x</body></message><presence><show>away</show></presence>")
		settle()
		back := alice.resumeAt(ns, "a", "alice", token, 0)
		settle()
		back.has(t, "resumed", "<resumed", "id='m'", "<show>away</show>")
		bob.has(t, "resumed", "!unavailable")
	})
}

// There is nothing to resume: the node has died, the session has ended, the token is
// somebody else's.
func TestResumeNothing(t *testing.T) {
	amongNodes(t, []string{"a", "b", "c"}, []string{"alice", "eve"}, nil, func(ns *nodes) {
		alice := ns.login("a", "alice", "phone")
		token := alice.manage(t)
		alice.send("<presence/>")
		settle()
		stolen := alice.resumeAt(ns, "b", "eve", token, 0)
		settle()
		stolen.has(t, "another's", "<failed", "item-not-found")
		alice.send("</stream:stream>")
		settle()
		late := alice.resumeAt(ns, "b", "alice", token, 0)
		settle()
		late.has(t, "ended", "<failed", "h='1'", "item-not-found")
		other := ns.login("a", "alice", "desk")
		token = other.manage(t)
		settle()
		ns.kill("a", "c")
		settle()
		dead := other.resumeAt(ns, "b", "alice", token, 0)
		settle()
		time.Sleep(time.Second)
		dead.has(t, "dead", "<failed", "item-not-found")
	})
}

// see-other-host, and the client comes back there.
func TestMoveSessions(t *testing.T) {
	amongNodes(t, []string{"a", "b"}, []string{"alice", "bob"}, nil, func(ns *nodes) {
		ns.friends("alice", "bob")
		bob := ns.arrive("b", "bob", "w")
		alice, plain := ns.login("a", "alice", "phone"), ns.arrive("a", "alice", "plain")
		token := alice.manage(t)
		alice.send("<presence/>")
		settle()
		bob.drop()
		plain.drop()
		alice.drop()
		alice.mu.Lock()
		h := alice.n
		alice.mu.Unlock()
		e := ns.worlds["a"].edge
		if n := e.MoveSessions(entity("alice"), "b.example:5222", func(SessionInfo) bool { return false }); n != 0 {
			t.Errorf("%d moved", n)
		}
		if n := e.MoveSessions(entity("alice"), "b.example:5222", nil); n != 1 {
			t.Errorf("%d moved", n)
		}
		settle()
		alice.has(t, "move", "<see-other-host", ">b.example:5222<")
		plain.has(t, "move", "!see-other-host")
		back := alice.resumeAt(ns, "b", "alice", token, int(h))
		settle()
		back.has(t, "resumed", "<resumed", "!<presence")
		bob.has(t, "resumed", "!alice@")
	})
}
