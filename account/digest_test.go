package account

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	client "github.com/icholy/digest"

	"pharos/presence"
	"pharos/store"
	"pharos/store/storetest"
)

func hexOf(alg, s string) string {
	switch strings.TrimSuffix(strings.ToUpper(alg), "-SESS") {
	case "SHA-256":
		return fmt.Sprintf("%x", sha256.Sum256([]byte(s)))
	case "SHA-512-256":
		return fmt.Sprintf("%x", sha512.Sum512_256([]byte(s)))
	}
	return fmt.Sprintf("%x", md5.Sum([]byte(s)))
}

// answer computes a response as RFC 7616 §3.4.1 writes it, for REGISTER, with
// change applied before the response is made.
func answer(username, realm, password, nonce string, change func(*Digest)) Digest {
	d := Digest{
		Method: "REGISTER", Username: username, Realm: realm, Nonce: nonce, URI: "sip:" + realm,
		Algorithm: "MD5", QOP: "auth", CNonce: "0a4f113b", NC: "00000001", Remote: home,
	}
	if change != nil {
		change(&d)
	}
	ha1 := hexOf(d.Algorithm, d.Username+":"+d.Realm+":"+password)
	if strings.HasSuffix(strings.ToLower(d.Algorithm), "-sess") {
		ha1 = hexOf(d.Algorithm, ha1+":"+d.Nonce+":"+d.CNonce)
	}
	ha2 := hexOf(d.Algorithm, d.Method+":"+d.URI)
	if d.QOP == "" {
		d.Response = hexOf(d.Algorithm, ha1+":"+d.Nonce+":"+ha2)
	} else {
		d.Response = hexOf(d.Algorithm, strings.Join([]string{ha1, d.Nonce, d.NC, d.CNonce, d.QOP, ha2}, ":"))
	}
	return d
}

func verify(a *Accounts, d Digest) Verdict {
	c := make(chan Verdict, 1)
	a.Verify(d, func(v Verdict) { c <- v })
	return <-c
}

// What real clients send and what nobody may.
func TestVerify(t *testing.T) {
	a := withUsers(t)
	nonce := a.Nonce()
	none := func(*Digest) {}
	alg := func(s string) func(*Digest) { return func(d *Digest) { d.Algorithm = s } }
	for _, c := range []struct {
		what, username, password string
		change                   func(*Digest) // before the response is made
		spoil                    func(*Digest) // afterwards
		ok                       bool
	}{
		{"plain", "alice", "secret", none, nil, true},
		{"algorithm omitted", "alice", "secret", alg(""), nil, true},
		{"algorithm in small letters", "alice", "secret", alg("md5"), nil, true},
		{"SHA-256", "alice", "secret", alg("SHA-256"), nil, true},
		{"SHA-512-256", "alice", "secret", alg("SHA-512-256"), nil, true},
		{"MD5-sess", "alice", "secret", alg("MD5-sess"), nil, true},
		{"SHA-256-sess", "alice", "secret", alg("SHA-256-sess"), nil, true},
		{"SHA-512-256-sess", "alice", "secret", alg("SHA-512-256-sess"), nil, true},
		{"unknown algorithm", "alice", "secret", alg("SHA-1"), nil, false},
		{"-sess without cnonce", "alice", "secret", func(d *Digest) { d.Algorithm, d.CNonce = "MD5-sess", "" }, nil, false},
		{"user name with domain", "alice@example.com", "secret", none, nil, true},
		{"with domain, SHA-256", "alice@example.com", "secret", alg("SHA-256"), nil, true},
		{"capital", "Alice", "secret", none, nil, true},
		{"capitals with domain", "ALICE@example.com", "secret", alg("SHA-512-256"), nil, true},
		{"a spelling nobody told us", "aLiCe", "secret", none, nil, false},
		{"with another domain", "alice@example.org", "secret", none, nil, false},
		{"no user name", "", "secret", none, nil, false},
		{"domain only", "@example.com", "secret", none, nil, false},
		{"wrong password", "alice", "Secret", none, nil, false},
		{"password beyond ASCII", "bob", "pässword x", none, nil, true},
		{"another's password", "bob", "secret", none, nil, false},
		{"unknown user", "nobody", "secret", none, nil, false},
		{"no qop (RFC 2069)", "alice", "secret", func(d *Digest) { d.QOP, d.CNonce, d.NC = "", "", "" }, nil, true},
		{"no qop, yet nc (libpurple)", "alice", "secret", func(d *Digest) { d.QOP, d.CNonce = "", "" }, nil, true},
		{"no qop, SHA-256", "alice", "secret", func(d *Digest) { d.QOP, d.Algorithm = "", "SHA-256" }, nil, true},
		{"nc out of order", "alice", "secret", func(d *Digest) { d.Method, d.NC = "PUBLISH", "00000003" }, nil, true},
		{"lower nc, another method", "alice", "secret", func(d *Digest) { d.Method, d.NC = "SUBSCRIBE", "00000002" }, nil, true},
		{"auth-int", "alice", "secret", func(d *Digest) { d.QOP = "auth-int" }, nil, false},
		{"quotes in the uri (xcaplib)", "alice", "secret", func(d *Digest) { d.URI = `/xcap/resource-lists/users/a/index/~~/list[@name="x"]` }, nil, true},
		{"response in capitals", "alice", "secret", none, func(d *Digest) { d.Response = strings.ToUpper(d.Response) }, true},
		{"another realm of ours", "alice", "secret", func(d *Digest) { d.Realm = "example.org" }, nil, false},
		{"a realm not of ours", "alice", "secret", func(d *Digest) { d.Realm = "evil.example" }, nil, false},
		{"another method", "alice", "secret", none, func(d *Digest) { d.Method = "PUBLISH" }, false},
		{"another uri", "alice", "secret", none, func(d *Digest) { d.URI = "sip:else" }, false},
		{"another nc", "alice", "secret", none, func(d *Digest) { d.NC = "00000002" }, false},
		{"another algorithm claimed", "alice", "secret", none, func(d *Digest) { d.Algorithm = "SHA-256" }, false},
		{"no response", "alice", "secret", none, func(d *Digest) { d.Response = "" }, false},
		{"short response", "alice", "secret", none, func(d *Digest) { d.Response = d.Response[1:] }, false},
		{"long response", "alice", "secret", none, func(d *Digest) { d.Response += strings.Repeat("0", 200) }, false},
		{"large cnonce", "alice", "secret", func(d *Digest) { d.CNonce = strings.Repeat("c", 5000) }, nil, true},
	} {
		realm := "example.com"
		d := answer(c.username, realm, c.password, nonce, c.change)
		if c.spoil != nil {
			c.spoil(&d)
		}
		a.throttle.init()
		v := verify(a, d)
		if (v.Err == nil) != c.ok || v.Stale || v.Err != nil && v.Err != ErrNotAuthorized {
			t.Errorf("%s: %+v, want ok %v", c.what, v, c.ok)
		}
		if c.ok && (v.User != alice && v.User != bob || !strings.Contains(strings.ToLower(c.username), v.User.User)) {
			t.Errorf("%s: verified as %v", c.what, v.User)
		}
	}
}

