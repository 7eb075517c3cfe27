package simple

import (
	"testing"
	"time"

	"pharos/pidf"
	"pharos/presence"
	"pharos/redirect"
	"pharos/sip"
)

// elsewhere has the users that are named live on node b.
func elsewhere(t *testing.T, located *int, events *[]redirect.Event, users ...string) *Redirect {
	var rules []redirect.Rule
	for _, s := range []string{"SUBSCRIBE,PUBLISH:nice", "REGISTER:Linphone", "SUBSCRIBE:phone"} {
		r, err := redirect.ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	lives := func(e presence.Entity) string {
		for _, u := range users {
			if u == e.User {
				return "b"
			}
		}
		return ""
	}
	return &Redirect{
		Clients: redirect.New(redirect.Settings{SIP: rules, Learn: true, Tell: func(e redirect.Event) { *events = append(*events, e) }}),
		Owner:   func(e presence.Entity) (string, bool) { return lives(e), e.User != "carol" },
		Locate: func(e presence.Entity, done func(string, error)) {
			*located++
			go done("b", nil)
		},
		Address: func(node string) string { return "sip:192.0.2.2:5060;transport=tcp" },
	}
}

func TestRedirect(t *testing.T) {
	const event = "Event: presence\r\nContact: <sip:alice@192.0.2.10:5060>\r\n"
	publish := out{method: "PUBLISH", lines: event, body: doc("alice", "open", "x"), ctype: pidf.Type}
	subscribe := out{method: "SUBSCRIBE", to: "bob", lines: event}
	for _, c := range []struct {
		name, user, agent string
		o                 out
		want              int
		contact           string
	}{
		{"listed", "alice", "Nice/1.0", subscribe, 302, "<sip:bob@192.0.2.2:5060;transport=tcp>;q=1.0;expires=60"},
		{"publication", "alice", "Nice/1.0", publish, 302, "<sip:alice@192.0.2.2:5060;transport=tcp>;q=1.0;expires=60"},
		{"method not listed", "alice", "Nice/1.0", out{method: "REGISTER", uri: "sip:example.com", lines: "Contact: <sip:alice@192.0.2.10:5060>\r\n"}, 200, ""},
		{"not listed", "alice", "other", subscribe, 200, ""},
		{"no User-Agent", "alice", "", subscribe, 200, ""},
		{"lives here", "bob", "Nice/1.0", subscribe, 200, ""},
		{"to be looked up", "carol", "Nice/1.0", subscribe, 302, "<sip:bob@192.0.2.2:5060;transport=tcp>;q=1.0;expires=60"},
		{"refresh", "alice", "Nice/1.0", out{method: "PUBLISH", lines: event + "SIP-If-Match: x\r\n"}, 412, ""},
		{"fetch", "alice", "Nice/1.0", out{method: "SUBSCRIBE", to: "bob", lines: event + "Expires: 0\r\n"}, 200, ""},
		{"storm", "alice", "Linphone-like phone", subscribe, 200, ""},
		{"registration", "alice", "Linphone", out{method: "REGISTER", uri: "sip:example.com", lines: "Contact: <sip:alice@192.0.2.10:5060>\r\n"}, 302, "<sip:192.0.2.2:5060;transport=tcp>;q=1.0;expires=60"},
		{"end of a registration", "alice", "Linphone", out{method: "REGISTER", uri: "sip:example.com", lines: "Contact: *\r\nExpires: 0\r\n"}, 200, ""},
		{"without a password", "alice", "Nice/1.0", out{method: "SUBSCRIBE", to: "bob", lines: event, noAuth: true}, 401, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			located, events := 0, []redirect.Event(nil)
			inWorld(t, Config{Redirect: elsewhere(t, &located, &events, "alice")}, func(w *world) {
				p := w.phone(c.user, "192.0.2.10:5060")
				p.extra = "User-Agent: " + c.agent + "\r\n"
				m := p.want(c.want, c.o)
				if got := get(m, sip.HContact); c.contact != "" && got != c.contact {
					t.Errorf("Contact %q, want %q", got, c.contact)
				}
				if c.want == 302 && (len(events) != 1 || events[0].Kind != redirect.Sent || events[0].To != "b") {
					t.Errorf("told %+v", events)
				}
				if located != 0 && c.user != "carol" {
					t.Error("looked for without a reason")
				}
				if n := w.edge.redirect.Clients.Counts(); (n.Redirected == 1) != (c.want == 302) {
					t.Errorf("%+v", n)
				}
			})
		})
	}
}

