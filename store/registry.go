package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// The registry of nodes and homes is what the nodes of a service agree by. Its
// transactions are its own: they carry no epoch of the node that asks, since they are
// also how it gets one, and none waits behind saves.

// registryTx is a transaction of the registry. Texts are in the dialect that the
// databases share, with {now} for the clock of the database in nanoseconds since 1970.
type registryTx struct {
	ctx context.Context
	db  interface {
		ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
		QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
		QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
		PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	}
	postgres   bool
	now, stamp string
}

// maxRegistry bounds the registry's transactions at a time in PostgreSQL, each on a connection of
// its own; others wait for one of them.
const maxRegistry = 6

// registry runs fn in one transaction. It may be called again after an error; its
// last call counts.
func (s *Store) registry(ctx context.Context, fn func(*registryTx) error) error {
	if s.control == nil {
		return s.w.do(ctx, func(*statements) error {
			return fn(&registryTx{
				ctx: context.WithoutCancel(ctx), db: s.w.conn,
				// This process is the only one that writes, so its clock is the database's.
				now: strconv.FormatInt(time.Now().UnixNano(), 10), stamp: strconv.FormatInt(s.w.stamp(), 10),
			})
		})
	}
	for n := 1; ; n++ {
		err := s.registryOnce(ctx, fn)
		var r refusal
		switch {
		case err == nil:
			return nil
		case errors.As(err, &r):
			return r.error
		case n == maxAttempts || ctx.Err() != nil || !transient(err) && !unsent(err):
			return fmt.Errorf("store: %w", err)
		}
		select {
		case <-time.After(pause(n)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// registryOnce is a transaction in PostgreSQL: READ COMMITTED, so that a statement sees what
// was committed before it began, and a row that it changes as it was last.
func (s *Store) registryOnce(ctx context.Context, fn func(*registryTx) error) error {
	tx, err := s.control.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	if err := fn(&registryTx{ctx: ctx, db: tx, postgres: true, now: postgresNow, stamp: postgresNow}); err != nil {
		_ = tx.Rollback() // the connection is done with in any case
		return err
	}
	err = tx.Commit()
	var said *pgconn.PgError
	if err != nil && !errors.As(err, &said) && ctx.Err() == nil {
		return errors.Join(ErrUnknown, err)
	}
	return err
}

// unsent tells whether a transaction has not come to its COMMIT because the connection was
// lost, or could not be had.
func unsent(err error) bool {
	var said *pgconn.PgError
	if errors.As(err, &said) {
		// Class 57: operator intervention; the server ends, or is not ready yet.
		return strings.HasPrefix(said.Code, "57P")
	}
	return !errors.Is(err, ErrUnknown)
}

const postgresNow = `(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000000)::bigint`

// text fills in the clock: {now}, and for the epochs of homes {stamp} for a row that is new and
// {rise} for one that changes. They rise by the clock, so that a home which was deleted
// and made again has a higher one than ever before.
func (t *registryTx) text(q string) string {
	greatest := "MAX"
	if t.postgres {
		greatest, q = "GREATEST", numbered(q)
	}
	return strings.NewReplacer("{now}", t.now, "{stamp}", t.stamp, "{rise}", greatest+"(homes.epoch + 1, "+t.stamp+")").Replace(q)
}

// exec returns how many rows have changed.
func (t *registryTx) exec(q string, args ...any) (int64, error) {
	r, err := t.db.ExecContext(t.ctx, t.text(q), args...)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

func (t *registryTx) query(q string, args ...any) (*sql.Rows, error) {
	return t.db.QueryContext(t.ctx, t.text(q), args...)
}

func (t *registryTx) queryRow(q string, args ...any) *sql.Row {
	return t.db.QueryRowContext(t.ctx, t.text(q), args...)
}

// each has fn run a statement many times.
func (t *registryTx) each(q string, fn func(*sql.Stmt) error) error {
	st, err := t.db.PrepareContext(t.ctx, t.text(q))
	if err != nil {
		return err
	}
	return errors.Join(fn(st), st.Close())
}
