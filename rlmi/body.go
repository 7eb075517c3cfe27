package rlmi

// Body writes a multipart/related body (RFC 2387): the document first, then the
// parts that its cids name. Boundary and cids are the caller's: a boundary is a
// token of at most 70 characters that no part has in it, a cid is unique in the
// world (RFC 2045 §7). Every line ends in CRLF, the last one too: belle-sip
// recognises the end of the last part by it.
type Body struct {
	Boundary string
	Root     string // Content-ID of the document, without angle brackets
	// Bare leaves the angle brackets of Content-IDs away. Linphone before 5.4
	// compares Content-ID with cid letter by letter and so finds no part else.
	Bare bool
}

// ContentType is the value of the header field for the body. The boundary is not
// quoted: Linphone 5.1 takes quotes as a part of it, and crashes.
func (m *Body) ContentType() string {
	return "multipart/related;type=\"" + Type + "\";start=\"<" + m.Root + ">\";boundary=" + m.Boundary
}

// Begin writes the document's part.
func (m *Body) Begin(dst []byte, l *List) []byte {
	return Append(m.head(dst, m.Root, Type), l)
}

// Part writes the state that a cid names.
func (m *Body) Part(dst []byte, cid, mediaType string, body []byte) []byte {
	dst = m.head(append(dst, '\r', '\n'), cid, mediaType)
	return append(dst, body...)
}

// End closes the body.
func (m *Body) End(dst []byte) []byte {
	dst = append(dst, "\r\n--"...)
	dst = append(dst, m.Boundary...)
	return append(dst, "--\r\n"...)
}

// head writes a delimiter and a part's header. "Content-Id" has that case because
// Linphone knows no other.
func (m *Body) head(dst []byte, cid, mediaType string) []byte {
	dst = append(dst, "--"...)
	dst = append(dst, m.Boundary...)
	dst = append(dst, "\r\nContent-Transfer-Encoding: binary\r\nContent-Id: "...)
	if m.Bare {
		dst = append(dst, cid...)
	} else {
		dst = append(dst, '<')
		dst = append(dst, cid...)
		dst = append(dst, '>')
	}
	dst = append(dst, "\r\nContent-Type: "...)
	dst = append(dst, mediaType...)
	return append(dst, ";charset=\"UTF-8\"\r\n\r\n"...)
}
