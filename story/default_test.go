package story

import (
	"strings"
	"testing"
)

// A change of the default holds for who asks from then on. Who waits already goes on waiting for the user's
// own word, which the operator can import.
func TestDefaultChanges(t *testing.T) {
	inWorld(t, "default", "# a default that changes\nactors alice sip   bob sip   dave sip\nalice publishes open\n", 1, func(t *testing.T, w *world) {
		act := func(l, who, want string) {
			t.Helper()
			w.do(l)
			if all := w.got(who); !strings.Contains(all, want) {
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
