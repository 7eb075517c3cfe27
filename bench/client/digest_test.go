package client

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"pharos/sip"
)

// TestChallenge is the example of RFC 7616 §3.9.1 but for our cnonce.
func TestChallenge(t *testing.T) {
	c := Challenged(slices.Values([]string{
		`Digest realm="http-auth@example.org", qop="auth", algorithm=SHA-256, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"`,
		`Digest realm="http-auth@example.org", qop="auth", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"`,
	}))
	if c == nil {
		t.Fatal("no challenge")
	}
	for i, want := range []string{"00000001", "00000002"} {
		line := c.Authorization("Mufasa", "Circle of Life", "GET", "/dir/index.html")
		value, ok := strings.CutPrefix(line, "Authorization: ")
		if !ok || !strings.HasSuffix(line, "\r\n") {
			t.Fatalf("%q", line)
		}
		a, ok := sip.ParseCredentials(strings.TrimSpace(value))
		if !ok || a.NCValue != want || a.Opaque == "" || a.QOP != "auth" || a.Algorithm != "MD5" {
			t.Errorf("%d: %+v", i, a)
		}
		// H(A1) of the user, H(A2) of GET and the path, by hand.
		ha1, ha2 := "3d78807defe7de2157e2b0b6573a855f", "39aff3a2bab6126f332b942af96d3366"
		if sum("Mufasa:http-auth@example.org:Circle of Life") != ha1 || sum("GET:/dir/index.html") != ha2 {
			t.Fatal("the hashes of the example are others")
		}
		if a.Response != sum(ha1+":"+a.Nonce+":"+want+":"+a.CNonce+":auth:"+ha2) {
			t.Errorf("response %s", a.Response)
		}
	}
}

func TestNoChallenge(t *testing.T) {
	c := Challenged(slices.Values([]string{`Digest realm="r", nonce="n", algorithm=SHA-256`, "Bearer"}))
	if c != nil || c.Authorization("u", "p", "GET", "/") != "" {
		t.Errorf("%+v", c)
	}
}

func TestXCAP(t *testing.T) {
	var asked []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := r.Header.Get("Authorization")
		asked = append(asked, r.Method+" "+r.Header.Get("Content-Type"))
		switch {
		case r.URL.Path == "/broken":
			w.Header().Set("Content-Length", "10")
			w.Write([]byte("short"))
		case a == "" || r.URL.Path == "/never":
			w.Header().Set("WWW-Authenticate", `Digest realm="r", nonce="n", algorithm=MD5, qop="auth"`)
			w.WriteHeader(http.StatusUnauthorized)
		case !strings.HasPrefix(a, "Digest ") || !strings.Contains(a, `username="u"`):
			t.Errorf("Authorization %q", a)
		default:
			w.WriteHeader(http.StatusCreated)
			w.Write([]byte("done"))
		}
	}))
	defer srv.Close()
	hc := srv.Client()
	defer hc.CloseIdleConnections()
	if status, body := XCAP(t.Context(), hc, "PUT", srv.URL+"/doc", "u", "p", "<x/>"); status != 201 || body != "done" {
		t.Errorf("%d %q", status, body)
	}
	if want := []string{"PUT application/resource-lists+xml", "PUT application/resource-lists+xml"}; !slices.Equal(asked, want) {
		t.Errorf("%q", asked)
	}
	if status, _ := XCAP(t.Context(), hc, "GET", srv.URL+"/never", "u", "p", ""); status != 401 {
		t.Errorf("%d", status)
	}
	if status, _ := XCAP(t.Context(), hc, "GET", srv.URL+"/broken", "u", "p", ""); status != 0 {
		t.Errorf("half an answer is %d", status)
	}
}
