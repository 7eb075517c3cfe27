package story

import (
	"strings"
	"testing"
	"testing/synctest"
)

// Whose password was changed at one node is let in with the old one nowhere, though others
// had known it; who is made at one can come to all.
func TestAccountsOfThreeNodes(t *testing.T) {
	s, err := parseScript("accounts", "# accounts\nactors alice sip bob sip\nalice publishes open\n")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(t, s, 3, new(journal))
		defer w.close()
		if err != nil {
			t.Fatal(err)
		}
		settle(atEnd)
		publish := func(want string) {
			t.Helper()
			if err := w.act(line{words: []string{"alice", "publishes", "open"}}); err != nil {
				t.Fatal(err)
			}
			settle(between)
			var got []string
			for _, e := range w.drain("alice") {
				got = append(got, e.String())
			}
			if !strings.Contains(strings.Join(got, "\n"), want) {
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
