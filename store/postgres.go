package store

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	// ioTimeout is how long the database may take for an answer, or for a part of one,
	// before the connection counts as lost; statementTimeout is a little less, so
	// that a server that is well says so itself.
	ioTimeout        = 10 * time.Second
	statementTimeout = 8 * time.Second
	// lockTimeout bounds the waiting for what another process has locked.
	lockTimeout = 3 * time.Second
	// idleTimeout is when the server ends a transaction in which nothing happens: a
	// process that was stopped holds its locks no longer. It is less than a node's lease.
	idleTimeout = 1500 * time.Millisecond
	// dialTimeout bounds connecting, where the URL does not (connect_timeout).
	dialTimeout = 3 * time.Second
	// maxReaders bounds the readers of PostgreSQL, each with a connection. With four more,
	// and maxRegistry, that is what one server of the service takes of the database's max_connections.
	maxReaders = 10
	// minVersion is that of the oldest PostgreSQL that will do, as server_version_num has it.
	minVersion = 13_00_00
	// patience is how long a write waits for a database that has just gone; later ones
	// fail at once, until it is back.
	patience = 3 * time.Second
)

// applicationName is that of servers' connections, by which InUse knows them. A URL may name another.
const applicationName = "pharos"

// OpenPostgres opens a database that several nodes share, at a URL
// (postgres://user@host/name). The schema is made when it is missing. Soft state is
// in rows; dir keeps what is the process's own.
func OpenPostgres(ctx context.Context, url, dir string, opts ...Option) (*Store, error) {
	s, err := openDir(dir, opts)
	if err != nil {
		return nil, err
	}
	s.others.Store(true)
	if err := s.openPostgres(ctx, url); err != nil {
		s.Close()
		return nil, Trouble(fmt.Errorf("store: %w", err))
	}
	return s, nil
}

func (s *Store) openPostgres(ctx context.Context, url string) error {
	c, err := postgresConfig(url)
	if err != nil {
		return err
	}
	s.read = s.pool(c)
	const connections = maxReaders + 4 // the writers' too
	s.read.SetMaxOpenConns(connections)
	s.read.SetMaxIdleConns(connections)
	if err := s.checkPostgres(ctx); err != nil {
		return err
	}
	if err := migratePostgres(ctx, s.read); err != nil {
		return err
	}
	if s.w, err = newWriter(ctx, s.read, postgres, patience, s.log); err != nil {
		return err
	}
	// Leases do not wait for rosters, and not for each other either: to bury a node may take a while.
	s.control = s.pool(c)
	s.control.SetMaxOpenConns(maxRegistry)
	s.control.SetMaxIdleConns(2)
	if s.rows, err = newRows(ctx, s.read, s.log); err != nil {
		return err
	}
	if err := prepare(ctx, s.read, postgres, s.reads.list()); err != nil {
		return err
	}
	s.reader = startReader(maxReaders, func() {
		s.read.SetMaxIdleConns(0)
		s.read.SetMaxIdleConns(connections)
	})
	return nil
}

func postgresConfig(url string) (*pgx.ConnConfig, error) {
	if err := CheckURL(url); err != nil {
		return nil, err
	}
	c, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if c.ConnectTimeout == 0 {
		c.ConnectTimeout = dialTimeout
	}
	for name, value := range map[string]string{
		"application_name":                    applicationName,
		"statement_timeout":                   milliseconds(statementTimeout),
		"lock_timeout":                        milliseconds(lockTimeout),
		"idle_in_transaction_session_timeout": milliseconds(idleTimeout),
		"default_transaction_isolation":       "read committed", // what transaction.go builds upon
	} {
		if _, set := c.RuntimeParams[name]; !set {
			c.RuntimeParams[name] = value
		}
	}
	dial := c.DialFunc
	c.DialFunc = patientDial(dial, ioTimeout)
	return c, nil
}

func milliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }

// checkPostgres looks whether the database is fit for us.
func (s *Store) checkPostgres(ctx context.Context) error {
	var encoding, fsync, commit, version string
	var number int
	err := s.read.QueryRowContext(ctx, `SELECT current_setting('server_encoding'), current_setting('fsync'),
		current_setting('synchronous_commit'), current_setting('server_version'),
		current_setting('server_version_num')::int`).Scan(&encoding, &fsync, &commit, &version, &number)
	if err != nil {
		return err
	}
	if number < minVersion {
		return fmt.Errorf("PostgreSQL %s is too old: it has to be %d or later", version, minVersion/10_000)
	}
	if encoding != "UTF8" {
		return fmt.Errorf("the database's encoding is %s, and has to be UTF8", encoding)
	}
	if fsync == "off" || commit == "off" {
		s.log.Warn("store: the database may lose what was acknowledged when it crashes", "fsync", fsync, "synchronous_commit", commit)
	}
	return nil
}

// schemaLock is the number under which one process at a time sees to the schema.
const schemaLock = 0x7068_6172_6f73 // "pharos"

// migratePostgres is migrate, by one process at a time.
func migratePostgres(ctx context.Context, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	for {
		var got bool
		if err := conn.QueryRowContext(ctx, `SELECT pg_try_advisory_lock($1)`, int64(schemaLock)).Scan(&got); err != nil {
			return err
		}
		if got {
			break
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	// Not with ctx: a lock that stays would keep all others out.
	defer conn.ExecContext(context.Background(), `SELECT pg_advisory_unlock($1)`, int64(schemaLock))
	return migrate(ctx, conn, postgres)
}

// postgresSchema is a statement as PostgreSQL gets it: text is ordered by its bytes,
// which is what SQLite does, and costs less than any language's order.
func postgresSchema(text string) string {
	return strings.ReplaceAll(text, " TEXT", ` TEXT COLLATE "C"`)
}

// openDir makes and locks the directory of a process.
func openDir(dir string, opts []Option) (*Store, error) {
	s := &Store{dir: dir, log: slog.Default(), health: &health{since: time.Now()}}
	s.cache.init(maxCachedRows)
	s.bodies.init(maxCachedBytes)
	s.loads.ask, s.checks.ask, s.users.ask = s.loadRows, s.revisions, s.readUsers
	for _, o := range opts {
		o(s)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	var err error
	s.lock, err = lockDir(dir)
	if err != nil {
		return nil, err
	}
	return s, nil
}
