package sip

import "testing"

func TestHasPrivacy(t *testing.T) {
	m := parsed(t, "Privacy: header ; ID", "Privacy: user,critical")
	for _, kind := range []string{"header", "id", "user", "critical"} {
		want(t, kind, m.HasPrivacy(kind), true)
	}
	want(t, "session", m.HasPrivacy("session"), false)
	want(t, "absent", parsed(t).HasPrivacy("id"), false)
}
