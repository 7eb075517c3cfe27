package loadcontrol

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/account"
	"pharos/loaddoc"
	"pharos/presence"
	"pharos/sip"
)

// accounts knows one password.
type accounts struct{}

func (accounts) Nonce() string { return "n" }
func (accounts) Verify(d account.Digest, done func(account.Verdict)) {
	if d.Response == "right" {
		done(account.Verdict{User: presence.Entity{User: d.Username, Domain: "example.com"}})
	} else {
		done(account.Verdict{Err: account.ErrNotAuthorized})
	}
}

func observed(c *Config) {
	c.Observers, c.Accounts = []presence.Entity{{User: "noc", Domain: "example.com"}}, accounts{}
}

// observe runs a test with a server that observers may ask, and a phone that is connected to it.
func observe(t *testing.T, f func(t *testing.T, s *server, p *phone)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork()
		s := n.serve("ps1", "192.0.2.1", observed)
		defer s.end()
		p := n.phone(t, s.addr)
		defer p.nc.Close()
		f(t, s, p)
	})
}

const system = "sip:service@example.com"

func credentials(user, response, uri string) string {
	return "Authorization: Digest username=\"" + user + "\", realm=\"example.com\", nonce=\"n\", uri=\"" + uri + "\", response=\"" + response + "\"\r\n"
}

// An operator's phone subscribes to the service as to anybody.
func TestObserver(t *testing.T) {
	observe(t, func(t *testing.T, s *server, p *phone) {
		noc, to := "sip:noc@example.com", "<"+system+">"
		p.send("SUBSCRIBE", system, noc, to, "Event: presence\r\n", "Expires: 600\r\n")
		if c := p.want(401).Challenges(sip.HWWWAuthenticate); len(c) != 2 || c[0].Realm != "example.com" {
			t.Errorf("challenges %+v", c)
		}
		p.send("SUBSCRIBE", system, noc, to, "Event: presence\r\n", "Expires: 600\r\n", credentials("noc", "wrong", system))
		p.want(401)
		p.send("SUBSCRIBE", system, noc, to, "Event: presence\r\n", "Expires: 600\r\n", credentials("noc", "right", "sip:other@example.com"))
		p.want(400)
		p.send("SUBSCRIBE", system, noc, to, "Event: presence\r\n", "Expires: 600\r\n", credentials("bob", "right", system))
		p.want(403)
		p.send("SUBSCRIBE", system, noc, to, "Event: presence;id=7\r\n", "Expires: 600\r\n", credentials("noc", "right", system))
		ok := p.want(200)
		notify := p.want("NOTIFY")
		p.ok(notify)
		d, err := loaddoc.Parse([]byte(notify.Body))
		if err != nil || d.Partial || d.Basic != "open" || d.Find("ps1") == nil {
			t.Errorf("%+v, %v", d, err)
		}
		if e, _, _ := notify.Event(); e.ID != "7" {
			t.Errorf("Event %+v", e)
		}
		s.set(func(d *loaddoc.Document) { d.Servers[0].Level = 100 })
		time.Sleep(Interval)
		notify = p.want("NOTIFY")
		p.ok(notify)
		change, err := loaddoc.Parse([]byte(notify.Body))
		if err != nil || !change.Partial || change.Basic != "closed" {
			t.Errorf("%+v, %v", change, err)
		}
		// A refresh brings the whole; it needs the password, too.
		contact, _, _ := ok.Contact()
		in := to + ";tag=" + ok.To().Tag()
		p.send("SUBSCRIBE", contact.URI, noc, in, "Event: presence;id=7\r\n", "Expires: 600\r\n")
		p.want(401)
		p.send("SUBSCRIBE", contact.URI, noc, in, "Event: presence;id=7\r\n", "Expires: 600\r\n", credentials("noc", "right", contact.URI))
		p.want(200)
		notify = p.want("NOTIFY")
		p.ok(notify)
		if d, err = loaddoc.Parse([]byte(notify.Body)); err != nil || d.Partial || d.Version != 2 {
			t.Errorf("%+v, %v", d, err)
		}
		// Unsubscribed.
		p.send("SUBSCRIBE", contact.URI, noc, in, "Event: presence;id=7\r\n", "Expires: 0\r\n", credentials("noc", "right", contact.URI))
		p.want(200)
		notify = p.want("NOTIFY")
		if st, _, _ := notify.SubscriptionState(); st.State != "terminated" {
			t.Errorf("state %+v", st)
		}
		p.ok(notify)
		p.send("SUBSCRIBE", contact.URI, noc, in, "Event: presence;id=7\r\n", "Expires: 600\r\n", credentials("noc", "right", contact.URI))
		if m := p.got(); m == nil || m.Status/100 == 2 {
			t.Error("a dialog that has ended is refreshed")
		}
	})
}

