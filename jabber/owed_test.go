package jabber

import (
	"testing"

	"pharos/presence"
)

func TestOwedKeys(t *testing.T) {
	alice, bob := presence.Entity{User: "alice", Domain: "localhost"}, presence.Entity{User: "b@b", Domain: "example.org"}
	for _, c := range []change{{listed, alice, bob}, {unlisted, alice, bob}, {refused, bob, alice}, {what: reconciling, u: alice}} {
		if got, ok := changeOf(c.key()); !ok || got != c {
			t.Errorf("%+v came back as %+v, %v", c, got, ok)
		}
	}
	for _, bad := range []string{"", "a", "aalice@localhost", "zalice@localhost\x00bob@localhost", "alocalhost\x00bob@localhost"} {
		if c, ok := changeOf(bad); ok {
			t.Errorf("%q is read as %+v", bad, c)
		}
	}
}
