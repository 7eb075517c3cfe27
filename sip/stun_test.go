package sip

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

func stunMessage(kind uint16, attributes string) []byte {
	b := binary.BigEndian.AppendUint16(nil, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attributes)))
	b = binary.BigEndian.AppendUint32(b, stunCookie)
	return append(append(b, "transaction!"...), attributes...)
}

func TestSTUN(t *testing.T) {
	for _, from := range []string{"192.0.2.9:4444", "[2001:db8::9]:4444"} {
		a := netip.MustParseAddrPort(from)
		got := stunAnswer(stunMessage(stunRequest, "\x80\x22\x00\x04test"), a)
		n := 12
		if a.Addr().Is6() {
			n = 24
		}
		if len(got) != stunHeader+n || binary.BigEndian.Uint16(got) != stunSuccess || int(got[3]) != n {
			t.Fatalf("%x", got)
		}
		if !bytes.Equal(got[4:20], stunMessage(0, "")[4:20]) {
			t.Error("another transaction id")
		}
		if port := binary.BigEndian.Uint16(got[26:]) ^ 0x2112; port != 4444 {
			t.Errorf("port %d", port)
		}
		ip := got[28:]
		for i := range ip {
			ip[i] ^= got[4+i]
		}
		if !bytes.Equal(ip, a.Addr().AsSlice()) {
			t.Errorf("address %v", ip)
		}
	}
	// RFC 5389 §7.3.1: an attribute that has to be understood
	got := stunAnswer(stunMessage(stunRequest, "\x00\x03\x00\x04\x00\x00\x00\x06"), netip.MustParseAddrPort("192.0.2.9:1"))
	if binary.BigEndian.Uint16(got) != stunFailure || !bytes.Contains(got, []byte{0, 10, 0, 2, 0, 3, 0, 0}) || len(got)%4 != 0 || int(got[3]) != len(got)-20 {
		t.Errorf("%x", got)
	}
	good := stunMessage(stunRequest, "")
	for i, bad := range [][]byte{
		nil, good[:19], append(bytes.Clone(good), 0), append(bytes.Clone(good), 0, 0, 0, 0),
		stunMessage(stunSuccess, ""), stunMessage(stunRequest, "\x00\x06\x00\x09\x00\x00\x00\x06"),
		bytes.Replace(good, []byte{0x21}, []byte{0x22}, 1),
	} {
		if got := stunAnswer(bad, netip.MustParseAddrPort("192.0.2.9:1")); got != nil {
			t.Errorf("%d answered: %x", i, got)
		}
	}
}

func TestSTUNOverSocket(t *testing.T) {
	inWorld(t, Config{}, func(w *world) {
		p := w.phone(phoneAddr)
		p.send(string(stunMessage(stunRequest, "")))
		p.want("\x01\x01")
	})
}
