package story

import (
	"fmt"
	"strings"
	"testing"

	"pharos/server"
)

// What an operator asks is answered alike by every server, wherever the user lives and his watchers are connected.
func TestWhyOnThreeNodes(t *testing.T) {
	inWorld(t, "why", `# why: who asks is answered alike everywhere
servers 3
actors alice sip   bob sip   carol xmpp
alice publishes open
`, 3, func(t *testing.T, w *world) {
		for _, l := range []string{"alice and bob are friends", "alice and carol are friends",
			"bob goes to server 2", "carol goes to server 3", "alice lives at server 1", "carol logs in"} {
			w.do(l)
		}
		w.do("bob subscribes alice")
		w.do("alice publishes open")
		why := func(watcher, presentity string) []server.Why {
			t.Helper()
			var list []server.Why
			for _, n := range w.nodes {
				x, err := n.server.Why(t.Context(), w.address(watcher), w.address(presentity))
				if err != nil {
					t.Fatal(err)
				}
				list = append(list, x)
			}
			return list
		}
		for _, c := range []struct{ watcher, word string }{
			{"bob", "server n2: NOTIFY 2 to "},
			{"carol", "server n3: session "},
		} {
			list := why(c.watcher, "alice")
			first := fmt.Sprintf("%+v", list[0])
			for i, x := range list[1:] {
				if other := fmt.Sprintf("%+v", x); other != first {
					t.Errorf("%s, server 1:\n%s\nserver %d:\n%s", c.watcher, first, i+2, other)
				}
			}
			if !strings.Contains(first, c.word) || !strings.Contains(list[0].Answer, "sees the presence") {
				t.Errorf("%s: no %q in\n%s", c.watcher, c.word, first)
			}
			for _, step := range list[0].Steps {
				if !step.OK {
					t.Errorf("%s: %+v", c.watcher, step)
				}
			}
		}
		// Removed at one server, he is gone at all.
		if err := w.nodes[2].server.Admin().Remove(t.Context(), w.address("alice")); err != nil {
			t.Fatal(err)
		}
		settle(between)
		for i, x := range why("bob", "alice") {
			if !strings.Contains(x.Answer, "does not exist") {
				t.Errorf("server %d: %s", i+1, x.Answer)
			}
		}
		if err := w.nodes[0].server.Admin().Add(t.Context(), w.address("alice"), password); err != nil {
			t.Fatal(err)
		}
		settle(between)
		for i, x := range why("bob", "alice") {
			if !strings.Contains(x.Answer, "has not asked to see") {
				t.Errorf("server %d, an account of the same address: %s", i+1, x.Answer)
			}
		}
	})
}
