package client

import (
	"net/netip"
	"strconv"
	"strings"

	"pharos/sip"
)

// Request is the head of a request, as far as each has it.
type Request struct {
	Method, URI string
	From, Tag   string // user@domain of who asks, with the tag
	To          string // the whole value
	CallID      string
	CSeq        uint32
	Contact     string // host:port
}

// String is up to Contact; header fields and the body are put behind it, Via before it by Ask.
func (r Request) String() string {
	user, _, _ := strings.Cut(r.From, "@")
	return r.Method + " " + r.URI + " SIP/2.0\r\nFrom: <sip:" + r.From + ">;tag=" + r.Tag + "\r\nTo: " + r.To + "\r\nCall-ID: " + r.CallID +
		"\r\nCSeq: " + strconv.FormatUint(uint64(r.CSeq), 10) + " " + r.Method + "\r\nContact: <sip:" + user + "@" + r.Contact + ">\r\n"
}

// PIDF is a document of somebody (user@domain) who is open, with a note (RFC 3863 §4.1).
func PIDF(of, note string) string {
	return `<?xml version="1.0"?><presence xmlns="urn:ietf:params:xml:ns:pidf" entity="sip:` + of +
		`"><tuple id="t"><status><basic>open</basic></status><note>` + note + `</note></tuple></presence>`
}

// Target is where a Contact of the service leads (RFC 3261 §12.2.1.1), by default port 5060; it is not valid for one that names no IP address.
func Target(uri string) netip.AddrPort {
	u, err := sip.ParseURI(uri)
	if err != nil {
		return netip.AddrPort{}
	}
	a, err := netip.ParseAddr(u.Host)
	if err != nil {
		return netip.AddrPort{}
	}
	port := uint16(5060)
	if u.Port != 0 {
		port = uint16(u.Port)
	}
	return netip.AddrPortFrom(a, port)
}
