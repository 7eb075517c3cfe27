package interop

import (
	"strings"
	"testing"
)

// SIP over WebSocket: JsSIP in node, SIP.js in a browser. Both register, watch
// a chat client, and exchange messages with it; SIP.js publishes.
func TestSIPWebSocket(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	bob := slix(t, s, us["bob"], "desk")
	service := "wss://127.0.0.1:" + s.Port("https") + "/sip"
	lets(t, s, us["bob"], us["alice"])
	for _, c := range []struct {
		pkg, script string
		start       func(script, pkg string, u User, resource, service string) (*Client, error)
		publishes   bool
	}{
		{"jssip", "jssip", s.Node, false},
		{"sip.js", "sipjs", s.Browser, true},
	} {
		t.Run(c.pkg, func(t *testing.T) {
			alice := get(c.start(c.script, c.pkg, us["alice"], "web", service))(t)
			t.Cleanup(alice.Stop)
			alice.must(t, "watch", Fields{"to": "bob@localhost"})
			if e := alice.sees(t, Fields{"event": "notify"}); !strings.HasPrefix(e["state"].(string), "pending") {
				t.Errorf("the first NOTIFY says %v", e)
			}
			bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
			bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
			alice.notify(t, "active", "<basic>open</basic>")
			bob.must(t, "presence", Fields{"show": "away", "status": "lunch"})
			alice.notify(t, "active", "<rpid:away/>", ">lunch<")

			if c.publishes {
				alice.must(t, "publish", Fields{"activity": "on-the-phone", "note": "on the phone"})
				bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "dnd", "status": "on the phone"})
				alice.must(t, "publish", Fields{"activity": "away", "note": "gone"})
				bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "show": "away", "status": "gone"})
				alice.must(t, "unpublish", nil)
				bob.sees(t, Fields{"event": "presence", "bare": "alice@localhost", "type": "unavailable"})
			}

			alice.ask(t, "message", Fields{"to": "bob@localhost", "body": "hello from " + c.pkg})
			bob.sees(t, Fields{"event": "message", "bare": "alice@localhost", "body": "hello from " + c.pkg})
			bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello <&> ☎"})
			alice.sees(t, Fields{"event": "message", "bare": "bob@localhost", "body": "hello <&> ☎"})

			alice.must(t, "unwatch", nil)
			alice.sees(t, Fields{"event": "terminated"})
			alice.must(t, "quit", nil)
			alice.sees(t, Fields{"event": "unregistered"})
			bob.must(t, "presence", Fields{"show": "chat"})
			bob.must(t, "unsubscribed", Fields{"to": "alice@localhost"})
			bob.ask(t, "ping", Fields{"to": "localhost"})
		})
	}
}

// notify waits for a NOTIFY with this state and these texts in its document.
func (c *Client) notify(t *testing.T, state string, texts ...string) {
	t.Helper()
	for {
		e := c.sees(t, Fields{"event": "notify"})
		body, _ := e["body"].(string)
		ok := strings.HasPrefix(e["state"].(string), state)
		for _, x := range texts {
			ok = ok && strings.Contains(body, x)
		}
		if ok {
			return
		}
	}
}

// A web page with strophe.js: as TestNode.
func TestStrophe(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	bob := slix(t, s, us["bob"], "desk")
	alice := get(s.Browser("strophejs", "strophe.js", us["alice"], "page", "wss://127.0.0.1:"+s.Port("https")+"/xmpp"))(t)
	t.Cleanup(alice.Stop)
	alice.ask(t, "ping", Fields{"to": "localhost"})
	alice.must(t, "subscribe", Fields{"to": "bob@localhost"})
	bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
	bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
	alice.sees(t, Fields{"event": "presence", "from": "bob@localhost/desk", "type": "available"})
	bob.must(t, "subscribe", Fields{"to": "alice@localhost"})
	alice.sees(t, Fields{"event": "presence", "type": "subscribe", "bare": "bob@localhost"})
	alice.must(t, "subscribed", Fields{"to": "bob@localhost"})
	alice.must(t, "presence", Fields{"show": "away", "status": "lunch"})
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/page", "show": "away", "status": "lunch"})
	if got := texts(alice.ask(t, "roster", nil)["items"]); len(got) != 1 || got[0] != "bob@localhost both" {
		t.Errorf("roster %q", got)
	}
	alice.must(t, "message", Fields{"to": "bob@localhost", "body": "hello from a page"})
	bob.sees(t, Fields{"event": "message", "from": "alice@localhost/page", "body": "hello from a page"})
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello <&> ☎"})
	alice.sees(t, Fields{"event": "message", "bare": "bob@localhost", "body": "hello <&> ☎"})
	alice.must(t, "quit", nil)
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/page", "type": "unavailable"})
	alice.sees(t, Fields{"event": "disconnected"})
}

// converse.js, the whole application in a browser.
func TestConverse(t *testing.T) {
	s, us := launch(t, "alice", "bob")
	bob := slix(t, s, us["bob"], "desk")
	alice := get(s.Browser("conversejs", "converse.js", us["alice"], "page", "wss://127.0.0.1:"+s.Port("https")+"/xmpp"))(t)
	t.Cleanup(alice.Stop)
	alice.ask(t, "subscribe", Fields{"to": "bob@localhost"})
	bob.sees(t, Fields{"event": "presence", "type": "subscribe", "from": "alice@localhost"})
	bob.must(t, "subscribed", Fields{"to": "alice@localhost"})
	bob.must(t, "presence", Fields{"show": "dnd", "status": "writing"})
	alice.sees(t, Fields{"event": "presence", "bare": "bob@localhost", "show": "dnd"})
	bob.must(t, "subscribe", Fields{"to": "alice@localhost"})
	bob.sees(t, Fields{"event": "presence", "type": "subscribed", "bare": "alice@localhost"})
	alice.must(t, "presence", Fields{"show": "xa", "status": "lunch"})
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/page", "show": "xa", "status": "lunch"})
	alice.must(t, "message", Fields{"to": "bob@localhost", "body": "hello from converse"})
	bob.sees(t, Fields{"event": "message", "from": "alice@localhost/page", "body": "hello from converse"})
	bob.must(t, "message", Fields{"to": "alice@localhost", "body": "hello <&> ☎"})
	alice.sees(t, Fields{"event": "message", "bare": "bob@localhost", "body": "hello <&> ☎"})
	alice.must(t, "quit", nil)
	bob.sees(t, Fields{"event": "presence", "from": "alice@localhost/page", "type": "unavailable"})
}
