package roster

import (
	"testing"

	"pgregory.net/rapid"

	"pharos/presence"
)

func TestEntityOf(t *testing.T) {
	for uri, want := range map[string]string{
		"sip:bob@example.com":                             "bob@example.com",
		"SIP:Bob@Example.COM":                             "bob@example.com",
		"sips:bob@example.com;transport=tcp":              "bob@example.com",
		"sip:bob@example.com;user=phone;Transport=tls":    "bob@example.com",
		"pres:bob@example.com":                            "bob@example.com",
		"im:bob@example.com":                              "bob@example.com",
		"xmpp:bob@example.com":                            "bob@example.com",
		"xmpp:gateway.example.com":                        "gateway.example.com",
		"sip:b%6Fb@example.com":                           "bob@example.com",
		"sip:j%C3%BCrgen@example.com":                     "jürgen@example.com",
		"sip:J%C3%9CRGEN@example.com":                     "jürgen@example.com",
		"sip:bob@xn--bcher-kva.example":                   "bob@bücher.example",
		"xmpp:bob@b%C3%BCcher.example":                    "bob@bücher.example",
		"sip:a;b=c@example.com":                           "a;b=c@example.com",
		"sip:bob@example.com.":                            "bob@example.com",
		"tel:+15551234":                                   "",
		"sip:conf@example.com;gr=1":                       "",
		"sip:bob@example.com;transport=udp;method=INVITE": "",
		"sip:bob@example.com?subject=x":                   "",
		"sip:bob@example.com:5070":                        "",
		"sip:bob:secret@example.com":                      "",
		"sip:bob@[2001:db8::1]":                           "",
		"xmpp:bob@example.com/phone":                      "",
		"xmpp:bob@example.com?message":                    "",
		"xmpp://me@example.com/bob@example.com":           "",
		"sip:a%20b@example.com":                           "",
		"sip:a%2Fb@example.com":                           "",
		"sip:bob%@example.com":                            "",
		"sip:b%FFb@example.com":                           "",
		"sip:@example.com":                                "",
		"sip:bob@":                                        "",
		"sip:bob@a..b":                                    "",
		"sip:bob@a b":                                     "",
		"bob@example.com":                                 "",
		"":                                                "",
		"sip:":                                            "",
	} {
		e, ok := EntityOf(uri)
		if got := e.String(); ok != (want != "") || ok && got != want {
			t.Errorf("%q: %q %v, want %q", uri, got, ok, want)
		}
	}
}

func TestURIOf(t *testing.T) {
	for _, c := range []struct{ user, domain, want string }{
		{"bob", "example.com", "sip:bob@example.com"},
		{"jürgen", "bücher.example", "sip:j%C3%BCrgen@xn--bcher-kva.example"},
		{"", "example.com", "sip:example.com"},
		{"a%b#c", "example.com", "sip:a%25b%23c@example.com"},
	} {
		if got := URIOf(presence.Entity{User: c.user, Domain: c.domain}); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

// entities draws addresses as XMPP knows them.
var entities = rapid.Custom(func(t *rapid.T) presence.Entity {
	return presence.Entity{
		User:   rapid.SampledFrom([]string{"alice", "bob", "j%25", "jürgen", "a;b", "a?b#c", "romeo.m", "x\\27y", "p|q"}).Draw(t, "user"),
		Domain: rapid.SampledFrom([]string{"example.com", "bücher.example", "10.0.0.1", "localhost"}).Draw(t, "domain"),
	}
})

func TestURIRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := entities.Draw(t, "entity")
		if got, ok := EntityOf(URIOf(e)); !ok || got != e {
			t.Fatalf("%v came back as %v from %s", e, got, URIOf(e))
		}
	})
}

func FuzzEntityOf(f *testing.F) {
	for _, s := range []string{"sip:bob@example.com;transport=tcp", "xmpp:j%C3%BC@b%C3%BC.example", "pres:a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		e, ok := EntityOf(uri)
		if !ok {
			return
		}
		if again, ok := EntityOf(URIOf(e)); !ok || again != e {
			t.Fatalf("%q is %q, whose URI %q is %q", uri, e, URIOf(e), again)
		}
	})
}
