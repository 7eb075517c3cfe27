package sip

import (
	"iter"
	"strings"
)

// Params is a raw ";a=b;c" string with accessors; names are case-insensitive.
type Params string

// Get returns the parameter's value, unquoted. Of several parameters of one
// name, which no grammar allows (RFC 3261 §7.3.1), the first counts.
func (p Params) Get(name string) (string, bool) {
	rest := string(p)
	for rest != "" {
		var n, v string
		n, v, _, rest, _ = nextParam(rest)
		if equalFold(n, name) {
			return unquote(v), true
		}
	}
	return "", false
}

// Has reports whether the parameter is there, with or without a value.
func (p Params) Has(name string) bool {
	_, ok := p.Get(name)
	return ok
}

// All ranges over names, as written, and values, unquoted.
func (p Params) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		rest := string(p)
		for rest != "" {
			var n, v string
			n, v, _, rest, _ = nextParam(rest)
			if n != "" && !yield(n, unquote(v)) {
				return
			}
		}
	}
}

// Without returns p without the parameter of that name.
func (p Params) Without(name string) Params {
	var b strings.Builder
	rest := string(p)
	for rest != "" {
		n, _, _, r, _ := nextParam(rest)
		if !equalFold(n, name) {
			b.WriteString(rest[:len(rest)-len(r)])
		}
		rest = r
	}
	return Params(b.String())
}

// nextParam cuts the first parameter off s, which is empty or begins with a
// semicolon, blanks around separators allowed (RFC 3261 §25.1 SEMI, EQUAL).
// value is raw; ok is false when the grammar is broken, and rest still goes on
// at the next semicolon.
func nextParam(s string) (name, value string, has bool, rest string, ok bool) {
	i := 0
	for i < len(s) && isBlank(s[i]) {
		i++
	}
	ok = i < len(s) && s[i] == ';'
	if ok {
		i++
	}
	for i < len(s) && isBlank(s[i]) {
		i++
	}
	start := i
	for i < len(s) && classes[s[i]]&classParamName != 0 {
		i++
	}
	name = s[start:i]
	for i < len(s) && isBlank(s[i]) {
		i++
	}
	if i < len(s) && s[i] == '=' {
		has = true
		for i++; i < len(s) && isBlank(s[i]); i++ {
		}
		start = i
		if i < len(s) && s[i] == '"' {
			n := quotedEnd(s[i:])
			if n < 0 {
				return name, s[i:], true, "", false
			}
			i += n
		} else {
			for i < len(s) && classes[s[i]]&classParamValue != 0 {
				i++
			}
		}
		value = s[start:i]
		for i < len(s) && isBlank(s[i]) {
			i++
		}
	}
	ok = ok && name != "" && (i == len(s) || s[i] == ';') && (!has || value != "")
	if i < len(s) && s[i] != ';' {
		if n := strings.IndexByte(s[i:], ';'); n >= 0 {
			i += n
		} else {
			i = len(s)
		}
	}
	return name, value, has, s[i:], ok
}

// valid reports whether p follows the grammar of header parameters.
func (p Params) valid() bool {
	rest := string(p)
	for ok := true; rest != ""; {
		if _, _, _, rest, ok = nextParam(rest); !ok {
			return false
		}
	}
	return true
}

// AppendParam appends ";name=value", with the value quoted when it is no
// token or host, and ";name" when it is empty.
func AppendParam(b []byte, name, value string) []byte {
	b = append(b, ';')
	b = append(b, name...)
	if value == "" {
		return b
	}
	b = append(b, '=')
	for i := 0; i < len(value); i++ {
		if c := value[i]; classes[c]&classToken == 0 && c != '[' && c != ']' && c != ':' {
			return AppendQuoted(b, value)
		}
	}
	return append(b, value...)
}
