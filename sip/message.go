package sip

// Message is a parsed request or response. It is immutable after Parse and may
// be shared between goroutines.
type Message struct {
	Method string // of a request, or of a response's CSeq
	URI    string // request-URI as received; empty in a response
	Status int    // 0 in a request
	Reason string
	Body   string

	raw     string
	headers []field
	inline  [24]field
}

type field struct {
	id    Header // Other for names we have no constant for
	name  string // as received
	value string // unfolded, trimmed
}

// Parse reads one message from b (RFC 3261 §7, §25). For a datagram b is the
// whole datagram; stream framing is the transport's (see Framer). The error
// is a *ParseError, which knows the status to answer with where an answer is
// possible (RFC 3261 §8.1.3.?, RFC 4475).
func Parse(b []byte) (*Message, error) { panic("contract") }

// IsRequest tells requests from responses.
func (m *Message) IsRequest() bool { return m.Status == 0 }

// Get returns the first value line of a header, unfolded.
func (m *Message) Get(h Header) (string, bool) { panic("contract") }

// GetName is Get for headers without a constant; name is case-insensitive.
func (m *Message) GetName(name string) (string, bool) { panic("contract") }

// Values returns all values of a comma-list header, split at commas outside
// quotes and angle brackets, in order.
func (m *Message) Values(h Header) []string { panic("contract") }

// From, To: parsed; Parse has checked that they are there and well-formed.
func (m *Message) From() Address { panic("contract") }
func (m *Message) To() Address   { panic("contract") }

// CallID is the Call-ID; CSeq the sequence number (its method is m.Method's).
func (m *Message) CallID() string { panic("contract") }
func (m *Message) CSeq() uint32   { panic("contract") }

// Via returns the topmost Via.
func (m *Message) Via() Via { panic("contract") }

// Contacts parses all Contact values; star is true for "Contact: *".
func (m *Message) Contacts() (cs []Address, star bool, err error) { panic("contract") }

// Seconds reads a delta-seconds header such as Expires or Min-Expires.
// ok is false when absent; err when malformed.
func (m *Message) Seconds(h Header) (sec uint32, ok bool, err error) { panic("contract") }

// Address is a name-addr or addr-spec with header parameters (RFC 3261 §20.10).
type Address struct {
	Display string // unquoted
	URI     string // without brackets, as received
	Params  Params
}

// Tag is the tag parameter of a From or To.
func (a Address) Tag() string { panic("contract") }

// Params is a raw ";a=b;c" string with accessors; names are case-insensitive.
type Params string

// Get returns the parameter's value, unquoted.
func (p Params) Get(name string) (string, bool) { panic("contract") }

// Via is one Via value.
type Via struct {
	Transport string // upper case: UDP, TCP, TLS, WS, WSS
	Host      string
	Port      int // 0 when absent
	Branch    string
	Params    Params
}

// URI is a parsed sip, sips, tel, pres, im or other URI.
type URI struct {
	Scheme  string // lower case
	User    string // unescaped
	Pass    string
	Host    string // lower case; IPv6 without brackets
	Port    int
	Params  Params
	Headers string
	Opaque  string // of a non-sip URI
}

// ParseURI parses a URI (RFC 3261 §19.1, RFC 3966 for tel, RFC 3859 for pres).
func ParseURI(s string) (URI, error) { panic("contract") }
