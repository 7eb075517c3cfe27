package sip

import (
	"strings"
	"testing"
)

func TestLookupHeader(t *testing.T) {
	for h := Other + 1; h < numHeaders; h++ {
		name := h.String()
		if name == "" {
			t.Fatalf("header %d has no name", h)
		}
		for _, n := range []string{name, strings.ToLower(name), strings.ToUpper(name)} {
			want(t, n, LookupHeader(n), h)
		}
		want(t, "longer "+name, LookupHeader(name+"x"), Other)
	}
	for _, n := range []string{"", "z", "q", "@", "Foo", "Vja", "\x16ia", "Tn", "C%6Fntact"} {
		want(t, n, LookupHeader(n), Other)
	}
}

// TestCompactForms has the whole IANA registry of compact forms.
func TestCompactForms(t *testing.T) {
	forms := map[string]string{
		"a": "Accept-Contact", "b": "Referred-By", "c": "Content-Type", "d": "Request-Disposition",
		"e": "Content-Encoding", "f": "From", "i": "Call-ID", "j": "Reject-Contact", "k": "Supported",
		"l": "Content-Length", "m": "Contact", "n": "Identity-Info", "o": "Event", "r": "Refer-To",
		"s": "Subject", "t": "To", "u": "Allow-Events", "v": "Via", "x": "Session-Expires", "y": "Identity",
	}
	for c := byte('a'); c <= 'z'; c++ {
		want(t, string(c), LookupHeader(string(c)).String(), forms[string(c)])
		want(t, string(c-'a'+'A'), LookupHeader(string(c-'a'+'A')).String(), forms[string(c)])
	}
}