// A user given with capitals may log in as typed.
func TestVerifyAsSpelled(t *testing.T) {
	s := storetest.Open(t)
	put(t, s, presence.Entity{User: "McBob", Domain: "example.com"}, "secret")
	a := New(s, []string{"example.com"})
	for username, ok := range map[string]bool{
		"McBob": true, "McBob@example.com": true, "mcbob": true, "Mcbob": true, "MCBOB": true, "mCbOB": false,
	} {
		v := verify(a, answer(username, "example.com", "secret", a.Nonce(), nil))
		if (v.Err == nil) != ok || v.User != (presence.Entity{User: "mcbob", Domain: "example.com"}) {
			t.Errorf("%s: %+v", username, v)
		}
	}
}

// RFC 7616 §3.9.1: its example, MD5 and SHA-256, checked with the RFC's own
// response for a key from the RFC's password.
func TestRFC7616Example(t *testing.T) {
	const realm = "http-auth@example.org"
	acc, err := Derive(presence.Entity{User: "Mufasa", Domain: realm}, "Circle of Life")
	if err != nil {
		t.Fatal(err)
	}
	e := newEntry(&acc)
	for alg, response := range map[string]string{
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		d := Digest{
			Method: "GET", Username: "Mufasa", Realm: realm, URI: "/dir/index.html", Algorithm: alg,
			Nonce: "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", NC: "00000001",
			CNonce: "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", QOP: "auth", Response: response,
		}
		if !new(Accounts).matches(&d, e) {
			t.Errorf("%s: the RFC's response does not match", alg)
		}
		d.Response = strings.Replace(response, "8", "9", 1)
		if new(Accounts).matches(&d, e) {
			t.Errorf("%s: a changed response matches", alg)
		}
	}
}

// RFC 2617 §3.5, as SIP clients of that age compute it.
func TestRFC2617Example(t *testing.T) {
	acc, err := Derive(presence.Entity{User: "Mufasa", Domain: "testrealm@host.com"}, "Circle Of Life")
	if err != nil {
		t.Fatal(err)
	}
	d := Digest{
		Method: "GET", Username: "Mufasa", Realm: "testrealm@host.com", URI: "/dir/index.html",
		Nonce: "dcd98b7102dd2f0e8b11d0f600bfb0c093", NC: "00000001", CNonce: "0a4f113b", QOP: "auth",
		Response: "6629fae49393a05397450978507c4ef1",
	}
	if !new(Accounts).matches(&d, newEntry(&acc)) {
		t.Error("the RFC's response does not match")
	}
}

