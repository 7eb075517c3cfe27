// Package storetest opens stores for the tests of those who use one.
package storetest

import (
	"testing"

	"pharos/store"
)

// Open opens a store on SQLite in a folder of the test's, with options as store.Open has them, and closes it when the test has ended.
// What the test starts that uses the store has to end before: in a Cleanup that is set later, or in a defer.
func Open(t testing.TB, options ...store.Option) *store.Store {
	t.Helper()
	s, err := store.Open(t.Context(), t.TempDir(), options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
