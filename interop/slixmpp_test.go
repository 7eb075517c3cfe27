package interop

import (
	"strings"
	"testing"
)

// slix logs a slixmpp client in for one test.
func slix(t *testing.T, s *Server, u User, resource string, features ...string) *Client {
	t.Helper()
	c := get(s.Slixmpp(u, resource, features...))(t)
	t.Cleanup(c.Stop)
	return c
}

func (c *Client) must(t *testing.T, do string, args Fields) {
	t.Helper()
	must(t, c.Do(do, args))
}

func (c *Client) ask(t *testing.T, what string, args Fields) Fields {
	t.Helper()
	return get(c.Ask(what, args))(t)
}

func (c *Client) sees(t *testing.T, want Fields) Fields {
	t.Helper()
	return get(c.Event(soon, want))(t)
}

// seesAll waits for several events that may come in any order.
func (c *Client) seesAll(t *testing.T, wants ...Fields) {
	t.Helper()
	c.mu.Lock()
	begin := c.mark
	c.mu.Unlock()
	end := begin
	for _, want := range wants {
		mark := begin
		get(c.event(soon, want, &mark))(t)
		end = max(end, mark)
	}
	c.mu.Lock()
	c.mark = end
	c.mu.Unlock()
}

// Over STARTTLS; a wrong password is refused. slixmpp 1.8 binds SCRAM-PLUS to
// tls-unique, which TLS 1.3 has not, and works its way down to PLAIN.
func TestSlixmppLogin(t *testing.T) {
	s, us := launch(t, "alice")
	c := get(s.slixmpp(us["alice"], "desk"))(t)
	t.Cleanup(c.Stop)
	e := c.sees(t, Fields{"event": "session_start"})
	if e["cipher"] != "TLSv1.3" {
		t.Errorf("logged in with %v", e)
	}
	c.sees(t, Fields{"event": "ready", "jid": "alice@localhost/desk"})
	must(t, c.Quit())

	c = get(s.slixmpp(us["alice"], "desk", "tls1.2"))(t)
	t.Cleanup(c.Stop)
	if e := c.sees(t, Fields{"event": "session_start"}); e["mechanism"] != "SCRAM-SHA-256-PLUS" || e["cipher"] != "TLSv1.2" {
		t.Errorf("under TLS 1.2 logged in with %v", e)
	}
	must(t, c.Quit())

	wrong := us["alice"]
	wrong.Password += "!"
	c = get(s.slixmpp(wrong, "desk"))(t)
	t.Cleanup(c.Stop)
	c.sees(t, Fields{"event": "failed_auth"})
}

// RFC 6121: subscription with approval, presence, unavailable, removal.
func TestSlixmppRosterAndPresence(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, bob := slix(t, s, us["alice"], "desk"), slix(t, s, us["bob"], "phone")

	alice.ask(t, "roster set", Fields{"jid": "bob@localhost", "name": "Bob", "groups": []string{"Work"}})
	alice.must(t, "subscribe", Fields{"to": "bob@localhost"})
	alice.sees(t, Fields{"event": "roster", "jid": "bob@localhost", "subscription": "none", "ask": "subscribe", "name": "Bob", "groups": "[Work]"})
	bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
	bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
	bob.sees(t, Fields{"event": "roster", "jid": "alice@localhost", "subscription": "from"})
	alice.sees(t, Fields{"event": "roster", "jid": "bob@localhost", "subscription": "to", "ask": nil})
	alice.sees(t, Fields{"event": "presence", "from": "bob@localhost/phone", "type": "available"})

	bob.must(t, "presence", Fields{"show": "dnd", "status": "in a meeting", "priority": 7})
	alice.sees(t, Fields{"event": "presence", "from": "bob@localhost/phone", "show": "dnd", "status": "in a meeting", "priority": "7"})

	// One who comes later is told by the probe of its own login.
	must(t, alice.Quit())
	alice = slix(t, s, us["alice"], "desk")
	alice.sees(t, Fields{"event": "presence", "from": "bob@localhost/phone", "show": "dnd", "status": "in a meeting"})

	must(t, bob.Quit())
	alice.sees(t, Fields{"event": "presence", "from": "bob@localhost/phone", "type": "unavailable"})
	alice.ask(t, "roster remove", Fields{"jid": "bob@localhost"})
	alice.sees(t, Fields{"event": "roster", "jid": "bob@localhost", "subscription": "remove"})
}

