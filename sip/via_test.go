package sip

import (
	"net/netip"
	"testing"
)

func TestAppendReceived(t *testing.T) {
	const v4, v6 = "192.0.2.9:4444", "[2001:db8::9]:4444"
	for _, c := range []struct{ src, line, want string }{
		// RFC 3261 §18.2.1
		{v4, "SIP/2.0/UDP 192.0.2.9;branch=b", "SIP/2.0/UDP 192.0.2.9;branch=b"},
		{v4, "SIP/2.0/UDP 192.0.2.9:5060;branch=b", "SIP/2.0/UDP 192.0.2.9:5060;branch=b"},
		{v4, "SIP/2.0/UDP 10.0.0.1:5060;branch=b", "SIP/2.0/UDP 10.0.0.1:5060;branch=b;received=192.0.2.9"},
		{v4, "SIP/2.0/UDP phone.example;branch=b", "SIP/2.0/UDP phone.example;branch=b;received=192.0.2.9"},
		{v4, "SIP/2.0/UDP phone.example", "SIP/2.0/UDP phone.example;received=192.0.2.9"},
		// RFC 3581 §4: received also where it is the same
		{v4, "SIP/2.0/UDP 192.0.2.9;rport;branch=b", "SIP/2.0/UDP 192.0.2.9;branch=b;received=192.0.2.9;rport=4444"},
		{v4, "SIP/2.0/UDP 10.0.0.1 ; branch=b ; rPort", "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.9;rport=4444"},
		// what the client filled in itself does not count
		{v4, "SIP/2.0/UDP 10.0.0.1;received=1.1.1.1;rport=99;branch=b", "SIP/2.0/UDP 10.0.0.1;branch=b;received=192.0.2.9;rport=4444"},
		{v4, "SIP/2.0/UDP 10.0.0.1;received=1.1.1.1;branch=b;x=\";rport\"", "SIP/2.0/UDP 10.0.0.1;branch=b;x=\";rport\";received=192.0.2.9"},
		// further values stay
		{v4, "SIP/2.0/UDP 192.0.2.9;branch=b, SIP/2.0/TCP a;rport", "SIP/2.0/UDP 192.0.2.9;branch=b,  SIP/2.0/TCP a;rport"},
		// RFC 5118 §4.5: received has no brackets
		{v6, "SIP/2.0/UDP [2001:DB8:0::9]:5060;branch=b", "SIP/2.0/UDP [2001:DB8:0::9]:5060;branch=b"},
		{v6, "SIP/2.0/UDP [2001:db8::1];rport;branch=b", "SIP/2.0/UDP [2001:db8::1];branch=b;received=2001:db8::9;rport=4444"},
		// no address known, as of a pipe
		{"", "SIP/2.0/TCP a;rport", "SIP/2.0/TCP a;rport"},
	} {
		var src netip.AddrPort
		if c.src != "" {
			src = netip.MustParseAddrPort(c.src)
		}
		if got := string(appendReceived(nil, c.line, src, "")); got != c.want {
			t.Errorf("%s\ngot  %s\nwant %s", c.line, got, c.want)
		}
	}
}

func TestResponseAddr(t *testing.T) {
	const public, private = "198.51.100.9:4444", "10.0.0.9:4444"
	for _, c := range []struct{ src, via, want string }{
		{public, "SIP/2.0/UDP 198.51.100.9;branch=b", "198.51.100.9:5060"},
		{public, "SIP/2.0/UDP 198.51.100.9:5080;branch=b", "198.51.100.9:5080"},
		{public, "SIP/2.0/UDP 203.0.113.1:5080;branch=b", "198.51.100.9:5080"},
		{public, "SIP/2.0/UDP phone.example:5080;branch=b", "198.51.100.9:5080"},
		{public, "SIP/2.0/UDP phone.example:5080;rport;branch=b", public},
		{public, "SIP/2.0/UDP 203.0.113.1;maddr=203.0.113.7;rport;branch=b", "203.0.113.7:5060"},
		{public, "SIP/2.0/UDP 203.0.113.1:5070;maddr=[2001:db8::7];branch=b", "[2001:db8::7]:5070"},
		{public, "SIP/2.0/UDP 203.0.113.1;maddr=evil.example;branch=b", "198.51.100.9:5060"},
		// behind a NAT without rport
		{public, "SIP/2.0/UDP 10.0.0.1:5060;branch=b", public},
		{private, "SIP/2.0/UDP 10.0.0.1:5060;branch=b", "10.0.0.9:5060"},
		{"[2001:db8::9]:4444", "SIP/2.0/UDP [2001:db8::1]:5070;branch=b", "[2001:db8::9]:5070"},
	} {
		via, _, ok := parseVia(c.via)
		if !ok {
			t.Fatal(c.via)
		}
		if got := responseAddr(&via, netip.MustParseAddrPort(c.src)); got.String() != c.want {
			t.Errorf("%s from %s: %s, want %s", c.via, c.src, got, c.want)
		}
	}
}
