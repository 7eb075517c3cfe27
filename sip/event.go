package sip

import (
	"strconv"
	"strings"
)

// Event is an Event header field (RFC 6665 §8.2.1).
type Event struct {
	Package string // event-type with its templates, such as "presence.winfo", as received
	ID      string // the id parameter; empty when absent
	Params  Params // all of them, id included
}

// Same reports whether a NOTIFY or SUBSCRIBE with event f belongs to a
// subscription with event e: package and id are compared byte by byte, and
// other parameters do not count (RFC 6665 §8.2.1).
func (e Event) Same(f Event) bool { return e.Package == f.Package && e.ID == f.ID }

// Event reads the Event. ok is false when it is absent; the error is ErrHeader.
func (m *Message) Event() (e Event, ok bool, err error) {
	v, ok := m.Get(HEvent)
	if !ok {
		return e, false, nil
	}
	e.Package = v
	if i := strings.IndexByte(v, ';'); i >= 0 {
		e.Package, e.Params = trimBlank(v[:i]), Params(v[i:])
	}
	if !isToken(e.Package) || !e.Params.valid() {
		return Event{}, true, ErrHeader
	}
	e.ID, _ = e.Params.Get("id")
	return e, true, nil
}

// AppendEvent appends a whole Event line: package and id.
func AppendEvent(b []byte, e Event) []byte {
	b = append(b, "Event: "...)
	b = append(b, e.Package...)
	if e.ID != "" {
		b = AppendParam(b, "id", e.ID)
	}
	return append(b, "\r\n"...)
}

// SubscriptionState is a Subscription-State header field (RFC 6665 §8.2.3).
type SubscriptionState struct {
	State      string // active, pending, terminated, or another token; lower case
	Reason     string // lower case; empty when absent
	Expires    uint32 // seconds; counts if HasExpires
	RetryAfter uint32 // seconds; counts if HasRetryAfter

	HasExpires, HasRetryAfter bool
}

// SubscriptionState reads the Subscription-State. ok is false when it is
// absent; the error is ErrHeader.
func (m *Message) SubscriptionState() (s SubscriptionState, ok bool, err error) {
	v, ok := m.Get(HSubscriptionState)
	if !ok {
		return s, false, nil
	}
	params := Params("")
	if i := strings.IndexByte(v, ';'); i >= 0 {
		v, params = trimBlank(v[:i]), Params(v[i:])
	}
	if !isToken(v) || !params.valid() {
		return s, true, ErrHeader
	}
	s.State = lower(v)
	reason, _ := params.Get("reason")
	s.Reason = lower(reason)
	if v, ok := params.Get("expires"); ok {
		s.Expires, s.HasExpires = parseSeconds(v)
	}
	if v, ok := params.Get("retry-after"); ok {
		s.RetryAfter, s.HasRetryAfter = parseSeconds(v)
	}
	return s, true, nil
}

// AppendSubscriptionState appends a whole Subscription-State line.
func AppendSubscriptionState(b []byte, s SubscriptionState) []byte {
	b = append(b, "Subscription-State: "...)
	b = append(b, s.State...)
	if s.Reason != "" {
		b = append(b, ";reason="...)
		b = append(b, s.Reason...)
	}
	if s.HasExpires {
		b = append(b, ";expires="...)
		b = strconv.AppendUint(b, uint64(s.Expires), 10)
	}
	if s.HasRetryAfter {
		b = append(b, ";retry-after="...)
		b = strconv.AppendUint(b, uint64(s.RetryAfter), 10)
	}
	return append(b, "\r\n"...)
}
