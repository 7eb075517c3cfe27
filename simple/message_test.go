package simple

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/engine"
	"pharos/presence"
	"pharos/sip"
)

var bobHere = presence.Entity{User: "bob", Domain: domain}

// other is the edge of another world.
type other struct {
	takes bool
	got   []*engine.Message
}

func (o *other) Notify(*presence.Notice)               {}
func (o *other) WatcherChanged(presence.WatcherChange) {}
func (o *other) Deliver(m *engine.Message) bool {
	if o.takes {
		o.got = append(o.got, m)
	}
	return o.takes
}

// RFC 3428: to all contacts, and its answer before they have answered.
func TestMessage(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob, desk := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060"), w.phone("bob", "192.0.2.12:5060")
		deaf := w.phone("bob", "192.0.2.13:5060")
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		desk.register(t, "Contact: <"+desk.contact+">;methods=\"INVITE, MESSAGE\"\r\n")
		deaf.register(t, "Contact: <"+deaf.contact+">;methods=\"INVITE,ACK\"\r\n")
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "Grüße", ctype: "text/plain; charset=UTF-8",
			lines: "Subject: hello\r\nContent-Language: de\r\n"})
		for _, p := range []*phone{bob, desk} {
			m := p.one()
			if m.Method != "MESSAGE" || m.URI != p.contact || m.From().URI != "sip:alice@example.com" || m.To().URI != "sip:bob@example.com" ||
				m.Body != "Grüße" || get(m, sip.HContentType) != "text/plain" || get(m, sip.HSubject) != "hello" ||
				get(m, sip.HContentLanguage) != "de" || get(m, sip.HDate) != "" {
				t.Errorf("got\n%s", m.Append(nil))
			}
		}
		deaf.none()
		// What only SIP knows is carried; that somebody types is told to who is there.
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "<x/>", ctype: "application/x-thing"})
		if m := bob.one(); get(m, sip.HContentType) != "application/x-thing" || m.Body != "<x/>" {
			t.Errorf("got\n%s", m.Append(nil))
		}
		desk.got()
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "<isComposing/>", ctype: composing})
		bob.one()
		alice.want(200, out{method: "MESSAGE", to: "carol", body: "<isComposing/>", ctype: composing})
		if w.mailbox.len() != 0 {
			t.Error("typing was stored")
		}
	})
}

func TestMessageRefusals(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      out
		status int
	}{
		{"unknown user", out{to: "nobody", body: "x", ctype: "text/plain"}, 404},
		{"too large", out{to: "bob", body: strings.Repeat("x", 16<<10+1), ctype: "text/plain"}, 413},
		{"no type", out{to: "bob", body: "x"}, 400},
		{"bad type", out{to: "bob", body: "x", ctype: "text"}, 400},
		{"unknown charset", out{to: "bob", body: "x", ctype: "text/plain;charset=koi8-r"}, 415},
		{"not UTF-8", out{to: "bob", body: "\xff", ctype: "text/plain;charset=utf-8"}, 415},
		{"compressed", out{to: "bob", body: "x", ctype: "text/plain", lines: "Content-Encoding: gzip\r\n"}, 415},
		{"one of ours", out{to: "bob", callID: "OURS", body: "x", ctype: "text/plain"}, 482},
		{"Latin-1", out{to: "bob", body: "\xe4", ctype: "text/plain;charset=ISO-8859-1"}, 202},
		{"empty", out{to: "bob"}, 202},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				alice := w.phone("alice", "192.0.2.10:5060")
				c.o.method = "MESSAGE"
				if c.o.callID != "" {
					c.o.callID = "x" + w.edge.callID
				}
				alice.want(c.status, c.o)
				if n := w.mailbox.len(); (n == 1) != (c.status == 202) {
					t.Errorf("%d stored", n)
				}
			})
		})
	}
}

