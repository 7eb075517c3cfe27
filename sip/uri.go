package sip

import (
	"errors"
	"net/netip"
	"strings"
)

// URI is a parsed sip, sips, tel, pres, im or other URI.
type URI struct {
	Scheme  string // lower case
	User    string // unescaped; of tel: the number without visual separators
	Pass    string // unescaped
	Host    string // lower case; IPv6 without brackets
	Port    int    // 0 when absent
	Params  Params // as received; also of tel
	Headers string // what follows the question mark, as received
	Opaque  string // of a non-sip URI: what follows the scheme, without Params and Headers

	rawUser string // as received; empty in a URI made by hand
}

// ErrURI is the error of ParseURI.
var ErrURI = errors.New("sip: malformed URI")

// ParseURI parses a URI (RFC 3261 §19.1, RFC 3966 for tel, RFC 3859 for pres,
// RFC 3860 for im). A scheme that we do not know is no error; its Opaque is
// all that follows. The error is ErrURI.
//
// One thing is taken that the grammar does not have: a '#' in the user part,
// which phones send unescaped in dial codes.
func ParseURI(s string) (URI, error) {
	i := strings.IndexByte(s, ':')
	if i <= 0 || !isAlpha(s[0]) {
		return URI{}, ErrURI
	}
	u := URI{Scheme: s[:i]}
	for j := 1; j < i; j++ {
		if c := s[j]; !isAlpha(c) && !isDigit(c) && c != '+' && c != '-' && c != '.' {
			return URI{}, ErrURI
		}
	}
	u.Scheme = lower(u.Scheme)
	rest := s[i+1:]
	ok := false
	switch u.Scheme {
	case "sip", "sips":
		ok = u.parseSIP(rest)
	case "tel":
		ok = u.parseTel(rest)
	case "pres", "im":
		ok = u.parseMailbox(rest)
	default:
		u.Opaque = rest
		ok = all(rest, classURI)
	}
	if !ok {
		return URI{}, ErrURI
	}
	return u, nil
}

// parseSIP reads what follows "sip:" (RFC 3261 §25.1 SIP-URI).
func (u *URI) parseSIP(s string) bool {
	// Only the end of userinfo can be an unescaped '@'.
	if at := strings.IndexByte(s, '@'); at >= 0 {
		user, pass, _ := strings.Cut(s[:at], ":")
		if user == "" || !escapedOf(user, classUser) || !escapedOf(pass, classPassword) {
			return false
		}
		u.rawUser = user
		u.User, u.Pass = unescape(user), unescape(pass)
		s = s[at+1:]
	}
	if i := strings.IndexByte(s, '?'); i >= 0 {
		if u.Headers = s[i+1:]; !validHeaders(u.Headers) {
			return false
		}
		s = s[:i]
	}
	if i := strings.IndexByte(s, ';'); i >= 0 {
		if u.Params = Params(s[i:]); !u.Params.validURI() {
			return false
		}
		s = s[:i]
	}
	host, port, ok := parseHostPort(s, false)
	u.Host, u.Port = lower(host), port
	return ok
}

// parseTel reads what follows "tel:" (RFC 3966 §3).
func (u *URI) parseTel(s string) bool {
	if i := strings.IndexByte(s, ';'); i >= 0 {
		if u.Params = Params(s[i:]); !u.Params.validURI() {
			return false
		}
		s = s[:i]
	}
	u.Opaque = s
	digits := strings.TrimPrefix(s, "+")
	separators := false
	for i := 0; i < len(digits); i++ {
		switch c := digits[i]; {
		case isHex(c), c == '*', c == '#':
		case c == '-', c == '.', c == '(', c == ')':
			separators = true
		default:
			return false
		}
	}
	u.User = s
	if separators {
		u.User = strings.Map(func(r rune) rune {
			if strings.ContainsRune("-.()", r) {
				return -1
			}
			return r
		}, s)
	}
	return u.User != "" && u.User != "+"
}

// parseMailbox reads what follows "pres:" or "im:" (RFC 3859 §4).
func (u *URI) parseMailbox(s string) bool {
	if i := strings.IndexByte(s, '?'); i >= 0 {
		u.Headers, s = s[i+1:], s[:i]
		if !all(u.Headers, classURI) {
			return false
		}
	}
	u.Opaque = s
	at := strings.LastIndexByte(s, '@')
	if at <= 0 || !all(s, classURI) || !escapedOf(s[:at], classURI) {
		return false
	}
	host, _, ok := parseHostPort(s[at+1:], false)
	u.rawUser = s[:at]
	u.User, u.Host = unescape(u.rawUser), lower(host)
	return ok
}

