package sip

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseCredentials(t *testing.T) {
	full := Credentials{Scheme: "Digest", Username: "bob", Realm: "example.com", Nonce: "dcd98b", URI: "sip:bob@example.com",
		Response: "6629fae4", Algorithm: "SHA-256", CNonce: "0a4f113b", Opaque: "5ccc", QOP: "auth", NC: 26, NCValue: "0000001a"}
	for _, c := range []struct {
		name, in string
		want     Credentials
	}{
		{"the standard's way", `Digest username="bob", realm="example.com", nonce="dcd98b", uri="sip:bob@example.com", response="6629fae4", algorithm=SHA-256, cnonce="0a4f113b", opaque="5ccc", qop=auth, nc=0000001a`, full},
		{"no blanks, as Twinkle", `Digest username="bob",realm="example.com",nonce="dcd98b",uri="sip:bob@example.com",response="6629fae4",algorithm=SHA-256,cnonce="0a4f113b",opaque="5ccc",qop=auth,nc=0000001a`, full},
		{"realm first, more blanks, as Linphone", `Digest  realm="example.com",  nonce="dcd98b",algorithm=SHA-256,opaque="5ccc" , username = "bob" ,uri="sip:bob@example.com",response="6629FAE4",cnonce="0a4f113b",nc=0000001a,qop=Auth`, full},
		{"quoted nc, qop and algorithm", `Digest username="bob", realm="example.com", nonce="dcd98b", uri="sip:bob@example.com", response="6629fae4", algorithm="SHA-256", cnonce="0a4f113b", opaque="5ccc", qop="auth", nc="0000001a"`, full},
		{"no qop and no cnonce, as libpurple", `Digest username="bob", realm="example.com", nonce="dcd98b", uri="sip:example.com", nc="00000001", response="6629fae4"`,
			Credentials{Scheme: "Digest", Username: "bob", Realm: "example.com", Nonce: "dcd98b", URI: "sip:example.com", Response: "6629fae4", NC: 1, NCValue: "00000001"}},
		{"raw quotes in uri, as xcaplib", `Digest username="bob", uri="/xcap/x/~~/list[@name="friends"]/entry", response="00"`,
			Credentials{Scheme: "Digest", Username: "bob", URI: `/xcap/x/~~/list[@name="friends"]/entry`, Response: "00"}},
		{"escapes", `Digest username="a\"b\\c", realm=""`, Credentials{Scheme: "Digest", Username: `a"b\c`}},
		{"commas in quotes and double", `Digest username="a,b",, ,realm="x",`, Credentials{Scheme: "Digest", Username: "a,b", Realm: "x"}},
		{"never closed", `Digest username="bob, realm="x`, Credentials{Scheme: "Digest", Username: `bob, realm="x`}},
		{"first counts", `Digest realm="a", realm="b"`, Credentials{Scheme: "Digest", Realm: "a"}},
		{"bad nc", `Digest nc=xyz`, Credentials{Scheme: "Digest", NCValue: "xyz"}},
		{"no value", `Digest realm, nonce=`, Credentials{Scheme: "Digest"}},
		{"other scheme", `Bearer abc.def`, Credentials{Scheme: "Bearer"}},
	} {
		got, ok := ParseCredentials(c.in)
		if !ok || got != c.want {
			t.Errorf("%s:\n got %+v\nwant %+v", c.name, got, c.want)
		}
	}
	for _, s := range []string{"", `"Digest" realm="x"`, `=x`} {
		if c, ok := ParseCredentials(s); ok {
			t.Errorf("%q: %+v", s, c)
		}
	}
}

func TestCredentialsSeveral(t *testing.T) {
	m := parsed(t, `Authorization: Digest realm="a", algorithm=SHA-256, username="x"`, `Authorization: Digest realm="a", username="x"`, "Authorization:")
	cs := m.Credentials(HAuthorization)
	if len(cs) != 2 || cs[0].Algorithm != "SHA-256" || cs[1].Algorithm != "" || !cs[0].IsDigest() {
		t.Fatalf("%+v", cs)
	}
	want(t, "none", len(m.Credentials(HProxyAuthorization)), 0)
	want(t, "whole lines", len(m.Values(HAuthorization)), 2)
}

func TestChallenges(t *testing.T) {
	var b []byte
	for _, alg := range []string{SHA256, SHA512_256, MD5} {
		b = AppendChallenge(b, HWWWAuthenticate, Challenge{Realm: `ex"ample`, Nonce: "n1", Algorithm: alg, QOP: "auth", Stale: alg == MD5})
	}
	want(t, "lines", string(b), `WWW-Authenticate: Digest realm="ex\"ample", nonce="n1", algorithm=SHA-256, qop="auth"`+"\r\n"+
		`WWW-Authenticate: Digest realm="ex\"ample", nonce="n1", algorithm=SHA-512-256, qop="auth"`+"\r\n"+
		`WWW-Authenticate: Digest realm="ex\"ample", nonce="n1", stale=true, algorithm=MD5, qop="auth"`+"\r\n")
	m := parsed(t, strings.TrimSuffix(string(b), "\r\n"), "Proxy-Authenticate: Digest realm=x,opaque=o")
	cs := m.Challenges(HWWWAuthenticate)
	want(t, "challenges", len(cs), 3)
	want(t, "third", cs[2], Challenge{Scheme: "Digest", Realm: `ex"ample`, Nonce: "n1", Algorithm: "MD5", QOP: "auth", Stale: true})
	want(t, "proxy", m.Challenges(HProxyAuthenticate)[0], Challenge{Scheme: "Digest", Realm: "x", Opaque: "o"})
	want(t, "opaque", string(AppendChallenge(nil, HProxyAuthenticate, Challenge{Opaque: "o"})), `Proxy-Authenticate: Digest realm="", nonce="", opaque="o"`+"\r\n")
}

// TestCredentialsRoundTrip: what a client writes is what we read.
func TestCredentialsRoundTrip(t *testing.T) {
	text := rapid.StringMatching(`[ -~]{0,12}[!-~]`)
	rapid.Check(t, func(t *rapid.T) {
		c := Credentials{
			Scheme: "Digest", Username: text.Draw(t, "username"), Realm: text.Draw(t, "realm"), Nonce: text.Draw(t, "nonce"),
			URI: text.Draw(t, "uri"), Response: rapid.StringMatching(`[0-9a-f]{32}`).Draw(t, "response"),
			Algorithm: rapid.SampledFrom([]string{"", MD5, SHA256}).Draw(t, "algorithm"), Opaque: text.Draw(t, "opaque"),
		}
		if rapid.Bool().Draw(t, "qop") {
			c.QOP, c.CNonce, c.NC = "auth", text.Draw(t, "cnonce"), rapid.Uint32().Draw(t, "nc")
		}
		line := string(AppendCredentials(nil, HAuthorization, c))
		if c.QOP != "" {
			c.NCValue = string(appendHex8(nil, c.NC))
		}
		got, ok := ParseCredentials(strings.TrimSuffix(strings.TrimPrefix(line, "Authorization: "), "\r\n"))
		if !ok || got != c {
			t.Fatalf("%s\n got %+v\nwant %+v", line, got, c)
		}
	})
}
