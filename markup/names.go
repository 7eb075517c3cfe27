package markup

import "unicode/utf8"

// class sorts ASCII bytes; bytes from 0x80 are decoded where they matter.
type class uint8

const (
	nameStart class = 1 << iota // NameStartChar without the colon
	nameChar                    // NameChar without the colon
	blank                       // S
	plain                       // character data that needs no attention
	plainAttr                   // the same in an attribute value, quotes excepted
)

var classes = func() (t [256]class) {
	for c := 0x20; c < 0x80; c++ {
		t[c] = plain | plainAttr
	}
	for _, c := range "&<]" {
		t[c] &^= plain
	}
	for _, c := range "&<" {
		t[c] &^= plainAttr
	}
	t['\t'], t['\n'] = blank|plain, blank|plain
	t['\r'] = blank
	t[' '] |= blank
	for c := 'a'; c <= 'z'; c++ {
		t[c] |= nameStart | nameChar
		t[c-'a'+'A'] |= nameStart | nameChar
	}
	t['_'] |= nameStart | nameChar
	for _, c := range "-.0123456789" {
		t[c] |= nameChar
	}
	return t
}()

// isChar is production [2] of XML 1.0.
func isChar(r rune) bool {
	return r >= 0x20 && r <= 0xD7FF || r == '\t' || r == '\n' || r == '\r' ||
		r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// isNameStart is production [4] of XML 1.0 (fifth edition) beyond ASCII.
func isNameStart(r rune) bool {
	switch {
	case r < 0xC0:
		return false
	case r <= 0x2FF:
		return r != 0xD7 && r != 0xF7
	case r <= 0x1FFF:
		return r >= 0x370 && r != 0x37E
	case r <= 0x200D:
		return r >= 0x200C
	case r <= 0x218F:
		return r >= 0x2070
	case r <= 0x2FEF:
		return r >= 0x2C00
	case r <= 0xD7FF:
		return r >= 0x3001
	case r <= 0xFDCF:
		return r >= 0xF900
	case r <= 0xFFFD:
		return r >= 0xFDF0
	}
	return r >= 0x10000 && r <= 0xEFFFF
}

// isNameChar is production [4a] beyond ASCII.
func isNameChar(r rune) bool {
	return r == 0xB7 || r >= 0x300 && r <= 0x36F || r == 0x203F || r == 0x2040 || isNameStart(r)
}

// ncName returns the end of the NCName that starts at s[i], i if there is none,
// and -1 where the bytes are not UTF-8.
func ncName(s string, i int) int {
	for start := i; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			want := nameChar
			if i == start {
				want = nameStart
			}
			if classes[c]&want == 0 {
				return i
			}
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && n <= 1 {
			return -1
		}
		if i == start && !isNameStart(r) || !isNameChar(r) {
			return i
		}
		i += n
	}
	return i
}

// skipBlanks returns the position of the first byte from i that is no white space.
func skipBlanks(s string, i int) int {
	for i < len(s) && classes[s[i]]&blank != 0 {
		i++
	}
	return i
}
