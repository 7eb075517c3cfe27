package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"pharos/presence"
)

// A database that several processes write to. Each transaction first takes the
// locks of the users it touches (advisory locks, in one order, so that two groups do not wait for
// each other), and then reads their revisions: what is cached under the same revision
// is what the transaction sees. Each statement sees what was committed before it
// began (READ COMMITTED), and so everything of who had the lock before. For a user that
// turns up later nobody waits: if the lock is not free, all begins anew with that user named.
//
// What fails because of others, or because the connection was lost, is tried again.
// Only a connection that is lost during the COMMIT leaves open what has become
// of it; that is told to the callers and not tried again.

// ErrUnknown: the database was lost while it committed; the write may have happened or not.
var ErrUnknown = errors.New("store: the database was lost while it committed")

const (
	// maxAttempts bounds how often a group is tried.
	maxAttempts = 5
	// maxLocked bounds the users of one transaction that are locked at its begin:
	// the server's table of locks has room for some thousands (max_locks_per_transaction).
	maxLocked = 256
)

// SQLSTATE codes that are acted upon (PostgreSQL manual, appendix A).
const (
	stateSerialization = "40001"
	stateDeadlock      = "40P01"
	stateLocked        = "55P03" // lock_timeout
	stateUnique        = "23505" // another process was first
	stateDivision      = "22012"
	stateReadOnly      = "25006" // a standby, which was the primary when we connected
	classShutdown      = "57P"   // by the administrator, or after a crash
)

// attempt runs a group, several times if there is hope. The jobs have the error of the last.
func (w *writer) attempt(group []*job) error {
	if w.dialect != postgres {
		return w.transact(group)
	}
	start := time.Now()
	w.q.wanted, w.q.wait = w.q.wanted[:0], false
	for n := 1; ; n++ {
		w.q.wait = n >= maxAttempts
		err := w.transact(group)
		if errors.Is(err, errContended) {
			continue
		}
		if onStandby(err) && w.conn != nil {
			discard(w.conn)
			w.conn = nil
		}
		lost := w.conn == nil
		if !lost && w.down {
			w.down = false
			w.log.Info("store: the database is back")
		}
		if err == nil || errors.Is(err, ErrUnknown) {
			return err
		}
		switch {
		case !lost && (n >= maxAttempts || !transient(err)):
			return err
		case lost && (w.down || time.Since(start) > w.patience):
			if !w.down {
				w.down = true
				w.log.Error("store: the database cannot be reached", "error", err)
			}
			return err
		}
		time.Sleep(pause(n))
	}
}

// pause before another attempt: 5 to 10 ms, then more, at most 320.
func pause(n int) time.Duration {
	d := 5 * time.Millisecond << min(n-1, 5)
	return d + rand.N(d)
}

// transient tells whether an error is due to what others do at the same time.
func transient(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) &&
		slices.Contains([]string{stateSerialization, stateDeadlock, stateLocked, stateUnique}, e.Code)
}

// lockKey is the number that a user is locked by; two users may share one.
func lockKey(u presence.Entity) int64 {
	h := fnv.New64a()
	h.Write([]byte(u.Domain))
	h.Write([]byte{0})
	h.Write([]byte(u.User))
	return int64(h.Sum64())
}

// beginPostgres opens the transaction, looks at the fences and locks the users, in
// one round trip.
func (w *writer) beginPostgres(group []*job) error {
	if w.conn == nil {
		ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
		defer cancel()
		if err := w.connect(ctx); err != nil {
			return err
		}
	}
	var users []presence.Entity
	lock := func(list []presence.Entity) {
		for _, u := range list {
			if _, ok := w.q.held[u]; !ok && len(users) < maxLocked {
				w.q.held[u] = 0
				users = append(users, u)
			}
		}
	}
	lock(w.q.wanted)
	var fences []*fence
	for _, j := range group {
		lock(j.users)
		if f := j.fence; f != nil && !slices.ContainsFunc(fences, func(g *fence) bool { return *g == *f }) {
			fences = append(fences, f)
		}
	}
	b := new(pgx.Batch)
	b.Queue("BEGIN")
	for _, f := range fences {
		b.Queue(postgresFence, f.node, int64(f.epoch)).Query(func(rows pgx.Rows) error {
			w.q.fences[*f] = rows.Next()
			return rows.Err()
		})
	}
	if len(users) > 0 {
		keys := make([]int64, len(users))
		for i, u := range users {
			keys[i] = lockKey(u)
		}
		domains, names := columnsOf(users)
		slices.Sort(keys)
		b.Queue(postgresLock, slices.Compact(keys))
		b.Queue(postgresRevisions, domains, names).Query(func(rows pgx.Rows) error { return scanRevisions(rows, w.q.held) })
	}
	return native(w.conn, func(c *pgx.Conn) error { return c.SendBatch(context.Background(), b).Close() })
}

