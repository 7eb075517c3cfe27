package markup

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// text reads character data up to the next markup.
func (p *parser) text() {
	start := p.pos
	end := strings.IndexByte(p.s[start:], '<')
	if end < 0 {
		end = len(p.s)
	} else {
		end += start
	}
	s, ok := p.chars(start, end, plain)
	if ok {
		p.pos = end
		p.add(Node{Text: s, Start: start, End: end, Kind: TextNode})
	}
}

// attrValue reads the quoted value at i and returns it normalised (XML 1.0 §3.3.3).
func (p *parser) attrValue(i int) (string, int) {
	start := i + 1
	end := strings.IndexByte(p.s[start:], p.s[i])
	if end < 0 {
		p.fail(NotWellFormed, i, "an attribute value without end")
		return "", i
	}
	end += start
	v, _ := p.chars(start, end, plainAttr)
	return v, end + 1
}

// chars checks s[start:end] and resolves what has to be resolved; kind is
// plain for character data, plainAttr for attribute values.
func (p *parser) chars(start, end int, kind class) (string, bool) {
	s := p.s[start:end]
	i := 0
	for i < len(s) && classes[s[i]]&kind != 0 {
		i++
	}
	if i == len(s) {
		return s, true
	}
	return p.slowChars(s, i, start, kind)
}

// slowChars is chars from the first byte, s[i], that needs attention. It copies only
// when the result differs from what was written.
func (p *parser) slowChars(s string, i, base int, kind class) (string, bool) {
	var b []byte
	done := 0 // s[:done] is in b, when b is in use
	put := func(v string, next int) {
		b = append(append(b, s[done:i]...), v...)
		done, i = next, next
	}
	for i < len(s) {
		c := s[i]
		if classes[c]&kind != 0 {
			i++
			continue
		}
		switch {
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n <= 1 {
				p.fail(BadEncoding, base+i, "not UTF-8")
				return "", false
			}
			if !isChar(r) {
				p.fail(NotWellFormed, base+i, "a character that XML does not know")
				return "", false
			}
			i += n
		case c == '&':
			v, n := p.reference(s[i:], base+i)
			if n == 0 {
				return "", false
			}
			put(v, i+n)
		case c == '\r': // XML 1.0 §2.11
			n := 1
			if strings.HasPrefix(s[i:], "\r\n") {
				n = 2
			}
			if kind == plainAttr {
				put(" ", i+n)
			} else {
				put("\n", i+n)
			}
		case classes[c]&blank != 0: // only in attribute values
			put(" ", i+1)
		case c == ']':
			if strings.HasPrefix(s[i:], "]]>") {
				p.fail(NotWellFormed, base+i, "]]> in character data")
				return "", false
			}
			i++
		case c == '<':
			p.fail(NotWellFormed, base+i, "< in an attribute value")
			return "", false
		default:
			p.fail(NotWellFormed, base+i, "a control character")
			return "", false
		}
	}
	if b == nil {
		return s, true
	}
	return string(append(b, s[done:]...)), true
}

