package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pharos/presence"
)

// rows is the soft state in PostgreSQL: what the journal is for a single node. One
// goroutine writes what has gathered in one transaction, a round trip each, and
// acknowledges. A row is written by one node at a time, and what is written is the whole
// of it, so that to write it once more does no harm: a group whose end is not
// known is tried again.
type rows struct {
	db  *sql.DB
	log *slog.Logger

	mu      sync.Mutex
	waiting []*softCall
	bytes   int
	closed  bool
	wake    chan struct{} // capacity 1
	ended   chan struct{}

	groups  atomic.Uint64
	failing atomic.Bool

	conn *sql.Conn // of its goroutine; nil: lost
}

// softCall is one call of Put or Save.
type softCall struct {
	rows   []softRow
	size   int
	fence  *fence
	forget *presence.Entity // all of a presentity goes; no rows then
	done   func(error)
	err    error
}

// softRow is a row, or the end of one.
type softRow struct {
	of    presence.Entity // of kinds p and s
	kind  byte
	key   string
	value []byte // nil: delete
}

const (
	// groupRows and groupBytes bound a transaction, but for a single call.
	groupRows  = 2048
	groupBytes = 4 << 20
)

// errText: PostgreSQL cannot have it as text.
var errText = errors.New("store: an address with bytes that are no UTF-8 text")

func newRows(ctx context.Context, db *sql.DB, log *slog.Logger) (*rows, error) {
	r := &rows{db: db, log: log, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	if err := r.connect(ctx); err != nil {
		return nil, err
	}
	go r.run()
	return r, nil
}

func (r *rows) connect(ctx context.Context) error {
	conn, err := r.db.Conn(ctx)
	if err != nil {
		return err
	}
	// The arrays differ in length only, and the index is always right.
	if _, err := conn.ExecContext(ctx, `SET plan_cache_mode = force_generic_plan`); err != nil {
		conn.Close()
		return err
	}
	r.conn = conn
	return nil
}

// put queues a call; done is called on the goroutine of rows, or, when it is closed, at once.
func (r *rows) put(c *softCall) {
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		c.done(ErrClosed)
		return
	}
	if c.err == nil {
		c.err = c.check()
	}
	if r.bytes >= maxWaiting && c.err == nil {
		c.err = ErrBusy
	}
	if c.err != nil {
		c.rows, c.size = nil, 0
	}
	r.bytes += c.size
	r.waiting = append(r.waiting, c)
	first := len(r.waiting) == 1
	r.mu.Unlock()
	if first {
		r.signal()
	}
}

// check measures a call, and refuses what no row can have.
func (c *softCall) check() error {
	for i := range c.rows {
		w := &c.rows[i]
		n := len(w.of.Domain) + len(w.of.User) + len(w.key) + len(w.value)
		if n > MaxRecord {
			return fmt.Errorf("%w: %d bytes", ErrTooLarge, n)
		}
		if !text(w.of.Domain) || !text(w.of.User) {
			return errText
		}
		c.size += n
	}
	return nil
}

