package sip

import "strconv"

// Credentials is an Authorization or Proxy-Authorization value of any scheme
// (RFC 3261 §22, RFC 7616 §3.4). Only the wire is read here: what is checked,
// and how, is the account's matter. Values are unquoted.
type Credentials struct {
	Scheme    string // as received; compare without regard to case
	Username  string
	Realm     string
	Nonce     string
	URI       string
	Response  string // lower case
	Algorithm string // as received; empty means MD5 (RFC 7616 §3.4)
	CNonce    string
	Opaque    string
	QOP       string // lower case; empty for RFC 2069 clients such as libpurple
	NC        uint32 // the nonce count, hexadecimal on the wire
	NCValue   string // the same as written, which is what the digest is made of
}

// IsDigest reports whether the scheme is Digest.
func (c Credentials) IsDigest() bool { return equalFold(c.Scheme, "Digest") }

// Credentials parses all lines of h, HAuthorization or HProxyAuthorization.
// There may be several, for several realms or algorithms (RFC 8760 §2.4); what
// cannot be read at all is left out, so that the answer to it is a challenge.
func (m *Message) Credentials(h Header) []Credentials {
	var cs []Credentials
	for v := range m.Lines(h) {
		if c, ok := ParseCredentials(v); ok {
			cs = append(cs, c)
		}
	}
	return cs
}

// ParseCredentials parses one value. It is lenient where clients need it:
// parameters may be quoted that should not be (libpurple's nc="00000001") and
// the other way round, a quoted-string may hold raw quotes as long as no comma
// or end follows them, and commas may repeat. ok is false when there is
// no scheme.
func ParseCredentials(s string) (c Credentials, ok bool) {
	c.Scheme, s = cutScheme(s)
	if c.Scheme == "" {
		return c, false
	}
	for s != "" {
		var name, value string
		name, value, s = nextAuthParam(s)
		var into *string
		switch {
		case equalFold(name, "username"):
			into = &c.Username
		case equalFold(name, "realm"):
			into = &c.Realm
		case equalFold(name, "nonce"):
			into = &c.Nonce
		case equalFold(name, "uri"):
			into = &c.URI
		case equalFold(name, "response"):
			into, value = &c.Response, lower(value)
		case equalFold(name, "algorithm"):
			into = &c.Algorithm
		case equalFold(name, "cnonce"):
			into = &c.CNonce
		case equalFold(name, "opaque"):
			into = &c.Opaque
		case equalFold(name, "qop"):
			into, value = &c.QOP, lower(value)
		case equalFold(name, "nc"):
			into = &c.NCValue
		}
		if into != nil && *into == "" { // the first of several counts
			*into = value
		}
	}
	if n, err := strconv.ParseUint(c.NCValue, 16, 32); err == nil {
		c.NC = uint32(n)
	}
	return c, true
}

// AppendCredentials appends a whole line of Digest credentials, as a client
// sends it; h is HAuthorization or HProxyAuthorization. NCValue is made of NC
// when it is empty.
func AppendCredentials(b []byte, h Header, c Credentials) []byte {
	b = append(b, headerNames[h]...)
	b = append(b, ": Digest username="...)
	b = AppendQuoted(b, c.Username)
	b = appendAuthQuoted(b, "realm", c.Realm)
	b = appendAuthQuoted(b, "nonce", c.Nonce)
	b = appendAuthQuoted(b, "uri", c.URI)
	b = appendAuthQuoted(b, "response", c.Response)
	if c.Algorithm != "" {
		b = append(b, ", algorithm="...)
		b = append(b, c.Algorithm...)
	}
	if c.QOP != "" {
		b = appendAuthQuoted(b, "cnonce", c.CNonce)
		b = append(b, ", qop="...)
		b = append(b, c.QOP...)
		b = append(b, ", nc="...)
		if c.NCValue != "" {
			b = append(b, c.NCValue...)
		} else {
			b = appendHex8(b, c.NC)
		}
	}
	if c.Opaque != "" {
		b = appendAuthQuoted(b, "opaque", c.Opaque)
	}
	return append(b, "\r\n"...)
}

// Challenge is one Digest challenge (RFC 7616 §3.3, RFC 3261 §22).
type Challenge struct {
	Scheme    string // of one that was received; written always as Digest
	Realm     string
	Nonce     string
	Opaque    string // left out when empty
	Algorithm string // MD5, SHA-256, SHA-512-256; empty is left out
	QOP       string // a list, such as "auth"; left out when empty
	Stale     bool
}

