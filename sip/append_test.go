package sip

import "testing"

func TestAppend(t *testing.T) {
	var b []byte
	b = AppendAddressHeader(b, HFrom, Address{Display: "A\r\nX: y", URI: "sip:a@h", Params: ";tag=1"})
	b = AppendHeader(b, HSubject, "a\r\nb\x00c")
	b = AppendNamed(b, "X-Thing", "1")
	b = AppendNumber(b, HMinExpires, 60)
	b = AppendCSeq(b, 7, "NOTIFY")
	b = AppendList(b, HAllowEvents, "presence", "dialog")
	b = AppendList(b, HAccept)
	b = AppendWarning(b, 399, "example.com", `no "pidf"`)
	want(t, "lines", string(b), "From: \"A  X: y\" <sip:a@h>;tag=1\r\nSubject: a  b c\r\nX-Thing: 1\r\nMin-Expires: 60\r\n"+
		"CSeq: 7 NOTIFY\r\nAllow-Events: presence, dialog\r\nAccept: \r\nWarning: 399 example.com \"no \\\"pidf\\\"\"\r\n")
	m := parsed(t, "v: SIP/2.0/UDP a, SIP/2.0/UDP b", "Via: SIP/2.0/UDP c")
	want(t, "copy", string(m.AppendCopy(nil, HVia)), "Via: SIP/2.0/UDP a, SIP/2.0/UDP b\r\nVia: SIP/2.0/UDP c\r\n")
	want(t, "nothing", len(m.AppendCopy(nil, HRoute)), 0)
}
