package jabber

import (
	"testing"

	"pharos/presence"
)

func TestOwedKeys(t *testing.T) {
	alice, bob := presence.Entity{User: "alice", Domain: "localhost"}, presence.Entity{User: "b@b", Domain: "example.org"}
	for _, c := range []change{{listed, alice, bob}, {unlisted, alice, bob}, {refused, bob, alice}, {what: reconciling, u: alice}} {
		for _, node := range []string{"", "a.example"} {
			if got, of, ok := changeOf(c.key(node)); !ok || got != c || of != node {
				t.Errorf("%+v of %q came back as %+v of %q, %v", c, node, got, of, ok)
			}
		}
	}
	for _, bad := range []string{"", "a", "aalice@localhost", "zalice@localhost\x00bob@localhost", "alocalhost\x00bob@localhost"} {
		if c, _, ok := changeOf(bad); ok {
			t.Errorf("%q is read as %+v", bad, c)
		}
	}
}