// An independent client answers our challenges.
func TestIndependentClient(t *testing.T) {
	a := withUsers(t)
	for _, alg := range []string{"MD5", "SHA-256", "SHA-512-256"} {
		for _, qop := range []string{"", `, qop="auth"`} {
			ch, err := client.ParseChallenge(fmt.Sprintf(`Digest realm="example.com", nonce="%s", algorithm=%s%s`, a.Nonce(), alg, qop))
			if err != nil {
				t.Fatal(err)
			}
			cred, err := client.Digest(ch, client.Options{Method: http.MethodPut, URI: "/xcap", Username: "alice", Password: "secret", Count: 7})
			if err != nil {
				t.Fatal(err)
			}
			d := Digest{
				Method: http.MethodPut, Username: cred.Username, Realm: cred.Realm, Nonce: cred.Nonce, URI: cred.URI,
				Response: cred.Response, Algorithm: cred.Algorithm, QOP: cred.QOP, CNonce: cred.Cnonce,
			}
			if d.QOP != "" {
				d.NC = fmt.Sprintf("%08x", cred.Nc)
			}
			if v := verify(a, d); v.Err != nil || v.User != alice {
				t.Errorf("%s%s: %+v", alg, qop, v)
			}
		}
	}
}

func TestStale(t *testing.T) {
	s := storetest.Open(t)
	put(t, s, alice, "secret")
	other := storetest.Open(t) // another key
	put(t, other, alice, "secret")
	accounts, strange := New(s, []string{"example.com"}), New(other, []string{"example.com"})
	for _, a := range []*Accounts{accounts, strange} {
		exists(t, a, alice) // a cached account is verified at once, as the bubble wants
	}
	synctest.Test(t, func(t *testing.T) {
		a := accounts
		nonce := a.Nonce()
		check := func(what, password, nonce string, ok, stale bool) {
			t.Helper()
			v := verify(a, answer("alice", "example.com", password, nonce, nil))
			if (v.Err == nil) != ok || v.Stale != stale {
				t.Errorf("%s: %+v, want ok %v, stale %v", what, v, ok, stale)
			}
		}
		check("fresh", "secret", nonce, true, false)
		time.Sleep(NonceLifetime - time.Second)
		check("nearly old", "secret", nonce, true, false)
		time.Sleep(time.Second)
		check("old", "secret", nonce, false, true)
		check("old, wrong password", "wrong", nonce, false, false) // RFC 7616 §3.3
		check("after it was challenged again", "secret", a.Nonce(), true, false)
		check("of another server", "secret", strange.Nonce(), false, true)
		check("of the client's own", "secret", "mine", false, true)
		for at := range nonceLen {
			n := []byte(a.Nonce())
			if n[at]++; n[at] > 'z' {
				n[at] = 'a'
			}
			check("changed", "secret", string(n), false, true)
		}
		check("with a line end", "secret", a.Nonce()[:31]+"\n", false, true)
		a.nonces.init(a.derived("nonce")) // as a restart does
		check("from before a restart", "secret", a.Nonce(), true, false)
	})
}

func TestNonceKeyOutlivesRestart(t *testing.T) {
	s := storetest.Open(t)
	put(t, s, alice, "secret")
	nonce := New(s, []string{"example.com"}).Nonce()
	if v := verify(New(s, []string{"example.com"}), answer("alice", "example.com", "secret", nonce, nil)); v.Err != nil {
		t.Errorf("%+v", v)
	}
}

func TestNoncesDiffer(t *testing.T) {
	a := withUsers(t)
	seen := map[string]bool{}
	for range 10_000 {
		n := a.Nonce()
		if seen[n] || len(n) != nonceLen || strings.ContainsAny(n, `"\ ,=`) {
			t.Fatalf("nonce %q", n)
		}
		seen[n] = true
	}
}

func BenchmarkVerify(b *testing.B) {
	a := withUsers(b)
	for _, alg := range []string{"MD5", "SHA-256", "SHA-512-256"} {
		b.Run(alg, func(b *testing.B) {
			d := answer("alice", "example.com", "secret", a.Nonce(), func(d *Digest) { d.Algorithm = alg })
			verify(a, d)
			ok := 0
			done := func(v Verdict) {
				if v.Err == nil {
					ok++
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				a.Verify(d, done)
			}
			if ok == 0 {
				b.Error("nothing was verified")
			}
		})
	}
}

func BenchmarkNonce(b *testing.B) {
	a := withUsers(b)
	b.ReportAllocs()
	for b.Loop() {
		a.Nonce()
	}
}

func FuzzVerify(f *testing.F) {
	f.Add("alice", "n", "u", "r", "MD5", "auth", "c", "1")
	f.Add("", "", "", "", "-sess", "", "", "")
	acc := store.Account{User: alice, MD5: hex.EncodeToString(make([]byte, 16)), SHA256: hex.EncodeToString(make([]byte, 32)), SHA512256: hex.EncodeToString(make([]byte, 32))}
	e := newEntry(&acc)
	a := &Accounts{}
	a.nonces.init([]byte("key"))
	f.Fuzz(func(t *testing.T, username, nonce, uri, response, alg, qop, cnonce, nc string) {
		d := Digest{Username: username, Nonce: nonce, URI: uri, Response: response, Algorithm: alg, QOP: qop, CNonce: cnonce, NC: nc}
		if a.matches(&d, e) {
			t.Fatalf("verified by chance: %+v", d)
		}
		if a.nonces.fresh(nonce, time.Now()) {
			t.Fatalf("nonce forged by chance: %q", nonce)
		}
	})
}
