package sip

import (
	"strings"
	"testing"
)

// TestRFC5118 is the IPv6 torture set, whole.
func TestRFC5118(t *testing.T) {
	runTorture(t, "rfc5118.txt", []tortureCase{
		{name: "ipv6-good", section: "4.1", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "uri", mustURI(t, m.URI).Host, "2001:db8::10")
			want(t, "via", m.Via().Host, "2001:db8::9:1")
			c, _, err := m.Contact()
			want(t, "contact", mustURI(t, c.URI).Host, "2001:db8::1")
			want(t, "error", err, nil)
		}},
		{name: "ipv6-bad", section: "4.2", parse: 400, answer: 400, by: parser_, check: readable},
		// The port that was meant is part of the address.
		{name: "port-ambiguous", section: "4.3", by: parser_, check: func(t *testing.T, m *Message) {
			u := mustURI(t, m.URI)
			want(t, "host", u.Host, "2001:db8::10:5070")
			want(t, "port", u.Port, 0)
		}},
		{name: "port-unambiguous", section: "4.4", by: parser_, check: func(t *testing.T, m *Message) {
			u := mustURI(t, m.URI)
			want(t, "host", u.Host, "2001:db8::10")
			want(t, "port", u.Port, 5070)
			want(t, "written", u.String(), m.URI)
		}},
		{name: "via-received-param-with-delim", section: "4.5", by: parser_, check: func(t *testing.T, m *Message) {
			r, _ := m.Via().Params.Get("received")
			want(t, "received", r, "[2001:db8::9:255]")
			want(t, "branch", m.Via().Branch, "z9hG4bKas3-111")
		}},
		{name: "via-received-param-no-delim", section: "4.5", by: parser_, check: func(t *testing.T, m *Message) {
			r, _ := m.Via().Params.Get("received")
			want(t, "received", r, "2001:db8::9:255")
			want(t, "branch", m.Via().Branch, "z9hG4bKas3")
		}},
		{name: "ipv6-in-sdp", section: "4.6", by: parser_, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			u := mustURI(t, m.To().URI)
			want(t, "to", u.AOR(), "user@2001:db8::10")
			want(t, "body", strings.Contains(m.Body, "c=IN IP6 2001:db8::20\r\n"), true)
		}},
		{name: "mult-ip-in-header", section: "4.7", by: parser_, check: func(t *testing.T, m *Message) {
			vias, ok := m.Vias()
			want(t, "ok", ok && len(vias) == 3, true)
			want(t, "first", vias[0].Host, "2001:db8::9:1")
			want(t, "first port", vias[0].Port, 6050)
			want(t, "second", vias[1].Host, "192.0.2.1")
			want(t, "third", vias[2].Host, "2001:db8::9:255")
			r, _ := vias[2].Params.Get("received")
			want(t, "third received", r, "192.0.2.200")
		}},
		{name: "mult-ip-in-sdp", section: "4.8", by: parser_, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			want(t, "via", m.Via().Host, "2001:db8::9:1")
		}},
		{name: "ipv4-mapped-ipv6", section: "4.9", by: parser_, check: func(t *testing.T, m *Message) {
			wholeBody(t, m)
			want(t, "via", m.Via().Host, "::ffff:192.0.2.10")
			want(t, "port", m.Via().Port, 19823)
			c, _, _ := m.Contact()
			want(t, "contact", mustURI(t, c.URI).Host, "::ffff:192.0.2.2")
			want(t, "display", c.Display, "T. desk phone")
		}},
		{name: "ipv6-bug-abnf-3-colons", section: "4.10", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "host", mustURI(t, m.URI).Host, "2001:db8::192.0.2.1")
			want(t, "equal", mustURI(t, m.URI).Equal(mustURI(t, "sip:user@[2001:db8::c000:201]")), true)
		}},
		{name: "ipv6-correct-abnf-2-colons", section: "4.10", by: parser_, check: func(t *testing.T, m *Message) {
			want(t, "host", mustURI(t, m.URI).Host, "2001:db8::192.0.2.1")
		}},
	})
}
