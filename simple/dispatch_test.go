package simple

import (
	"strings"
	"testing"
	"testing/synctest"

	"pharos/load"
	"pharos/sip"
)

// What RFC 3261 §8.2 asks of every request.
func TestDispatch(t *testing.T) {
	for _, c := range []struct {
		name   string
		o      out
		status int
		want   string
	}{
		{"INVITE", out{method: "INVITE"}, 405, "Allow: OPTIONS, REGISTER, PUBLISH, SUBSCRIBE, MESSAGE"},
		{"REFER", out{method: "REFER"}, 405, "Allow:"},
		{"unknown method", out{method: "DANCE"}, 501, "Allow:"},
		{"BYE", out{method: "BYE", toTag: "x"}, 481, ""},
		{"BYE out of dialog", out{method: "BYE"}, 405, ""},
		{"NOTIFY", out{method: "NOTIFY", lines: "Event: presence\r\nSubscription-State: active\r\n"}, 481, ""},
		{"unknown scheme", out{method: "MESSAGE", uri: "http://example.com/"}, 416, ""},
		{"tel", out{method: "MESSAGE", uri: "tel:+4912345"}, 416, ""},
		{"extension", out{method: "PUBLISH", lines: "Event: presence\r\nRequire: nothing, path, dance\r\n"}, 420, "Unsupported: nothing, dance"},
		{"other domain", out{method: "MESSAGE", uri: "sip:alice@example.org"}, 404, ""},
		{"MESSAGE in a dialog", out{method: "MESSAGE", toTag: "x"}, 481, ""},
		{"OPTIONS", out{method: "OPTIONS", uri: "sip:example.com"}, 200, "Allow-Events: presence"},
		{"OPTIONS to an address", out{method: "OPTIONS", uri: "sip:192.0.2.1:5060"}, 200, "Accept: application/pidf+xml"},
		{"OPTIONS, bodies of SUBSCRIBE", out{method: "OPTIONS", uri: "sip:example.com"}, 200, "application/resource-lists+xml"},
		{"OPTIONS to a user", out{method: "OPTIONS", uri: "sip:nobody@example.com"}, 200, "Supported: path, outbound"},
		{"OPTIONS elsewhere", out{method: "OPTIONS", uri: "sip:example.org"}, 404, ""},
		{"OPTIONS, Max-Forwards 0", out{method: "OPTIONS", raw: func(m string) string {
			return strings.Replace(m, "Max-Forwards: 70", "Max-Forwards: 0", 1)
		}}, 200, "Allow: OPTIONS"},
		{"MESSAGE, Max-Forwards 0", out{method: "MESSAGE", raw: func(m string) string {
			return strings.Replace(m, "Max-Forwards: 70", "Max-Forwards: 0", 1)
		}}, 483, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, Config{}, func(w *world) {
				alice := w.phone("alice", "192.0.2.10:5060")
				c.o.noAuth = true
				m := alice.want(c.status, c.o)
				if !strings.Contains(string(m.Append(nil)), c.want) {
					t.Errorf("no %q in\n%s", c.want, m.Append(nil))
				}
			})
		})
	}
}

// An ACK is never answered.
func TestStrayACK(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		alice := w.phone("alice", "192.0.2.10:5060")
		o := out{method: "ACK", toTag: "x"}
		alice.defaults(&o)
		alice.write(alice.bytes(o, ""))
		alice.none()
		if len(alice.responses) != 0 {
			t.Error("answered")
		}
	})
}

