package sip

import "testing"

func TestParseVia(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Via
		rest string
		ok   bool
	}{
		{"SIP/2.0/UDP h", Via{Transport: "UDP", Host: "h"}, "", true},
		{"sip/2.0/tls h:5061;branch=z9hG4bKx", Via{"TLS", "h", 5061, "z9hG4bKx", ";branch=z9hG4bKx"}, "", true},
		{"SIP / 2.0 / WS  [2001:db8::1] : 80 ; rport", Via{Transport: "WS", Host: "2001:db8::1", Port: 80, Params: "; rport"}, "", true},
		{"SIP/2.0/WSS df7jal.invalid;branch=1;rport , SIP/2.0/UDP x", Via{"WSS", "df7jal.invalid", 0, "1", ";branch=1;rport"}, " SIP/2.0/UDP x", true},
		{"SIP/2.0/UDP my_host;branch=1", Via{"UDP", "my_host", 0, "1", ";branch=1"}, "", true},
		{"", Via{}, "", false},
		{"SIP/2.0/UDP", Via{}, "", false},
		{"SIP/2.0 h", Via{}, "", false},
		{"SIP/2.0/UDP h x", Via{}, "", false},
		{"SIP/2.0/UDP h:", Via{}, "", false},
		{"SIP/2.0/UDP h:0", Via{}, "", false},
		{"SIP/2.0/UDP [h]", Via{}, "", false},
		{"SIP/2.0/UDP h;", Via{}, "", false},
		{"SIP/2.0/UDP h;branch=", Via{}, "", false},
	} {
		v, rest, ok := parseVia(c.in)
		if ok != c.ok || ok && (v != c.want || rest != c.rest) {
			t.Errorf("%s: %+v %q %v", c.in, v, rest, ok)
		}
		if ok {
			again, _, ok := parseVia(string(AppendVia(nil, v)))
			want(t, "again", ok && again == v, true)
		}
	}
}

func TestCookie(t *testing.T) {
	for b, cookie := range map[string]bool{"z9hG4bKx": true, "Z9HG4BKx": true, "z9hG4bK": false, "": false, "x": false} {
		want(t, b, Via{Branch: b}.Cookie(), cookie)
	}
}
