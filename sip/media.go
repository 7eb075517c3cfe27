package sip

import "strings"

// MediaType is a Content-Type value or a media range of Accept.
type MediaType struct {
	Type    string // lower case; "*" in a range
	Subtype string // lower case; "*" in a range
	Params  Params // as received; of a range q included
}

// String is "type/subtype", without parameters.
func (t MediaType) String() string { return t.Type + "/" + t.Subtype }

// Is compares with "type/subtype" in lower case.
func (t MediaType) Is(mediaType string) bool {
	n := len(t.Type)
	return len(mediaType) == n+1+len(t.Subtype) && mediaType[n] == '/' &&
		mediaType[:n] == t.Type && mediaType[n+1:] == t.Subtype
}

// Q is the range's q in thousandths, 1000 when absent (RFC 3261 §20.1).
func (t MediaType) Q() int {
	if v, ok := t.Params.Get("q"); ok {
		if q, ok := parseQ(v); ok {
			return q
		}
	}
	return 1000
}

// ParseMediaType parses a media type or range with its parameters
// (RFC 3261 §20.15, §20.1).
func ParseMediaType(s string) (t MediaType, ok bool) {
	if i := strings.IndexByte(s, ';'); i >= 0 {
		t.Params, s = Params(s[i:]), s[:i]
	}
	major, minor, ok := strings.Cut(s, "/")
	major, minor = trimBlank(major), trimBlank(minor)
	t.Type, t.Subtype = lower(major), lower(minor)
	return t, ok && isToken(major) && isToken(minor) && t.Params.valid()
}

// ContentType reads the Content-Type. ok is false when it is absent; the error
// is ErrHeader.
func (m *Message) ContentType() (t MediaType, ok bool, err error) {
	v, ok := m.Get(HContentType)
	if !ok {
		return t, false, nil
	}
	if t, ok = ParseMediaType(v); !ok {
		return MediaType{}, true, ErrHeader
	}
	return t, true, nil
}

// Accept returns the media ranges of all Accept lines; malformed ones are left
// out. present is false when there is no Accept at all, and the method's or
// the event package's default counts.
func (m *Message) Accept() (ranges []MediaType, present bool) {
	for v := range m.All(HAccept) {
		if t, ok := ParseMediaType(v); ok {
			ranges = append(ranges, t)
		}
	}
	return ranges, m.first(HAccept) != nil
}

// Accepts tells whether a range of Accept is this media type itself, given as
// "type/subtype" in lower case: not one of those with "*".
func (m *Message) Accepts(mediaType string) bool {
	for v := range m.All(HAccept) {
		if t, ok := ParseMediaType(v); ok && t.Is(mediaType) {
			return true
		}
	}
	return false
}

// Acceptable tells with which q, in thousandths, the peer accepts a media type
// given as "type/subtype" in lower case; 0 means not at all. The most specific
// range that matches decides (RFC 2616 §14.1). present is false when there is
// no Accept, and q is 0; an empty Accept accepts nothing (RFC 3261 §20.1).
//
// Parameters of a range other than q make no difference.
func (m *Message) Acceptable(mediaType string) (q int, present bool) {
	best := -1
	for v := range m.All(HAccept) {
		t, ok := ParseMediaType(v)
		if !ok {
			continue
		}
		specific := -1
		switch {
		case t.Is(mediaType):
			specific = 2
		case t.Subtype == "*" && strings.HasPrefix(mediaType, t.Type+"/"):
			specific = 1
		case t.Type == "*" && t.Subtype == "*":
			specific = 0
		}
		if specific > best {
			best, q = specific, t.Q()
		}
	}
	return q, m.first(HAccept) != nil
}
