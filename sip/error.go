package sip

import "errors"

// ParseError says why a message was refused and how to answer it.
type ParseError struct {
	// Status to answer a request with: 400, 505 for another version of SIP,
	// 513 when the message is too large, 501 for an unknown method that its
	// CSeq contradicts (RFC 3261 §21, RFC 4475 §3.1.2.18). An unknown scheme of
	// the request-URI (416) is no error here: the user agent tells.
	Status int
	// Reason tells what is wrong, and is fit for a status line
	// (RFC 3261 §21.4.1).
	Reason string
	// Message is as much as could be read; nil when that is nothing. What it
	// holds may be malformed: copy its Via, From, To, Call-ID and CSeq lines
	// into the answer as far as they are there.
	Message *Message
}

// Error is the reason.
func (e *ParseError) Error() string { return "sip: " + e.Reason }

// Answerable reports whether the error can be answered: it concerns a request
// other than ACK whose topmost Via is readable. A malformed response is
// dropped (RFC 3261 §18.1.2, §18.3).
func (e *ParseError) Answerable() bool {
	m := e.Message
	return m != nil && !m.response && m.Method != "ACK" && m.via.Host != ""
}

// frameError is a framing error with what can be read of the head.
func frameError(head []byte, status int, reason string) error {
	m := new(Message)
	m.parse(string(head))
	return &ParseError{Status: status, Reason: reason, Message: m}
}

// Errors of the readers of single header fields. Each is to be answered 400.
var (
	ErrAddress = errors.New("sip: malformed address")
	ErrHeader  = errors.New("sip: malformed header field")
)
