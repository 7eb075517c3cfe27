package sip

import (
	"bytes"
	"testing"
)

// seeds are the torture sets and what real clients send.
func seeds(f *testing.F) (all [][]byte) {
	for _, file := range []string{"rfc4475.txt", "rfc5118.txt"} {
		for _, b := range tortureMessages(f, file) {
			all = append(all, b)
		}
	}
	for _, s := range []string{subscribe, publish, notify, ok200} {
		all = append(all, []byte(s))
	}
	return all
}

// FuzzParse: no input breaks the parser or a reader, an error has a status,
// and what is accepted says the same when it is written again.
func FuzzParse(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			e, ok := err.(*ParseError)
			if !ok || e.Status < 400 || e.Status > 599 || e.Reason == "" {
				t.Fatalf("%#v", err)
			}
			if m = e.Message; m == nil {
				return
			}
			e.Answerable()
		}
		m.Contacts()
		m.Event()
		m.SubscriptionState()
		m.ContentType()
		m.Accept()
		m.Acceptable("application/pidf+xml")
		m.Date()
		m.RetryAfter()
		m.Vias()
		m.MaxForwards()
		m.Seconds(HExpires)
		m.Credentials(HAuthorization)
		m.Challenges(HWWWAuthenticate)
		for h := Other; h < numHeaders; h++ {
			m.Addresses(h)
			m.AppendCopy(nil, h)
		}
		if err == nil && len(m.Append(nil)) <= MaxMessage && len(m.headers) < MaxHeaders && len(m.raw)-len(m.Body) < MaxHead/2 {
			rebuilt(t, m)
		}
	})
}

// FuzzURI: what is accepted is written and read back as its equal.
func FuzzURI(f *testing.F) {
	for _, s := range []string{
		"sip:alice:pw@example.com:5060;transport=tcp?a=b", "sips:[2001:db8::1]", "sip:user;par=u%40example.net@example.com",
		"sip:[2001:db8:::192.0.2.1]", "tel:+1-201-555-0123;ext=1", "pres:alice%00@example.com", "im:a@b?c=d", "urn:service:sos",
		"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*:&it+has=1,weird!*pas$wo~d_too.(doesn't-it)@example.com",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		u, err := ParseURI(s)
		if err != nil {
			return
		}
		if aor := u.AOR(); u.IsSIP() && aor == "" {
			t.Fatalf("%q has no address-of-record", s)
		}
		_ = u.Transport() // must not panic
		if !u.Equal(u) {
			t.Fatalf("%q differs from itself", s)
		}
		w := u.String()
		again, err := ParseURI(w)
		if err != nil {
			t.Fatalf("%q written as %q: %v", s, w, err)
		}
		if again.User != u.User || again.Pass != u.Pass || again.Host != u.Host || again.Port != u.Port ||
			again.Params != u.Params || again.Headers != u.Headers || again.Opaque != u.Opaque {
			t.Fatalf("%q written as %q", s, w)
		}
		a, ok := ParseAddress(string(AppendAddress(nil, Address{URI: w})))
		if !ok || a.URI != w {
			t.Fatalf("%q is no address", w)
		}
	})
}

// FuzzFramer: a stream yields the same however it is cut, and every message
// that comes out has the length that its head says.
func FuzzFramer(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b, uint16(7))
	}
	f.Add([]byte("\r\n\r\n\r\n"+subscribe+"\r\n"+publish), uint16(1))
	f.Fuzz(func(t *testing.T, b []byte, step uint16) {
		var whole, cut Framer
		want, err1 := frames(&whole, string(b))
		var pieces []string
		for n := int(step%64) + 1; len(b) > n; b = b[n:] {
			pieces = append(pieces, string(b[:n]))
		}
		got, err2 := frames(&cut, append(pieces, string(b))...)
		if (err1 == nil) != (err2 == nil) || len(got) != len(want) {
			t.Fatalf("%q, %v; cut: %q, %v", want, err1, got, err2)
		}
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%q; cut: %q", want[i], got[i])
			}
			if got[i] == "ping" {
				continue
			}
			head, body, _ := bytes.Cut([]byte(got[i]), crlfcrlf)
			n, reason := contentLength(append(head, crlfcrlf...))
			if reason != "" || n != len(body) {
				t.Fatalf("%q: %d %s", got[i], n, reason)
			}
		}
	})
}
