package store

import (
	"context"
	"database/sql"
	"errors"
	"strconv"
	"strings"
	"time"
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
	now   string
	stamp string
}

// registry runs fn in one transaction. It may be called again after an error; its
// last call counts.
func (s *Store) registry(ctx context.Context, fn func(*registryTx) error) error {
	w := s.control
	return w.do(ctx, func(*statements) error {
		return fn(&registryTx{
			ctx: context.WithoutCancel(ctx), db: w.conn,
			// This process is the only one that writes, so its clock is the database's.
			now: strconv.FormatInt(time.Now().UnixNano(), 10), stamp: strconv.FormatInt(w.stamp(), 10),
		})
	})
}

// text fills in the clock: {now}, and for the epochs of homes {stamp} for a row that is new and
// {rise} for one that changes. They rise by the clock, so that a home which was deleted
// and made again has a higher one than ever before.
func (t *registryTx) text(q string) string {
	return strings.NewReplacer("{now}", t.now, "{stamp}", t.stamp, "{rise}", "MAX(homes.epoch + 1, "+t.stamp+")").Replace(q)
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

// locking is the end of a query that locks rows; SQLite has one writer and no such thing.
func (t *registryTx) locking() string { return "" }

// countNodes has an update of homes say how many have come to which node, in one row or several for each.
func (t *registryTx) countNodes(update string) string { return update + ` RETURNING node, 1` }
