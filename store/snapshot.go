package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ErrOlder: the database was written by an older version of the program, and is
// to be brought up to date by starting the server once.
var ErrOlder = errors.New("store: written by an older version: start this version's server on it once")

// snapshot is everything as it was at one moment.
type snapshot struct {
	tx      *sql.Tx
	schema  int              // version of the tables
	journal *journalSnapshot // nil: soft state is in SQL
	release []func() error   // in the order of taking
}

// snapshot takes one of a store in use: what a power cut at this moment would have left
// of database and journal. For that nothing is committed to the database in between,
// which takes some microseconds. Everything that was acknowledged before is in it.
func (s *Store) snapshot(ctx context.Context) (*snapshot, error) {
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return nil, err
	}
	n := new(snapshot)
	err = s.w.do(ctx, func(*statements) error {
		if err := n.close(); err != nil { // of an attempt before, whose group could not be committed
			return err
		}
		if err := n.begin(ctx, conn, nil); err != nil {
			return err
		}
		f, gen, end, err := s.j.reader()
		if err != nil {
			return err
		}
		n.release = append(n.release, func() error { s.j.giveBack(f); return nil })
		n.journal = &journalSnapshot{f: f, gen: gen, end: end}
		return nil
	})
	n.release = append([]func() error{conn.Close}, n.release...)
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// begin opens the reading transaction; its first look at the database is its moment.
func (n *snapshot) begin(ctx context.Context, conn *sql.Conn, o *sql.TxOptions) error {
	tx, err := conn.BeginTx(ctx, o)
	if err != nil {
		return err
	}
	n.release = append(n.release, func() error {
		if err := tx.Rollback(); !errors.Is(err, sql.ErrTxDone) { // ctx has ended
			return err
		}
		return nil
	})
	n.tx = tx
	if err := tx.QueryRowContext(ctx, `SELECT version FROM schema_version`).Scan(&n.schema); err != nil {
		return fmt.Errorf("store: no database of this service: %w", err)
	}
	switch newest := len(migrations) + 1; {
	case n.schema > newest:
		return fmt.Errorf("%w: schema %d, this program knows %d", ErrNewer, n.schema, newest)
	case n.schema < newest:
		return fmt.Errorf("%w: schema %d of %d", ErrOlder, n.schema, newest)
	}
	return nil
}

func (n *snapshot) close() error {
	var errs []error
	for _, f := range slices.Backward(n.release) {
		errs = append(errs, f())
	}
	n.release = nil
	return errors.Join(errs...)
}

func (n *snapshot) each(ctx context.Context, t *table, fn func(row) error) error {
	if t == softTable && n.journal != nil {
		return n.journal.each(ctx, fn)
	}
	return eachRow(ctx, n.tx, t, fn)
}

// queryer is a *sql.Conn or a *sql.Tx.
type queryer interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// eachRow reads a table of a database.
func eachRow(ctx context.Context, db queryer, t *table, fn func(row) error) error {
	rows, err := db.QueryContext(ctx, `SELECT `+t.list()+` FROM `+t.name+` ORDER BY `+t.key())
	if err != nil {
		return fmt.Errorf("table %s: %w", t.name, err)
	}
	defer rows.Close()
	for rows.Next() {
		r, err := t.scan(rows)
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			return err
		}
	}
	return rows.Err()
}

// journalSnapshot is a journal up to where it was.
type journalSnapshot struct {
	f      io.ReaderAt
	gen    uint32
	end    int64
	places []softPlace // nil: not looked for yet
	damage []Damage
}

// softPlace is where the last frame of a key is.
type softPlace struct {
	row  row // without the value
	off  int64
	size int
}

// find lists what is live by the order of its keys. It keeps all keys in memory.
func (j *journalSnapshot) find(ctx context.Context) error {
	if j.places != nil {
		return nil
	}
	last := make(map[string]softPlace)
	s := newScanner(j.f, j.gen, int64(softHead), j.end)
	var key []byte
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		fr, at, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("store: journal: %w", err)
		}
		key = append(append(key[:0], fr.kind), fr.key...)
		if fr.op == opDelete {
			delete(last, string(key))
		} else {
			last[string(key)] = softPlace{off: at, size: fr.size}
		}
	}
	j.damage = s.damage
	j.places = make([]softPlace, 0, len(last))
	for k, p := range last {
		p.row = journalRow(k[0], []byte(k[1:]), nil)
		j.places = append(j.places, p)
	}
	slices.SortFunc(j.places, func(a, b softPlace) int { return softTable.compareKeys(a.row, b.row) })
	return nil
}

func (j *journalSnapshot) each(ctx context.Context, fn func(row) error) error {
	if err := j.find(ctx); err != nil {
		return err
	}
	for n, p := range j.places {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		buf := make([]byte, p.size)
		if _, err := j.f.ReadAt(buf, p.off); err != nil {
			return fmt.Errorf("store: journal: %w", err)
		}
		fr, v := parseFrame(buf, j.gen)
		if v != whole {
			return fmt.Errorf("store: journal: %s could be read once and not again", softTable.describe(p.row))
		}
		if err := fn(journalRow(fr.kind, fr.key, fr.value)); err != nil {
			return err
		}
	}
	return nil
}