// Messages for one who is away wait, and come with the next registration in
// their order, with the time they were sent (RFC 3428 §10).
func TestStoredMessages(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		for _, text := range []string{"one", "two", "three"} {
			alice.want(202, out{method: "MESSAGE", to: "bob", body: text, ctype: "text/plain"})
		}
		for range 7 {
			alice.want(202, out{method: "MESSAGE", to: "bob"})
		}
		alice.want(480, out{method: "MESSAGE", to: "bob"}) // the mailbox is full
		w.mailbox.ms = w.mailbox.ms[:3]

		// The first time it takes one, and then breaks.
		n := 0
		bob.setAnswer(func(*sip.Message) (int, string) {
			if n++; n > 1 {
				return 500, ""
			}
			return 200, ""
		})
		time.Sleep(time.Hour)
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		ms := bob.got()
		if len(ms) != 2 || ms[0].Body != "one" || get(ms[0], sip.HDate) != "Sat, 01 Jan 2000 00:00:00 GMT" {
			t.Errorf("got %v", texts(ms))
		}
		if got := w.mailbox.len(); got != 2 {
			t.Errorf("%d are left", got) // but the one that was answered with 200
		}
		bob.setAnswer(nil)
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		if ms = bob.got(); len(ms) != 2 || ms[0].Body != "two" || ms[1].Body != "three" {
			t.Errorf("got %v", texts(ms))
		}
		if w.mailbox.len() != 0 {
			t.Error("handed over, and still there")
		}
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		bob.none()
	})
}

// Taken by the edge, and then no contact answers well: stored after all.
func TestUndelivered(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob, desk := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060"), w.phone("bob", "192.0.2.12:5060")
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		desk.register(t, "Contact: <"+desk.contact+">\r\n")
		desk.setAnswer(answerWith(415, ""))
		bob.setAnswer(silent)
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "hi", ctype: "text/plain"})
		time.Sleep(31 * time.Second)
		if w.mailbox.len() != 0 {
			t.Error("stored while one may still answer")
		}
		time.Sleep(2 * time.Second)
		if w.mailbox.len() != 1 {
			t.Error("lost")
		}
		bob.got()
		bob.setAnswer(nil)
		bob.register(t, "Contact: <"+bob.contact+">\r\n") // a refresh is enough
		if m := bob.one(); m.Body != "hi" {
			t.Errorf("got\n%s", m.Append(nil))
		}
	})
}

// A phone that was switched off and on again has another port, and its old
// contact still stands: what was on its way there comes to the new one.
func TestMessageToPhoneStartedAnew(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, before, after := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060"), w.phone("bob", "192.0.2.11:5070")
		before.register(t, "Contact: <"+before.contact+">\r\n")
		before.setAnswer(silent)
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "hi", ctype: "text/plain"})
		time.Sleep(2 * time.Second)
		after.register(t, "Contact: <"+after.contact+">\r\n")
		time.Sleep(31 * time.Second)
		if m := after.one(); m.Body != "hi" || get(m, sip.HDate) == "" {
			t.Errorf("got\n%s", m.Append(nil))
		}
		time.Sleep(time.Minute)
		if w.mailbox.len() != 0 {
			t.Error("delivered, and stored as well")
		}
		// Neither takes it: it waits.
		after.setAnswer(silent)
		alice.want(200, out{method: "MESSAGE", to: "bob", body: "again", ctype: "text/plain"})
		time.Sleep(2 * time.Second)
		after.register(t, "Contact: <"+after.contact+">\r\n")
		time.Sleep(70 * time.Second)
		if w.mailbox.len() != 1 {
			t.Error("lost")
		}
	})
}

// To and from the other world (RFC 7572).
func TestMessageAcross(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		x := &other{takes: true}
		w.edges = []engine.Edge{x}
		w.restart()
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		alice.want(200, out{method: "MESSAGE", to: "bob", callID: "thread-1", body: "hi", ctype: "text/plain", lines: "Subject: s\r\n"})
		synctest.Wait()
		if len(x.got) != 1 || x.got[0].Body != "hi" || x.got[0].Thread != "thread-1" || x.got[0].Subject != "s" || x.got[0].From != aliceHere || x.got[0].ID == "" {
			t.Fatalf("got %+v", x.got)
		}
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		x.takes = false
		stored, err := w.engine.Send(context.Background(), &engine.Message{From: aliceHere, FromResource: "balcony", To: bobHere,
			Type: "chat", Subject: "evil\r\nX: y", Body: "Art thou not Romeo?", Edge: "xmpp",
			Native: presence.Payload{Type: "jabber:client", Bytes: []byte("<body/>")}})
		if err != nil || stored {
			t.Errorf("stored %v, %v", stored, err)
		}
		m := bob.one()
		if m.From().URI != "sip:alice@example.com" || m.Body != "Art thou not Romeo?" || get(m, sip.HContentType) != "text/plain" {
			t.Errorf("got\n%s", m.Append(nil))
		}
		if _, has := m.GetName("X"); has {
			t.Error("a header was smuggled in")
		}
	})
}

