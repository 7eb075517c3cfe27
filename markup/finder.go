package markup

import "bytes"

// finder looks for the end of an element in bytes that arrive piece by piece.
// It checks only what cannot wait until all are there: limits, restricted XML, and
// that end tags match, so that a broken stanza is answered at once and not
// when some later stanza happens to close it. The parser checks the rest.
type finder struct {
	state  state
	quote  byte
	header bool // the item is a stream header: one open tag, an XML declaration before it
	pos    int  // bytes looked at
	name   int  // where the name of the tag at hand begins
	text   int  // where the text at hand begins
	open   []name

	// Counts of the item found last, exact for what is well-formed; the
	// parser sizes its slabs by them.
	elements, nodes, attrs int
}

// name is the span of an open element's name.
type name struct{ start, end int }

type state uint8

const (
	inText state = iota
	afterLT
	inName
	inTag
	afterSlash
	inQuote
	inEndTag
	afterBang
	inCDATA
	inDeclaration
)

// tagStop marks the bytes that matter inside a tag.
var tagStop = [256]bool{'>': true, '/': true, '<': true, '"': true, '\'': true}

// nameStop marks the bytes that end a name.
var nameStop = [256]bool{'>': true, '<': true, '/': true, '=': true, '"': true, '\'': true, ' ': true, '\t': true, '\n': true, '\r': true}

const cdataOpen = "<![CDATA["

// reset makes f ready for the next item; the counts stay until that begins.
func (f *finder) reset() {
	if cap(f.open) > 16 {
		f.open = nil
	}
	f.open = f.open[:0]
	f.state, f.header, f.pos, f.text = inText, false, 0, 0
}

// scan goes on in b, which begins with the bytes of earlier calls. It returns
// the length of the item when its end is in b, 0 when more is needed.
func (f *finder) scan(b []byte, header string, o *Options) (int, *SyntaxError) {
	if f.pos == 0 {
		f.elements, f.nodes, f.attrs = 0, 0, 0
	}
	n, err := f.step(b, header, o)
	if err == nil && (n > o.MaxBytes || n == 0 && f.pos >= o.MaxBytes) {
		err = &SyntaxError{TooBig, o.MaxBytes, "more bytes than allowed"}
	}
	return n, err
}

func (f *finder) step(b []byte, header string, o *Options) (int, *SyntaxError) {
	for f.pos < len(b) {
		switch f.state {
		case inText:
			if err := f.inText(b); err != nil {
				return 0, err
			}
		case afterLT:
			if err := f.afterLT(b[f.pos], o); err != nil {
				return 0, err
			}
		case inName:
			i := f.pos
			for i < len(b) && !nameStop[b[i]] {
				i++
			}
			if f.pos = i; i < len(b) {
				f.open = append(f.open, name{f.name, i})
				f.state = inTag
			}
		case inTag:
			end, err := f.inTag(b)
			if end || err != nil {
				return f.pos, err
			}
		case afterSlash:
			if b[f.pos] != '>' {
				return 0, f.wrong("a slash inside a tag")
			}
			f.pos++
			f.open = f.open[:len(f.open)-1]
			if f.header || len(f.open) == 0 {
				return f.pos, nil
			}
			f.state, f.text = inText, f.pos
		case inQuote:
			i := bytes.IndexByte(b[f.pos:], f.quote)
			if i < 0 {
				if bytes.IndexByte(b[f.pos:], '<') >= 0 {
					return 0, f.wrong("< in an attribute value")
				}
				f.pos = len(b)
				continue
			}
			f.pos += i + 1
			f.state = inTag
		case inEndTag:
			i := bytes.IndexByte(b[f.pos:], '>')
			if i < 0 {
				f.pos = len(b)
				continue
			}
			f.pos += i + 1
			if end, err := f.endTag(b, header); end || err != nil {
				return f.pos, err
			}
		case afterBang:
			if b[f.pos] != cdataOpen[f.pos-f.name] {
				return 0, &SyntaxError{Restricted, f.name, "a comment or declaration"}
			}
			if f.pos++; f.pos-f.name == len(cdataOpen) {
				f.state = inCDATA
			}
		case inCDATA:
			if i := f.until(b, "]]>", f.name+len(cdataOpen)); i > 0 {
				f.nodes++
				f.state, f.text = inText, i
			}
		case inDeclaration:
			if i := f.until(b, "?>", f.name+2); i > 0 {
				f.state, f.text = inText, i
			}
		}
	}
	return 0, nil
}

