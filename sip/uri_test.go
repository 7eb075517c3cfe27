package sip

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseURI(t *testing.T) {
	for _, c := range []struct {
		in   string
		want URI
	}{
		{"sip:alice@atlanta.com", URI{Scheme: "sip", User: "alice", Host: "atlanta.com"}},
		{"SIP:alice:secretword@Atlanta.Com;transport=tcp", URI{Scheme: "sip", User: "alice", Pass: "secretword", Host: "atlanta.com", Params: ";transport=tcp"}},
		{"sips:alice@atlanta.com?subject=project%20x&priority=urgent", URI{Scheme: "sips", User: "alice", Host: "atlanta.com", Headers: "subject=project%20x&priority=urgent"}},
		{"sip:+1-212-555-1212:1234@gateway.com;user=phone", URI{Scheme: "sip", User: "+1-212-555-1212", Pass: "1234", Host: "gateway.com", Params: ";user=phone"}},
		{"sip:atlanta.com;method=REGISTER?to=alice%40atlanta.com", URI{Scheme: "sip", Host: "atlanta.com", Params: ";method=REGISTER", Headers: "to=alice%40atlanta.com"}},
		{"sip:alice;day=tuesday@atlanta.com", URI{Scheme: "sip", User: "alice;day=tuesday", Host: "atlanta.com"}},
		{"sip:%61lice%20b@192.0.2.4:5070", URI{Scheme: "sip", User: "alice b", Host: "192.0.2.4", Port: 5070}},
		{"sip:a?b/c@h", URI{Scheme: "sip", User: "a?b/c", Host: "h"}},
		{"sip:*31#123@h", URI{Scheme: "sip", User: "*31#123", Host: "h"}},
		{"sip:[2001:DB8::1]:5061;lr", URI{Scheme: "sip", Host: "2001:db8::1", Port: 5061, Params: ";lr"}},
		{"sip:a@h;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6;ob", URI{Scheme: "sip", User: "a", Host: "h", Params: ";gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6;ob"}},
		{"sip:df7jal23ls0d.invalid;transport=ws", URI{Scheme: "sip", Host: "df7jal23ls0d.invalid", Params: ";transport=ws"}},
		{"tel:+1-201-555-0123", URI{Scheme: "tel", User: "+12015550123", Opaque: "+1-201-555-0123"}},
		{"tel:7042;phone-context=example.com", URI{Scheme: "tel", User: "7042", Opaque: "7042", Params: ";phone-context=example.com"}},
		{"pres:Alice%2Db@Example.com", URI{Scheme: "pres", User: "Alice-b", Host: "example.com", Opaque: "Alice%2Db@Example.com"}},
		{"im:alice@example.com?subject=x", URI{Scheme: "im", User: "alice", Host: "example.com", Opaque: "alice@example.com", Headers: "subject=x"}},
		{"urn:service:sos", URI{Scheme: "urn", Opaque: "service:sos"}},
		{"http://example.com/a?b#c", URI{Scheme: "http", Opaque: "//example.com/a?b#c"}},
	} {
		u, err := ParseURI(c.in)
		if err != nil {
			t.Errorf("%s: %v", c.in, err)
			continue
		}
		u.rawUser = ""
		if u != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.in, u, c.want)
		}
		again, err := ParseURI(u.String())
		if err != nil || !again.Equal(u) {
			t.Errorf("%s written as %s: %v", c.in, u, err)
		}
	}
}

func TestParseURIRefuses(t *testing.T) {
	for _, s := range []string{
		"", "sip", "sip:", ":a@b", "1sip:a@b", "s ip:a@b", "alice@example.com", "sip:@h", "sip::pw@h", "sip:a@", "sip:a@@h",
		"sip:a b@h", "sip:a@h h", "sip:a%4@h", "sip:a%zz@h", "sip:a@h:", "sip:a@h:0", "sip:a@h:65536", "sip:a@h:x",
		"sip:2001:db8::1", "sip:[2001:db8::1", "sip:[::1%25eth0]", "sip:[::1%eth0]", "sip:[192.0.2.1]", "sip:[]", "sip:[::1]x",
		"sip:a@h;", "sip:a@h;;lr", "sip:a@h;=x", "sip:a@h;x=", "sip:a@h;x=<y>", "sip:a@h?", "sip:a@h?x", "sip:a@h?=y", "sip:a@h?x=y&",
		"sip:a\"b@h", "sip:a<b@h", "<sip:a@h>", "sip:été@h", "sip:a@hö", "sip:a\x00@h", "sip:a\\b@h", "sip:a[b@h",
		"tel:", "tel:+", "tel:alice", "tel:1;", "pres:", "pres:alice", "pres:@h", "im:a@", "foo:", "foo:a b", "foo:a<b",
	} {
		if u, err := ParseURI(s); err == nil {
			t.Errorf("%q accepted: %+v", s, u)
		}
	}
}