const (
	postgresFence = `SELECT epoch FROM nodes WHERE name = $1 AND epoch = $2 FOR KEY SHARE`
	postgresLock  = `SELECT pg_advisory_xact_lock(k) FROM unnest($1::bigint[]) AS k`
	// In a statement of its own: what it sees is what there is when the locks are held.
	postgresRevisions = `SELECT domain, name, revision FROM counters
		WHERE (domain, name) IN (SELECT * FROM unnest($1::text[], $2::text[]))`
)

// endPostgres commits.
func (w *writer) endPostgres() error {
	return native(w.conn, func(c *pgx.Conn) error {
		// COMMIT of a transaction that has failed is no error, but rolls it back.
		if c.PgConn().TxStatus() != 'T' {
			return errors.New("a statement has failed that nobody has told of")
		}
		tag, err := c.Exec(context.Background(), "COMMIT")
		if err == nil {
			if tag.String() != "COMMIT" {
				return errors.New("rolled back at the end")
			}
			return nil
		}
		if !c.IsClosed() {
			return err // it says that it has not
		}
		return errors.Join(ErrUnknown, err)
	})
}

func (w *writer) rollbackPostgres() {
	if w.conn == nil {
		return
	}
	err := native(w.conn, func(c *pgx.Conn) error {
		if c.PgConn().TxStatus() == 'I' {
			return nil
		}
		_, err := c.Exec(context.Background(), "ROLLBACK")
		return err
	})
	if err != nil {
		_ = w.conn.Close()
		w.conn = nil
	}
}

// failed tells whether a statement has failed, after which nothing goes in this transaction.
func (w *writer) failed() bool {
	return w.dialect == postgres && native(w.conn, func(c *pgx.Conn) error {
		if c.PgConn().TxStatus() != 'T' {
			return errLost
		}
		return nil
	}) != nil
}

// onStandby tells whether a write has failed since this server does not write any more.
func onStandby(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == stateReadOnly
}

// discard closes a connection for good, instead of giving it back to the pool.
func discard(conn *sql.Conn) {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	_ = conn.Close()
}

// native runs fn with the driver's own connection. A connection that fn has lost
// is not used again.
func native(conn *sql.Conn, fn func(*pgx.Conn) error) error {
	return conn.Raw(func(raw any) error {
		c := raw.(*stdlib.Conn).Conn()
		if c.IsClosed() {
			return errLost
		}
		return fn(c)
	})
}

var errLost = errors.New("connection lost")

// lostConnection tells whether an error is the end of a connection.
func lostConnection(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return strings.HasPrefix(e.Code, classShutdown) || e.Severity == "FATAL"
	}
	var n net.Error
	return errors.Is(err, errLost) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.As(err, &n) && !n.Timeout()
}

// hold makes sure that nobody else changes a user until the transaction ends. It does
// nothing where nobody else could.
func (s *Store) hold(q *statements, u presence.Entity) error {
	if !s.others.Load() {
		return nil
	}
	if _, ok := q.held[u]; ok {
		return nil
	}
	if q.lock != nil {
		if err := q.lockLate(u); err != nil {
			return err
		}
	}
	var revision int64
	if err := q.revision.QueryRow(u.Domain, u.User).Scan(&revision); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return err
	}
	q.held[u] = uint64(revision)
	return nil
}

// errContended: somebody else has the lock of a user whom nobody has named.
var errContended = errors.New("store: a user is locked by another process")

// lockLate locks a user in the middle of a transaction, out of order: without waiting, but
// for the last attempt, which may find itself in a deadlock.
func (q *statements) lockLate(u presence.Entity) error {
	if q.wait {
		_, err := q.lock.Exec(lockKey(u))
		return err
	}
	var got bool
	if err := q.tryLock.QueryRow(lockKey(u)).Scan(&got); err != nil {
		return err
	}
	if !got {
		q.wanted = append(q.wanted, u)
		q.contended = true
		return errContended
	}
	return nil
}

// current is what is cached of a user, if that is what the transaction sees; else nil.
func (s *Store) current(q *statements, u presence.Entity) (*userState, error) {
	if err := s.hold(q, u); err != nil {
		return nil, err
	}
	if q.touched[u] > 0 {
		return nil, nil
	}
	st := s.cache.peek(u)
	if st != nil && s.others.Load() && st.revision != q.held[u] {
		return nil, nil
	}
	return st, nil
}
