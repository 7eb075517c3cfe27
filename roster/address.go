package roster

import (
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"

	"pharos/presence"
)

// maxPart bounds the user part of an address, and its domain (RFC 7622 §3).
const maxPart = 1023

// domains prepares host names as XMPP addresses have them (RFC 7622 §3.2).
var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
	idna.StrictDomainName(true), idna.ValidateLabels(true), idna.CheckHyphens(true), idna.CheckJoiners(true), idna.VerifyDNSLength(true))

// EntityOf reads the URI of an entry; ok is false for what a roster cannot show
// (tel:, conference URIs with parameters that matter, malformed ones).
func EntityOf(uri string) (e presence.Entity, ok bool) {
	scheme, rest, found := strings.Cut(uri, ":")
	if !found {
		return e, false
	}
	sip := false
	switch strings.ToLower(scheme) {
	case "sip", "sips":
		sip = true
		if rest, ok = addressOnly(rest); !ok {
			return e, false
		}
	case "pres", "im", "xmpp":
	default:
		return e, false
	}
	// What is left is user@domain: a port, a resource, a query or header fields name
	// something more special than the user.
	user, domain, found := strings.Cut(rest, "@")
	if !found {
		user, domain = "", rest
	} else if user == "" {
		return e, false
	}
	if sip && strings.ContainsRune(user, ':') {
		return e, false // a password (RFC 3261 §19.1.1)
	}
	if e.User, ok = userOf(user); !ok {
		return e, false
	}
	e.Domain, ok = domainOf(domain)
	return e, ok
}

// addressOnly takes off the parameters of a SIP URI that say only how to get
// there (RFC 3261 §19.1.1).
func addressOnly(s string) (string, bool) {
	at := strings.LastIndexByte(s, '@') + 1 // a user part may hold semicolons
	i := strings.IndexByte(s[at:], ';')
	if i < 0 {
		return s, true
	}
	for p := range strings.SplitSeq(s[at+i+1:], ";") {
		name, _, _ := strings.Cut(p, "=")
		if !strings.EqualFold(name, "transport") && !strings.EqualFold(name, "user") {
			return "", false
		}
	}
	return s[:at+i], true
}

// userOf unescapes and folds a user part to the localpart that it is in XMPP
// (RFC 7622 §3.3). ok is false where XMPP has no such localpart.
func userOf(s string) (string, bool) {
	s, ok := unescape(s)
	if !ok || len(s) > maxPart {
		return "", false
	}
	plain := true
	for i := range len(s) {
		plain = plain && s[i] > 0x20 && s[i] < 0x7F
	}
	if plain {
		s = strings.ToLower(s)
	} else {
		var err error
		if s, err = precis.UsernameCaseMapped.String(s); err != nil || len(s) > maxPart {
			return "", false
		}
	}
	return s, !strings.ContainsAny(s, "\"&'/:<>@ ") // RFC 7622 §3.3.1
}

// domainOf is a host name in the form that XMPP addresses have (RFC 7622 §3.2). IP
// addresses in brackets are not shown.
func domainOf(s string) (string, bool) {
	s, ok := unescape(s)
	if !ok || s == "" || len(s) > maxPart {
		return "", false
	}
	plain := true
	for i := range len(s) {
		c := s[i] | 0x20
		plain = plain && (c >= 'a' && c <= 'z' || s[i] >= '0' && s[i] <= '9' || s[i] == '-' || s[i] == '.')
	}
	if s = strings.TrimSuffix(s, "."); plain && s != "" && len(s) < 64 && s[0] != '.' && !strings.Contains(s, "..") && !strings.Contains(s, "-") {
		return strings.ToLower(s), true // nothing that the rules below would refuse
	}
	ascii, err := domains.ToASCII(s)
	if err != nil {
		return "", false
	}
	s, err = domains.ToUnicode(ascii)
	return s, err == nil && s != ""
}

// unescape resolves percent-escapes; ok is false for malformed ones and for what
// is not UTF-8 then.
func unescape(s string) (string, bool) {
	if strings.IndexByte(s, '%') < 0 {
		return s, utf8.ValidString(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '%' {
			b = append(b, s[i])
			continue
		}
		if i+2 >= len(s) {
			return "", false
		}
		hi, lo := unhex(s[i+1]), unhex(s[i+2])
		if hi > 15 || lo > 15 {
			return "", false
		}
		b = append(b, hi<<4|lo)
		i += 2
	}
	return string(b), utf8.Valid(b)
}

func unhex(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10
	}
	return 255
}

// URIOf is the URI that we write for a contact: sip:user@domain, escaped.
func URIOf(e presence.Entity) string {
	const hex = "0123456789ABCDEF"
	b := append(make([]byte, 0, len("sip:@")+len(e.User)+len(e.Domain)), "sip:"...)
	for i := range len(e.User) {
		c := e.User[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0:
			b = append(b, c) // unreserved and user-unreserved (RFC 3261 §25.1)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	if e.User != "" {
		b = append(b, '@')
	}
	domain := e.Domain
	if ascii, err := domains.ToASCII(domain); err == nil {
		domain = ascii
	}
	return string(append(b, domain...))
}