// A client that comes back all the same is served from then on.
func TestRedirectNotFollowed(t *testing.T) {
	located, events := 0, []redirect.Event(nil)
	inWorld(t, Config{Redirect: elsewhere(t, &located, &events, "alice")}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		p.extra = "User-Agent: nice\r\n"
		o := out{method: "SUBSCRIBE", to: "bob", lines: "Event: presence\r\nContact: <sip:alice@192.0.2.10:5060>\r\n"}
		p.want(302, o)
		time.Sleep(3 * time.Second)
		for range 5 {
			p.want(200, o)
			time.Sleep(time.Hour)
		}
	})
}

// What a 302 has sent here has our address in its request-URI, and is served; and all
// are told that the client has followed.
func TestRedirectFollowed(t *testing.T) {
	located, events := 0, []redirect.Event(nil)
	inWorld(t, Config{Redirect: elsewhere(t, &located, &events)}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		p.extra = "User-Agent: nice\r\n"
		o := out{method: "SUBSCRIBE", uri: "sip:bob@192.0.2.1:5060", to: "bob", lines: "Event: presence\r\nContact: <sip:alice@192.0.2.10:5060>\r\n"}
		w.edge.redirect.Clients.Heard(time.Now(), redirect.Event{Kind: redirect.Sent, Client: "alice@example.com\x00nice", To: ""})
		p.want(200, o)
		if n := p.one(); n.Method != "NOTIFY" {
			t.Errorf("got %s", n.Method)
		}
		if len(events) != 1 || events[0].Kind != redirect.Followed {
			t.Errorf("told %+v", events)
		}
		// To says who is meant; it has to agree with the request-URI.
		o.uri = "sip:carol@192.0.2.1:5060"
		p.want(404, o)
		o.uri = "sip:bob@192.0.2.77:5060"
		p.want(404, o)
	})
}

// What comes to where it was sent is not sent on, though the user lives elsewhere by now.
func TestRedirectOnce(t *testing.T) {
	located, events := 0, []redirect.Event(nil)
	inWorld(t, Config{Redirect: elsewhere(t, &located, &events, "alice")}, func(w *world) {
		p := w.phone("alice", "192.0.2.10:5060")
		p.extra = "User-Agent: nice\r\n"
		p.want(200, out{method: "SUBSCRIBE", uri: "sip:bob@192.0.2.1:5060", to: "bob", lines: "Event: presence\r\nContact: <sip:alice@192.0.2.10:5060>\r\n"})
		if len(events) != 1 || events[0].Kind != redirect.Followed {
			t.Errorf("told %+v, though it has followed", events)
		}
	})
}

func TestElsewhereAt(t *testing.T) {
	for _, c := range []struct{ uri, address, want string }{
		{"sip:bob@example.com", "sip:n2:5060;transport=tcp", "sip:bob@n2:5060;transport=tcp"},
		{"sips:bob@example.com", "sip:n2", ""}, // a sips URI is not given up for less
		{"sips:bob@example.com", "sips:n2", "sips:bob@n2"},
		{"sip:bob@example.com", "", ""},
		{"sip:bob@example.com", "n2:5060", ""},
	} {
		u, err := sip.ParseURI(c.uri)
		if err != nil {
			t.Fatal(err)
		}
		m, err := sip.Parse([]byte("SUBSCRIBE " + c.uri + " SIP/2.0\r\nVia: SIP/2.0/TLS a;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\nTo: <" + c.uri + ">\r\nCall-ID: x\r\nCSeq: 1 SUBSCRIBE\r\n\r\n"))
		if err != nil {
			t.Fatal(err)
		}
		r := &request{uri: u, msg: m, flow: new(sip.Flow)}
		if got := r.elsewhereAt(c.address); got != c.want {
			t.Errorf("%s at %s: %q, want %q", c.uri, c.address, got, c.want)
		}
	}
}
