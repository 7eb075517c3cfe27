package sip

import "strconv"

// The functions here append whole header lines, each ending in CRLF, with the
// registered spelling of the name. They build Response.Header and
// OutRequest.Header.

// AppendHeader appends "Name: value". CR, LF and NUL in the value become
// blanks, so that no value can smuggle in a line.
func AppendHeader(b []byte, h Header, value string) []byte {
	return AppendNamed(b, h.String(), value)
}

// AppendNamed is AppendHeader for headers without a constant. The name is the
// caller's own, and a token.
func AppendNamed(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = appendText(b, value)
	return append(b, "\r\n"...)
}

// appendText appends s with CR, LF and NUL made blanks.
func appendText(b []byte, s string) []byte {
	n := len(b)
	b = append(b, s...)
	blankBreaks(b[n:])
	return b
}

// blankBreaks makes blanks of CR, LF and NUL.
func blankBreaks(b []byte) {
	for i, c := range b {
		if c == '\r' || c == '\n' || c == 0 {
			b[i] = ' '
		}
	}
}

// AppendNumber appends "Name: n", for Expires, Min-Expires, Max-Forwards and so on.
func AppendNumber(b []byte, h Header, n uint32) []byte {
	b = append(b, headerNames[h]...)
	b = append(b, ": "...)
	b = strconv.AppendUint(b, uint64(n), 10)
	return append(b, "\r\n"...)
}

// AppendCSeq appends "CSeq: n METHOD".
func AppendCSeq(b []byte, n uint32, method string) []byte {
	b = append(b, "CSeq: "...)
	b = strconv.AppendUint(b, uint64(n), 10)
	b = append(b, ' ')
	b = append(b, method...)
	return append(b, "\r\n"...)
}

// AppendAddressHeader appends a header with one address, such as From or Contact.
func AppendAddressHeader(b []byte, h Header, a Address) []byte {
	b = append(b, headerNames[h]...)
	b = append(b, ": "...)
	n := len(b)
	b = AppendAddress(b, a)
	blankBreaks(b[n:])
	return append(b, "\r\n"...)
}

// AppendList appends "Name: a, b, c"; an empty list gives an empty value,
// which Accept, Allow and Supported may have.
func AppendList(b []byte, h Header, values ...string) []byte {
	b = append(b, headerNames[h]...)
	b = append(b, ": "...)
	for i, v := range values {
		if i > 0 {
			b = append(b, ", "...)
		}
		b = appendText(b, v)
	}
	return append(b, "\r\n"...)
}

// AppendCopy appends all lines of a header of m, as for a response
// (RFC 3261 §8.2.6.2) or a Route set; nothing when m has none.
func (m *Message) AppendCopy(b []byte, h Header) []byte {
	for v := range m.Lines(h) {
		b = append(b, headerNames[h]...)
		b = append(b, ": "...)
		b = append(b, v...)
		b = append(b, "\r\n"...)
	}
	return b
}

// Append appends m as a whole message: header lines in the order received,
// unfolded, names spelled out in full, Content-Length last and right.
func (m *Message) Append(b []byte) []byte {
	if m.response {
		b = append(b, "SIP/2.0 "...)
		b = strconv.AppendInt(b, int64(m.Status), 10)
		b = append(b, ' ')
		b = append(b, m.Reason...)
	} else {
		b = append(b, m.Method...)
		b = append(b, ' ')
		b = append(b, m.URI...)
		b = append(b, " SIP/2.0"...)
	}
	b = append(b, "\r\n"...)
	for i := range m.headers {
		f := &m.headers[i]
		switch f.id {
		case HContentLength:
			continue
		case Other:
			b = append(b, m.raw[f.name:f.nameEnd]...)
		default:
			b = append(b, headerNames[f.id]...)
		}
		b = append(b, ": "...)
		b = append(b, m.raw[f.value:f.valueEnd]...)
		b = append(b, "\r\n"...)
	}
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, int64(len(m.Body)), 10)
	b = append(b, "\r\n\r\n"...)
	return append(b, m.Body...)
}

// AppendWarning appends a Warning line (RFC 3261 §20.43): a code of three
// digits, the host that speaks, and a text for people.
func AppendWarning(b []byte, code int, host, text string) []byte {
	b = append(b, "Warning: "...)
	b = strconv.AppendInt(b, int64(code), 10)
	b = append(b, ' ')
	b = appendText(b, host)
	b = append(b, ' ')
	b = AppendQuoted(b, text)
	return append(b, "\r\n"...)
}
