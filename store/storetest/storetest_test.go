package storetest

import (
	"context"
	"errors"
	"testing"

	"go.uber.org/goleak"

	"pharos/presence"
	"pharos/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOpen(t *testing.T) {
	alice, bob := presence.Entity{User: "alice", Domain: "example.com"}, presence.Entity{User: "bob", Domain: "example.com"}
	add := func(s *store.Store) error {
		_, err := s.UpdateItem(context.Background(), alice, bob, func(i *store.Item) bool { i.Visible = true; return true })
		return err
	}
	var s *store.Store
	t.Run("open", func(t *testing.T) {
		s = Open(t)
		if err := add(s); err != nil {
			t.Fatal(err)
		}
		if items, _, err := Open(t).Roster(t.Context(), alice); err != nil || len(items) != 0 {
			t.Errorf("another store has %v: %v", items, err)
		}
	})
	if err := add(s); !errors.Is(err, store.ErrClosed) {
		t.Errorf("after the test: %v", err)
	}
}