// TestURIEqual has the examples of RFC 3261 §19.1.4 and more.
func TestURIEqual(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5", true},
		{"sip:carol@chicago.com", "sip:carol@chicago.com;security=on", true},
		{"sip:carol@chicago.com;newparam=5", "sip:carol@chicago.com;security=on", true},
		{"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com", "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com", true},
		{"sip:alice@atlanta.com?subject=project%20x&priority=urgent", "sip:alice@atlanta.com?priority=urgent&subject=project%20x", true},
		{"SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:5060", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp", false},
		{"sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp", false},
		{"sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting", false},
		{"sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4", false},
		{"sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on", false},
		{"sip:alice@atlanta.com", "sips:alice@atlanta.com", false},
		{"sip:alice:a@atlanta.com", "sip:alice:b@atlanta.com", false},
		{"sip:alice:a@atlanta.com", "sip:alice@atlanta.com", false},
		{"sip:a@h;maddr=192.0.2.1", "sip:a@h", false},
		{"sip:a@h;ttl=1", "sip:a@h", false},
		{"sip:a@h;user=phone", "sip:a@h", false},
		{"sip:a@h;lr", "sip:a@h", true},
		// A reserved character and its escape differ.
		{"sip:a%3Bb@h", "sip:a;b@h", false},
		{"sip:a%3bb@h", "sip:a%3Bb@h", true},
		{"sip:a%2Db@h", "sip:a-b@h", true},
		{"sip:a@h;n%61me=v", "sip:a@h;name=w", false},
		{"sip:[2001:db8::1]", "sip:[2001:DB8:0::1]", true},
		{"sip:[2001:db8::1]", "sip:[2001:db8::2]", false},
		{"sip:a@h?a=1&a=2", "sip:a@h?a=1&a=1", false},
		{"tel:+1-201-555-0123", "tel:+12015550123", true},
		{"tel:7042;phone-context=example.com", "tel:7042", false},
		{"tel:7042;phone-context=Example.com", "tel:7042;phone-context=example.com", true},
		{"pres:alice@example.com", "pres:alice@EXAMPLE.com", true},
		{"pres:alice@example.com", "pres:Alice@example.com", false},
		{"urn:a:b", "URN:a:b", true},
		{"urn:a:b", "urn:a:c", false},
	} {
		a, b := mustURI(t, c.a), mustURI(t, c.b)
		if a.Equal(b) != c.want || b.Equal(a) != c.want {
			t.Errorf("%s and %s: %v, want %v", c.a, c.b, a.Equal(b), c.want)
		}
	}
}

func TestURIAOR(t *testing.T) {
	for in, aor := range map[string]string{
		"sip:%41lice:pw@Example.COM:5062;transport=tls?x=y": "Alice@example.com",
		"sips:alice@example.com":                            "alice@example.com",
		"pres:alice@example.com":                            "alice@example.com",
		"im:alice@example.com":                              "alice@example.com",
		"sip:example.com":                                   "example.com",
		"tel:+1-201-555-0123":                               "+12015550123",
		"urn:a:b":                                           "",
	} {
		want(t, in, mustURI(t, in).AOR(), aor)
	}
}

func TestURIParam(t *testing.T) {
	u := mustURI(t, "sip:a@h;%6Cr;Transport=ws;gr=a%20b;maddr=192.0.2.1")
	want(t, "transport", u.Transport(), "WS")
	v, ok := u.Param("lr")
	want(t, "lr", v, "")
	want(t, "lr there", ok, true)
	v, _ = u.Param("GR")
	want(t, "gr", v, "a b")
	_, ok = u.Param("ob")
	want(t, "ob", ok, false)
}

// TestURIByHand: whatever a user is called, his URI reads back as his.
func TestURIByHand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := URI{
			Scheme: rapid.SampledFrom([]string{"sip", "sips", "pres", "im"}).Draw(t, "scheme"),
			User:   string(rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "user")),
			Host:   rapid.SampledFrom([]string{"example.com", "192.0.2.1", "2001:db8::1"}).Draw(t, "host"),
		}
		if u.IsSIP() {
			u.Pass = string(rapid.SliceOfN(rapid.Byte(), 0, 5).Draw(t, "pass"))
			u.Port = rapid.IntRange(0, 65535).Draw(t, "port")
		}
		s := u.String()
		got, err := ParseURI(s)
		if err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if got.User != u.User || got.Pass != u.Pass || got.Host != u.Host || got.Port != u.Port || !got.Equal(u) || !u.Equal(got) {
			t.Fatalf("%q: %+v", s, got)
		}
		if strings.ContainsAny(s, " \r\n<>\"\x00") {
			t.Fatalf("%q", s)
		}
	})
}

func BenchmarkParseURI(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseURI("sip:alice@192.0.2.17:5060;transport=tcp;ob"); err != nil {
			b.Fatal(err)
		}
	}
}