// reference resolves the character or predefined reference at the start of s
// and returns its length, 0 after an error.
func (p *parser) reference(s string, at int) (string, int) {
	const longest = len("&#x0000000010FFFF;") // leading zeros are legal, within reason
	end := strings.IndexByte(s[:min(len(s), longest)], ';')
	if end < 0 {
		p.fail(NotWellFormed, at, "an ampersand that starts no reference")
		return "", 0
	}
	name := s[1:end]
	switch name {
	case "amp":
		return "&", end + 1
	case "lt":
		return "<", end + 1
	case "gt":
		return ">", end + 1
	case "apos":
		return "'", end + 1
	case "quot":
		return `"`, end + 1
	}
	if !strings.HasPrefix(name, "#") {
		if ncName(name, 0) == len(name) && name != "" {
			p.fail(Restricted, at, "a reference to an entity that is not predefined")
		} else {
			p.fail(NotWellFormed, at, "an ampersand that starts no reference")
		}
		return "", 0
	}
	digits, base := name[1:], 10
	if strings.HasPrefix(digits, "x") {
		digits, base = digits[1:], 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || !isChar(rune(min(n, 0x110000))) {
		p.fail(NotWellFormed, at, "a reference to no character")
		return "", 0
	}
	return string(rune(n)), end + 1
}

// special reads what begins with <! or <? at pos.
func (p *parser) special() {
	start := p.pos
	rest := p.s[start:]
	switch {
	case strings.HasPrefix(rest, "<![CDATA["):
		p.cdata(start)
	case strings.HasPrefix(rest, "<!DOCTYPE"):
		p.fail(Restricted, start, "a document type declaration")
	case !p.o.Document && strings.HasPrefix(rest, "<!--"):
		p.fail(Restricted, start, "a comment")
	case !p.o.Document && strings.HasPrefix(rest, "<?"):
		p.fail(Restricted, start, "a processing instruction")
	case strings.HasPrefix(rest, "<!--"):
		p.comment(start)
	case strings.HasPrefix(rest, "<?"):
		p.instruction(start)
	default:
		p.fail(NotWellFormed, start, "unknown markup")
	}
}

func (p *parser) cdata(start int) {
	from := start + len("<![CDATA[")
	n := strings.Index(p.s[from:], "]]>")
	if n < 0 {
		p.fail(NotWellFormed, start, "a CDATA section without end")
		return
	}
	s := p.s[from : from+n]
	if !p.onlyChars(s, from) {
		return
	}
	if strings.IndexByte(s, '\r') >= 0 {
		s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	}
	p.pos = from + n + 3
	p.add(Node{Text: s, Start: start, End: p.pos, Kind: TextNode})
}

// onlyChars refuses what is no Char of XML 1.0.
func (p *parser) onlyChars(s string, at int) bool {
	for i, r := range s {
		if r == utf8.RuneError && !strings.HasPrefix(s[i:], "\uFFFD") {
			p.fail(BadEncoding, at+i, "not UTF-8")
			return false
		}
		if !isChar(r) {
			p.fail(NotWellFormed, at+i, "a character that XML does not know")
			return false
		}
	}
	return true
}

func (p *parser) comment(start int) {
	from := start + len("<!--")
	n := strings.Index(p.s[from:], "--")
	if n < 0 || !strings.HasPrefix(p.s[from+n:], "-->") {
		p.fail(NotWellFormed, start, "a comment without end, or with -- inside")
		return
	}
	if !p.onlyChars(p.s[from:from+n], from) {
		return
	}
	p.pos = from + n + 3
	p.markImpure()
	p.add(Node{Text: p.s[from : from+n], Start: start, End: p.pos, Kind: CommentNode})
}

func (p *parser) instruction(start int) {
	from := start + 2
	name := ncName(p.s, from)
	n := strings.Index(p.s[from:], "?>")
	switch {
	case name < 0:
		p.fail(BadEncoding, from, "not UTF-8")
		return
	case name == from || n < 0 || strings.EqualFold(p.s[from:name], "xml"),
		name < from+n && classes[p.s[name]]&blank == 0:
		p.fail(NotWellFormed, start, "a malformed processing instruction")
		return
	}
	if !p.onlyChars(p.s[from:from+n], from) {
		return
	}
	p.pos = from + n + 2
	p.markImpure()
	p.add(Node{Text: p.s[from : from+n], Start: start, End: p.pos, Kind: InstructionNode})
}

func (p *parser) markImpure() {
	if len(p.frames) > 0 {
		p.frames[len(p.frames)-1].impure = true
	}
}

// declaration checks the XML declaration at start and returns its end (XML 1.0 §2.8).
func (p *parser) declaration(start int) int {
	n := strings.Index(p.s[start:], "?>")
	if n < 0 {
		p.fail(NotWellFormed, start, "an XML declaration without end")
		return start
	}
	end := start + n
	stage := 0
	for i := start + len("<?xml"); ; {
		gap := i
		i = skipBlanks(p.s, i)
		if i == end && stage > 0 {
			return end + 2
		}
		name := ncName(p.s, i)
		if name <= i || gap == i {
			break
		}
		eq := skipBlanks(p.s, name)
		if eq >= end || p.s[eq] != '=' {
			break
		}
		q := skipBlanks(p.s, eq+1)
		if q >= end || p.s[q] != '"' && p.s[q] != '\'' {
			break
		}
		closing := strings.IndexByte(p.s[q+1:end], p.s[q])
		if closing < 0 {
			break
		}
		value := p.s[q+1 : q+1+closing]
		stage = p.pseudoAttr(p.s[i:name], value, stage, i)
		if p.err != nil {
			return end
		}
		i = q + closing + 2
	}
	p.fail(NotWellFormed, start, "a malformed XML declaration")
	return end
}

// pseudoAttr checks one item of the XML declaration; stage tells which may come.
func (p *parser) pseudoAttr(name, value string, stage, at int) int {
	switch {
	case name == "version" && stage == 0 && len(value) > 2 && strings.HasPrefix(value, "1.") && strings.Trim(value[2:], "0123456789") == "":
		return 1
	case name == "encoding" && stage == 1:
		if !strings.EqualFold(value, "UTF-8") && !strings.EqualFold(value, "US-ASCII") {
			p.fail(BadEncoding, at, "an encoding other than UTF-8")
		}
		return 2
	case name == "standalone" && (stage == 1 || stage == 2) && (value == "yes" || value == "no"):
		return 3
	}
	p.fail(NotWellFormed, at, "a malformed XML declaration")
	return stage
}
