package sip

import (
	"net/netip"
	"strings"
)

// Equal compares two URIs by RFC 3261 §19.1.4, tel by RFC 3966 §4, IPv6
// addresses by value (RFC 5954 §4.2). The relation is not transitive, says the
// RFC: for a map's key use AOR.
func (u URI) Equal(v URI) bool {
	if u == v { // also where a parameter stands twice, which the comparison below cannot pair
		return true
	}
	if u.Scheme != v.Scheme {
		return false
	}
	switch u.Scheme {
	case "sip", "sips":
		return sameEscaped(u.userinfo(), v.userinfo()) && u.Pass == v.Pass &&
			equalHost(u.Host, v.Host) && u.Port == v.Port &&
			sameURIParams(u.Params, v.Params) && sameHeaders(u.Headers, v.Headers)
	case "tel": // all parameters count, in any order
		return equalFold(u.User, v.User) && coveredParams(u.Params, v.Params) && coveredParams(v.Params, u.Params)
	case "pres", "im":
		return u.User == v.User && equalHost(u.Host, v.Host) && u.Headers == v.Headers
	}
	return u.Opaque == v.Opaque
}

// userinfo is the user part as received, or as it would be written.
func (u URI) userinfo() string {
	if u.rawUser != "" && unescape(u.rawUser) == u.User {
		return u.rawUser
	}
	return string(appendEscaped(nil, u.User, classUser))
}

// sameEscaped compares case-sensitively, where an escape equals its character
// unless that one is reserved (RFC 3261 §19.1.4, RFC 2396 §2.2).
func sameEscaped(a, b string) bool {
	for a != "" && b != "" {
		x, xe, ra := nextEscaped(a)
		y, ye, rb := nextEscaped(b)
		if x != y || xe != ye {
			return false
		}
		a, b = ra, rb
	}
	return a == b
}

// nextEscaped cuts off one character; kept tells that it is an escaped
// reserved one.
func nextEscaped(s string) (c byte, kept bool, rest string) {
	if s[0] != '%' || len(s) < 3 {
		return s[0], false, s[1:]
	}
	c = unhex(s[1])<<4 | unhex(s[2])
	return c, strings.IndexByte(";/?:@&=+$,", c) >= 0, s[3:]
}

func equalHost(a, b string) bool {
	if equalFold(a, b) {
		return true
	}
	if strings.IndexByte(a, ':') < 0 || strings.IndexByte(b, ':') < 0 {
		return false
	}
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	return err1 == nil && err2 == nil && x == y
}

// sameURIParams: what both have must match; what only one has is ignored but
// for user, ttl, method, maddr and transport.
func sameURIParams(a, b Params) bool {
	return matchingParams(a, b) && matchingParams(b, a)
}

func matchingParams(a, b Params) bool {
	for name, value := range a.All() {
		name = unescape(name)
		other, ok := b.uriParam(name)
		switch {
		case ok:
			if !equalFold(unescape(value), other) {
				return false
			}
		case equalFold(name, "user"), equalFold(name, "ttl"), equalFold(name, "method"),
			equalFold(name, "maddr"), equalFold(name, "transport"):
			return false
		}
	}
	return true
}

// uriParam is the unescaped value of a uri-parameter; name is unescaped.
func (p Params) uriParam(name string) (string, bool) {
	for n, v := range p.All() {
		if equalFold(unescape(n), name) {
			return unescape(v), true
		}
	}
	return "", false
}

func coveredParams(a, b Params) bool {
	for name, value := range a.All() {
		if other, ok := b.Get(name); !ok || !equalFold(value, other) {
			return false
		}
	}
	return true
}

// sameHeaders: both have the same header fields, in any order.
func sameHeaders(a, b string) bool {
	if a == b {
		return true
	}
	xs, ys := strings.Split(a, "&"), strings.Split(b, "&")
	if len(xs) != len(ys) || len(xs) > MaxHeaders {
		return false
	}
next:
	for _, x := range xs {
		for i, y := range ys {
			if sameHeader(x, y) {
				ys = append(ys[:i], ys[i+1:]...)
				continue next
			}
		}
		return false
	}
	return true
}

func sameHeader(a, b string) bool {
	an, av, _ := strings.Cut(a, "=")
	bn, bv, _ := strings.Cut(b, "=")
	return equalFold(unescape(an), unescape(bn)) && unescape(av) == unescape(bv)
}
