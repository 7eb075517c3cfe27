package xmpp

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/secure/precis"
)

// JID is an address, prepared by RFC 7622. Comparable: equal addresses are
// equal values. The parts may share memory with the text they were parsed
// from; use Clone for what is kept long.
type JID struct{ Local, Domain, Resource string }

// ErrMalformedJID is wrapped by all errors about addresses.
var ErrMalformedJID = errors.New("xmpp: malformed address")

// maxPart is the length of each part in bytes (RFC 7622 §3.1).
const maxPart = 1023

// ParseJID prepares and checks an address. The error wraps ErrMalformedJID.
func ParseJID(s string) (JID, error) {
	if !utf8.ValidString(s) {
		return JID{}, malformed("not UTF-8")
	}
	// The resource is taken off first, for it may contain @ and / (RFC 7622 §3.1).
	local, resource := "", ""
	hasResource := false
	if i := strings.IndexByte(s, '/'); i >= 0 {
		s, resource, hasResource = s[:i], s[i+1:], true
	}
	if i := strings.IndexByte(s, '@'); i >= 0 {
		local, s = s[:i], s[i+1:]
		if local == "" {
			return JID{}, malformed("empty localpart")
		}
	}
	if hasResource && resource == "" {
		return JID{}, malformed("empty resourcepart")
	}
	return MakeJID(local, s, resource)
}

// MakeJID prepares and checks an address given in parts; local and resource
// may be "" for none.
func MakeJID(local, domain, resource string) (j JID, err error) {
	if j.Domain, err = PrepDomain(domain); err != nil {
		return JID{}, err
	}
	if local != "" {
		if j.Local, err = PrepLocal(local); err != nil {
			return JID{}, err
		}
	}
	if resource != "" {
		if j.Resource, err = PrepResource(resource); err != nil {
			return JID{}, err
		}
	}
	return j, nil
}

// String writes local@domain/resource.
func (j JID) String() string {
	switch {
	case j.Local == "" && j.Resource == "":
		return j.Domain
	case j.Resource == "":
		return j.Local + "@" + j.Domain
	case j.Local == "":
		return j.Domain + "/" + j.Resource
	}
	return j.Local + "@" + j.Domain + "/" + j.Resource
}

// Bare is the address without resource.
func (j JID) Bare() JID { j.Resource = ""; return j }

// IsZero tells whether j is no address at all.
func (j JID) IsZero() bool { return j == JID{} }

// Clone copies the parts, so that they keep no other text alive.
func (j JID) Clone() JID {
	return JID{strings.Clone(j.Local), strings.Clone(j.Domain), strings.Clone(j.Resource)}
}

func malformed(reason string) error { return fmt.Errorf("%w: %s", ErrMalformedJID, reason) }

// bytesOf describes what the ASCII fast paths may pass on unchanged.
type bytesOf [128]bool

var (
	localBytes    = asciiSet(0x21, 0x7E, "\"&'/:<>@ABCDEFGHIJKLMNOPQRSTUVWXYZ")
	resourceBytes = asciiSet(0x20, 0x7E, "")
)

func asciiSet(from, to byte, without string) (set bytesOf) {
	for c := from; c <= to; c++ {
		set[c] = strings.IndexByte(without, c) < 0
	}
	return set
}

func (set *bytesOf) all(s string) bool {
	for i := range len(s) {
		if c := s[i]; c >= 0x80 || !set[c] {
			return false
		}
	}
	return true
}

// PrepLocal prepares a localpart (RFC 7622 §3.3).
func PrepLocal(s string) (string, error) {
	if len(s) > maxPart {
		return "", malformed("localpart longer than 1023 bytes")
	}
	if localBytes.all(s) && s != "" {
		return s, nil
	}
	p, err := prepare(precis.UsernameCaseMapped, s)
	if err != nil {
		return "", err
	}
	// §3.3.1: these are refused although the class allows them, and also
	// where the mapping of wide characters has made them.
	if strings.ContainsAny(p, "\"&'/:<>@ ") {
		return "", malformed("a character not allowed in the localpart")
	}
	return p, nil
}

// PrepResource prepares a resourcepart (RFC 7622 §3.4).
func PrepResource(s string) (string, error) {
	if len(s) > maxPart {
		return "", malformed("resourcepart longer than 1023 bytes")
	}
	if resourceBytes.all(s) && s != "" {
		return s, nil
	}
	return prepare(precis.OpaqueString, s)
}

// prepare enforces a PRECIS profile until the result is stable, as RFC 8264 §7
// asks, and refuses what does not become stable.
func prepare(profile *precis.Profile, s string) (string, error) {
	for range 4 {
		p, err := profile.String(s)
		if err != nil || !utf8.ValidString(s) {
			return "", malformed("a character not allowed")
		}
		if p == "" || len(p) > maxPart {
			return "", malformed("a part is empty or longer than 1023 bytes")
		}
		if p == s {
			return p, nil
		}
		s = p
	}
	return "", malformed("a part without stable form")
}

var domains = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.Transitional(false),
	idna.StrictDomainName(true), idna.ValidateLabels(true), idna.CheckHyphens(true), idna.CheckJoiners(true), idna.VerifyDNSLength(true))

// PrepDomain prepares a domainpart: a host name in Unicode form without final
// dot, or an IP address, IPv6 in brackets (RFC 7622 §3.2).
func PrepDomain(s string) (string, error) {
	if len(s) > maxPart {
		return "", malformed("domainpart longer than 1023 bytes")
	}
	if plainDomain(s) {
		return s, nil
	}
	if strings.HasPrefix(s, "[") {
		a, err := netip.ParseAddr(strings.TrimSuffix(s[1:], "]"))
		if err != nil || !a.Is6() || a.Zone() != "" || !strings.HasSuffix(s, "]") {
			return "", malformed("a bad IPv6 address")
		}
		return "[" + a.String() + "]", nil
	}
	s = strings.TrimSuffix(s, ".") // §3.2
	ascii, err := domains.ToASCII(s)
	if err != nil || !utf8.ValidString(s) {
		return "", malformed("a bad host name")
	}
	// By way of the A-label, so that all spellings meet in one form.
	name, err := domains.ToUnicode(ascii)
	if err != nil || name == "" || len(name) > maxPart || strings.HasSuffix(name, ".") {
		return "", malformed("a bad host name")
	}
	return name, nil
}

// plainDomain tells whether s is a lower-case ASCII host name in its final form.
func plainDomain(s string) bool {
	if s == "" || len(s) > 253 {
		return false
	}
	label := 0
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z' || c >= '0' && c <= '9':
		case c == '-':
			// Not at the edges, nor third and fourth as in xn--.
			if label == 0 || label == 2 || i+1 == len(s) || s[i+1] == '.' {
				return false
			}
		case c == '.':
			if label == 0 || i+1 == len(s) {
				return false
			}
			label = -1
		default:
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	return true
}
