package story

import (
	"strings"
	"testing"
)

// What was stored stays in the mailbox until the client is known to have it (XEP-0160, XEP-0198 §4): who gets it and breaks off before,
// or whose server dies, gets it again at the next login, on any server, in the same order; and once known, not again.
func TestStoredUntilProved(t *testing.T) {
	for _, x := range []struct{ name, comes, breaks, next string }{
		{"connection", "bob logs in", "bob drops", "2"},
		{"connection, next elsewhere", "bob logs in", "bob drops", "3"},
		{"resumable, too late", "bob logs in resumable", "bob drops; after 6m", "3"},
		{"server", "bob logs in", "server 2 dies; after 5s", "3"},
		{"server, resumable", "bob logs in resumable", "server 2 dies; after 5s", "1"},
	} {
		t.Run(x.name, func(t *testing.T) {
			inWorld(t, x.name, `# mailbox: not proved
servers 3
actors alice xmpp   bob xmpp   bob/phone sip   carol sip
alice connects
`, 3, func(t *testing.T, w *world) {
				act := func(text string) string {
					t.Helper()
					for l := range strings.SplitSeq(text, "; ") {
						w.do(l)
					}
					return w.got("bob")
				}
				wants := func(what, got string, bodies ...string) {
					t.Helper()
					var all []string
					for l := range strings.Lines(got) {
						if strings.HasPrefix(l, "message") {
							_, body, _ := strings.Cut(l, "body=")
							body, _, _ = strings.Cut(strings.TrimSpace(body), " ")
							all = append(all, strings.Trim(body, `"`))
							if !strings.Contains(l, "delay") {
								t.Errorf("%s: no delay in %s", what, l)
							}
						}
					}
					if strings.Join(all, " ") != strings.Join(bodies, " ") {
						t.Errorf("%s: bob got %q, want %q, of\n%s", what, all, bodies, got)
					}
				}
				act("alice goes to server 1; bob goes to server 2; bob lives at server 2; alice connects; alice messages bob one; alice messages bob two")
				bob := w.chatters["bob"]
				mute := func(on bool) {
					bob.mu.Lock()
					bob.sm.mute = on
					bob.mu.Unlock()
				}
				mute(true)
				wants("first", act(x.comes), "one", "two")
				act(x.breaks)
				mute(false)
				wants("next", act("bob goes to server "+x.next+"; alice messages bob three; bob logs in"), "one", "two", "three")
				wants("at last", act("bob drops; bob logs in"))
			})
		})
	}
}
