package sip

import (
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

// A socket bound to no address names the one that the system uses towards the
// peer, in Via and as the local address of the flow.
func TestWildcardSocket(t *testing.T) {
	pc, err := net.ListenPacket("udp", ":0") // both families
	if err != nil {
		t.Fatal(err)
	}
	port := addrPort(pc.LocalAddr()).Port()
	flows := make(chan *Flow, 1)
	s := NewStack(Config{Log: quiet(), Handler: HandlerFunc(func(tx *ServerTx, _ *Message) {
		flows <- tx.Flow()
		tx.Respond(Response{Status: 200})
	})})
	defer s.Close()
	go s.ServePacket(pc)
	for _, local := range []string{"127.0.0.1", "::1"} {
		ip := netip.MustParseAddr(local)
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
		if err != nil {
			t.Logf("%s: %v", local, err) // a machine without IPv6
			continue
		}
		defer c.Close()
		c.Write([]byte(request("OPTIONS", "z9hG4bK"+strconv.Itoa(len(local))+";rport")))
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		buf := make([]byte, 4096)
		if n, err := c.Read(buf); err != nil || string(buf[:11]) != "SIP/2.0 200" {
			t.Fatalf("%s: %q, %v", local, buf[:n], err)
		}
		f := <-flows
		if want := netip.AddrPortFrom(ip, port).String(); f.LocalAddr().String() != want {
			t.Errorf("local address %s, want %s", f.LocalAddr(), want)
		}
		if g, ok := s.FlowByToken(f.Token()); !ok || g.addr != f.addr {
			t.Errorf("token does not lead back to %s", f.addr)
		}
		ended := make(chan error, 1)
		s.Request(OutRequest{Method: "OPTIONS", URI: "sip:x", Flow: f,
			Header: []byte("From: <sip:a@x>;tag=b\r\nTo: <sip:b@x>\r\nCall-ID: n@x\r\nCSeq: 1 OPTIONS\r\n")},
			func(_ *Message, err error) { ended <- err })
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		req := string(buf[:n])
		m, err := Parse(buf[:n])
		if err != nil || !hostIs(m.Via().Host, ip) {
			t.Errorf("%v: %s", err, req)
		}
		c.Write([]byte(reply(req, 200)))
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// The table of routes is bounded.
func TestRouteTable(t *testing.T) {
	var r routeTable
	r.init()
	for i := range 2 * maxRoutes {
		r.local[netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 8), byte(i), 0}), 24)] = netip.Addr{}
		if len(r.local) > maxRoutes {
			break
		}
	}
	r.localFor(netip.MustParseAddrPort("0.0.0.0:5060"), netip.MustParseAddr("127.0.0.9"))
	if n := len(r.local); n != 1 {
		t.Errorf("%d routes", n)
	}
	bound := netip.MustParseAddrPort("192.0.2.1:5060")
	if got := r.localFor(bound, netip.MustParseAddr("127.0.0.9")); got != bound {
		t.Errorf("%s, bound to %s", got, bound)
	}
}