// Messages: to a session, stored for one who is away, copied to the other
// session of the sender (XEP-0280).
func TestSlixmppMessages(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, other := slix(t, s, us["alice"], "desk", "carbons"), slix(t, s, us["alice"], "phone", "carbons")
	alice.must(t, "message", Fields{"to": "bob@localhost", "body": "are you there?"})
	other.sees(t, Fields{"event": "carbon", "which": "sent", "body": "are you there?", "to": "bob@localhost"})
	bob := slix(t, s, us["bob"], "desk")
	bob.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "are you there?", "delayed": true})
	bob.must(t, "message", Fields{"to": "alice@localhost/desk", "body": "now I am"})
	alice.sees(t, Fields{"event": "message", "from": "bob@localhost/desk", "body": "now I am", "type": "chat"})
	other.sees(t, Fields{"event": "carbon", "which": "received", "body": "now I am"})
	alice.must(t, "message", Fields{"to": "nobody@localhost", "body": "?"})
	alice.sees(t, Fields{"event": "message", "type": "error", "condition": "service-unavailable"})
}

// XEP-0030, 0092, 0199, 0202.
func TestSlixmppServices(t *testing.T) {
	s, us := launch(t, "alice")
	c := slix(t, s, us["alice"], "desk")
	c.ask(t, "ping", Fields{"to": "localhost"})
	info := c.ask(t, "disco", Fields{"to": "localhost"})
	for _, f := range []string{"urn:xmpp:ping", "urn:xmpp:blocking", "jabber:iq:version", "urn:xmpp:time", "urn:xmpp:carbons:2", "http://jabber.org/protocol/disco#info"} {
		if !strings.Contains(strings.Join(texts(info["features"]), " ")+" ", f+" ") {
			t.Errorf("feature %s is not announced: %v", f, info["features"])
		}
	}
	if got := texts(info["identities"]); len(got) == 0 || got[0] != "server/im" {
		t.Errorf("identities %q", got)
	}
	c.ask(t, "items", Fields{"to": "localhost"})
	if v := c.ask(t, "version", Fields{"to": "localhost"}); v["name"] != "Pharos" {
		t.Errorf("version %v", v)
	}
	if v := c.ask(t, "time", Fields{"to": "localhost"}); v["utc"] == nil {
		t.Errorf("time %v", v)
	}
}

// XEP-0191: the blocked one sees the blocker go, its messages come back, and
// it is told again after the block ends.
func TestSlixmppBlocking(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice, bob := slix(t, s, us["alice"], "desk"), slix(t, s, us["bob"], "desk")
	befriend(t, bob, alice)
	alice.ask(t, "block", Fields{"jid": "bob@localhost"})
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/desk", "type": "unavailable"})
	if got := texts(alice.ask(t, "blocked", nil)["items"]); len(got) != 1 || got[0] != "bob@localhost" {
		t.Errorf("block list %q", got)
	}
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "why?"})
	bob.sees(t, Fields{"event": "message", "type": "error", "condition": "service-unavailable"})
	alice.ask(t, "unblock", Fields{"jid": "bob@localhost"})
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/desk", "type": "available"})
	if strings.Contains(alice.Text(), "why?") {
		t.Error("a blocked message arrived")
	}
}

// XEP-0198: acknowledgements, and a connection that was lost is resumed.
func TestSlixmppStreamManagement(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	alice := slix(t, s, us["alice"], "desk", "sm")
	if !strings.Contains(alice.Text(), `"event": "sm_enabled"`) {
		alice.sees(t, Fields{"event": "sm_enabled"})
	}
	bob := slix(t, s, us["bob"], "desk")
	befriend(t, bob, alice)
	alice.Forget()
	alice.must(t, "drop", nil)
	alice.sees(t, Fields{"event": "disconnected"})
	alice.must(t, "connect", nil)
	bob.must(t, "message", Fields{"to": "alice@localhost/desk", "body": "while you were away"})
	alice.sees(t, Fields{"event": "session_resumed"})
	alice.sees(t, Fields{"event": "message", "body": "while you were away"})
	if strings.Contains(bob.Unread(), "unavailable") {
		t.Errorf("bob saw a session go that was resumed: %s", bob.Unread())
	}
}

// befriend lets one subscribe to the other, who approves.
func befriend(t *testing.T, watcher, presentity *Client) {
	t.Helper()
	watcher.must(t, "subscribe", Fields{"to": presentity.User.Address()})
	presentity.sees(t, Fields{"event": "presence", "type": "subscribe", "from": watcher.User.Address()})
	presentity.must(t, "subscribed", Fields{"to": watcher.User.Address()})
	watcher.sees(t, Fields{"event": "presence", "type": "available", "bare": presentity.User.Address()})
}

func texts(v any) []string {
	var out []string
	list, _ := v.([]any)
	for _, e := range list {
		s, _ := e.(string)
		out = append(out, s)
	}
	return out
}
