package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"pharos/presence"
)

const (
	// maxJobs bounds the writes waiting for the database; beyond it callers
	// wait, or give up with their context.
	maxJobs = 4096
	// maxGroup bounds the writes of one commit.
	maxGroup = 512
)

// writer is the only one of this process that writes to the database. It commits what
// many callers want in one transaction: an fsync costs far more than a write.
//
// A write of a valid request fails only when the disk does, and then all of the
// group fails. For what else may happen a group with an error is rolled back and
// tried again one by one, so that one caller's trouble is not another's.
//
// Other processes write to PostgreSQL too: see transaction.go.
type writer struct {
	dialect  dialect
	db       *sql.DB
	conn     *sql.Conn // nil: lost
	q        statements
	jobs     chan *job
	ended    chan struct{}
	patience time.Duration // how long a group waits for a database that has gone
	down     bool          // it was not to be had for so long
	log      *slog.Logger
	mu       sync.RWMutex // guards closed against a send on a closed channel
	closed   bool
	groups   atomic.Uint64
	writes   atomic.Uint64
	stamps   int64 // of the writer's goroutine; see stamp
}

// stamp is the clock in nanoseconds, but never the same twice.
func (w *writer) stamp() int64 {
	w.stamps = max(w.stamps+1, time.Now().UnixNano())
	return w.stamps
}

type job struct {
	fn    func(*statements) error
	users []presence.Entity // whom it touches, as far as that is known before
	fence *fence            // nil: none
	err   error
	state atomic.Int32 // waiting, taken, given up
	done  chan struct{}
}

const (
	jobWaiting int32 = iota
	jobTaken
	jobGivenUp
)

func newWriter(ctx context.Context, db *sql.DB, d dialect, patience time.Duration, log *slog.Logger) (*writer, error) {
	w := &writer{
		dialect: d, db: db, patience: patience, log: log,
		jobs: make(chan *job, maxJobs), ended: make(chan struct{}),
	}
	if err := w.connect(ctx); err != nil {
		return nil, err
	}
	w.q.touched, w.q.rows = make(map[presence.Entity]int), make(map[presence.Entity]int)
	w.q.held, w.q.fences = make(map[presence.Entity]uint64), make(map[fence]bool)
	go w.run()
	return w, nil
}

// connect takes a connection and prepares what is run on it.
func (w *writer) connect(ctx context.Context) error {
	conn, err := w.db.Conn(ctx)
	if err != nil {
		return err
	}
	if err := prepare(ctx, conn, w.dialect, w.q.list()); err != nil {
		conn.Close()
		return err
	}
	w.conn = conn
	return nil
}

// do runs fn in a transaction, grouped with others, and returns after the commit.
// fn must only touch the database and may be called again after an error, its
// own or another's of the group; the last call counts. When ctx ends before fn
// was begun, it is not run.
func (w *writer) do(ctx context.Context, fn func(*statements) error) error {
	return w.submit(ctx, &job{fn: fn})
}

// submit is do for a job that knows more of itself.
func (w *writer) submit(ctx context.Context, j *job) error {
	j.done = make(chan struct{})
	w.mu.RLock()
	if w.closed {
		w.mu.RUnlock()
		return ErrClosed
	}
	select {
	case w.jobs <- j:
		w.mu.RUnlock()
	case <-ctx.Done():
		w.mu.RUnlock()
		return ctx.Err()
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobWaiting, jobGivenUp) {
			return ctx.Err()
		}
		<-j.done
	}
	return j.err
}

func (w *writer) close() error {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.mu.Unlock()
	if !already {
		close(w.jobs)
	}
	<-w.ended
	if w.conn == nil || already {
		return nil
	}
	return w.conn.Close()
}

func (w *writer) run() {
	defer close(w.ended)
	group := make([]*job, 0, maxGroup)
	for first := range w.jobs {
		group = take(group[:0], first)
	more:
		for len(group) < maxGroup {
			select {
			case j, ok := <-w.jobs:
				if !ok {
					break more
				}
				group = take(group, j)
			default:
				break more
			}
		}
		if len(group) == 0 {
			continue
		}
		w.commit(group)
		busy := len(group) > 1
		for _, j := range group {
			close(j.done)
		}
		clear(group)
		if busy {
			time.Sleep(gather) // a commit syncs as well
		}
	}
}

func take(group []*job, j *job) []*job {
	if !j.state.CompareAndSwap(jobWaiting, jobTaken) {
		return group
	}
	return append(group, j)
}

// commit runs the group in one transaction, or, when that fails, each job in its own.
func (w *writer) commit(group []*job) {
	if w.attempt(group) == nil || len(group) == 1 || w.conn == nil {
		return
	}
	for i := range group {
		if group[i].err == nil || !errors.Is(group[i].err, ErrUnknown) {
			w.attempt(group[i : i+1])
		}
	}
}

func (w *writer) transact(group []*job) (err error) {
	defer func() {
		w.q.end()
		if err != nil {
			for _, j := range group {
				j.err = err // a refusal stands only when the others went through
			}
		}
	}()
	if err = w.begin(group); err != nil {
		w.rollback()
		return fmt.Errorf("store: %w", err)
	}
	for _, j := range group {
		j.err = nil
		if j.fence != nil && !w.q.fences[*j.fence] {
			j.err = ErrFenced
			continue
		}
		e := j.fn(&w.q)
		if w.q.contended {
			err = errContended
			w.rollback()
			return err
		}
		if e != nil {
			if r, ok := e.(refusal); ok && !w.failed() {
				j.err = r.error // it wrote nothing
				continue
			}
			err = fmt.Errorf("store: %w", e)
			w.rollback()
			return err
		}
	}
	if err = w.end(); err != nil {
		w.rollback()
		return fmt.Errorf("store: %w", err)
	}
	for _, f := range w.q.commits {
		f()
	}
	w.groups.Add(1)
	w.writes.Add(uint64(len(group)))
	return nil
}

// begin opens the transaction and looks at the fences of its jobs.
func (w *writer) begin(group []*job) error {
	if w.dialect == postgres {
		return w.beginPostgres(group)
	}
	if _, err := w.q.begin.Exec(); err != nil {
		return err
	}
	for _, j := range group {
		if err := w.q.checkFence(j.fence); err != nil {
			return err
		}
	}
	return nil
}

// end commits.
func (w *writer) end() error {
	if w.dialect == postgres {
		return w.endPostgres()
	}
	_, err := w.q.commit.Exec()
	return err
}

// rollback: SQLite may have done so already (full disk), which is no error here.
func (w *writer) rollback() {
	if w.dialect == postgres {
		w.rollbackPostgres()
		return
	}
	_, _ = w.q.rollback.Exec()
}

// end forgets what is only of one transaction.
func (q *statements) end() {
	clear(q.touched)
	clear(q.rows)
	clear(q.held)
	clear(q.fences)
	clear(q.commits)
	q.commits = q.commits[:0]
	q.contended = false
}

// refusal is a job's error that concerns nobody else, returned before it wrote.
type refusal struct{ error }
