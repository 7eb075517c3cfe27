package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"iter"
)

const (
	// copyRows and copyBytes are how much is written at once, while tables are copied.
	copyRows  = 5000
	copyBytes = 4 << 20
	// maxDifferences bounds those that are named.
	maxDifferences = 20
)

// Progress is how far a copy is.
type Progress struct {
	Step  string // "writing" or "comparing"
	Table string
	Rows  int64 // of this table so far
}

// Copied says what was copied, and found to be the same afterwards.
type Copied struct {
	Tables []CopiedTable `json:"tables"`
	// Damaged are the places of the journal that could not be read, and are lost.
	Damaged int `json:"damaged,omitempty"`
}

// CopiedTable is one of its tables.
type CopiedTable struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"` // over all rows, as they are in an archive
}

// ErrDiffers: what was written is not what was read; the target is not to be used.
var ErrDiffers = errors.New("store: the copy differs")

// rowSource gives the rows of tables, in the order of their keys. What fn gets is its own.
type rowSource interface {
	each(ctx context.Context, t *table, fn func(row) error) error
}

// rowSink takes rows, in the order of their keys.
type rowSink interface {
	put(ctx context.Context, t *table, rows []row) error
}

// alteration is what a row becomes on its way.
type alteration func(t *table, r row) row

func unaltered(_ *table, r row) row { return r }

// copyTables writes all tables.
func copyTables(ctx context.Context, from rowSource, to rowSink, alter alteration, progress func(Progress)) error {
	for _, t := range copiedTables {
		var rows []row
		size, n := 0, int64(0)
		flush := func() error {
			if len(rows) == 0 {
				return nil
			}
			if err := to.put(ctx, t, rows); err != nil {
				return fmt.Errorf("table %s: %w", t.name, err)
			}
			n += int64(len(rows))
			rows, size = rows[:0], 0
			progress(Progress{"writing", t.name, n})
			return nil
		}
		err := from.each(ctx, t, func(r row) error {
			rows = append(rows, alter(t, r))
			if size += t.size(r); size >= copyBytes || len(rows) >= copyRows {
				return flush()
			}
			return nil
		})
		if err == nil {
			err = flush()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// compareTables looks at each row of both sides. An ErrDiffers names the rows that
// are not the same.
func compareTables(ctx context.Context, from, to rowSource, alter alteration, progress func(Progress)) ([]CopiedTable, error) {
	var list []CopiedTable
	var found differences
	for _, t := range copiedTables {
		c, err := compareTable(ctx, t, from, to, alter, &found, progress)
		if err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, found.err()
}

func compareTable(ctx context.Context, t *table, from, to rowSource, alter alteration, found *differences, progress func(Progress)) (CopiedTable, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	next, end := iter.Pull2(rowsOf(ctx, t, to))
	defer end()
	there, err, ok := next()
	if err != nil {
		return CopiedTable{}, err
	}
	one, two := sha256.New(), sha256.New()
	n, m := int64(0), int64(0)
	var buf []byte
	count := func(h hash.Hash, n *int64, r row) {
		buf = t.append(buf[:0], r)
		h.Write(buf)
		*n++
	}
	advance := func() error {
		count(two, &m, there)
		there, err, ok = next()
		return err
	}
	err = from.each(ctx, t, func(here row) error {
		here = alter(t, here)
		count(one, &n, here)
		if n%copyRows == 0 {
			progress(Progress{"comparing", t.name, n})
		}
		for ok && t.compareKeys(there, here) < 0 {
			found.add("%s: was not there before", t.describe(there))
			if err := advance(); err != nil {
				return err
			}
		}
		if !ok || t.compareKeys(there, here) > 0 {
			found.add("%s: is missing", t.describe(here))
			return nil
		}
		if c := t.differing(here, there); c != "" {
			found.add("%s: column %s is another", t.describe(here), c)
		}
		return advance()
	})
	for err == nil && ok {
		found.add("%s: was not there before", t.describe(there))
		err = advance()
	}
	if err != nil {
		return CopiedTable{}, err
	}
	sum := hex.EncodeToString(one.Sum(nil))
	if other := hex.EncodeToString(two.Sum(nil)); n != m || sum != other {
		found.add("table %s: %d rows with sum %s, and %d with %s", t.name, n, sum, m, other)
	}
	return CopiedTable{t.name, n, sum}, nil
}

// rowsOf makes a sequence of each; an error is the last of it.
func rowsOf(ctx context.Context, t *table, from rowSource) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		stopped := errors.New("enough")
		err := from.each(ctx, t, func(r row) error {
			if !yield(r, nil) {
				return stopped
			}
			return nil
		})
		if err != nil && !errors.Is(err, stopped) {
			yield(nil, err)
		}
	}
}

// differences are those found; the first of them are named.
type differences struct {
	named []error
	more  int
}

func (d *differences) add(format string, args ...any) {
	if len(d.named) == maxDifferences {
		d.more++
		return
	}
	d.named = append(d.named, fmt.Errorf(format, args...))
}

func (d *differences) err() error {
	if len(d.named) == 0 {
		return nil
	}
	if d.more > 0 {
		d.named = append(d.named, fmt.Errorf("and %d more", d.more))
	}
	return fmt.Errorf("%w:\n%w", ErrDiffers, errors.Join(d.named...))
}

// sqliteSink is a store that nobody else has yet.
type sqliteSink struct{ s *Store }

func (k sqliteSink) put(ctx context.Context, t *table, rows []row) error {
	if t == softTable {
		recs := make([]Record, len(rows))
		for i, r := range rows {
			recs[i] = journalRecord(r)
		}
		done := make(chan error, 1)
		k.s.Put(recs, func(err error) { done <- err })
		return <-done
	}
	return k.s.w.do(ctx, func(*statements) error {
		st, err := k.s.w.conn.PrepareContext(ctx, t.insert())
		if err != nil {
			return err
		}
		for _, r := range rows {
			if _, err = st.Exec(r...); err != nil {
				err = fmt.Errorf("%s: %w", t.describe(r), err)
				break
			}
		}
		return errors.Join(err, st.Close())
	})
}
