package sip

import (
	"strconv"
	"strings"
)

// Via is one Via value (RFC 3261 §20.42).
type Via struct {
	Transport string // upper case: UDP, TCP, TLS, WS, WSS
	Host      string // of sent-by, as received; IPv6 without brackets
	Port      int    // 0 when absent
	Branch    string
	Params    Params // all of them, branch included
}

// MagicCookie begins the branches that are transaction identifiers
// (RFC 3261 §8.1.1.7).
const MagicCookie = "z9hG4bK"

// Cookie reports whether the branch identifies the transaction: it begins with
// the magic cookie, in any case, and has something behind it (RFC 4475 §3.2.1).
func (v Via) Cookie() bool {
	return len(v.Branch) > len(MagicCookie) && equalFold(v.Branch[:len(MagicCookie)], MagicCookie)
}

// Vias parses all Via values, topmost first.
func (m *Message) Vias() ([]Via, bool) {
	var vs []Via
	for s := range m.All(HVia) {
		v, rest, ok := parseVia(s)
		if !ok || rest != "" {
			return vs, false
		}
		vs = append(vs, v)
	}
	return vs, true
}

// parseVia reads the first value of a Via line; rest is what follows its comma.
func parseVia(s string) (v Via, rest string, ok bool) {
	s, rest, _ = nextValue(s)
	// sent-protocol LWS sent-by; blanks may surround the slashes.
	for i := 0; i < 3; i++ {
		n := 0
		for n < len(s) && classes[s[n]]&classToken != 0 {
			n++
		}
		word := s[:n]
		s = trimLeft(s[n:])
		if word == "" {
			return v, rest, false
		}
		switch i {
		case 0: // protocol-name is SIP or any token, which we need not know
		case 1: // protocol-version
		case 2:
			v.Transport = upper(word)
			continue
		}
		if s == "" || s[0] != '/' {
			return v, rest, false
		}
		s = trimLeft(s[1:])
	}
	params := ""
	if i := strings.IndexByte(s, ';'); i >= 0 {
		s, params = trimBlank(s[:i]), s[i:]
	}
	if v.Host, v.Port, ok = parseHostPort(s, true); !ok {
		return v, rest, false
	}
	v.Params = Params(params)
	for p := params; p != ""; {
		var name, value string
		if name, value, _, p, ok = nextParam(p); !ok {
			return v, rest, false
		}
		if v.Branch == "" && equalFold(name, "branch") {
			v.Branch = value
		}
	}
	return v, rest, true
}

// parseHostPort reads host [":" port], with blanks around the colon in a Via
// (RFC 3261 §25.1 sent-by). The host comes as written, IPv6 without brackets.
func parseHostPort(s string, blanks bool) (host string, port int, ok bool) {
	n := 0
	if s != "" && s[0] == '[' {
		if n = strings.IndexByte(s, ']'); n < 0 {
			return "", 0, false
		}
		if host, ok = ipv6Reference(s[1:n]); !ok {
			return "", 0, false
		}
		s = s[n+1:]
	} else {
		for n < len(s) && classes[s[n]]&classHost != 0 {
			n++
		}
		if n == 0 {
			return "", 0, false
		}
		host, s = s[:n], s[n:]
	}
	if blanks {
		s = trimLeft(s)
	}
	if s == "" {
		return host, 0, true
	}
	if s[0] != ':' {
		return "", 0, false
	}
	if s = s[1:]; blanks {
		s = trimLeft(s)
	}
	p, ok := parseUint(s, 65535)
	if !ok || p == 0 {
		return "", 0, false
	}
	return host, int(p), true
}

// appendHostPort appends host [":" port], with brackets round IPv6.
func appendHostPort(b []byte, host string, port int) []byte {
	if strings.IndexByte(host, ':') >= 0 {
		b = append(b, '[')
		b = append(b, host...)
		b = append(b, ']')
	} else {
		b = append(b, host...)
	}
	if port != 0 {
		b = append(b, ':')
		b = strconv.AppendInt(b, int64(port), 10)
	}
	return b
}

// AppendVia appends the value of a Via, without the header's name.
func AppendVia(b []byte, v Via) []byte {
	b = append(b, "SIP/2.0/"...)
	b = append(b, v.Transport...)
	b = append(b, ' ')
	b = appendHostPort(b, v.Host, v.Port)
	return append(b, v.Params...)
}
