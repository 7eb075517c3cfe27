package sip

import (
	"strings"
	"time"
)

// Seconds reads a delta-seconds header such as Expires or Min-Expires. ok is
// false when it is absent; the error is ErrHeader. What is larger than 2^32-1
// counts as that.
func (m *Message) Seconds(h Header) (sec uint32, ok bool, err error) {
	v, ok := m.Get(h)
	if !ok {
		return 0, false, nil
	}
	if sec, ok = parseSeconds(v); !ok {
		return 0, true, ErrHeader
	}
	return sec, true, nil
}

// RetryAfter reads a Retry-After in seconds, without its comment and duration
// (RFC 3261 §20.33). ok is false when it is absent; the error is ErrHeader.
func (m *Message) RetryAfter() (sec uint32, ok bool, err error) {
	v, ok := m.Get(HRetryAfter)
	if !ok {
		return 0, false, nil
	}
	if i := strings.IndexAny(v, "(; \t"); i >= 0 {
		v = v[:i]
	}
	if sec, ok = parseSeconds(v); !ok {
		return 0, true, ErrHeader
	}
	return sec, true, nil
}

// dateLayout is rfc1123-date, with GMT as the only zone (RFC 3261 §25.1).
const dateLayout = "Mon, 02 Jan 2006 15:04:05 GMT"

// Date reads the Date. ok is false when it is absent; the error is ErrHeader,
// also for a zone other than GMT (RFC 4475 §3.1.2.12).
func (m *Message) Date() (t time.Time, ok bool, err error) {
	v, ok := m.Get(HDate)
	if !ok {
		return time.Time{}, false, nil
	}
	if t, err = time.Parse(dateLayout, v); err != nil {
		return time.Time{}, true, ErrHeader
	}
	return t, true, nil
}

// AppendDate appends a whole Date line.
func AppendDate(b []byte, t time.Time) []byte {
	b = append(b, "Date: "...)
	b = t.UTC().AppendFormat(b, dateLayout)
	return append(b, "\r\n"...)
}

// HasToken reports whether a list of tokens holds this one: an option tag in
// Supported, Require or Proxy-Require, an event package in Allow-Events.
// Tokens are compared without regard to case (RFC 3261 §7.3.1); methods in
// Allow are not, so ask HasMethod.
func (m *Message) HasToken(h Header, token string) bool {
	for v := range m.All(h) {
		if equalFold(v, token) {
			return true
		}
	}
	return false
}

// HasMethod reports whether Allow holds a method (RFC 3261 §7.1: methods are
// case-sensitive). Without any Allow it says true: nothing is known.
func (m *Message) HasMethod(method string) bool {
	if m.first(HAllow) == nil {
		return true
	}
	for v := range m.All(HAllow) {
		if v == method {
			return true
		}
	}
	return false
}

// Unsupported returns the option tags of Require (or Proxy-Require) that are
// not among supported, for the Unsupported of a 420 (RFC 3261 §8.2.2.3); nil
// when there are none.
func (m *Message) Unsupported(h Header, supported ...string) []string {
	var unknown []string
next:
	for v := range m.All(h) {
		for _, s := range supported {
			if equalFold(v, s) {
				continue next
			}
		}
		unknown = append(unknown, v)
	}
	return unknown
}
