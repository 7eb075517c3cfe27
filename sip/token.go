package sip

import "strings"

// Character classes of RFC 3261 §25.1.
const (
	classToken      = 1 << iota // token
	classUser                   // unreserved and user-unreserved: user part as it is
	classPassword               // unreserved and what a password may hold as it is
	classParam                  // unreserved and param-unreserved: uri-parameters
	classHost                   // hostname and IPv4address
	classHeader                 // unreserved and hnv-unreserved: URI headers
	classURI                    // anything a URI may hold (RFC 2396), '%' included
	classEqual                  // '=' alone
	classParamName              // what we take for a parameter's name, escapes included
	classParamValue             // what we take for a parameter's value that is not quoted
)

var classes = func() (t [256]uint16) {
	set := func(class uint16, chars string) {
		for i := 0; i < len(chars); i++ {
			t[chars[i]] |= class
		}
	}
	var alnum []byte
	for c := 0; c < 128; c++ {
		if isAlpha(byte(c)) || isDigit(byte(c)) {
			alnum = append(alnum, byte(c))
		}
	}
	const mark = "-_.!~*'()"
	set(^uint16(classEqual), string(alnum))
	set(classToken, "-.!%*_+`'~")
	set(classUser, mark+"&=+$,;?/#") // '#' see ParseURI
	set(classPassword, mark+"&=+$,")
	set(classParam, mark+"[]/:&+$")
	set(classHost, "-._") // '_' is not in the grammar, but in many names of private networks
	set(classHeader, mark+"[]/?:+$")
	set(classURI, mark+";/?:@&=+$,%[]#")
	t['='] |= classEqual
	set(classParamName, "-.!%*_+`'~[]/:&$()")
	set(classParamValue, "-.!%*_+`'~[]/:&$()@#|^{}=?\\")
	return t
}()

func isAlpha(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isDigit(c byte) bool { return '0' <= c && c <= '9' }
func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func isHex(c byte) bool {
	return isDigit(c) || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// all reports whether s is not empty and wholly of the class.
func all(s string, class uint16) bool {
	for i := 0; i < len(s); i++ {
		if classes[s[i]]&class == 0 {
			return false
		}
	}
	return s != ""
}

// isToken reports whether s is a token (RFC 3261 §25.1).
func isToken(s string) bool { return all(s, classToken) }

// equalFold compares ASCII case-insensitively (RFC 3261 §7.3.1).
func equalFold(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if x|0x20 != y|0x20 || !isAlpha(x) {
			return false
		}
	}
	return true
}

// lower is strings.ToLower for ASCII only; it copies when it must.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}

// trimBlank cuts linear white space off both ends. Folding has been undone
// by Parse, so that only SP and HTAB are left.
func trimBlank(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	for s != "" && isBlank(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// quotedEnd returns the index after the closing quote of a quoted-string
// that opens at s[0], or -1 when it never closes (RFC 3261 §25.1: a backslash
// quotes the next character).
func quotedEnd(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// unquote takes the quotes off a quoted-string and undoes its escapes; any
// other string comes back as it is.
func unquote(s string) string {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return s
	}
	s = s[1 : len(s)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b = append(b, s[i])
	}
	return string(b)
}

// AppendQuoted appends s as a quoted-string. CR, LF and NUL cannot stand in
// one (RFC 3261 §25.1) and become blanks, so that no value can smuggle in a
// header line.
func AppendQuoted(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\r', '\n', 0:
			b = append(b, ' ')
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// nextValue cuts the first value off a comma-separated list, at a comma
// outside quotes and angle brackets (RFC 3261 §7.3.1).
func nextValue(list string) (value, rest string, more bool) {
	angle := false
	for i := 0; i < len(list); i++ {
		switch list[i] {
		case '"':
			n := quotedEnd(list[i:])
			if n < 0 {
				return trimBlank(list), "", false
			}
			i += n - 1
		case '<':
			angle = true
		case '>':
			angle = false
		case ',':
			if !angle {
				return trimBlank(list[:i]), list[i+1:], true
			}
		}
	}
	return trimBlank(list), "", false
}

// parseUint reads 1*DIGIT up to max.
func parseUint(s string, max uint64) (uint64, bool) {
	if s == "" {
		return 0, false
	}
	var n uint64
	for i := 0; i < len(s); i++ {
		d := s[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + uint64(d)
		if n > max { // before it can overflow: max is far below 2^60
			return 0, false
		}
	}
	return n, true
}

// trimLeft cuts linear white space off the front.
func trimLeft(s string) string {
	for s != "" && isBlank(s[0]) {
		s = s[1:]
	}
	return s
}

// upper is strings.ToUpper for ASCII only; it copies when it must.
func upper(s string) string {
	for i := 0; i < len(s); i++ {
		if 'a' <= s[i] && s[i] <= 'z' {
			return strings.ToUpper(s)
		}
	}
	return s
}
