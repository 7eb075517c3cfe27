package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

func TestTrouble(t *testing.T) {
	ctx := t.Context()
	open := func(url string) error {
		s, err := OpenPostgres(ctx, url, t.TempDir())
		if err == nil {
			s.Close()
		}
		return err
	}
	for _, c := range []struct {
		what string
		err  error
		want []string
	}{
		{"nothing listens", open("postgres://u:pw@127.0.0.1:1/d"), []string{"PostgreSQL at 127.0.0.1:1 does not answer", "Start it"}},
		{"no socket", open("postgres:///d?host=" + t.TempDir()), []string{".s.PGSQL.5432 does not answer"}},
		{"no such host", open("postgres://u:pw@no-such-host.invalid/d"), []string{"the database's host no-such-host.invalid", "DNS"}},
		{"another's URL", open("mysql://u:pw@127.0.0.1/d"), []string{"postgres://user:password@host/database"}},
		{"no database", open("postgres://u:pw@127.0.0.1/"), []string{"postgres://user:password@host/database"}},
		{"password", fmt.Errorf("store: %w", &pgconn.PgError{Code: "28P01", Message: "no"}), []string{"does not let the user in", "pg_hba.conf (no)"}},
		{"replica", &pgconn.PgError{Code: "25006"}, []string{"is read only", "target_session_attrs=read-write"}},
		{"full", &pgconn.PgError{Code: "53300"}, []string{"max_connections"}},
		{"stops", &pgconn.PgError{Code: "57P01", Message: "terminating"}, []string{"stops, or starts"}},
		{"slow", context.DeadlineExceeded, []string{"does not answer in time"}},
		{"lost", errors.Join(errLost, errors.New("x")), []string{"the connection to the database was lost"}},
	} {
		err := Trouble(c.err)
		if err == nil {
			t.Errorf("%s: no error", c.what)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: no %q in %q", c.what, w, err)
			}
		}
		if strings.Contains(err.Error(), "pw") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %q", c.what, err)
		}
		if !errors.Is(err, c.err) {
			t.Errorf("%s: the error itself is gone", c.what)
		}
		if again := Trouble(fmt.Errorf("server: %w", err)); !strings.HasPrefix(again.Error(), "server: ") {
			t.Errorf("%s: said twice: %v", c.what, again)
		}
	}
	for _, err := range []error{nil, ErrNotFound, &pgconn.PgError{Code: "23505"}, context.Canceled} {
		if got := Trouble(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}

// What PostgreSQL itself says.
func TestTroubleSaid(t *testing.T) {
	url := postgresURL(t)
	nowhere := strings.Replace(url, "postgres:///", "postgres:///no", 1)
	_, err := OpenPostgres(t.Context(), nowhere, t.TempDir())
	if err == nil || !strings.Contains(err.Error(), "CREATE DATABASE no") {
		t.Errorf("a database that is not there: %v", err)
	}
	adminExec(t, `DROP ROLE IF EXISTS stranger`)
	_, err = OpenPostgres(t.Context(), strings.Replace(url, "user=postgres", "user=stranger", 1), t.TempDir())
	if err == nil || !strings.Contains(err.Error(), `does not let the user "stranger" in`) {
		t.Errorf("a user who is not there: %v", err)
	}
}