func (f *finder) wrong(reason string) *SyntaxError {
	return &SyntaxError{NotWellFormed, f.pos, reason}
}

// until moves past the next occurrence of end that begins at from or later, and
// returns the position behind it, 0 if it has not come.
func (f *finder) until(b []byte, end string, from int) int {
	from = max(from, f.pos-len(end)+1)
	if from < len(b) {
		if i := bytes.Index(b[from:], []byte(end)); i >= 0 {
			f.pos = from + i + len(end)
			return f.pos
		}
	}
	f.pos = len(b)
	return 0
}

func (f *finder) inText(b []byte) *SyntaxError {
	i := bytes.IndexByte(b[f.pos:], '<')
	if i < 0 {
		i = len(b)
	} else {
		i += f.pos
	}
	if len(f.open) == 0 {
		for ; f.pos < i; f.pos++ {
			if classes[b[f.pos]]&blank == 0 {
				if f.header {
					return f.wrong("text before the stream header")
				}
				return &SyntaxError{Misplaced, f.pos, "text between elements"}
			}
		}
	}
	if f.pos = i; i == len(b) {
		return nil
	}
	if i > f.text {
		f.nodes++
	}
	f.name = i
	f.pos++
	f.state = afterLT
	return nil
}

// afterLT decides by the byte behind "<".
func (f *finder) afterLT(c byte, o *Options) *SyntaxError {
	switch {
	case c == '/':
		if f.header {
			return f.wrong("an end tag before the stream header")
		}
		f.state = inEndTag
	case c == '?' && f.header && f.name == 0:
		f.state = inDeclaration
	case c == '?':
		return &SyntaxError{Restricted, f.name, "a processing instruction"}
	case c == '!' && len(f.open) == 0:
		return &SyntaxError{Restricted, f.name, "a comment or declaration"}
	case c == '!':
		f.state = afterBang
	case nameStop[c]:
		return f.wrong("a name is expected")
	default:
		if len(f.open) >= o.MaxDepth {
			return &SyntaxError{TooBig, f.name, "elements nested deeper than allowed"}
		}
		if f.elements++; f.elements+f.nodes > o.MaxNodes {
			return &SyntaxError{TooBig, f.name, "more nodes than allowed"}
		}
		f.name++
		f.state = inName
		return nil
	}
	f.pos++
	return nil
}

// inTag goes on behind the name of a start tag; end tells that the item ends there.
func (f *finder) inTag(b []byte) (end bool, err *SyntaxError) {
	i := f.pos
	for i < len(b) && !tagStop[b[i]] {
		i++
	}
	if f.pos = i; i == len(b) {
		return false, nil
	}
	f.pos++
	switch b[i] {
	case '<':
		return false, f.wrong("< inside a tag")
	case '>':
		if f.header {
			return true, nil
		}
		f.state, f.text = inText, f.pos
	case '/':
		f.state = afterSlash
	default:
		f.attrs++
		f.state, f.quote = inQuote, b[i]
	}
	return false, nil
}

// endTag compares the end tag before pos with the start tag.
func (f *finder) endTag(b []byte, header string) (end bool, err *SyntaxError) {
	got := b[f.name+2 : f.pos-1]
	for len(got) > 0 && classes[got[len(got)-1]]&blank != 0 {
		got = got[:len(got)-1]
	}
	if len(f.open) == 0 {
		if string(got) != header {
			return false, f.wrong("end tag does not match the stream header")
		}
		return true, nil
	}
	top := f.open[len(f.open)-1]
	if !bytes.Equal(got, b[top.start:top.end]) {
		return false, f.wrong("end tag does not match its start tag")
	}
	f.open = f.open[:len(f.open)-1]
	f.state, f.text = inText, f.pos
	return len(f.open) == 0, nil
}
