package sip

import (
	"math"
	"strings"
)

// What Parse takes at most; see also MaxMessage and MaxHead.
const (
	MaxHeaders = 256   // header lines of a message
	MaxLine    = 16384 // octets of one header line, unfolded
)

// Parse reads one message from b (RFC 3261 §7, §25), which is copied. For a
// datagram b is the whole datagram: octets beyond Content-Length are ignored,
// fewer are an error, and without Content-Length the body is all the rest
// (RFC 3261 §18.3). Stream framing is a Framer's.
//
// Parse checks the start-line, the shape of every line, and the header fields
// that every message needs: Via (the topmost), From, To, Call-ID, CSeq,
// Max-Forwards where it is present, Content-Length, and that what may stand
// once stands once. The others are checked by whoever reads them.
//
// The error is a *ParseError, which knows the status to answer with where an
// answer is possible.
func Parse(b []byte) (*Message, error) {
	if len(b) > MaxMessage {
		return nil, frameError(b[:MaxHead], 513, "Message too large")
	}
	m := new(Message)
	if e := m.parse(string(b)); e != nil {
		e.Message = m
		return nil, e
	}
	return m, nil
}

// parser reads a head line by line. The first thing that is wrong is the error;
// reading goes on behind it, so that the answer finds its header fields.
type parser struct {
	m      *Message
	err    *ParseError
	at     [numHeaders]uint16 // 1 + index of the first line of each header
	folded bool               // a line goes on behind a line break
}

func (p *parser) fail(status int, reason string) {
	if p.err == nil {
		p.err = &ParseError{Status: status, Reason: reason}
	}
}

// parse fills m from s, the message as received.
func (m *Message) parse(s string) *ParseError {
	for strings.HasPrefix(s, "\r\n") { // RFC 3261 §7.5
		s = s[2:]
	}
	p := parser{m: m}
	m.raw = s
	s = s[:min(len(s), MaxHead)]
	line, next := p.line(s, 0)
	if next < 0 {
		p.endless()
		return p.err
	}
	p.startLine(s[:line])
	end := p.headerLines(s, next)
	if p.folded {
		raw := m.raw
		*m = Message{}
		return m.parse(unfold(raw))
	}
	p.mandatory()
	if end < 0 {
		p.endless()
	} else {
		p.body(m.raw[end:])
	}
	return p.err
}

// endless notes that the head does not end where it could.
func (p *parser) endless() {
	if len(p.m.raw) > MaxHead {
		p.fail(513, "Message head too large")
	} else {
		p.fail(400, "Message without end of header")
	}
}

// line finds the end of the line that goes through i, and the beginning of the
// next; next is -1 when the line does not end in s. Control characters other
// than HTAB stand in quoted-pairs only (RFC 3261 §25.1).
func (p *parser) line(s string, i int) (end, next int) {
	for ; i < len(s); i++ {
		if !controls[s[i]] {
			continue
		}
		if s[i] == '\r' && i+1 < len(s) && s[i+1] == '\n' {
			return i, i + 2
		}
		if s[i] == '\r' || s[i] == '\n' || !quotedPair(s, i) {
			p.fail(400, "Control character in header")
			if n := strings.Index(s[i:], "\r\n"); n >= 0 {
				return i + n, i + n + 2
			}
			break
		}
	}
	return len(s), -1
}

// quotedPair reports whether s[i] stands behind a backslash that is not itself
// quoted.
func quotedPair(s string, i int) bool {
	n := 0
	for i > 0 && s[i-1] == '\\' {
		n++
		i--
	}
	return n%2 == 1
}

var controls = func() (t [256]bool) {
	for c := 0; c < 0x20; c++ {
		t[c] = c != '\t'
	}
	t[0x7f] = true
	return t
}()

