// Package store keeps what must outlive the process. Hard state (accounts,
// rosters, blocks, documents, offline messages) is in SQL; soft state (publications,
// subscriptions with their dialogs, registrations) is in an append-only
// journal beside it, since it changes with every request.
//
// Why two: a saved subscription as a row in SQLite costs 4.6 µs of CPU in
// transactions of 256, as a record in the journal 2.0 µs in groups of 256 with
// everything in it, of which a third is system calls for writing and syncing
// 750 bytes (go test -bench Soft ./store, 2 cores, ext4, the least of 5 runs on
// a busy machine); and rows would share the database's one writer with rosters.
// Both are durable when they are acknowledged: the database commits with
// synchronous=FULL, the journal with fdatasync, and both gather what came in
// while the last commit ran.
//
// Several nodes share a database in PostgreSQL, which has soft state in rows: see
// OpenPostgres, transaction.go and rows.go.
//
// A directory belongs to one process at a time (ErrLocked).
package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"pharos/presence"
)

// Errors of the store.
var (
	// ErrNotFound: no such row.
	ErrNotFound = errors.New("store: not found")
	// ErrFull: the bound on stored messages is reached.
	ErrFull = errors.New("store: full")
	// ErrLocked: another process has this directory open.
	ErrLocked = errors.New("store: directory is in use")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("store: closed")
	// ErrBusy: too much is queued for writing; nothing was written.
	ErrBusy = errors.New("store: too many writes are waiting")
	// ErrTooLarge: a soft-state record is larger than MaxRecord.
	ErrTooLarge = errors.New("store: record too large")
	// ErrNewer: the database was written by a newer version of the program.
	ErrNewer = errors.New("store: written by a newer version")
)

// Store is safe for concurrent use.
type Store struct {
	dir     string
	log     *slog.Logger
	lock    *os.File
	read    *sql.DB
	write   *sql.DB // SQLite's; in PostgreSQL one pool serves all
	reads   reads
	reader  *reader
	w       *writer
	control *sql.DB // PostgreSQL: of nodes and homes, which do not wait for the others
	cache   cache
	bodies  bodies
	j       *journal // nil in PostgreSQL, which has rows
	rows    *rows
	loads   gatherer[presence.Entity, []softRow]
	checks  gatherer[presence.Entity, uint64]
	users   gatherer[presence.Entity, *userState]
	health  *health
	node    bool        // made by Node
	others  atomic.Bool // others write to the database too
	fence   atomic.Pointer[fence]
}

// Option changes how a store is opened.
type Option func(*Store)

// WithLog has the store report damage and failing disks to l instead of slog.Default.
func WithLog(l *slog.Logger) Option { return func(s *Store) { s.log = l } }

// Open opens or creates the store in dir: pharos.db (SQLite), soft.log (the
// journal) and pharos.lock. ErrLocked when another process has it.
func Open(ctx context.Context, dir string, opts ...Option) (*Store, error) {
	s, err := openDir(dir, opts)
	if err != nil {
		return nil, err
	}
	if err = s.openSQL(ctx, filepath.Join(dir, "pharos.db")); err == nil {
		s.j, err = openJournal(osDisk(dir), softLog, compactMin, s.log)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Close writes what is queued, then closes. Later calls fail with ErrClosed.
func (s *Store) Close() error {
	if s.node {
		return nil
	}
	var errs []error
	if s.j != nil {
		errs = append(errs, s.j.close())
	}
	if s.rows != nil {
		errs = append(errs, s.rows.close())
	}
	if s.control != nil {
		errs = append(errs, s.control.Close())
	}
	if s.w != nil {
		errs = append(errs, s.w.close())
	}
	if s.write != nil {
		errs = append(errs, s.write.Close())
	}
	if s.reader != nil {
		s.reader.stop()
	}
	if s.read != nil {
		errs = append(errs, s.read.Close())
	}
	if s.lock != nil { // last: the next process may open when all is closed
		errs = append(errs, s.lock.Close())
	}
	return errors.Join(errs...)
}

// Stats are counters for status and metrics.
type Stats struct {
	SoftRecords int    // live records in the journal; PostgreSQL has none, and the next two are 0 as well
	SoftBytes   int64  // its size
	SoftLive    int64  // bytes of it that are live
	SoftGroups  uint64 // fdatasyncs, or commits of rows
	SoftFailing bool   // the last write of the soft state failed
	Damaged     int    // damaged places found at start, see Damage
	SQLGroups   uint64 // commits
	SQLWrites   uint64 // writes in them
	CacheHits   uint64 // rosters read from memory
	CacheReads  uint64 // and from the database
	CacheUsers  int    // whose rosters are in memory
	CacheRows   int    // of these
	CacheBytes  int    // of the documents in memory
}

// Stats reads the counters.
func (s *Store) Stats() Stats {
	var st Stats
	if s.j != nil {
		s.j.stats(&st)
	} else {
		st.SoftGroups, st.SoftFailing = s.rows.groups.Load(), s.rows.failing.Load()
	}
	st.SQLGroups, st.SQLWrites = s.w.groups.Load(), s.w.writes.Load()
	s.cache.mu.Lock()
	st.CacheHits, st.CacheReads = s.cache.hits, s.cache.reads
	st.CacheUsers, st.CacheRows = len(s.cache.users), s.cache.rows
	s.cache.mu.Unlock()
	s.bodies.mu.Lock()
	st.CacheBytes = s.bodies.bytes
	s.bodies.mu.Unlock()
	return st
}

// Secret returns the n random bytes kept under name, made at the first call.
func (s *Store) Secret(ctx context.Context, name string, n int) ([]byte, error) {
	var secret []byte
	err := s.do(ctx, func(q *statements) error {
		secret = nil
		err := q.secret.QueryRow(name).Scan(&secret)
		if errors.Is(err, sql.ErrNoRows) {
			secret = make([]byte, n)
			rand.Read(secret)
			_, err = q.putSecret.Exec(name, secret)
		}
		return err
	})
	return secret, err
}

// Revision rises with every change to what the user's policy is made of: roster
// rows, blocks and documents. It is one row, and survives the removal of the account.
func (s *Store) Revision(ctx context.Context, u presence.Entity) (uint64, error) {
	st, err := s.user(ctx, u)
	if err != nil {
		return 0, err
	}
	return st.revision, nil
}

// do runs fn as writer.do does, under the fence. It is good to name the users whom fn touches.
func (s *Store) do(ctx context.Context, fn func(*statements) error, users ...presence.Entity) error {
	return s.w.submit(ctx, &job{fn: fn, users: users, fence: s.fence.Load()})
}

func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func fromUnix(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
}
