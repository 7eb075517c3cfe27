package schema

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Simple is a simple type (XML Schema Part 2).
type Simple struct {
	check func(v string) string // what is wrong, "" when nothing is
	id    bool
}

// Checked is a type of one's own: check says what is wrong with a value, in words
// that follow the name of what it is, or "".
func Checked(check func(v string) string) *Simple { return &Simple{check: check} }

// collapse is whiteSpace="collapse" (§4.3.6).
func collapse(v string) string {
	if !strings.ContainsAny(v, " \t\r\n") {
		return v
	}
	return strings.Join(strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }), " ")
}

// tested makes a type whose white space is collapsed before it is tested.
func tested(what string, ok func(v string) bool) *Simple {
	return Checked(func(v string) string {
		if v = collapse(v); ok(v) {
			return ""
		}
		return "must be " + what + ", not " + strconv.Quote(shorten(v))
	})
}

// shorten keeps messages short.
func shorten(v string) string {
	const most = 60
	if len(v) <= most {
		return v
	}
	for i := most; ; i-- {
		if utf8.RuneStart(v[i]) {
			return v[:i] + "…"
		}
	}
}

// The built-in types.
var (
	String   = Checked(func(string) string { return "" })
	Token    = String // white space does not make one wrong
	AnyURI   = tested("a URI", isURI)
	NCName   = tested("a name without a colon", IsNCName)
	ID       = &Simple{check: NCName.check, id: true}
	Boolean  = Enum("true", "false", "1", "0")
	DateTime = tested("a date and time such as 2026-01-31T12:00:00Z", isDateTime)
	Decimal  = Pattern("a decimal number", `[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)`)
	Language = Pattern("a language such as en or de-CH", `([a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*)?`)
	Base64   = tested("base64", isBase64)
)

// Enum is one of several tokens.
func Enum(values ...string) *Simple {
	return tested("one of "+strings.Join(values, ", "), func(v string) bool {
		for _, e := range values {
			if v == e {
				return true
			}
		}
		return false
	})
}

// Pattern is what matches a regular expression wholly.
func Pattern(what, expr string) *Simple {
	re := regexp.MustCompile(`^(?:` + expr + `)$`)
	return tested(what, re.MatchString)
}

// Integer is a whole number of a range.
func Integer(least, most int64) *Simple {
	what := "a whole number from " + strconv.FormatInt(least, 10) + " to " + strconv.FormatInt(most, 10)
	return tested(what, func(v string) bool {
		n, err := strconv.ParseInt(v, 10, 64) // takes a sign as XML Schema does
		return err == nil && n >= least && n <= most
	})
}

// Union is a value of one of several types.
func Union(what string, types ...*Simple) *Simple {
	return tested(what, func(v string) bool {
		for _, t := range types {
			if t.check(v) == "" {
				return true
			}
		}
		return false
	})
}

// ListOf is a list of values with white space between.
func ListOf(t *Simple) *Simple {
	return Checked(func(v string) string {
		for _, item := range strings.Fields(v) {
			if why := t.check(item); why != "" {
				return why
			}
		}
		return ""
	})
}

// isURI is loose, as anyURI is (§3.2.17): characters that a URI has not are those
// that would be escaped. What is left to be wrong are escapes and the scheme.
func isURI(v string) bool {
	for i := range len(v) {
		if v[i] == '%' && (i+2 >= len(v) || !isHex(v[i+1]) || !isHex(v[i+2])) {
			return false
		}
	}
	// A colon in the first segment ends a scheme.
	if i := strings.IndexAny(v, ":/?#"); i >= 0 && v[i] == ':' {
		for k := range i {
			c := v[k] | 0x20
			if (c < 'a' || c > 'z') && (k == 0 || (v[k] < '0' || v[k] > '9') && strings.IndexByte("+-.", v[k]) < 0) {
				return false
			}
		}
		return i > 0
	}
	return true
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'
}

// dateTime of §3.2.7: the zone may be absent, the fraction has any length.
var dateTime = regexp.MustCompile(`^-?([0-9]{4,})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?(Z|[+-](?:0[0-9]|1[0-3]):[0-5][0-9]|[+-]14:00)?$`)

func isDateTime(v string) bool {
	m := dateTime.FindStringSubmatch(v)
	if m == nil {
		return false
	}
	n := func(i int) int { x, _ := strconv.Atoi(m[i]); return x }
	if n(4) == 24 {
		return n(5) == 0 && n(6) == 0
	}
	if n(2) < 1 || n(2) > 12 || n(4) > 24 || n(5) > 59 || n(6) > 59 || n(3) < 1 {
		return false
	}
	return n(3) <= time.Date(n(1), time.Month(n(2))+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

func isBase64(v string) bool {
	_, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(v, " ", ""))
	return err == nil
}

// IsNCName tells whether v is an NCName (Namespaces in XML §3).
func IsNCName(v string) bool {
	if v == "" || !utf8.ValidString(v) {
		return false
	}
	for i, r := range v {
		start := r == '_' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r >= 0xC0 && r != 0xD7 && r != 0xF7 &&
			!(0x300 <= r && r <= 0x36F) && r != 0x37E && !(0x2000 <= r && r <= 0x200B) && !(0x200E <= r && r <= 0x206F) &&
			!(0x2190 <= r && r <= 0x2BFF) && !(0x2FF0 <= r && r <= 0x3000) && !(0xD800 <= r && r <= 0xF8FF) &&
			!(0xFDD0 <= r && r <= 0xFDEF) && r != 0xFFFE && r != 0xFFFF && r <= 0xEFFFF
		if start {
			continue
		}
		if i == 0 || r != '-' && r != '.' && !('0' <= r && r <= '9') && r != 0xB7 && !(0x300 <= r && r <= 0x36F) && r != 0x203F && r != 0x2040 {
			return false
		}
	}
	return true
}