// The Contact that clients get is the one that the operator names, with the
// transport of their flow; sips: where they used it (RFC 3261 §12.1.1).
func TestOurContact(t *testing.T) {
	c := Config{Contact: func(*sip.Flow) string { return "ps.example.com:5060" }}
	inWorld(t, c, func(w *world) {
		udp, tcp := w.phone("bob", "192.0.2.11:5060"), w.tcpPhone("carol", "192.0.2.12:5061")
		s, _ := udp.subscribe("alice", 600)
		if s.target != "sip:ps.example.com:5060" {
			t.Errorf("over UDP: %s", s.target)
		}
		s, _ = tcp.subscribe("alice", 600)
		if s.target != "sip:ps.example.com:5060;transport=tcp" {
			t.Errorf("over TCP: %s", s.target)
		}
		if n := tcp.one(); !strings.Contains(get(n, sip.HVia), "SIP/2.0/TCP") {
			t.Errorf("NOTIFY not over the connection: %s", get(n, sip.HVia))
		}
		m := udp.want(200, out{method: "SUBSCRIBE", to: "alice", uri: "sips:alice@example.com", lines: "Event: presence\r\nContact: <sip:bob@192.0.2.11>\r\n"})
		if got := get(m, sip.HContact); got != "<sips:ps.example.com:5060>" {
			t.Errorf("for sips: %s", got)
		}
		// Over TLS, what the peer gives as its own address says so too.
		go w.stack.ServeListener(w.net.MustListen("192.0.2.1:5061"), "TLS")
		tls := w.tcpPhone("dave", "192.0.2.13:5062")
		synctest.Wait() // its reader has begun
		tls.conn.Close()
		var err error
		if tls.conn, err = w.net.Dial(t.Context(), tls.addr, "192.0.2.1:5061"); err != nil {
			t.Fatal(err)
		}
		go tls.read(tls.conn)
		for _, c := range []struct{ lines, want string }{
			{"Contact: <sip:dave@192.0.2.13>\r\n", "<sip:ps.example.com:5060;transport=tls>"},
			{"Contact: <sips:dave@192.0.2.13>\r\n", "<sips:ps.example.com:5060>"},
			{"Contact: <sip:dave@192.0.2.13>\r\nRecord-Route: <SIPS:p.example.com;lr>, <sip:q.example.com;lr>\r\n", "<sips:ps.example.com:5060>"},
			{"Contact: <sips:dave@192.0.2.13>\r\nRecord-Route: <sip:p.example.com;lr>\r\n", "<sip:ps.example.com:5060;transport=tls>"},
		} {
			m := tls.want(200, out{method: "SUBSCRIBE", to: "alice", lines: "Event: presence\r\n" + c.lines})
			if got := get(m, sip.HContact); got != c.want {
				t.Errorf("%q: %s, want %s", c.lines, got, c.want)
			}
		}
	})
}

// What is shed when the server is busy, and when to come again.
func TestAdmission(t *testing.T) {
	full := 0.0
	c := Config{Gate: load.NewGate(func() float64 { return full })}
	inWorld(t, c, func(w *world) {
		alice, bob := w.phone("alice", "192.0.2.10:5060"), w.phone("bob", "192.0.2.11:5060")
		s, _ := bob.subscribe("alice", 600)
		bob.one()
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		tag := alice.publish("open", "x", "")
		bob.one()
		full = 0.92 // newcomers, messages and publications wait; refreshes do not
		for _, o := range []out{
			{method: "SUBSCRIBE", to: "alice", lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\n"},
			{method: "MESSAGE", to: "alice", body: "hi", ctype: "text/plain"},
			publishOut("bob"),
		} {
			if m := bob.want(503, o); get(m, sip.HRetryAfter) == "" {
				t.Errorf("%s: no Retry-After", o.method)
			}
		}
		alice.want(503, out{method: "REGISTER", lines: "Contact: <" + alice.contact + ">\r\n"})
		s.again(200, 600)
		bob.one()
		bob.register(t, "Contact: <"+bob.contact+">\r\n")
		alice.want(200, out{method: "PUBLISH", lines: "Event: presence\r\nSIP-If-Match: " + tag + "\r\n"})
		full = 1
		s2 := out{method: "SUBSCRIBE", to: "alice", uri: s.target, toTag: s.tag, callID: s.callID, lines: "Event: presence\r\nContact: <" + bob.contact + ">\r\n"}
		bob.want(503, s2)
	})
}

// What the load control takes, nobody else answers.
func TestSystem(t *testing.T) {
	asked := 0
	e := &Edge{system: func(*sip.ServerTx, *sip.Message) bool { asked++; return true }}
	m, err := sip.Parse([]byte("INVITE sip:service@example.com SIP/2.0\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@b>;tag=1\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n\r\n"))
	if err != nil {
		t.Fatal(err)
	}
	e.ServeSIP(nil, m) // an answer would be a nil dereference
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
}
