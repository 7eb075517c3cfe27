package loadcontrol

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pharos/sip"
)

// signed builds a signed request and parses it, as it would arrive.
func signed(t *testing.T, e *Edge, change func(string) string) *sip.Message {
	t.Helper()
	d := dialog{callID: "c", local: "l", localURI: "sip:ps1@example.com", peerURI: "sip:ps2", target: "sip:192.0.2.2", contact: "sip:192.0.2.1"}
	out := d.request("INVITE", "", []byte("Content-Type: text/plain\r\n"))
	out.Body = []byte("body")
	out, err := e.sign(out, "")
	if err != nil {
		t.Fatal(err)
	}
	raw := out.Method + " " + out.URI + " SIP/2.0\r\nVia: SIP/2.0/TCP a;branch=z9hG4bKx\r\n" + string(out.Header) + "Content-Length: 4\r\n\r\n" + string(out.Body)
	m, err := sip.Parse([]byte(change(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func replace(t *testing.T, from, to string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, from) {
			t.Fatalf("%q is not in %q", from, s)
		}
		return strings.Replace(s, from, to, 1)
	}
}

// What servers prove covers all that matters; nothing counts twice.
func TestVerify(t *testing.T) {
	a := New(Config{Name: "ps1", Domain: "example.com", Key: []byte("k")})
	b := New(Config{Name: "ps2", Domain: "example.com", Key: []byte("k")})
	now := time.Now()
	same := func(s string) string { return s }
	m := signed(t, a, same)
	if who, p := b.verify(m, now); who != "ps1" || p != proven {
		t.Fatalf("%q, %v", who, p)
	}
	if _, p := b.verify(m, now); p != stale {
		t.Errorf("the same once more: %v", p)
	}
	for name, change := range map[string]func(string) string{
		"body":        replace(t, "body", "bodY"),
		"method":      func(s string) string { return strings.ReplaceAll(s, "INVITE", "SUBSCRIBE") },
		"request-URI": replace(t, "INVITE sip:192.0.2.2 ", "INVITE sip:192.0.2.3 "),
		"Contact":     replace(t, "Contact: <sip:192.0.2.1>", "Contact: <sip:192.0.2.6>"),
		"From":        replace(t, "tag=l", "tag=k"),
		"Call-ID":     replace(t, "Call-ID: c", "Call-ID: d"),
		"To":          replace(t, "To: <sip:ps2>", "To: <sip:ps3>"),
		"name":        replace(t, `username="ps1"`, `username="ps9"`),
		"Expires":     replace(t, "Content-Type", "Expires: 3\r\nContent-Type"),
	} {
		if _, p := b.verify(signed(t, a, change), now); p != wrong {
			t.Errorf("%s changed: %v", name, p)
		}
	}
	if _, p := b.verify(signed(t, a, same), now.Add(2*nonceAge)); p != stale {
		t.Errorf("too late: %v", p)
	}
	if _, p := b.verify(signed(t, a, same), now.Add(-2*nonceAge)); p != stale {
		t.Errorf("too early: %v", p)
	}
	other := New(Config{Name: "ps3", Domain: "example.com", Key: []byte("l")})
	if _, p := other.verify(signed(t, a, same), now); p != wrong {
		t.Errorf("another secret: %v", p)
	}
}

// What was recorded before a server's restart does not count after it: he cannot know that it was used.
func TestReplayAfterRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{Name: "ps2", Domain: "example.com", Key: []byte("k")}
		a, b := New(Config{Name: "ps1", Domain: "example.com", Key: []byte("k")}), New(c)
		same := func(s string) string { return s }
		m := signed(t, a, same)
		if _, p := b.verify(m, time.Now()); p != proven {
			t.Fatalf("%v", p)
		}
		time.Sleep(time.Second)
		again := New(c)
		if who, p := again.verify(m, time.Now()); who != "ps1" || p != stale {
			t.Errorf("recorded before the restart: %q %v", who, p)
		}
		if _, p := again.verify(signed(t, a, same), time.Now()); p != proven {
			t.Errorf("made after it: %v", p)
		}
		// A clock that is set back makes nobody wait.
		a.skew = -time.Hour
		if _, p := again.verify(signed(t, a, same), time.Now().Add(-time.Hour)); p != proven {
			t.Errorf("after the clock was set back: %v", p)
		}
	})
}

// What was used is remembered as long as it could count, and no longer.
func TestNonces(t *testing.T) {
	var n nonces
	now := time.Unix(1e9, 0)
	if !n.first("a", now) || n.first("a", now) || n.first("a", now.Add(2*nonceAge)) {
		t.Error("a nonce counts twice")
	}
	if n.first("b", now.Add(5*nonceAge)); len(n.was)+len(n.now) > 2 {
		t.Errorf("%d remembered", len(n.was)+len(n.now))
	}
	for i := range maxNonces {
		n.first(string(rune(i))+"x", now.Add(5*nonceAge))
	}
	if len(n.now) > maxNonces {
		t.Errorf("%d remembered", len(n.now))
	}
}
