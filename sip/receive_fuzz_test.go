package sip

import (
	"net/netip"
	"strings"
	"testing"

	"pharos/memnet"
)

// FuzzReceive feeds octets to a whole stack as a datagram and as a stream:
// nothing may panic, and whatever is sent back to a well-formed request has to be
// a well-formed response.
func FuzzReceive(f *testing.F) {
	good := request("SUBSCRIBE", "z9hG4bK1;rport")
	for _, seed := range []string{
		good, request("INVITE", "1"), request("CANCEL", "1"), request("ACK", "1"),
		request("OPTIONS", "z9hG4bK2;maddr=[::1]"), reply(good, 200), wsRequest("z9hG4bK1"),
		strings.Replace(good, "CSeq: 7", "CSeq: x", 1), good + good, "\r\n\r\n" + good,
		strings.Replace(good, "Via: SIP/2.0/UDP 192.0.2.9:5060", "v: SIP / 2.0 / UDP [::1] ; x=\"", 1),
		strings.Replace(good, " SIP/2.0\r\n", " SIP/3.0\r\n", 1),
		string(stunMessage(stunRequest, "\x80\x22\x00\x04test")),
	} {
		f.Add([]byte(seed))
	}
	s := NewStack(Config{Handler: respond(200), Log: quiet(), Limits: Limits{Kept: 1 << 20}})
	f.Cleanup(func() { s.Close() })
	n := memnet.New()
	u := &packetSocket{stack: s, pc: n.MustListenPacket(serverAddr), local: netip.MustParseAddrPort(serverAddr)}
	f.Fuzz(func(t *testing.T, b []byte) {
		phone := n.MustListenPacket(phoneAddr)
		defer phone.Close()
		u.datagram(b, phone.AddrPort())
		u.datagram(b, phone.AddrPort())
		for d := phone.Next(); d != nil; d = phone.Next() {
			if d[0] == 1 { // STUN
				continue
			}
			if !strings.HasPrefix(string(d), "SIP/2.0 ") {
				t.Errorf("answered %q with %q", b, d)
			}
			// What is copied of a malformed request is as malformed.
			if _, bad := Parse(b); bad == nil {
				if _, err := Parse(d); err != nil {
					t.Errorf("answered %q with %q: %v", b, d, err)
				}
			}
		}
		c := s.newConn("TCP", nil)
		c.accepted, c.ending = true, true // takes, and sends nothing
		var framer Framer
		framer.Feed(b)
		c.takeStream(&framer, &readWatch{c: c})
		c.close(nil)
	})
}
