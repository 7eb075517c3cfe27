package xmpp

import (
	"errors"
	"os"

	"pharos/markup"
)

// StreamError is a stream-level error of RFC 6120 §4.9.3.
type StreamError struct {
	Condition string // an unknown one is sent as undefined-condition
	Text      string // in English, or ""
	Other     string // content of the condition: for see-other-host the host, over WebSocket the URI
	App       string // an application-specific condition as XML, or "" (RFC 6120 §4.9.4)

	// Received tells that the peer sent the error; nothing is answered then
	// but the close of the stream.
	Received bool
}

func (e *StreamError) Error() string { return "xmpp: stream error: " + e.Condition + " " + e.Text }

// streamConditions are those of RFC 6120 §4.9.3.
var streamConditions = map[string]bool{
	"bad-format": true, "bad-namespace-prefix": true, "conflict": true, "connection-timeout": true, "host-gone": true,
	"host-unknown": true, "improper-addressing": true, "internal-server-error": true, "invalid-from": true,
	"invalid-namespace": true, "invalid-xml": true, "not-authorized": true, "not-well-formed": true,
	"policy-violation": true, "remote-connection-failed": true, "reset": true, "resource-constraint": true,
	"restricted-xml": true, "see-other-host": true, "system-shutdown": true, "undefined-condition": true,
	"unsupported-encoding": true, "unsupported-feature": true, "unsupported-stanza-type": true, "unsupported-version": true,
}

// append writes <stream:error/>; space is ` xmlns:stream='…'` where no stream
// header declares the prefix.
func (e *StreamError) append(dst []byte, space string) []byte {
	condition := e.Condition
	if !streamConditions[condition] {
		condition = "undefined-condition"
	}
	dst = append(append(append(dst, "<stream:error"...), space...), '>')
	dst = appendCondition(dst, condition, nsStreams, e.Other)
	dst = appendErrorText(dst, e.Text, nsStreams)
	return append(append(dst, e.App...), "</stream:error>"...)
}

// readStreamError takes apart an error that the peer sent.
func readStreamError(el *markup.Element) *StreamError {
	e := &StreamError{Condition: "undefined-condition", Received: true}
	for c := range el.Children() {
		switch {
		case c.Space != nsStreams:
		case c.Local == "text":
			e.Text = c.Text()
		default:
			e.Condition, e.Other = c.Local, c.Text()
		}
	}
	return e
}

// streamErrorFor tells which stream error answers an error of reading, nil if
// none does because the connection is gone.
func streamErrorFor(err error) *StreamError {
	var se *StreamError
	if errors.As(err, &se) {
		return se
	}
	var syntax *markup.SyntaxError
	if errors.As(err, &syntax) {
		condition := "not-well-formed"
		switch syntax.Kind {
		case markup.BadNamespace:
			condition = "bad-namespace-prefix" // RFC 6120 §4.9.3.2
		case markup.Restricted:
			condition = "restricted-xml" // §4.9.3.18
		case markup.TooBig:
			condition = "policy-violation" // §4.9.3.14, §13.12
		case markup.BadEncoding:
			condition = "unsupported-encoding" // §4.9.3.22
		case markup.Misplaced:
			condition = "bad-format" // §4.9.3.1
		}
		return &StreamError{Condition: condition, Text: syntax.Reason}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &StreamError{Condition: "connection-timeout"} // §4.9.3.4
	}
	return nil
}
