package redirect

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Unix(1e9, 0)

func rules(t testing.TB, list ...string) (rs []Rule) {
	for _, s := range list {
		r, err := ParseRule(s)
		if err != nil {
			t.Fatal(err)
		}
		rs = append(rs, r)
	}
	return rs
}

func TestParseRule(t *testing.T) {
	for s, ok := range map[string]bool{
		"SUBSCRIBE,PUBLISH:name":     true,
		" register : Twinkle/1.10 ":  true,
		"REGISTER:Linphone":          true,
		"PUBLISH:linphone":           true,
		"SUBSCRIBE:Linphone":         false, // a storm
		"PUBLISH,MESSAGE:LINPHONE/5": false,
		"SUBSCRIBE:":                 false, // everybody
		"SUBSCRIBE":                  false,
		":name":                      false,
		"INVITE:name":                false,
		"":                           false,
	} {
		if r, err := ParseRule(s); (err == nil) != ok {
			t.Errorf("%q: %+v, %v", s, r, err)
		}
	}
}

// Shipped, nobody is redirected but those that ask for it.
func TestDefaults(t *testing.T) {
	r := New(Settings{Self: "a", Learn: true})
	for _, agent := range []string{"", "baresip v1.0.0", "Linphone-Desktop/5", "Twinkle/1.10.2", "PJSUA v2", "sipp"} {
		for _, m := range methods {
			if r.SIP(start, Client{User: "u@d", Agent: agent}, m, "b") {
				t.Errorf("%s of %q is redirected", m, agent)
			}
		}
	}
	if r.XMPP(start, Client{User: "u@d"}, "b", false) {
		t.Error("an XMPP client of which nothing is known is redirected")
	}
	if !r.XMPP(start, Client{User: "u@d"}, "b", true) {
		t.Error("one that announces the feature is not")
	}
}

