package story

import (
	"strings"
	"testing"
	"testing/synctest"
)

// A change of the default holds for who asks from then on. Who waits already goes on waiting for the user's
// own word, which the operator can import.
func TestDefaultChanges(t *testing.T) {
	s, err := parseScript("default", "# a default that changes\nactors alice sip   bob sip   dave sip\nalice publishes open\n")
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w, err := newWorld(t, s, 1, new(journal))
		defer w.close()
		if err != nil {
			t.Fatal(err)
		}
		settle(atEnd)
		act := func(l, who, want string) {
			t.Helper()
			if err := w.act(line{words: strings.Fields(l)}); err != nil {
				t.Fatal(err)
			}
			settle(between)
			var got []string
			for _, e := range w.drain(who) {
				got = append(got, e.String())
			}
			if all := strings.Join(got, "\n"); !strings.Contains(all, want) {
				t.Errorf("%s: %s got\n%s\nwant %s", l, who, all, want)
			}
		}
		act("alice publishes open", "alice", "PUBLISH 200")
		act("bob subscribes alice", "bob", "NOTIFY of=alice pending")
		w.config.Policy.Default = "allow"
		act("restart", "bob", "")
		act("bob resubscribes alice", "bob", "NOTIFY of=alice pending")
		act("dave subscribes alice", "dave", "NOTIFY of=alice active")
		im, err := w.nodes[0].server.Admin().Import(t.Context(), strings.NewReader("user,rule,address\nalice@"+home+",allow,bob@"+home+"\n"), false, nil)
		if err != nil || im.Rules != 1 {
			t.Fatalf("%+v %v", im, err)
		}
		settle(between)
		act("alice modifies open note=y", "bob", "NOTIFY of=alice active")
	})
}
