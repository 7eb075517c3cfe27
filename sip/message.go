package sip

import "iter"

// Message is a parsed request or response. It is immutable after Parse and may
// be shared between goroutines. Every string handed out is part of the one
// copy that Parse made, so that keeping one of them keeps the whole message.
type Message struct {
	Method string // of a request, or of a response's CSeq
	URI    string // request-URI as received; empty in a response
	Status int    // 0 in a request
	Reason string
	Body   string

	raw      string // what was received, unfolded
	headers  []field
	inline   [24]field
	response bool // also when its status code could not be read
	from, to Address
	via      Via
	callID   string
	cseq     uint32
}

// field is one header line: its place in Message.raw.
type field struct {
	id              Header // Other for names we have no constant for
	name, nameEnd   uint16 // as received
	value, valueEnd uint16 // unfolded, trimmed
}

// IsRequest tells requests from responses.
func (m *Message) IsRequest() bool { return !m.response }

// Get returns the first value line of a header, unfolded.
func (m *Message) Get(h Header) (string, bool) {
	if f := m.first(h); f != nil {
		return m.raw[f.value:f.valueEnd], true
	}
	return "", false
}

func (m *Message) first(h Header) *field {
	for i := range m.headers {
		if m.headers[i].id == h {
			return &m.headers[i]
		}
	}
	return nil
}

// GetName is Get for headers without a constant; name is case-insensitive.
func (m *Message) GetName(name string) (string, bool) {
	if h := LookupHeader(name); h != Other {
		return m.Get(h)
	}
	for n, v := range m.Headers() {
		if equalFold(n, name) {
			return v, true
		}
	}
	return "", false
}

// Headers ranges over all header lines in the order received: the name as it
// was written, the value unfolded and trimmed.
func (m *Message) Headers() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for i := range m.headers {
			f := &m.headers[i]
			if !yield(m.raw[f.name:f.nameEnd], m.raw[f.value:f.valueEnd]) {
				return
			}
		}
	}
}

// Lines ranges over the value lines of a header, which are not split.
func (m *Message) Lines(h Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range m.headers {
			if f := &m.headers[i]; f.id == h && !yield(m.raw[f.value:f.valueEnd]) {
				return
			}
		}
	}
}

// unlisted are header fields whose commas do not separate values
// (RFC 3261 §7.3.1 names the four of authentication).
var unlisted = [numHeaders]bool{
	Other: true, HAuthorization: true, HProxyAuthorization: true,
	HWWWAuthenticate: true, HProxyAuthenticate: true, HAuthenticationInfo: true,
	HDate: true, HSubject: true, HUserAgent: true, HServer: true,
	HOrganization: true, HRetryAfter: true, HFrom: true, HTo: true,
	HCallID: true, HCSeq: true, HReplyTo: true, HReferTo: true, HReferredBy: true,
}

// All ranges over the values of a comma-list header, over all its lines, in
// order. Empty values are left out (RFC 3261 §7.3.1 has none). The value lines
// of a header that is no list come whole.
func (m *Message) All(h Header) iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range m.headers {
			f := &m.headers[i]
			if f.id != h {
				continue
			}
			rest, more := m.raw[f.value:f.valueEnd], true
			for more {
				var v string
				if unlisted[h] {
					v, more = rest, false
				} else {
					v, rest, more = nextValue(rest)
				}
				if v != "" && !yield(v) {
					return
				}
			}
		}
	}
}

// Values returns all values of a comma-list header, split at commas outside
// quotes and angle brackets, in order. All does the same without allocating.
func (m *Message) Values(h Header) []string {
	var vs []string
	for v := range m.All(h) {
		vs = append(vs, v)
	}
	return vs
}

// From is the parsed From; Parse has checked that it is there and well-formed.
func (m *Message) From() Address { return m.from }

// To is the parsed To; Parse has checked that it is there and well-formed.
func (m *Message) To() Address { return m.to }

// CallID is the Call-ID.
func (m *Message) CallID() string { return m.callID }

// CSeq is the sequence number (its method is m.Method).
func (m *Message) CSeq() uint32 { return m.cseq }

// Via returns the topmost Via.
func (m *Message) Via() Via { return m.via }

// MaxForwards is the Max-Forwards value; ok is false when it is absent, which
// RFC 2543 clients may do (RFC 3261 §16.3).
func (m *Message) MaxForwards() (n int, ok bool) {
	v, ok := m.Get(HMaxForwards)
	if !ok {
		return 0, false
	}
	u, ok := parseUint(v, 255)
	return int(u), ok
}