func text(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

func (r *rows) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// close writes what waits and ends the goroutine.
func (r *rows) close() error {
	r.mu.Lock()
	already := r.closed
	r.closed = true
	r.mu.Unlock()
	r.signal()
	<-r.ended
	if already || r.conn == nil {
		return nil
	}
	return r.conn.Close()
}

func (r *rows) run() {
	defer close(r.ended)
	for range r.wake {
		r.mu.Lock()
		calls, closed := r.waiting, r.closed
		r.waiting, r.bytes = nil, 0
		r.mu.Unlock()
		for left := calls; len(left) > 0; {
			n := groupOf(left)
			r.write(left[:n])
			left = left[n:]
		}
		if closed {
			return
		}
		if len(calls) > 1 {
			time.Sleep(gather)
		}
	}
}

// groupOf is how many of the calls go into one transaction: those of one node.
func groupOf(calls []*softCall) int {
	n, bytes := 0, 0
	for i, c := range calls {
		n, bytes = n+len(c.rows), bytes+c.size
		if i > 0 && (n > groupRows || bytes > groupBytes || c.forget != nil || calls[i-1].forget != nil || !sameFence(c.fence, calls[0].fence)) {
			return i
		}
	}
	return len(calls)
}

func sameFence(a, b *fence) bool { return a == b || a != nil && b != nil && *a == *b }

// write writes a group and acknowledges it. When it fails for what is in one call, each
// is tried alone.
func (r *rows) write(calls []*softCall) {
	err := r.attempt(calls)
	var state *pgconn.PgError
	if errors.As(err, &state) && len(calls) > 1 && r.conn != nil {
		for _, c := range calls {
			err := r.attempt([]*softCall{c})
			c.finish(err)
		}
		return
	}
	for _, c := range calls {
		c.finish(err)
	}
}

func (c *softCall) finish(err error) {
	if c.err == nil && err != nil && err != ErrFenced {
		err = fmt.Errorf("store: %w", err)
	}
	c.done(cmp.Or(c.err, err))
}

// attempt writes a group in one transaction; again when the connection was lost, once
// and with another, and when others were in the way.
func (r *rows) attempt(calls []*softCall) error {
	var err error
	for n := 1; n <= maxAttempts; n++ {
		var fresh bool
		if r.conn == nil {
			ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
			err = r.connect(ctx)
			cancel()
			if err != nil {
				break
			}
			fresh = true
		}
		if err = r.transact(calls); err == nil {
			if r.failing.Swap(false) {
				r.log.Info("store: the soft state can be written again")
			}
			r.groups.Add(1)
			return nil
		}
		if err == ErrFenced {
			return err
		}
		if r.conn == nil && !fresh {
			continue
		}
		if r.conn == nil || !transient(err) {
			break
		}
		time.Sleep(pause(n))
	}
	if r.conn == nil && !r.failing.Swap(true) {
		r.log.Error("store: the soft state cannot be written", "error", err)
	}
	return err
}

const (
	// Fails, and with it all that is sent behind, unless the node has this epoch.
	softFence = `SELECT 1 / count(*) FROM (SELECT 1 FROM nodes WHERE name = $1 AND epoch = $2 FOR KEY SHARE) AS fence`

	softPut = `INSERT INTO soft (domain, name, kind, key, value)
		SELECT * FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bytea[], $5::bytea[])
		ON CONFLICT (domain, name, kind, key) DO UPDATE SET value = excluded.value`

	softDrop = `DELETE FROM soft USING unnest($1::text[], $2::text[], $3::smallint[], $4::bytea[]) AS gone (domain, name, kind, key)
		WHERE soft.domain = gone.domain AND soft.name = gone.name AND soft.kind = gone.kind AND soft.key = gone.key`

	softForget = `DELETE FROM soft WHERE domain = $1 AND name = $2 AND kind = ANY($3)`
)

// transact is one transaction in one round trip: statements that are sent together
// are one. It is ErrFenced when the fence does not stand.
func (r *rows) transact(calls []*softCall) error {
	b := new(pgx.Batch)
	f := calls[0].fence
	if f != nil {
		b.Queue(softFence, f.node, int64(f.epoch))
	}
	if u := calls[0].forget; u != nil {
		b.Queue(softForget, u.Domain, u.User, []int16{kindSource, kindSubscription})
	}
	put, drop := arrange(calls)
	if len(put.kinds) > 0 {
		b.Queue(softPut, put.domains, put.names, put.kinds, put.keys, put.values)
	}
	if len(drop.kinds) > 0 {
		b.Queue(softDrop, drop.domains, drop.names, drop.kinds, drop.keys)
	}
	if b.Len() == 0 {
		return nil
	}
	err := native(r.conn, func(c *pgx.Conn) error {
		err := c.SendBatch(context.Background(), b).Close()
		if c.IsClosed() {
			return errors.Join(errLost, err)
		}
		return err
	})
	var state *pgconn.PgError
	switch {
	case err == nil:
	case errors.Is(err, errLost) || errors.Is(err, sql.ErrConnDone):
		_ = r.conn.Close()
		r.conn = nil
	case onStandby(err):
		discard(r.conn)
		r.conn = nil
	case f != nil && errors.As(err, &state) && state.Code == stateDivision:
		return ErrFenced
	}
	return err
}

// arrays are rows, column by column.
type arrays struct {
	domains, names []string
	kinds          []int16
	keys, values   [][]byte
}

func (c *arrays) add(w *softRow) {
	c.domains, c.names = append(c.domains, w.of.Domain), append(c.names, w.of.User)
	c.kinds = append(c.kinds, int16(w.kind))
	c.keys, c.values = append(c.keys, []byte(w.key)), append(c.values, w.value)
}

// arrange takes the last of each row, in the order in which rows are locked.
func arrange(calls []*softCall) (put, drop arrays) {
	var list []*softRow
	for _, c := range calls {
		if c.err != nil {
			continue
		}
		for i := range c.rows {
			list = append(list, &c.rows[i])
		}
	}
	slices.SortStableFunc(list, func(a, b *softRow) int {
		return cmp.Or(strings.Compare(a.of.Domain, b.of.Domain), strings.Compare(a.of.User, b.of.User),
			cmp.Compare(a.kind, b.kind), strings.Compare(a.key, b.key))
	})
	for i, w := range list {
		if i+1 < len(list) && w.kind == list[i+1].kind && w.key == list[i+1].key && w.of == list[i+1].of {
			continue
		}
		if w.value != nil {
			put.add(w)
		} else {
			drop.add(w)
		}
	}
	return put, drop
}
