package sip

import (
	"math"
	"strings"
)

// Address is a name-addr or addr-spec with header parameters (RFC 3261 §20.10).
type Address struct {
	Display string // unquoted
	URI     string // without brackets, as received
	Params  Params
}

// Tag is the tag parameter of a From or To.
func (a Address) Tag() string {
	tag, _ := a.Params.Get("tag")
	return tag
}

// ParseURI parses the address's URI.
func (a Address) ParseURI() (URI, error) { return ParseURI(a.URI) }

// Expires is a Contact's expires parameter in seconds (RFC 3261 §20.10); ok is
// false when it is absent, or malformed, which counts as absent (§10.3 step 7
// gives such a binding the default).
func (a Address) Expires() (sec uint32, ok bool) {
	v, ok := a.Params.Get("expires")
	if !ok {
		return 0, false
	}
	return parseSeconds(v)
}

// Q is a Contact's q in thousandths, 1000 when it is absent or malformed.
func (a Address) Q() int {
	if v, ok := a.Params.Get("q"); ok {
		if q, ok := parseQ(v); ok {
			return q
		}
	}
	return 1000
}

// Instance is the +sip.instance of a Contact without quotes and brackets, such
// as "urn:uuid:f81d4fae-…" (RFC 5626 §4.1); empty when absent.
func (a Address) Instance() string {
	v, _ := a.Params.Get("+sip.instance")
	return strings.TrimSuffix(strings.TrimPrefix(v, "<"), ">")
}

// RegID is the reg-id of a Contact (RFC 5626 §4.2); 0 when absent or malformed.
func (a Address) RegID() uint32 {
	v, _ := a.Params.Get("reg-id")
	n, _ := parseUint(v, math.MaxInt32)
	return uint32(n)
}

// parseSeconds reads delta-seconds; what is larger than 2^32-1 counts as that
// (RFC 3261 §20.19).
func parseSeconds(v string) (uint32, bool) {
	n, ok := parseUint(v, math.MaxUint32)
	if !ok {
		for i := 0; i < len(v); i++ {
			if !isDigit(v[i]) {
				return 0, false
			}
		}
		return math.MaxUint32, v != ""
	}
	return uint32(n), true
}

// parseQ reads a qvalue in thousandths (RFC 3261 §25.1).
func parseQ(s string) (int, bool) {
	if s == "" || len(s) > 5 || s[0] != '0' && s[0] != '1' {
		return 0, false
	}
	q := int(s[0]-'0') * 1000
	if len(s) == 1 {
		return q, true
	}
	if s[1] != '.' {
		return 0, false
	}
	for i, scale := 2, 100; i < len(s); i, scale = i+1, scale/10 {
		if !isDigit(s[i]) {
			return 0, false
		}
		q += int(s[i]-'0') * scale
	}
	return q, q <= 1000
}

// ParseAddress parses one name-addr or addr-spec with its header parameters
// (RFC 3261 §20.10, §25.1).
//
// An unquoted display name may hold more than the grammar's tokens, as people
// type names; a comma, semicolon or quote in it is refused (RFC 4475 §3.1.2.15),
// since nobody can tell where it ends.
func ParseAddress(s string) (Address, bool) { return parseAddress(s) }

func parseAddress(s string) (a Address, ok bool) {
	s = trimBlank(s)
	if s == "" {
		return a, false
	}
	open := 0
	if s[0] == '"' {
		n := quotedEnd(s)
		if n < 0 {
			return a, false
		}
		a.Display = unquote(s[:n])
		for open = n; open < len(s) && isBlank(s[open]); open++ {
		}
		if open == len(s) || s[open] != '<' {
			return a, false
		}
	} else if open = strings.IndexByte(s, '<'); open < 0 {
		return parseAddrSpec(s)
	} else {
		a.Display = trimBlank(s[:open])
		if strings.IndexByte(a.Display, ';') >= 0 {
			return parseAddrSpec(s) // the '<' is in its parameters
		}
		if a.Display != "" && strings.ContainsAny(a.Display, "\",\\>") {
			return a, false
		}
	}
	s = s[open+1:]
	end := strings.IndexByte(s, '>')
	if end < 0 {
		return a, false
	}
	a.URI = s[:end]
	if s = trimLeft(s[end+1:]); s != "" && s[0] != ';' {
		return a, false
	}
	a.Params = Params(s)
	if !a.Params.valid() {
		return a, false
	}
	_, err := ParseURI(a.URI)
	return a, err == nil
}

// parseAddrSpec reads an address without brackets: what follows a semicolon
// belongs to the header, and the URI can hold neither comma nor question mark
// (RFC 3261 §20.10, RFC 4475 §3.1.2.13).
func parseAddrSpec(s string) (a Address, ok bool) {
	if i := strings.IndexByte(s, ';'); i >= 0 {
		a.Params, s = Params(s[i:]), s[:i]
	}
	a.URI = trimBlank(s)
	if strings.IndexByte(a.URI, ',') >= 0 || strings.IndexByte(a.URI, '?') >= 0 || !a.Params.valid() {
		return a, false
	}
	_, err := ParseURI(a.URI)
	return a, err == nil
}

// Addresses parses all values of a header that lists addresses: Contact (but
// for "*"), Route, Record-Route, Path, Service-Route, P-Asserted-Identity
// (RFC 3325 §9.1) and so on. err is ErrAddress when one is malformed; those
// before it are returned.
func (m *Message) Addresses(h Header) ([]Address, error) {
	var as []Address
	for v := range m.All(h) {
		a, ok := parseAddress(v)
		if !ok {
			return as, ErrAddress
		}
		as = append(as, a)
	}
	return as, nil
}

// Contacts parses all Contact values; star is true for "Contact: *", which
// stands alone (RFC 3261 §10.3 step 6; with others it is an error). The error
// is ErrAddress.
func (m *Message) Contacts() (cs []Address, star bool, err error) {
	others := false
	for v := range m.All(HContact) {
		if v == "*" {
			if star || others {
				return nil, false, ErrAddress
			}
			star = true
			continue
		}
		if others = true; star {
			return nil, false, ErrAddress
		}
		a, ok := parseAddress(v)
		if !ok {
			return nil, false, ErrAddress
		}
		cs = append(cs, a)
	}
	return cs, star, nil
}

// Contact is the first Contact value, for requests and responses that
// establish or refresh a dialog and have just one (RFC 3261 §8.1.1.8). ok is
// false when there is none; the error is ErrAddress.
func (m *Message) Contact() (c Address, ok bool, err error) {
	for v := range m.All(HContact) {
		if c, ok = parseAddress(v); !ok {
			return Address{}, true, ErrAddress
		}
		return c, true, nil
	}
	return Address{}, false, nil
}

// AppendAddress appends a as a name-addr with its parameters, the display name
// quoted.
func AppendAddress(b []byte, a Address) []byte {
	if a.Display != "" {
		b = AppendQuoted(b, a.Display)
		b = append(b, ' ')
	}
	b = append(b, '<')
	b = append(b, a.URI...)
	b = append(b, '>')
	return append(b, a.Params...)
}
