package xcap

import (
	"crypto/md5"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"hash"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

const capsPath = "/xcap-caps/global/index"

// ask sends a request from somewhere else than the proxy's address.
func (h *house) ask(method, target string, secure bool, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host, r.RemoteAddr, r.TLS = "xcap.example.com", "198.51.100.1:1234", nil
	if secure {
		r.TLS = new(tls.ConnectionState)
	}
	for i := 0; i < len(fields); i += 2 {
		r.Header.Set(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// credentials makes Digest credentials (RFC 7616 §3.4.1).
func credentials(newHash func() hash.Hash, algorithm, user, password, realm, nonce, method, uri string) string {
	sum := func(s string) string {
		x := newHash()
		x.Write([]byte(s))
		return hex.EncodeToString(x.Sum(nil))
	}
	response := sum(strings.Join([]string{sum(user + ":" + realm + ":" + password), nonce, "00000001", "c", "auth", sum(method + ":" + uri)}, ":"))
	return `Digest username="` + user + `", realm="` + realm + `", nonce="` + nonce + `", uri="` + uri + `", response="` + response +
		`", algorithm=` + algorithm + `, cnonce="c", qop=auth, nc=00000001`
}

func TestChallenges(t *testing.T) {
	h := newHouse(t, "bill@example.com", "max@example.org")
	for _, c := range []struct {
		target, host string
		secure       bool
		realm        string
	}{
		{"/resource-lists/users/sip:bill@example.com/index", "xcap.example.com", true, "example.com"},
		{"/resource-lists/users/sip:max@example.org/index", "xcap.example.com", false, "example.org"},
		// Who is not there is asked like who is.
		{"/resource-lists/users/sip:nobody@example.org/index", "xcap.example.com", true, "example.org"},
		{capsPath, "xcap.example.org:8443", true, "example.org"},
		{capsPath, "192.0.2.1:8443", true, "example.com"},
		{capsPath, "[2001:db8::1]", true, "example.com"},
	} {
		r := httptest.NewRequest("GET", c.target, nil)
		r.Host, r.RemoteAddr = c.host, "198.51.100.1:1234"
		if c.secure {
			r.TLS = new(tls.ConnectionState)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		lines := w.Header().Values("WWW-Authenticate")
		want := 2
		if c.secure {
			want = 3
		}
		if w.Code != http.StatusUnauthorized || len(lines) != want {
			t.Fatalf("%s: %d, %q", c.target, w.Code, lines)
		}
		head := `Digest realm="` + c.realm + `", nonce="`
		if !strings.HasPrefix(lines[0], head) || !strings.Contains(lines[0], `algorithm=MD5, qop="auth"`) ||
			!strings.HasPrefix(lines[1], head) || !strings.Contains(lines[1], `algorithm=SHA-256, qop="auth"`) {
			t.Errorf("%s: %q", c.target, lines)
		}
		if c.secure && lines[2] != `Basic realm="`+c.realm+`", charset="UTF-8"` {
			t.Errorf("%s: %q", c.target, lines[2])
		}
	}
}

func TestDigest(t *testing.T) {
	h := newHouse(t, "bill@example.com", "joe@example.com")
	own := "/resource-lists/users/sip:bill@example.com/index"
	nonce := h.accounts.Nonce()
	quoted := `/resource-lists/users/bill@example.com/index/~~/resource-lists/list[@name="x"]`
	for _, c := range []struct {
		name, credentials, method, target string
		status                            int
		words                             string
	}{
		{"MD5", credentials(md5.New, "MD5", "bill", "secret of bill", "example.com", nonce, "GET", own), "GET", own, 404, "no such document"},
		{"SHA-256", credentials(sha256.New, "SHA-256", "bill", "secret of bill", "example.com", nonce, "GET", own), "GET", own, 404, "no such document"},
		{"whole name", credentials(md5.New, "MD5", "bill@example.com", "secret of bill", "example.com", nonce, "GET", own), "GET", own, 404, "no such document"},
		{"for everybody", credentials(md5.New, "MD5", "joe", "secret of joe", "example.com", nonce, "GET", capsPath), "GET", capsPath, 200, "<xcap-caps"},
		{"raw quotes, as xcaplib has them", credentials(md5.New, "MD5", "bill", "secret of bill", "example.com", nonce, "GET", quoted), "GET", quoted, 404, "no such document"},
		{"the whole URI", credentials(md5.New, "MD5", "bill", "secret of bill", "example.com", nonce, "GET", "https://xcap.example.com"+own), "GET", own, 404, "no such"},
		{"escaped on one side", credentials(md5.New, "MD5", "bill", "secret of bill", "example.com", nonce, "GET", strings.ReplaceAll(quoted, `"`, "%22")), "GET", quoted, 404, "no such"},
		{"another's tree", credentials(md5.New, "MD5", "joe", "secret of joe", "example.com", nonce, "GET", own), "GET", own, 403, "you are joe@example.com"},
		{"nobody's tree", credentials(md5.New, "MD5", "joe", "secret of joe", "example.com", nonce, "GET", strings.Replace(own, "bill", "nobody", 1)),
			"GET", strings.Replace(own, "bill", "nobody", 1), 403, "you are joe@example.com"},
		{"wrong password", credentials(md5.New, "MD5", "bill", "secret", "example.com", nonce, "GET", own), "GET", own, 401, "wrong name or password"},
		{"another method", credentials(md5.New, "MD5", "bill", "secret of bill", "example.com", nonce, "GET", own), "DELETE", own, 401, "wrong"},
		{"another URI", credentials(md5.New, "MD5", "bill", "secret of bill", "example.com", nonce, "GET", own), "GET", own + "2", 400, "not the request's"},
		{"another realm", credentials(md5.New, "MD5", "bill", "secret of bill", "elsewhere", nonce, "GET", own), "GET", own, 401, "another realm"},
		{"not ours any more", credentials(md5.New, "MD5", "bill", "secret of bill", "example.com", "old", "GET", own), "GET", own, 401, "too old"},
		{"another scheme", "Bearer x", "GET", own, 401, "log in"},
		{"none", "", "GET", own, 401, "log in"},
	} {
		w := h.ask(c.method, c.target, true, "Authorization", c.credentials)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.words) {
			t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
		}
		if stale := strings.Contains(w.Header().Get("WWW-Authenticate"), "stale=true"); stale != (c.name == "not ours any more") {
			t.Errorf("%s: stale %v", c.name, stale)
		}
	}
}

func TestBasic(t *testing.T) {
	h := newHouse(t, "bill@example.com", "max@example.org")
	own := "/resource-lists/users/sip:bill@example.com/index"
	for _, c := range []struct {
		user, password, target string
		secure                 bool
		status                 int
	}{
		{"bill", "secret of bill", own, true, 404},
		{"Bill@Example.com", "secret of bill", own, true, 404},
		{"max@example.org", "secret of max", own, true, 403},
		{"max@example.org", "secret of max", capsPath, true, 200},
		{"bill", "secret", own, true, 401},
		{"nobody", "secret", own, true, 401},
		// RFC 4825 §14: never without TLS, though the password is right.
		{"bill", "secret of bill", own, false, 401},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.SetBasicAuth(c.user, c.password)
		if w := h.ask("GET", c.target, c.secure, "Authorization", r.Header.Get("Authorization")); w.Code != c.status {
			t.Errorf("%s, %s, TLS %v: %d %s", c.user, c.password, c.secure, w.Code, w.Body)
		}
	}
	if w := h.ask("GET", own, true, "Authorization", "Basic %%%"); w.Code != 400 {
		t.Errorf("%d", w.Code)
	}
}

// Whoever guesses has to wait, and a right password does not help then.
func TestGuessing(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	own := "/resource-lists/users/sip:bill@example.com/index"
	r := httptest.NewRequest("GET", "/", nil)
	r.SetBasicAuth("bill", "guess")
	last := 0
	for range 60 {
		if last = h.ask("GET", own, true, "Authorization", r.Header.Get("Authorization")).Code; last != 401 {
			break
		}
	}
	r.SetBasicAuth("bill", "secret of bill")
	w := h.ask("GET", own, true, "Authorization", r.Header.Get("Authorization"))
	if last != 429 || w.Code != 429 || w.Header().Get("Retry-After") == "" {
		t.Errorf("%d, then %d", last, w.Code)
	}
}

func TestAssertedIdentity(t *testing.T) {
	h := newHouse(t, "bill@example.com")
	own := "/resource-lists/users/sip:bill@example.com/index"
	const field = "X-3GPP-Asserted-Identity"
	for _, c := range []struct {
		value  string
		status int
	}{
		{`"sip:bill@example.com"`, 404},
		{`sip:bill@example.com`, 404},
		{`"tel:+4912345", "sip:bill@example.com"`, 404},
		{`"sip:nobody@example.com"`, 404},
		{`"sip:max@elsewhere.example"`, 403},
	} {
		if w := h.do("", "GET", own, "", "", field, c.value); w.Code != c.status {
			t.Errorf("%s: %d %s", c.value, w.Code, w.Body)
		}
	}
	if w := h.ask("GET", own, true, field, `"sip:bill@example.com"`); w.Code != 401 {
		t.Errorf("believed from anywhere: %d", w.Code)
	}
	if w := h.do("", "GET", own, "", ""); w.Code != 401 {
		t.Errorf("a proxy that says nothing: %d", w.Code)
	}
}

// Clients quote what they should not, and leave raw what they should quote.
func TestParseDigest(t *testing.T) {
	got := parseDigest(` username="a\"b" ,, realm=example.com, NONCE = "n", uri="/x[@y="z"]/w", nc="00000001", qop="auth", response="r", response="again", opaque="never closed`)
	for k, want := range map[string]string{
		"username": `a"b`, "realm": "example.com", "nonce": "n", "uri": `/x[@y="z"]/w`, "nc": "00000001", "qop": "auth", "response": "r", "opaque": "never closed", "x": "",
	} {
		if got[k] != want {
			t.Errorf("%s: %q, want %q", k, got[k], want)
		}
	}
	for _, s := range []string{"", ",", "a", "=", `a="`, "a=,"} {
		parseDigest(s)
	}
}
