package sip

import (
	"encoding/binary"
	"net/netip"
)

// STUN as a keep-alive (RFC 5626 §4.4.2): a client sends Binding requests from
// its SIP port and learns from the answer whether its address changed.
const (
	stunHeader  = 20
	stunCookie  = 0x2112A442
	stunRequest = 0x0001
	stunSuccess = 0x0101
	stunFailure = 0x0111

	stunXORMappedAddress  = 0x0020
	stunErrorCode         = 0x0009
	stunUnknownAttributes = 0x000A
)

// stunAnswer answers a STUN Binding request (RFC 5389 §7.3.1); nil for
// anything else.
func stunAnswer(b []byte, from netip.AddrPort) []byte {
	if len(b) < stunHeader || len(b)%4 != 0 ||
		binary.BigEndian.Uint16(b) != stunRequest ||
		int(binary.BigEndian.Uint16(b[2:])) != len(b)-stunHeader ||
		binary.BigEndian.Uint32(b[4:]) != stunCookie {
		return nil
	}
	id := b[4:stunHeader] // cookie and transaction id
	unknown, ok := stunUnknown(b[stunHeader:])
	if !ok {
		return nil
	}
	if len(unknown) > 0 { // RFC 5389 §7.3.1: 420 with what was not understood
		out := stunHead(stunFailure, id)
		out = stunAttribute(out, stunErrorCode, []byte("\x00\x00\x04\x14Unknown Attribute"))
		out = stunAttribute(out, stunUnknownAttributes, unknown)
		return stunFinish(out)
	}
	value := []byte{0, 1}
	if from.Addr().Is6() {
		value[1] = 2
	}
	value = binary.BigEndian.AppendUint16(value, from.Port()^uint16(stunCookie>>16))
	for i, c := range from.Addr().AsSlice() {
		value = append(value, c^id[i])
	}
	return stunFinish(stunAttribute(stunHead(stunSuccess, id), stunXORMappedAddress, value))
}

// stunUnknown lists the comprehension-required attributes that we do not know;
// ok is false when the attributes do not add up.
func stunUnknown(b []byte) (unknown []byte, ok bool) {
	for len(b) > 0 {
		if len(b) < 4 {
			return nil, false
		}
		kind, n := binary.BigEndian.Uint16(b), int(binary.BigEndian.Uint16(b[2:]))
		n = 4 + (n+3)&^3
		if n > len(b) {
			return nil, false
		}
		switch {
		case kind >= 0x8000: // comprehension optional
		case kind == 0x0006 || kind == 0x0008: // credentials: we ask for none
		case len(unknown) < 32:
			unknown = binary.BigEndian.AppendUint16(unknown, kind)
		}
		b = b[n:]
	}
	return unknown, true
}

func stunHead(kind uint16, id []byte) []byte {
	b := make([]byte, 4, 96)
	binary.BigEndian.PutUint16(b, kind)
	return append(b, id...)
}

func stunAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, kind)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

func stunFinish(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-stunHeader))
	return b
}
