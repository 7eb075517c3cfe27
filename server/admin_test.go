package server

import (
	"context"
	"strings"
	"testing"

	"pharos/presence"
	"pharos/store"
	"pharos/xdm"
)

// What a running server has decided for a user does not outlive the account, nor
// blocks that an import brings.
func TestDecisionsFollowTheAdmin(t *testing.T) {
	s, ctx := run(t, nil), context.Background()
	alice, bob := presence.Entity{User: "alice", Domain: "localhost"}, presence.Entity{User: "bob", Domain: "localhost"}
	add := func() {
		t.Helper()
		if err := s.Admin().Add(ctx, "alice@localhost", "secret"); err != nil {
			t.Fatal(err)
		}
	}
	approve := func() {
		t.Helper()
		err := s.docs.UpdateItems(ctx, []xdm.ItemChange{{ItemChange: store.ItemChange{User: alice, Contact: bob, Change: func(it *store.Item) bool {
			*it = store.Item{Contact: bob, Version: it.Version, From: true, Visible: true}
			return true
		}}}})
		if err != nil {
			t.Fatal(err)
		}
		s.engine.PolicyChanged(alice)
	}
	want := func(when string, h presence.Handling) {
		t.Helper()
		x, err := s.engine.Explain(ctx, alice, bob)
		if err != nil || x.Decision.Class.Handling != h {
			t.Errorf("%s: %+v %v", when, x.Decision, err)
		}
		if shows := s.engine.Shows(ctx, alice, bob); shows != (h == presence.Allow) {
			t.Errorf("%s: shown %v", when, shows)
		}
	}
	add()
	approve()
	want("approved", presence.Allow)
	if err := s.Admin().Remove(ctx, "alice@localhost"); err != nil {
		t.Fatal(err)
	}
	add()
	want("another account of the same address", presence.Confirm)
	approve()
	want("approved again", presence.Allow)
	im, err := s.Admin().Import(ctx, strings.NewReader("user,rule,address\nalice@localhost,block,bob@localhost\n"), false, nil)
	if err != nil || im.Rules != 1 {
		t.Fatalf("%+v %v", im, err)
	}
	want("a block was imported", presence.Block)
}