// unfold replaces, in the head of s, each line break that a blank follows, with
// the blanks round it, by one SP (RFC 3261 §7.3.1).
func unfold(s string) string {
	end := strings.Index(s, "\r\n\r\n")
	if end < 0 {
		end = len(s)
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < end; i++ {
		if s[i] == '\r' && i+2 < end && s[i+1] == '\n' && isBlank(s[i+2]) {
			for len(b) > 0 && isBlank(b[len(b)-1]) {
				b = b[:len(b)-1]
			}
			for i += 2; i+1 < end && isBlank(s[i+1]); i++ {
			}
			b = append(b, ' ')
			continue
		}
		b = append(b, s[i])
	}
	return string(append(b, s[end:]...))
}

// startLine reads a Request-Line or a Status-Line (RFC 3261 §7.1, §7.2).
func (p *parser) startLine(s string) {
	if len(s) >= 4 && equalFold(s[:4], "SIP/") {
		p.statusLine(s)
		return
	}
	m := p.m
	i := strings.IndexByte(s, ' ')
	if i < 0 || !isToken(s[:i]) {
		p.fail(400, "Malformed Request-Line")
		return
	}
	m.Method = s[:i]
	s = s[i+1:]
	// RFC 3261 §7.1: no LWS but the single SP between the elements
	// (RFC 4475 §3.1.2.8 to §3.1.2.10).
	i = strings.IndexByte(s, ' ')
	if i <= 0 {
		p.fail(400, "Malformed Request-Line")
		return
	}
	m.URI = s[:i]
	version := s[i+1:]
	if !equalFold(version, "SIP/2.0") {
		if validVersion(version) {
			p.fail(505, "Version Not Supported")
		} else {
			p.fail(400, "Malformed Request-Line")
		}
	}
	u, err := ParseURI(m.URI)
	switch {
	case err != nil:
		p.fail(400, "Malformed Request-URI")
	case u.Headers != "": // RFC 3261 §19.1.1 table 1, RFC 4475 §3.1.2.11
		p.fail(400, "Header fields in Request-URI")
	}
}

// validVersion reports whether s is a SIP-Version of any number.
func validVersion(s string) bool {
	if len(s) < 5 || !equalFold(s[:4], "SIP/") {
		return false
	}
	major, minor, _ := strings.Cut(s[4:], ".")
	_, ok1 := parseUint(major, math.MaxUint32)
	_, ok2 := parseUint(minor, math.MaxUint32)
	return ok1 && ok2
}

func (p *parser) statusLine(s string) {
	m := p.m
	m.response = true
	version, s, _ := strings.Cut(s, " ")
	if !equalFold(version, "SIP/2.0") {
		p.fail(505, "Version Not Supported")
	}
	code, reason, _ := strings.Cut(s, " ") // a missing SP before an empty reason is forgiven
	n, ok := parseUint(code, 699)
	if !ok || n < 100 || len(code) != 3 {
		p.fail(400, "Malformed status code")
		return
	}
	m.Status, m.Reason = int(n), reason
}

// headerLines indexes the header lines of s from i on. It returns where the
// body begins, or -1 when there is no empty line.
func (p *parser) headerLines(s string, i int) int {
	m := p.m
	fields := m.inline[:0] // local, so that appending needs no write barrier
	defer func() { m.headers = fields }()
	for i < len(s) {
		start := i
		if isBlank(s[i]) {
			p.folded = true
			return -1
		}
		for i < len(s) && classes[s[i]]&classToken != 0 {
			i++
		}
		nameEnd := i
		for i < len(s) && isBlank(s[i]) { // RFC 3261 §25.1 HCOLON
			i++
		}
		good := i < len(s) && s[i] == ':' && nameEnd > start
		value := i + 1
		valueEnd, next := p.line(s, i)
		switch i = next; {
		case next < 0:
			return -1
		case valueEnd == start:
			return next
		case !good:
			p.fail(400, "Malformed header field")
			continue
		case valueEnd-start > MaxLine:
			p.fail(400, "Header field too long")
			continue
		case len(fields) == MaxHeaders:
			p.fail(400, "Too many header fields")
			return -1
		}
		for value < valueEnd && isBlank(s[value]) {
			value++
		}
		for value < valueEnd && isBlank(s[valueEnd-1]) {
			valueEnd--
		}
		id := LookupHeader(s[start:nameEnd])
		fields = append(fields, field{id, uint16(start), uint16(nameEnd), uint16(value), uint16(valueEnd)})
		if p.at[id] == 0 {
			p.at[id] = uint16(len(fields))
		} else if single[id] {
			p.fail(400, "Several "+id.String()+" header fields")
		}
	}
	return -1
}

// value is the first line of h.
func (p *parser) value(h Header) (string, bool) {
	if p.at[h] == 0 {
		return "", false
	}
	f := &p.m.headers[p.at[h]-1]
	return p.m.raw[f.value:f.valueEnd], true
}

// need is value for a header that must be there.
func (p *parser) need(h Header) (string, bool) {
	v, ok := p.value(h)
	if !ok {
		p.fail(400, "Missing "+h.String())
	}
	return v, ok
}

// mandatory reads what every message has (RFC 3261 §8.1.1).
func (p *parser) mandatory() {
	m := p.m
	if v, ok := p.need(HVia); ok {
		if m.via, _, ok = parseVia(v); !ok {
			p.fail(400, "Malformed Via")
		}
	}
	if v, ok := p.need(HFrom); ok {
		if m.from, ok = parseAddress(v); !ok {
			p.fail(400, "Malformed From")
		}
	}
	if v, ok := p.need(HTo); ok {
		if m.to, ok = parseAddress(v); !ok {
			p.fail(400, "Malformed To")
		}
	}
	if v, ok := p.need(HCallID); ok {
		if m.callID = v; v == "" || strings.ContainsAny(v, " \t,") {
			p.fail(400, "Malformed Call-ID")
		}
	}
	p.sequence()
	// Max-Forwards may be missing: RFC 2543 had none (RFC 3261 §16.3).
	if v, ok := p.value(HMaxForwards); ok {
		if _, ok := parseUint(v, 255); !ok {
			p.fail(400, "Malformed Max-Forwards")
		}
	}
}

// sequence reads the CSeq, whose method is the request's (RFC 3261 §8.1.1.5).
func (p *parser) sequence() {
	v, ok := p.need(HCSeq)
	if !ok {
		return
	}
	i := 0
	for i < len(v) && isDigit(v[i]) {
		i++
	}
	n, ok := parseUint(v[:i], math.MaxUint32) // RFC 3261 §20.16
	method := trimBlank(v[i:])
	if !ok || i == len(v) || !isBlank(v[i]) || !isToken(method) {
		p.fail(400, "Malformed CSeq")
		return
	}
	m := p.m
	m.cseq = uint32(n)
	if m.Method == "" { // a response, or a Request-Line that could not be read
		m.Method = method
	} else if m.Method != method {
		if knownMethod(m.Method) {
			p.fail(400, "CSeq method does not match") // RFC 4475 §3.1.2.17
		} else {
			p.fail(501, "Not Implemented") // RFC 4475 §3.1.2.18
		}
	}
}

// knownMethod reports whether the method is registered for SIP.
func knownMethod(method string) bool {
	switch method {
	case "ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY", "OPTIONS",
		"PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE":
		return true
	}
	return false
}

// body takes the body, given all that follows the head.
func (p *parser) body(rest string) {
	if v, ok := p.value(HContentLength); ok {
		n, ok := parseUint(v, math.MaxUint32)
		switch {
		case !ok:
			p.fail(400, "Malformed Content-Length")
			return
		case n > uint64(len(rest)): // RFC 3261 §18.3
			p.fail(400, "Body shorter than Content-Length")
			return
		}
		rest = rest[:n]
	}
	p.m.Body = rest
}
