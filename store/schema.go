package store

import (
	"context"
	"database/sql"
	_ "embed"
	"fmt"
	"net/url"
	"os"
	"runtime"
	"strings"

	_ "modernc.org/sqlite" // the embedded driver
)

//go:embed schema.sql
var schemaSQL string

//go:embed soft.sql
var softSQL string // what PostgreSQL has besides

// migrations[i] leads from schema version i+1 to i+2; the newest version is
// len(migrations)+1, which is what schema.sql makes.
var migrations = [][]string{
	{ // documents
		`CREATE TABLE documents (domain TEXT NOT NULL, name TEXT NOT NULL, auid TEXT NOT NULL, path TEXT NOT NULL,
			version BIGINT NOT NULL, modified BIGINT NOT NULL, body BYTEA NOT NULL,
			PRIMARY KEY (domain, name, auid, path))`,
		`ALTER TABLE counters ADD COLUMN documents BIGINT NOT NULL DEFAULT 0`,
	},
	{ // several nodes
		`CREATE TABLE nodes (name TEXT NOT NULL PRIMARY KEY, epoch BIGINT NOT NULL, state TEXT NOT NULL,
			expires BIGINT NOT NULL, bus TEXT NOT NULL, sip TEXT NOT NULL, xmpp TEXT NOT NULL, http TEXT NOT NULL,
			level DOUBLE PRECISION NOT NULL, max DOUBLE PRECISION NOT NULL, users BIGINT NOT NULL,
			version TEXT NOT NULL, UNIQUE (name, epoch))`,
		`CREATE TABLE homes (domain TEXT NOT NULL, name TEXT NOT NULL, node TEXT NOT NULL, epoch BIGINT NOT NULL,
			PRIMARY KEY (domain, name))`,
		`CREATE INDEX homes_node ON homes (node)`,
		`CREATE TABLE leader (one BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, epoch BIGINT NOT NULL,
			term BIGINT NOT NULL, expires BIGINT NOT NULL)`,
	},
	{ // which nodes may be given up
		`ALTER TABLE nodes ADD COLUMN spare BIGINT NOT NULL DEFAULT 0`,
	},
}

// openSQL opens the database, brings its schema up to date and starts the writer.
func (s *Store) openSQL(ctx context.Context, path string) error {
	keepAllocatorPages()
	// SQLite would let the umask decide, and gives the WAL the same mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	f.Close()
	// One writing connection with all of the writes, and a pool for reading
	// which in WAL mode neither waits nor makes wait.
	if s.write, err = sql.Open("sqlite", dsn(path, "journal_mode(WAL)", "synchronous(FULL)", "busy_timeout(5000)",
		// The journal of a single statement (an upsert) in small pieces of memory: by
		// default it takes 64 kB at a time, straight from the kernel and back.
		"temp_store(MEMORY)")); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := migrate(ctx, s.write, sqlite); err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	if s.w, err = newWriter(ctx, s.write, sqlite, 0, s.log); err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	if s.read, err = sql.Open("sqlite", dsn(path, "query_only(1)", "busy_timeout(5000)")); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	n := 2 + runtime.GOMAXPROCS(0)
	s.read.SetMaxOpenConns(n)
	s.read.SetMaxIdleConns(n)
	if err := prepare(ctx, s.read, sqlite, s.reads.list()); err != nil {
		return fmt.Errorf("store: %s: %w", path, err)
	}
	s.reader = startReader(n, nil)
	return nil
}

func dsn(path string, pragmas ...string) string {
	u := url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}
	u.RawQuery = url.Values{"_pragma": pragmas}.Encode()
	return u.String()
}

// beginner is a *sql.DB or a *sql.Conn.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

// migrate makes the schema, or brings an older one up to date, in one transaction.
func migrate(ctx context.Context, db beginner, d dialect) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)`); err != nil {
		return err
	}
	newest := len(migrations) + 1
	var have int
	switch err := tx.QueryRowContext(ctx, `SELECT version FROM schema_version`).Scan(&have); {
	case err == sql.ErrNoRows:
		if err := execAll(ctx, tx, d, d.schema()); err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, fmt.Sprintf(`INSERT INTO schema_version (version) VALUES (%d)`, newest)); err != nil {
			return err
		}
		return tx.Commit()
	case err != nil:
		return err
	case have > newest:
		return fmt.Errorf("%w: schema %d, this program knows %d", ErrNewer, have, newest)
	case have == newest:
		return nil
	}
	for _, m := range migrations[have-1:] {
		if err := execAll(ctx, tx, d, m); err != nil {
			return err
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf(`UPDATE schema_version SET version = %d`, newest)); err != nil {
		return err
	}
	return tx.Commit()
}

// schema is what a new database is made of.
func (d dialect) schema() []string {
	texts := []string{schemaSQL}
	if d == postgres {
		texts = append(texts, softSQL)
	}
	var list []string
	for _, text := range texts {
		for _, s := range strings.Split(text, ";\n") {
			if strings.TrimSpace(s) != "" {
				list = append(list, s)
			}
		}
	}
	return list
}

func execAll(ctx context.Context, tx *sql.Tx, d dialect, list []string) error {
	for _, s := range list {
		if d == postgres {
			s = postgresSchema(s)
		}
		if _, err := tx.ExecContext(ctx, s); err != nil {
			return fmt.Errorf("%w in %q", err, s)
		}
	}
	return nil
}