// A user who has blocked the sender gets nothing, and the sender learns no more
// than that the user cannot be reached.
func TestMessageBlocked(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		w.rule("alice", "bob", presence.Block)
		alice.want(480, out{method: "MESSAGE", to: "bob", body: "hi", ctype: "text/plain"})
		bob.none()
		if w.mailbox.len() != 0 {
			t.Error("stored")
		}
	})
}

// No answer to what somebody writes who is not shown the user's presence tells whether
// the user is there. To whom she looks offline (RFC 5025 §3.2.1) she is.
func TestMessageTellsNoPresence(t *testing.T) {
	for _, c := range []struct {
		h             presence.Handling
		there, away   int // a message that may wait
		there0, away0 int // one that may not
	}{
		{presence.Allow, 200, 202, 200, 480},
		{presence.Confirm, 202, 202, 202, 202},
		{presence.PoliteBlock, 202, 202, 480, 480},
	} {
		t.Run(c.h.String(), func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
				w.rule("alice", "bob", c.h)
				send := func(status int, lines string) {
					t.Helper()
					alice.want(status, out{method: "MESSAGE", to: "bob", body: "hi", ctype: "text/plain", lines: lines})
				}
				send(c.away, "")
				send(c.away0, "Expires: 0\r\n")
				w.mailbox.ms = nil
				bob.register(t, "Contact: <"+bob.contact+">\r\n")
				send(c.there, "")
				if m := bob.one(); m.Method != "MESSAGE" {
					t.Errorf("bob got %s", m.Method)
				}
				send(c.there0, "Expires: 0\r\n")
			})
		})
	}
}

// RFC 3428 §7: how long a message is good for goes on with it, counted from its
// Date; one that is too late is for those who are there only.
func TestMessageExpires(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		send := func(status int, lines string) {
			t.Helper()
			alice.want(status, out{method: "MESSAGE", to: "bob", body: "hi", ctype: "text/plain", lines: lines})
		}
		date := func(ago time.Duration) string { return string(sip.AppendDate(nil, time.Now().Add(-ago))) }
		send(400, "Expires: soon\r\n")
		send(480, "Expires: 0\r\n")
		send(480, date(time.Minute)+"Expires: 60\r\n")
		if w.mailbox.len() != 0 {
			t.Error("stored too late")
		}
		send(202, "Expires: 600\r\n")
		time.Sleep(10 * time.Second)
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		if m := bob.one(); get(m, sip.HExpires) != "600" || get(m, sip.HDate) == "" {
			t.Errorf("stored: got\n%s", m.Append(nil))
		}
		for _, c := range []struct{ lines, want string }{
			{"", ""}, {"Expires: 600\r\n", "600"}, {date(time.Minute) + "Expires: 600\r\n", "540"}, {date(time.Hour) + "Expires: 600\r\n", "0"},
		} {
			send(200, c.lines)
			if m := bob.one(); get(m, sip.HExpires) != c.want {
				t.Errorf("%q: got\n%s", c.lines, m.Append(nil))
			}
		}
	})
}

// A multipart message goes to SIP devices as it is, and its text to others
// (RFC 5621 §4.2).
func TestMultipartMessage(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		x := &other{takes: true}
		w.edges = []engine.Edge{x}
		w.restart()
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		const part = "--b\r\nContent-Type: "
		for body, text := range map[string]string{
			part + "text/html\r\n\r\n<b>hi</b>\r\n" + part + "text/plain;charset=ISO-8859-1\r\n\r\nh\xef\r\n--b--\r\n":   "hï",
			part + "text/plain\r\n\r\none\r\n" + part + "text/plain\r\n\r\ntwo\r\n--b--\r\n":                             "one\ntwo",
			part + "text/plain\r\nContent-Disposition: icon\r\n\r\none\r\n" + part + "image/png\r\n\r\ntwo\r\n--b--\r\n": "",
			part + "text/plain\r\n\r\nno end": "",
		} {
			x.got = nil
			alice.want(200, out{method: "MESSAGE", to: "bob", body: body, ctype: "multipart/alternative;boundary=b"})
			if m := bob.one(); m.Body != body || get(m, sip.HContentType) != "multipart/alternative;boundary=b" {
				t.Errorf("got\n%s", m.Append(nil))
			}
			if len(x.got) != 1 || x.got[0].Body != text {
				t.Errorf("told others %+v, want %q", x.got, text)
			}
		}
	})
}
