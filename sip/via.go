package sip

import (
	"net/netip"
	"strconv"
	"strings"
)

// appendReceived appends the value of a request's topmost Via line as it goes
// back in a response: with received when the source is not what sent-by says
// (RFC 3261 §18.2.1), and with received and a filled rport when the client asked
// by an rport parameter (RFC 3581 §4). Values of either that the client put
// there itself are replaced, and so are those of overload control where overload, parameters
// with their semicolons, is not empty (RFC 7339 §5.2). line may hold further values after a comma.
func appendReceived(b []byte, line string, src netip.AddrPort, overload string) []byte {
	value, rest, more := nextValue(line)
	params := strings.IndexByte(value, ';')
	if !src.IsValid() {
		return append(b, line...)
	}
	sentBy := value
	if params >= 0 {
		sentBy = trimBlank(value[:params])
	}
	asked := false
	b = append(b, sentBy...)
	for params >= 0 {
		value = value[params+1:]
		params = paramEnd(value)
		param := value
		if params >= 0 {
			param = value[:params]
		}
		name, _, _ := strings.Cut(param, "=")
		switch name = trimBlank(name); {
		case equalFold(name, "rport"):
			asked = true
		case equalFold(name, "received"):
		case overload != "" && (equalFold(name, "oc") || equalFold(name, "oc-algo") || equalFold(name, "oc-validity") || equalFold(name, "oc-seq")):
		default:
			b = append(b, ';')
			b = append(b, trimBlank(param)...)
		}
	}
	if i := strings.LastIndexAny(sentBy, " \t"); i >= 0 {
		sentBy = sentBy[i+1:]
	}
	if asked || !sameHost(sentBy, src.Addr()) {
		b = append(b, ";received="...)
		b = src.Addr().WithZone("").AppendTo(b) // IPv6 without brackets (RFC 5118 §4.5)
	}
	if asked {
		b = append(b, ";rport="...)
		b = strconv.AppendUint(b, uint64(src.Port()), 10)
	}
	b = append(b, overload...)
	if more {
		b = append(b, ", "...)
		b = append(b, rest...)
	}
	return b
}

// paramEnd is the index of the next semicolon outside quotes, or -1.
func paramEnd(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ';':
			return i
		case '"':
			n := quotedEnd(s[i:])
			if n <= 0 {
				return -1
			}
			i += n - 1
		}
	}
	return -1
}

// sameHost tells whether the host of a sent-by is the address a, numerically.
func sameHost(sentBy string, a netip.Addr) bool {
	host := sentBy
	if strings.HasPrefix(host, "[") {
		if i := strings.IndexByte(host, ']'); i > 0 {
			host = host[1:i]
		}
	} else if i := strings.IndexByte(host, ':'); i >= 0 {
		host = host[:i]
	}
	return hostIs(host, a)
}

// hostIs tells whether a host, with or without brackets, is the address a.
func hostIs(host string, a netip.Addr) bool {
	ip, ok := numericHost(host)
	return ok && ip == a
}

// numericHost reads an IP address; IPv6 may stand in brackets.
func numericHost(host string) (netip.Addr, bool) {
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	if host == "" || host[0]|0x20 > 'f' && host[0] != ':' {
		return netip.Addr{}, false // a name: no need to try
	}
	ip, err := netip.ParseAddr(host)
	return ip.Unmap(), err == nil
}

// responseAddr is where responses to a request from src go over an unreliable
// transport (RFC 3261 §18.2.2, RFC 3581 §4).
func responseAddr(via *Via, src netip.AddrPort) netip.AddrPort {
	if via == nil {
		return src
	}
	port := uint16(5060)
	if via.Port > 0 && via.Port < 65536 {
		port = uint16(via.Port)
	}
	// maddr is honoured as a number only: a name would have us ask the DNS for
	// anyone who sends a datagram.
	if v, ok := via.Params.Get("maddr"); ok {
		if ip, ok := numericHost(v); ok {
			return netip.AddrPortFrom(ip, port)
		}
	}
	if _, ok := via.Params.Get("rport"); ok {
		return src
	}
	// A client behind a NAT that knows no rport can be reached at the source
	// port only; where sent-by is private and the source is not, there is one.
	if ip, ok := numericHost(via.Host); ok &&
		ip != src.Addr() && ip.IsPrivate() && !src.Addr().IsPrivate() {
		return src
	}
	return netip.AddrPortFrom(src.Addr(), port)
}