func TestSIP(t *testing.T) {
	r := New(Settings{Self: "a", SIP: rules(t, "SUBSCRIBE,PUBLISH:nice", "SUBSCRIBE,MESSAGE:phone"), Learn: true})
	for _, c := range []struct {
		agent, method, to string
		want              bool
	}{
		{"Nice/1", "SUBSCRIBE", "b", true},
		{"Nice/1", "REGISTER", "b", false},
		{"other", "SUBSCRIBE", "b", false},
		{"Nice/1", "SUBSCRIBE", "a", false}, // this server
		{"Nice/1", "SUBSCRIBE", "", false},
		{"a phone", "SUBSCRIBE", "b", true},
		{"Linphone", "SUBSCRIBE", "b", false}, // whatever the rule
		{"Linphone", "MESSAGE", "b", false},
	} {
		if got := r.SIP(start, Client{User: fmt.Sprint(c), Agent: c.agent}, c.method, c.to); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// Two servers that tell each other: a client that follows is sent again another time; one
// that does not is served for a day.
func TestLearning(t *testing.T) {
	var a, b *Redirects
	now := start
	a = New(Settings{Self: "a", Try: true, Learn: true, Tell: func(e Event) { b.Heard(now, roundTrip(t, e)) }})
	b = New(Settings{Self: "b", Learn: true, Tell: func(e Event) { a.Heard(now, roundTrip(t, e)) }})
	good, bad := Client{User: "good@d"}, Client{User: "bad@d"}
	if !a.XMPP(now, good, "b", false) || !a.XMPP(now, bad, "b", false) {
		t.Fatal("not tried")
	}
	now = now.Add(2 * time.Second)
	b.Here(now, good)
	now = now.Add(2 * time.Second)
	if a.XMPP(now, bad, "b", false) {
		t.Error("came back, and is redirected again")
	}
	now = now.Add(time.Hour)
	if !a.XMPP(now, good, "b", false) {
		t.Error("one that follows is not redirected")
	}
	b.Here(now, good)
	if a.XMPP(now, bad, "b", false) {
		t.Error("one that did not follow is tried again after an hour")
	}
	// b has learned, too, and does not try strangers.
	if !b.XMPP(now, good, "a", false) || b.XMPP(now, bad, "a", false) || b.XMPP(now, Client{User: "new@d"}, "a", false) {
		t.Error("the other server knows it otherwise")
	}
	now = now.Add(Forget)
	if !a.XMPP(now, bad, "b", false) {
		t.Error("not tried again after a day")
	}
	if c := a.Counts(); c.Redirected != 4 || c.Followed != 2 || c.Served != 2 {
		t.Errorf("%+v", c)
	}
}

// A client that is faster than the word of who has sent it has followed all the same.
func TestFasterThanWord(t *testing.T) {
	var late []Event // on their way from a
	var a, b, other *Redirects
	now := start
	a = New(Settings{Self: "a", SIP: rules(t, "SUBSCRIBE:x"), Learn: true, Tell: func(e Event) { late = append(late, e) }})
	b = New(Settings{Self: "b", Learn: true, Tell: func(e Event) { a.Heard(now, e); other.Heard(now, e) }})
	other = New(Settings{Self: "c", SIP: rules(t, "SUBSCRIBE:x"), Learn: true})
	c := Client{User: "u@d", Agent: "x"}
	for i := range 2 {
		if !a.SIP(now, c, "SUBSCRIBE", "b") {
			t.Fatalf("not sent the %d. time", i+1)
		}
		b.Came(now, c)
		for _, e := range late {
			b.Heard(now, e)
			other.Heard(now, e)
		}
		late = nil
		now = now.Add(time.Minute)
	}
	if !other.SIP(now, c, "SUBSCRIBE", "b") {
		t.Error("a third server believes that it did not follow")
	}
	if n := a.Counts(); n.Redirected != 2 || n.Followed != 2 {
		t.Errorf("%+v", n)
	}
}

func roundTrip(t testing.TB, e Event) Event {
	got, ok := ParseEvent(e.Append(nil))
	if !ok || got != e {
		t.Fatalf("%+v came back as %+v", e, got)
	}
	return got
}

// One whose login just fails, and who comes back by hand a minute later, is served.
func TestGivesUp(t *testing.T) {
	r := New(Settings{Self: "a", SIP: rules(t, "REGISTER:x"), Learn: true})
	c := Client{User: "u@d", Agent: "x"}
	if !r.SIP(start, c, "REGISTER", "b") || r.SIP(start.Add(time.Minute), c, "REGISTER", "b") {
		t.Error("locked out")
	}
}

// Requests that were on their way when the first was redirected are no sign of anything; a
// storm of them is.
func TestBurst(t *testing.T) {
	r := New(Settings{Self: "a", SIP: rules(t, "SUBSCRIBE:x"), Learn: true})
	c := Client{User: "u@d", Agent: "x"}
	n := 0
	for i := range 900 {
		if r.SIP(start.Add(time.Duration(i)*11*time.Millisecond), c, "SUBSCRIBE", "b") {
			n++
		}
	}
	if n != Burst+1 {
		t.Errorf("%d of a storm of 900 were redirected", n)
	}
}

// Without learning, too, nobody is sent to and fro for ever.
func TestLoop(t *testing.T) {
	r := New(Settings{Self: "a", Try: true})
	n := 0
	for i := range 60 {
		if r.XMPP(start.Add(time.Duration(i)*10*time.Second), Client{User: "u@d"}, "b", false) {
			n++
		}
	}
	if n != Loop {
		t.Errorf("%d redirects in ten minutes", n)
	}
}

func TestMemoryBounded(t *testing.T) {
	r := New(Settings{Self: "a", Try: true, Learn: true})
	first := Client{User: "first@d"}
	r.XMPP(start, first, "b", false)
	for i := range 3 * MaxClients {
		r.XMPP(start, Client{User: fmt.Sprint(i)}, "b", false)
		if i%1000 == 0 && r.XMPP(start, first, "b", false) {
			t.Fatal("one that is here all the time is forgotten")
		}
	}
	if n := len(r.now) + len(r.old); n > MaxClients {
		t.Errorf("%d clients are remembered", n)
	}
}

// However clients behave, and whatever is lost between servers: nobody is redirected more
// than Loop times in a window (a burst counts once), never to the server itself, and those
// of whom nothing is known never.
func TestProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		try, learn := rapid.Bool().Draw(t, "try"), rapid.Bool().Draw(t, "learn")
		now := start
		a := New(Settings{Self: "a", Try: try, Learn: learn})
		c := Client{User: "u@d"}
		var sent []time.Time
		followed := false
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 200_000).Draw(t, "ms")) * time.Millisecond)
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0, 1:
				to := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "to")
				if a.XMPP(now, c, to, false) {
					if to == "a" || !try && !(learn && followed) {
						t.Fatalf("redirected to %s, try %v, learn %v, followed %v", to, try, learn, followed)
					}
					sent = append(sent, now)
				}
			case 2:
				a.Heard(now, Event{Followed, c.key(), "b"})
				followed = true
			case 3:
				a.Heard(now, Event{Sent, c.key(), "b"})
			}
		}
		windows := map[int64]int{}
		for _, at := range sent {
			windows[at.Sub(start).Milliseconds()/Window.Milliseconds()]++
		}
		for _, n := range windows {
			if n > 2*Loop {
				t.Fatalf("%d redirects in ten minutes", n)
			}
		}
	})
}

func FuzzParseEvent(f *testing.F) {
	f.Add(Event{Sent, "u\x00x", "b"}.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if e, ok := ParseEvent(b); ok {
			roundTrip(t, e)
		}
	})
}
