package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"pharos/store/postgrestest"
)

// onBoth runs a test on each of the databases.
func onBoth(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Run("sqlite", func(t *testing.T) { test(t, openTest(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, openPostgresTest(t, postgresURL(t))) })
}

var (
	postgresServer *postgrestest.Server // of all tests; ended by TestMain
	schemas        atomic.Int64
)

// postgresURL is of a database of the test's own: a schema in the one server. Without
// PostgreSQL the test is skipped, unless PHAROS_INTEROP=require.
func postgresURL(t testing.TB) string {
	t.Helper()
	if postgresServer == nil {
		s, err := postgrestest.Start()
		if postgrestest.MaySkip(err) {
			t.Skip(err)
		}
		if err != nil {
			t.Fatal(err)
		}
		postgresServer = s
	}
	schema := fmt.Sprintf("t%d", schemas.Add(1))
	adminExec(t, "CREATE SCHEMA "+schema)
	t.Cleanup(func() { adminExec(t, "DROP SCHEMA "+schema+" CASCADE") })
	return postgresServer.URL("postgres", "search_path="+schema)
}

// adminExec runs statements as somebody else than the store.
func adminExec(t testing.TB, statements ...string) {
	t.Helper()
	ctx := context.Background()
	c, err := pgx.Connect(ctx, postgresServer.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	for _, s := range statements {
		if _, err := c.Exec(ctx, s); err != nil {
			t.Fatalf("%v in %q", err, s)
		}
	}
}

// openPostgresTest opens one of several processes' stores.
func openPostgresTest(t testing.TB, url string, opts ...Option) *Store {
	t.Helper()
	s, err := OpenPostgres(t.Context(), url, t.TempDir(), opts...)
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
