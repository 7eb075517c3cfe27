package store

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"pharos/presence"
)

// Every document of a usage comes once, over as many pages as it takes.
func TestEveryDocument(t *testing.T) {
	ctx := context.Background()
	s, err := Open(ctx, t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	const users = everyPage/2 + 10
	err = s.Transact(ctx, func(tx *Tx) error {
		for i := range users {
			u := presence.Entity{User: fmt.Sprintf("u%03d", i), Domain: "example.com"}
			for _, d := range []struct{ auid, path string }{{"rls-services", "index"}, {"rls-services", "other"}, {"resource-lists", "index"}} {
				if _, err := tx.PutDocument(u, d.auid, d.path, []byte(u.User+d.path)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = s.EveryDocument(ctx, "rls-services", func(u presence.Entity, d Document) error {
		if d.AUID != "rls-services" || string(d.Body) != u.User+d.Path || d.Size != len(d.Body) || d.Version == 0 || d.Modified.IsZero() {
			t.Errorf("%s: %+v", u, d)
		}
		got = append(got, u.User+"/"+d.Path)
		return nil
	})
	if err != nil || len(got) != 2*users {
		t.Fatalf("%d documents, %v", len(got), err)
	}
	for i := range users {
		if a, b := fmt.Sprintf("u%03d/index", i), fmt.Sprintf("u%03d/other", i); got[2*i] != a || got[2*i+1] != b {
			t.Fatalf("%s and %s in the place of user %d", got[2*i], got[2*i+1], i)
		}
	}
	stop := errors.New("enough")
	if err := s.EveryDocument(ctx, "rls-services", func(presence.Entity, Document) error { return stop }); err != stop {
		t.Errorf("%v", err)
	}
}