// validURI reports whether p are uri-parameters (RFC 3261 §25.1), with '='
// taken inside values, as in base64.
func (p Params) validURI() bool {
	for s := string(p); s != ""; {
		s = s[1:]
		var param string
		if i := strings.IndexByte(s, ';'); i >= 0 {
			param, s = s[:i], s[i:]
		} else {
			param, s = s, ""
		}
		name, value, has := strings.Cut(param, "=")
		if name == "" || !escapedOf(name, classParam) || has && value == "" || !escapedOf(value, classParam|classEqual) {
			return false
		}
	}
	return true
}

// validHeaders reports whether s is "name=value&name=value" (RFC 3261 §19.1.1).
func validHeaders(s string) bool {
	for more := true; more; {
		var header string
		header, s, more = strings.Cut(s, "&")
		name, value, has := strings.Cut(header, "=")
		if name == "" || !has || !escapedOf(name, classHeader) || !escapedOf(value, classHeader|classEqual) {
			return false
		}
	}
	return true
}

// escapedOf reports whether s has only characters of the class and escapes
// "%HH"; it may be empty.
func escapedOf(s string, class uint16) bool {
	for i := 0; i < len(s); i++ {
		if classes[s[i]]&class != 0 {
			continue
		}
		if s[i] != '%' || i+2 >= len(s) || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return false
		}
		i += 2
	}
	return true
}

// unescape undoes "%HH"; s has been checked.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			c = unhex(s[i+1])<<4 | unhex(s[i+2])
			i += 2
		}
		b = append(b, c)
	}
	return string(b)
}

func unhex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c | 0x20 - 'a' + 10
}

// appendEscaped appends s with "%HH" for all that is not of the class
// (RFC 3261 §19.1.2).
func appendEscaped(b []byte, s string, class uint16) []byte {
	const hex = "0123456789ABCDEF"
	for i := 0; i < len(s); i++ {
		if c := s[i]; classes[c]&class != 0 && c != '#' {
			b = append(b, c)
		} else {
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return b
}

// ipv6Reference checks what stands between brackets: an IPv6 address without
// zone. The grammar of RFC 3261 lets a third colon in before an embedded IPv4
// address, which is to be taken, and is left out (RFC 5118 §4.10).
func ipv6Reference(s string) (string, bool) {
	if i := strings.Index(s, ":::"); i >= 0 && strings.IndexByte(s, '.') > i {
		s = s[:i] + s[i+1:]
	}
	a, err := netip.ParseAddr(s)
	return s, err == nil && a.Is6() && a.Zone() == ""
}

// IsSIP reports whether the scheme is sip or sips.
func (u URI) IsSIP() bool { return u.Scheme == "sip" || u.Scheme == "sips" }

// AOR is the canonical form of the user's address: "user@host" with the user
// unescaped, the host in lower case, and scheme, password, port, parameters and
// header fields gone (RFC 3261 §10.3 step 5). sip:, sips:, pres: and im: of one
// user have the same. It is just the host when there is no user, the number of
// a tel, and empty for other schemes.
func (u URI) AOR() string {
	switch {
	case u.Scheme == "tel":
		return u.User
	case u.User == "":
		return u.Host
	}
	return u.User + "@" + u.Host
}

// Param is the unescaped value of a uri-parameter, such as lr, ob, maddr,
// transport, or gr of a GRUU (RFC 5627 §3.1), whose value is empty when it is a
// temporary one.
func (u URI) Param(name string) (value string, ok bool) { return u.Params.uriParam(name) }

// Transport is the transport parameter in upper case; empty when absent.
func (u URI) Transport() string {
	t, _ := u.Param("transport")
	return upper(t)
}

// AppendURI appends u as a URI. User and Pass are escaped as they need it;
// Params, Headers and Opaque go as they are.
func AppendURI(b []byte, u URI) []byte {
	b = append(b, u.Scheme...)
	b = append(b, ':')
	if u.IsSIP() {
		if u.User != "" {
			b = appendEscaped(b, u.User, classUser)
			if u.Pass != "" {
				b = append(b, ':')
				b = appendEscaped(b, u.Pass, classPassword)
			}
			b = append(b, '@')
		}
		b = appendHostPort(b, u.Host, u.Port)
	} else if u.Opaque == "" && u.Host != "" { // pres or im made by hand
		b = appendEscaped(b, u.User, classPassword) // '?' would begin header fields
		b = append(b, '@')
		b = appendHostPort(b, u.Host, 0)
	} else if u.Opaque == "" { // tel made by hand
		b = append(b, u.User...)
	} else {
		b = append(b, u.Opaque...)
	}
	b = append(b, u.Params...)
	if u.Headers != "" {
		b = append(b, '?')
		b = append(b, u.Headers...)
	}
	return b
}

// String is u as a URI.
func (u URI) String() string { return string(AppendURI(nil, u)) }