// Algorithms of Digest that we write, strongest first: the order of the
// challenges is that of preference (RFC 8760 §2.3).
const (
	SHA512_256 = "SHA-512-256"
	SHA256     = "SHA-256"
	MD5        = "MD5"
)

// AppendChallenge appends a whole line; h is HWWWAuthenticate (401) or
// HProxyAuthenticate (407). For several algorithms append one line each, the
// preferred first (RFC 8760 §2.3), as SIP has no lists of challenges
// (RFC 3261 §7.3.1).
func AppendChallenge(b []byte, h Header, c Challenge) []byte {
	b = append(b, headerNames[h]...)
	b = append(b, ": Digest realm="...)
	b = AppendQuoted(b, c.Realm)
	b = appendAuthQuoted(b, "nonce", c.Nonce)
	if c.Opaque != "" {
		b = appendAuthQuoted(b, "opaque", c.Opaque)
	}
	if c.Stale {
		b = append(b, ", stale=true"...)
	}
	if c.Algorithm != "" {
		b = append(b, ", algorithm="...)
		b = append(b, c.Algorithm...)
	}
	if c.QOP != "" {
		b = appendAuthQuoted(b, "qop", c.QOP) // always quoted here (RFC 7616 §3.3)
	}
	return append(b, "\r\n"...)
}

// Challenges parses all lines of h, HWWWAuthenticate or HProxyAuthenticate,
// with the leniency of ParseCredentials.
func (m *Message) Challenges(h Header) []Challenge {
	var cs []Challenge
	for s := range m.Lines(h) {
		c := Challenge{}
		if c.Scheme, s = cutScheme(s); c.Scheme == "" {
			continue
		}
		for s != "" {
			var name, value string
			name, value, s = nextAuthParam(s)
			switch {
			case equalFold(name, "realm"):
				c.Realm = value
			case equalFold(name, "nonce"):
				c.Nonce = value
			case equalFold(name, "opaque"):
				c.Opaque = value
			case equalFold(name, "algorithm"):
				c.Algorithm = value
			case equalFold(name, "qop"):
				c.QOP = lower(value)
			case equalFold(name, "stale"):
				c.Stale = equalFold(value, "true")
			}
		}
		cs = append(cs, c)
	}
	return cs
}

func cutScheme(s string) (scheme, rest string) {
	n := 0
	for n < len(s) && classes[s[n]]&classToken != 0 {
		n++
	}
	if n < len(s) && !isBlank(s[n]) {
		return "", ""
	}
	return s[:n], s[n:]
}

// nextAuthParam cuts one auth-param off a comma-separated list.
func nextAuthParam(s string) (name, value, rest string) {
	i := 0
	for i < len(s) && (isBlank(s[i]) || s[i] == ',') {
		i++
	}
	start := i
	for i < len(s) && s[i] != '=' && s[i] != ',' {
		i++
	}
	name = trimBlank(s[start:i])
	if i == len(s) || s[i] == ',' {
		return name, "", s[i:]
	}
	s = trimLeft(s[i+1:])
	if s == "" || s[0] != '"' {
		for i = 0; i < len(s) && s[i] != ','; i++ {
		}
		return name, trimBlank(s[:i]), s[i:]
	}
	end := len(s)
	for i = 1; i < len(s); i++ {
		if s[i] == '\\' {
			i++
			continue
		}
		if s[i] == '"' {
			if r := trimLeft(s[i+1:]); r == "" || r[0] == ',' {
				end = i + 1
				break
			}
		}
	}
	if end == len(s) && (len(s) == 1 || s[end-1] != '"') {
		return name, s[1:], "" // never closed
	}
	return name, unquote(s[:end]), s[end:]
}

func appendAuthQuoted(b []byte, name, value string) []byte {
	b = append(b, ", "...)
	b = append(b, name...)
	b = append(b, '=')
	return AppendQuoted(b, value)
}

// appendHex8 appends n as 8LHEX.
func appendHex8(b []byte, n uint32) []byte {
	const hex = "0123456789abcdef"
	for shift := 28; shift >= 0; shift -= 4 {
		b = append(b, hex[n>>shift&15])
	}
	return b
}
