package sip

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
)

// zone is DNS in memory.
type zone struct {
	naptr map[string][]NAPTR
	srv   map[string][]SRV
	ip    map[string]string
	fail  string // questions with this in them fail
}

var errDNS = errors.New("no answer")

func (z *zone) NAPTR(_ context.Context, name string) ([]NAPTR, error) {
	if z.fail != "" && strings.Contains("NAPTR "+name, z.fail) {
		return nil, errDNS
	}
	return z.naptr[name], nil
}

func (z *zone) SRV(_ context.Context, name string) ([]SRV, error) {
	if z.fail != "" && strings.Contains("SRV "+name, z.fail) {
		return nil, errDNS
	}
	return z.srv[strings.TrimSuffix(name, ".")], nil
}

func (z *zone) IP(_ context.Context, host string) (ips []netip.Addr, err error) {
	if z.fail != "" && strings.Contains("IP "+host, z.fail) {
		return nil, errDNS
	}
	for s := range strings.FieldsSeq(z.ip[host]) {
		ips = append(ips, netip.MustParseAddr(s))
	}
	return ips, nil
}

func TestResolve(t *testing.T) {
	z := &zone{
		naptr: map[string][]NAPTR{
			// RFC 3263 §4.1's own example, shuffled
			"example.com": {
				{100, 50, "s", "SIP+D2U", "_sip._udp.example.com."},
				{50, 50, "s", "SIPS+D2T", "_sips._tcp.example.com."},
				{90, 50, "s", "SIP+D2T", "_sip._tcp.example.com."},
				{10, 50, "s", "SIP+D2S", "_sip._sctp.example.com."},
				{10, 50, "u", "E2U+sip", ""},
			},
		},
		srv: map[string][]SRV{
			"_sips._tcp.example.com": {{0, 1, 5071, "server1.example.com."}},
			"_sip._tcp.example.com":  {{0, 1, 5060, "server1.example.com."}, {1, 0, 5062, "server2.example.com."}},
			"_sip._udp.example.com":  {{0, 1, 5061, "server2.example.com."}},
			"_sip._udp.srv.example":  {{20, 0, 5060, "b.example."}, {10, 0, 5080, "a.example."}, {15, 0, 5080, "none.example."}},
			"_sip._tcp.srv.example":  {{0, 0, 5090, "a.example."}},
			"_sip._udp.off.example":  {{0, 0, 0, "."}},
		},
		ip: map[string]string{
			"server1.example.com": "192.0.2.1", "server2.example.com": "192.0.2.2 2001:db8::2",
			"a.example": "192.0.2.11", "b.example": "192.0.2.12", "plain.example": "192.0.2.20",
			"off.example": "192.0.2.30",
		},
	}
	for _, c := range []struct{ uri, fail, want string }{
		{"sip:example.com", "", "TLS 192.0.2.1:5071, TCP 192.0.2.1:5060, TCP 192.0.2.2:5062, TCP [2001:db8::2]:5062, UDP 192.0.2.2:5061, UDP [2001:db8::2]:5061"},
		{"sips:example.com", "", "TLS 192.0.2.1:5071"},
		{"sip:example.com;transport=tcp", "", "TCP 192.0.2.1:5060, TCP 192.0.2.2:5062, TCP [2001:db8::2]:5062"},
		{"sips:example.com;transport=tcp", "", "TLS 192.0.2.1:5071"},
		{"sip:example.com;transport=TLS", "", "TLS 192.0.2.1:5071"},
		// without NAPTR
		{"sip:srv.example", "", "UDP 192.0.2.11:5080, UDP 192.0.2.12:5060, TCP 192.0.2.11:5090"},
		{"sip:srv.example", "NAPTR", "UDP 192.0.2.11:5080, UDP 192.0.2.12:5060, TCP 192.0.2.11:5090"},
		{"sip:srv.example", "IP a.example", "UDP 192.0.2.12:5060"},
		// without SRV
		{"sip:plain.example", "", "UDP 192.0.2.20:5060"},
		{"sips:plain.example", "", "TLS 192.0.2.20:5061"},
		{"sip:plain.example;transport=tcp", "", "TCP 192.0.2.20:5060"},
		// a port means no SRV
		{"sip:example.com:5099", "", ""},
		{"sip:plain.example:5099", "", "UDP 192.0.2.20:5099"},
		{"sip:x.example;maddr=plain.example", "", "UDP 192.0.2.20:5060"},
		// numeric
		{"sip:192.0.2.77", "", "UDP 192.0.2.77:5060"},
		{"sips:u@[2001:db8::7]", "", "TLS [2001:db8::7]:5061"},
		{"sip:192.0.2.77:5080;transport=tcp", "", "TCP 192.0.2.77:5080"},
		{"sip:x.example;maddr=192.0.2.78", "", "UDP 192.0.2.78:5060"},
		// not to be had
		{"sip:off.example;transport=udp", "", ""},
		{"sip:nowhere.example", "", ""},
		{"sip:abc.invalid", "", ""},
		{"sip:INVALID.", "", ""},
		{"sip:plain.example;transport=ws", "", ""},
		{"sips:plain.example;transport=udp", "", ""},
		{"tel:+49123", "", ""},
		{"sip:plain.example", "IP", ""},
	} {
		z.fail = c.fail
		u, err := ParseURI(c.uri)
		if err != nil {
			t.Fatalf("%s: %v", c.uri, err)
		}
		targets, err := NewResolver(z).Resolve(context.Background(), u)
		var got []string
		for _, x := range targets {
			got = append(got, x.Transport+" "+x.Addr.String())
			if numeric, ok := numericTarget(c.uri); ok && numeric != x {
				t.Errorf("%s: %v, numericTarget %v", c.uri, x, numeric)
			}
			if want := u.Host; x.Host != want && !u.Params.Has("maddr") {
				t.Errorf("%s: certificate to show %s, want %s", c.uri, x.Host, want)
			}
		}
		if s := strings.Join(got, ", "); s != c.want {
			t.Errorf("%s (failing %q): got %s (%v), want %s", c.uri, c.fail, s, err, c.want)
		}
	}
}

// RFC 2782: by priority, and within one priority in proportion to the weights.
func TestOrderSRV(t *testing.T) {
	records := []SRV{{2, 0, 1, "late"}, {1, 0, 1, "zero"}, {1, 90, 1, "heavy"}, {1, 10, 1, "light"}}
	first := make(map[string]int)
	const rounds = 10_000
	for range rounds {
		got := orderSRV(records)
		if len(got) != len(records) || got[3].Target != "late" {
			t.Fatalf("%v", got)
		}
		seen := make(map[string]bool)
		for _, s := range got {
			seen[s.Target] = true
		}
		if len(seen) != 4 {
			t.Fatalf("%v", got)
		}
		first[got[0].Target]++
	}
	if h := first["heavy"]; h < rounds*84/100 || h > rounds*94/100 {
		t.Errorf("first: %v", first)
	}
	if z := first["zero"]; z == 0 || z > rounds*3/100 {
		t.Errorf("first: %v", first)
	}
	if records[0].Target != "late" {
		t.Error("argument changed")
	}
}
