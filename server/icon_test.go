package server

import (
	"testing"

	"pharos/config"
	"pharos/presence"
)

func TestIconOf(t *testing.T) {
	for _, c := range []struct {
		listen []string
		want   string
	}{
		{[]string{"sip+udp://:5060", "https://:8443"}, "https://example.com:8443/xcap/org.openmobilealliance.pres-content/users/sip:a%2Fb@example.com/oma_status-icon/index"},
		{[]string{"https://[::1]:443"}, "https://example.com/xcap/org.openmobilealliance.pres-content/users/sip:a%2Fb@example.com/oma_status-icon/index"},
		{[]string{"https://:0"}, ""},
		{[]string{"http+insecure://:8080"}, ""},
	} {
		s := &Server{iconRoot: iconRoot(&config.Config{Listen: c.listen, XCAP: config.XCAP{Root: "/xcap"}})}
		if got := s.iconOf(presence.Entity{User: "a/b", Domain: "example.com"}); got != c.want {
			t.Errorf("%v: %s, want %s", c.listen, got, c.want)
		}
	}
}
