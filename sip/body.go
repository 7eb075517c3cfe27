package sip

import (
	"errors"
	"io"
	"mime/multipart"
	"strings"
)

// What Parts takes at most. Beyond it the error is ErrBody.
const (
	MaxParts     = 32 // leaves of a multipart body
	MaxPartDepth = 4  // multiparts within one another
)

// ErrBody: a multipart body that cannot be taken apart.
var ErrBody = errors.New("sip: malformed multipart body")

// Part is one body part, or a body that is not made of parts.
type Part struct {
	Type        MediaType // application/octet-stream has to be assumed when it is empty
	Disposition string    // lower case; "render" when there is none (RFC 3261 §20.11)
	Optional    bool      // handling=optional: to be ignored where it is not understood
	Encoded     bool      // with a Content-Encoding other than identity, or as base64 and the like
	Body        string

	// Alternative is the number of the multipart/alternative that it is part of,
	// 0 for none: of those with one number the last that is understood counts
	// (RFC 5621 §6.1).
	Alternative int
}

// Parts takes a body apart: all multipart types but alternative are treated as
// mixed (RFC 5621 §4.2). A body that is no multipart is one Part; no body is
// none. The error is ErrBody, or ErrHeader for a Content-Type that cannot be
// read.
func (m *Message) Parts() ([]Part, error) {
	if m.Body == "" {
		return nil, nil
	}
	get := func(name string) string {
		v, _ := m.GetName(name)
		return v
	}
	s := splitter{}
	err := s.part(get, m.Body, false, 0, 0)
	return s.parts, err
}

type splitter struct {
	parts        []Part
	alternatives int
}

// part takes one part; optional is what handling the parts round it have left.
func (s *splitter) part(get func(name string) string, body string, optional bool, alternative, depth int) error {
	p := Part{Body: body, Alternative: alternative, Disposition: "render", Optional: optional}
	if v := get("Content-Type"); v != "" {
		var ok bool
		if p.Type, ok = ParseMediaType(v); !ok {
			return ErrHeader
		}
	}
	if v := get("Content-Disposition"); v != "" {
		var params Params
		if i := strings.IndexByte(v, ';'); i >= 0 {
			v, params = v[:i], Params(v[i:])
		}
		p.Disposition = lower(trimBlank(v))
		handling, _ := params.Get("handling")
		p.Optional = optional || equalFold(handling, "optional")
	}
	for v := range strings.SplitSeq(get("Content-Encoding"), ",") {
		if v = trimBlank(v); v != "" && !equalFold(v, "identity") { // RFC 3261 §20.12
			p.Encoded = true
		}
	}
	switch lower(get("Content-Transfer-Encoding")) { // SIP carries all octets (RFC 5621 §3.2)
	case "", "binary", "8bit", "7bit":
	default:
		p.Encoded = true
	}
	if p.Type.Type != "multipart" || p.Encoded {
		if len(s.parts) >= MaxParts {
			return ErrBody
		}
		s.parts = append(s.parts, p)
		return nil
	}
	boundary, _ := p.Type.Params.Get("boundary")
	if boundary == "" || depth >= MaxPartDepth {
		return ErrBody
	}
	if p.Type.Subtype == "alternative" {
		s.alternatives++
		alternative = s.alternatives
	}
	r := multipart.NewReader(strings.NewReader(body), boundary)
	for n := 0; ; n++ {
		x, err := r.NextRawPart()
		if err == io.EOF && n > 0 {
			return nil
		}
		if err != nil || n >= MaxParts {
			return ErrBody
		}
		b, err := io.ReadAll(x)
		if err != nil {
			return ErrBody
		}
		if err := s.part(x.Header.Get, string(b), p.Optional, alternative, depth+1); err != nil {
			return err
		}
	}
}
