package story

import (
	"strings"
	"testing"
)

// Whose password was changed at one node is let in with the old one nowhere, though others
// had known it; who is made at one can come to all.
func TestAccountsOfThreeNodes(t *testing.T) {
	inWorld(t, "accounts", "# accounts\nactors alice sip bob sip\nalice publishes open\n", 3, func(t *testing.T, w *world) {
		publish := func(want string) {
			t.Helper()
			w.do("alice publishes open")
			if got := w.got("alice"); !strings.Contains(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		publish("PUBLISH 200")
		at := w.phones["alice"].node
		other := w.nodes[at.number%len(w.nodes)]
		if err := other.server.Admin().Password(t.Context(), "alice@"+home, "another"); err != nil {
			t.Fatal(err)
		}
		settle(between)
		publish("PUBLISH 401")
		if err := other.server.Admin().Password(t.Context(), "alice@"+home, password); err != nil {
			t.Fatal(err)
		}
		settle(between)
		publish("PUBLISH 200")
		if err := other.server.Admin().Remove(t.Context(), "alice@"+home); err != nil {
			t.Fatal(err)
		}
		settle(between)
		publish("PUBLISH 401")
		if err := other.server.Admin().Add(t.Context(), "alice@"+home, password); err != nil {
			t.Fatal(err)
		}
		settle(between)
		publish("PUBLISH 200")
	})
}
