package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// copyConn is a connection to PostgreSQL for copying everything: one statement may
// take as long as it needs, and between two a slow file may be read.
type copyConn struct {
	db   *sql.DB
	conn *sql.Conn
}

func dialCopy(ctx context.Context, url string) (*copyConn, error) {
	if err := CheckURL(url); err != nil {
		return nil, err
	}
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = dialTimeout
	}
	for name, value := range map[string]string{
		"application_name": "pharos copy", "statement_timeout": "0", "idle_in_transaction_session_timeout": "0",
		"lock_timeout": milliseconds(lockTimeout),
	} {
		c.RuntimeParams[name] = value
	}
	k := &copyConn{db: stdlib.OpenDB(*c)}
	if k.conn, err = k.db.Conn(ctx); err != nil {
		return nil, errors.Join(Trouble(fmt.Errorf("store: %w", err)), k.db.Close())
	}
	return k, nil
}

func (k *copyConn) close() error { return errors.Join(k.conn.Close(), k.db.Close()) }

// snapshotPostgres is a snapshot of a database that others write to meanwhile.
func snapshotPostgres(ctx context.Context, url string) (*snapshot, error) {
	k, err := dialCopy(ctx, url)
	if err != nil {
		return nil, err
	}
	n := &snapshot{release: []func() error{k.close}}
	if err := n.begin(ctx, k.conn, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}); err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// intoPostgres fills an empty database from a source, which from opens twice: for writing, and for
// comparing. All is one transaction, which is committed when both sides are the same:
// after any failure the database is as empty as it was, but for its tables.
func intoPostgres(ctx context.Context, url string, from func(func(rowSource) error) error, alter alteration, progress func(Progress)) (c Copied, err error) {
	k, err := dialCopy(ctx, url)
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, k.close()) }()
	if err := k.prepare(ctx); err != nil {
		return c, err
	}
	tx, err := k.conn.BeginTx(ctx, nil)
	if err != nil {
		return c, fmt.Errorf("store: %w", err)
	}
	defer tx.Rollback()
	if err := k.lockEmpty(ctx, tx); err != nil {
		return c, err
	}
	if err := from(func(s rowSource) error { return copyTables(ctx, s, k, alter, progress) }); err != nil {
		return c, err
	}
	err = from(func(s rowSource) (err error) {
		c.Tables, err = compareTables(ctx, s, txSource{tx}, alter, progress)
		return err
	})
	if err != nil {
		return Copied{}, err
	}
	// So that the first queries are planned for what there is now.
	if _, err := tx.ExecContext(ctx, `ANALYZE `+strings.Join(allTables(), ", ")); err != nil {
		return Copied{}, fmt.Errorf("store: %w", err)
	}
	if err := tx.Commit(); err != nil {
		return Copied{}, fmt.Errorf("store: %w", err)
	}
	return c, nil
}

// allTables are those that must be empty, and that nobody else may write to meanwhile.
func allTables() []string {
	list := []string{"nodes", "homes", "leader"}
	for _, t := range copiedTables {
		list = append(list, t.name)
	}
	return list
}

// prepare makes the tables where there are none; ErrNotEmpty when some belong to something else.
func (k *copyConn) prepare(ctx context.Context) error {
	var encoding string
	var ours bool
	err := k.conn.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), to_regclass('schema_version') IS NOT NULL`).Scan(&encoding, &ours)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("store: the database's encoding is %s, and has to be UTF8", encoding)
	}
	if !ours {
		for _, t := range allTables() {
			var there bool
			if err := k.conn.QueryRowContext(ctx, `SELECT to_regclass($1) IS NOT NULL`, t).Scan(&there); err != nil {
				return fmt.Errorf("store: %w", err)
			}
			if there {
				return fmt.Errorf("%w: the database has a table %s of something else", ErrNotEmpty, t)
			}
		}
	}
	if err := migratePostgres(ctx, k.db); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	return nil
}

// lockEmpty keeps all others from writing; ErrNotEmpty when somebody has.
func (k *copyConn) lockEmpty(ctx context.Context, tx *sql.Tx) error {
	if _, err := tx.ExecContext(ctx, `LOCK TABLE `+strings.Join(allTables(), ", ")+` IN SHARE ROW EXCLUSIVE MODE`); err != nil {
		return fmt.Errorf("store: the database is in use: %w", err)
	}
	for _, t := range allTables() {
		var there bool
		if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM `+t+`)`).Scan(&there); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		if there {
			return fmt.Errorf("%w: table %s of the database has rows", ErrNotEmpty, t)
		}
	}
	return nil
}

// put implements rowSink.
func (k *copyConn) put(ctx context.Context, t *table, rows []row) error {
	for _, r := range rows {
		if err := t.portable(r); err != nil {
			return err
		}
	}
	names := make([]string, len(t.columns))
	for i, c := range t.columns {
		names[i] = c.name
	}
	return native(k.conn, func(c *pgx.Conn) error {
		_, err := c.CopyFrom(ctx, pgx.Identifier{t.name}, names, pgx.CopyFromSlice(len(rows), func(i int) ([]any, error) { return rows[i], nil }))
		return err
	})
}

// txSource is what a transaction sees.
type txSource struct{ tx *sql.Tx }

func (s txSource) each(ctx context.Context, t *table, fn func(row) error) error {
	return eachRow(ctx, s.tx, t, fn)
}