// One that is not refreshed ends.
func TestObserverExpires(t *testing.T) {
	observe(t, func(t *testing.T, s *server, p *phone) {
		p.send("SUBSCRIBE", system, "sip:noc@example.com", "<"+system+">", "Event: presence\r\n", "Expires: 10\r\n", credentials("noc", "right", system))
		p.want(200)
		p.ok(p.want("NOTIFY"))
		time.Sleep(12 * time.Second)
		notify := p.want("NOTIFY")
		p.ok(notify)
		if st, _, _ := notify.SubscriptionState(); st.State != "terminated" || st.Reason != "timeout" {
			t.Errorf("state %+v", st)
		}
		if len(s.subs) != 0 {
			t.Error("still there")
		}
	})
}

// Nothing of it is open to users.
func TestClosedToUsers(t *testing.T) {
	for _, c := range []struct {
		method, uri, from string
		extra             []string
		want              int
	}{
		{"SUBSCRIBE", system, "sip:bob@example.com", []string{"Event: presence\r\n"}, 403},
		{"SUBSCRIBE", system, "sip:bob@example.com", []string{"Event: presence\r\n", credentials("bob", "right", system)}, 403},
		{"SUBSCRIBE", "sip:SERVICE@Example.com;x=y", "sip:bob@example.com", []string{"Event: presence\r\n"}, 403},
		{"INVITE", system, "sip:noc@example.com", nil, 403},
		{"PUBLISH", system, "sip:noc@example.com", []string{"Event: presence\r\n"}, 403},
		{"REGISTER", system, "sip:noc@example.com", nil, 403},
		{"MESSAGE", system, "sip:noc@example.com", nil, 403},
		{"INVITE", "sip:192.0.2.1", "sip:ps2@example.com", nil, 405}, // for the other edge
		{"SUBSCRIBE", "sip:bob@example.com", "sip:noc@example.com", []string{"Event: presence\r\n"}, 405},
		{"NOTIFY", system, "sip:ps2@example.com", nil, 403},
		{"OPTIONS", system, "sip:ps2@example.com", nil, 405},
		{"INVITE", "sip:192.0.2.1", "sip:ps2@example.com", []string{strings.Replace(credentials("ps2", "x", "sip:192.0.2.1"), `realm="example.com"`, `realm="`+realm+`"`, 1)}, 403},
	} {
		observe(t, func(t *testing.T, s *server, p *phone) {
			p.send(c.method, c.uri, c.from, "<"+c.uri+">", c.extra...)
			if m := p.got(); m == nil || m.Status != c.want {
				t.Errorf("%s %s from %s: %+v, want %d", c.method, c.uri, c.from, m, c.want)
			}
			if len(s.joined) > 0 || len(s.invites) > 0 || len(s.subs) > 0 {
				t.Errorf("%s %s had an effect", c.method, c.uri)
			}
		})
	}
}

func TestSubscribeErrors(t *testing.T) {
	for _, c := range []struct {
		extra []string
		want  int
	}{
		{[]string{}, 400},
		{[]string{"Event: presence\r\n", "Expires: x\r\n"}, 400},
		{[]string{"Event: presence\r\n", "Expires: 1\r\n"}, 423},
		{[]string{"Event: load-control\r\n"}, 489},
		{[]string{"Event: presence\r\n", "Accept: text/plain\r\n"}, 406},
		{[]string{"Event: presence\r\n", "Accept: text/plain, application/pidf+xml;q=1\r\n"}, 200},
		{[]string{"Event: presence\r\n", "Require: x\r\n"}, 420},
		{[]string{"Event: presence\r\n", "Contact: <sip:" + strings.Repeat("x", 2000) + "@b>\r\n"}, 200}, // the first one counts
	} {
		observe(t, func(t *testing.T, s *server, p *phone) {
			p.send("SUBSCRIBE", system, "sip:noc@example.com", "<"+system+">", append(c.extra, credentials("noc", "right", system))...)
			if m := p.got(); m == nil || m.Status != c.want {
				t.Errorf("%v: %+v, want %d", c.extra, m, c.want)
			}
		})
	}
}

// Subscriptions are bounded.
func TestSubscriptionsBounded(t *testing.T) {
	observe(t, func(t *testing.T, s *server, p *phone) {
		taken, refused := 0, 0
		for range MaxSubscriptions + 3 {
			p.send("SUBSCRIBE", system, "sip:noc@example.com", "<"+system+">", "Event: presence\r\n", credentials("noc", "right", system))
			for m := p.got(); m != nil; m = p.got() {
				switch {
				case m.IsRequest():
					p.ok(m)
				case m.Status == 200:
					taken++
				case m.Status == 503:
					refused++
				}
			}
		}
		if taken != MaxSubscriptions || refused != 3 {
			t.Errorf("%d taken, %d refused", taken, refused)
		}
	})
}
