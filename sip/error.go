package sip

// ParseError says why a message was refused and how to answer it.
type ParseError struct {
	// Status to answer a request with: 400, 416 is left to the user agent, 505
	// for another version (RFC 3261 §21), 513 when it is too large.
	Status int
	// Reason is fit for the status line: it tells what is wrong
	// (RFC 3261 §21.4.1).
	Reason string
	// Message is as much as could be read, and nil when there was nothing to
	// go by. Its Via, From, To, Call-ID and CSeq may be missing or malformed:
	// Answerable tells.
	Message *Message
}

// Error is the reason.
func (e *ParseError) Error() string { return "sip: " + e.Reason }

// Answerable reports whether the error can be answered at all: it concerns a
// request other than ACK, whose topmost Via is readable and which has From,
// To, Call-ID and CSeq lines to be copied (RFC 3261 §8.2.6.2).
func (e *ParseError) Answerable() bool { panic("contract") }

// frameError is a framing error with what can be read of the head.
func frameError(head []byte, status int, reason string) error { panic("contract") }
