package xcap

import (
	"net/http/httptest"
	"testing"
)

func TestReference(t *testing.T) {
	e := New(Config{Domains: []string{"example.com"}, Root: "/xcap"})
	hr := httptest.NewRequest("PUT", "/xcap/rls-services/users/a@example.com/index", nil)
	hr.Host = "10.0.0.1:8443"
	r := request{Request: hr, edge: e}
	for uri, want := range map[string]string{
		"https://10.0.0.1:8443/xcap/resource-lists/users/sip:a@example.com/index":                   "a@example.com index",
		"http://example.com/xcap/resource-lists/users/a@example.com/index/~~/resource-lists/list":   "a@example.com index node",
		" https://xcap.Example.com:8443/xcap/resource-lists/users/a%40example.com/index ":           "a@example.com index",
		"resource-lists/users/sip:b@example.com/index/~~/resource-lists/list%5b@name=%22x%22%5d":    "b@example.com index node",
		"https://example.com/xcap/resource-lists/users/a/i/~~/p:a?xmlns(p=urn:p)":                   "a@example.com i node",
		"https://example.com/xcap/resource-lists/users/a/i/~~/resource-lists/list[@name=%22a b%22]": "a@example.com i node",
		"https://10.0.0.2:8443/xcap/resource-lists/users/a/index":                                   "",
		"https://example.com.evil.example/xcap/resource-lists/users/a/index":                        "",
		"https://example.com/other/resource-lists/users/a/index":                                    "",
		"ftp://example.com/xcap/resource-lists/users/a/index":                                       "",
		"/xcap/resource-lists/users/a/index":                                                        "",
		"https://example.com/xcap/unknown/users/a/index":                                            "",
		"https://example.com/xcap/resource-lists/users/a/index/~~/p:a":                              "",
		"%": "",
		"":  "",
	} {
		s, err := r.reference(uri)
		got := ""
		if err == nil {
			got = s.user.String() + " " + s.path
			if s.node != nil {
				got += " node"
			}
		}
		if got != want {
			t.Errorf("%q: %q, %v, want %q", uri, got, err, want)
		}
	}
}
