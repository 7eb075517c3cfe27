package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"pharos/presence"
)

// saved is what is kept of one presentity.
type saved struct {
	sources []*presence.Source
	subs    []*presence.Subscription
}

// add decodes a record. One that does not decode is reported and passed over.
func (st *saved) add(s *Store, kind byte, key, value []byte) {
	var err error
	if kind == kindSource {
		var source *presence.Source
		if source, err = decodeSource(value); err == nil {
			st.sources = append(st.sources, source)
		}
	} else {
		var sub *presence.Subscription
		if sub, err = decodeSubscription(value); err == nil {
			st.subs = append(st.subs, sub)
		}
	}
	if err != nil {
		s.unreadable(kind, key, err)
	}
}

func (s *Store) unreadable(kind byte, key []byte, err error) {
	s.log.Error("store: a saved record cannot be read", "kind", string(rune(kind)), "key", string(key), "error", err)
}

// Load reads what Save has kept of one presentity, as Saved does for all. What many ask for at
// once is read at once.
func (s *Store) Load(ctx context.Context, of presence.Entity) (sources []*presence.Source, subs []*presence.Subscription, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if s.rows == nil {
		m, err := s.loadJournal([]presence.Entity{of})
		return m[of].sources, m[of].subs, err
	}
	list, _, err := s.loads.get(ctx, of)
	st := s.decode(list)
	return st.sources, st.subs, err
}

// decode makes what is the caller's own of rows.
func (s *Store) decode(list []softRow) (st saved) {
	for _, w := range list {
		st.add(s, w.kind, []byte(w.key), w.value)
	}
	return st
}

// LoadMany is Load for many; fn is called for those of whom there is something.
func (s *Store) LoadMany(ctx context.Context, of []presence.Entity, fn func(e presence.Entity, sources []*presence.Source, subs []*presence.Subscription) error) error {
	for part := range slices.Chunk(unique(slices.Clone(of)), maxAsked) {
		if err := ctx.Err(); err != nil {
			return err
		}
		m, err := s.loadPart(part)
		if err != nil {
			return err
		}
		for _, e := range part {
			if st, ok := m[e]; ok {
				if err := fn(e, st.sources, st.subs); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (s *Store) loadPart(of []presence.Entity) (map[presence.Entity]saved, error) {
	if s.rows == nil {
		return s.loadJournal(of)
	}
	rows, err := s.loadRows(of)
	m := make(map[presence.Entity]saved, len(rows))
	for e, list := range rows {
		m[e] = s.decode(list)
	}
	return m, err
}

// loadJournal walks through the whole journal: it is for several nodes in one process.
func (s *Store) loadJournal(of []presence.Entity) (map[presence.Entity]saved, error) {
	m := make(map[presence.Entity]saved, len(of))
	wanted := make(map[presence.Entity]bool, len(of))
	for _, e := range of {
		wanted[e] = true
	}
	want := func(k byte, key []byte) bool {
		e, err := keyEntity(key)
		return (k == kindSource || k == kindSubscription) && err == nil && wanted[e]
	}
	err := s.j.each(want, func(f frame) error {
		e, _ := keyEntity(f.key)
		st := m[e]
		st.add(s, f.kind, f.key, f.value)
		m[e] = st
		return nil
	})
	return m, err
}

const softLoad = `SELECT s.domain, s.name, s.kind, s.key, s.value
	FROM unnest($1::text[], $2::text[]) AS of (domain, name) JOIN soft s ON s.domain = of.domain AND s.name = of.name
	WHERE s.kind IN (112, 115)` // p, s

// loadRows reads rows by their presentities, which are different ones.
func (s *Store) loadRows(of []presence.Entity) (map[presence.Entity][]softRow, error) {
	return again(s.reader, func() (map[presence.Entity][]softRow, error) { return s.loadRowsOnce(of) })
}

func (s *Store) loadRowsOnce(of []presence.Entity) (map[presence.Entity][]softRow, error) {
	domains, names := columnsOf(of)
	m := make(map[presence.Entity][]softRow, len(of))
	err := s.query(func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, softLoad, domains, names)
		if err != nil {
			return err
		}
		var w softRow
		var kind int16
		var key []byte
		_, err = pgx.ForEachRow(rows, []any{&w.of.Domain, &w.of.User, &kind, &key, &w.value}, func() error {
			w.kind, w.key = byte(kind), string(key)
			m[w.of] = append(m[w.of], w)
			w.value = nil
			return nil
		})
		return err
	})
	for _, list := range m {
		slices.SortFunc(list, func(a, b softRow) int { return cmp.Or(cmp.Compare(a.kind, b.kind), strings.Compare(a.key, b.key)) })
	}
	return m, err
}

func columnsOf(of []presence.Entity) (domains, names []string) {
	domains, names = make([]string, len(of)), make([]string, len(of))
	for i, e := range of {
		domains[i], names[i] = e.Domain, e.User
	}
	return domains, names
}

// query runs fn with a connection of the pool that is the driver's own.
func (s *Store) query(fn func(ctx context.Context, c *pgx.Conn) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
	defer cancel()
	conn, err := s.read.Conn(ctx)
	if err != nil {
		return s.reader.orClosed(err)
	}
	defer conn.Close()
	return native(conn, func(c *pgx.Conn) error { return fn(ctx, c) })
}

// softPage is how many rows are read at once.
const softPage = 1024

// Range calls fn for every live record of a kind that is durable now; from the journal
// in the order in which they were last put, from rows in that of their keys. The value is the callee's.
func (s *Store) Range(kind byte, fn func(key string, value []byte) error) error {
	return s.RangeOf(kind, "", fn)
}

// RangeOf is Range for those whose keys begin with prefix.
func (s *Store) RangeOf(kind byte, prefix string, fn func(key string, value []byte) error) error {
	switch {
	case s.rows == nil:
		want := func(k byte, key []byte) bool { return k == kind && strings.HasPrefix(string(key), prefix) }
		return s.j.each(want, func(f frame) error {
			return fn(string(f.key), append([]byte{}, f.value...))
		})
	case kind == kindSource || kind == kindSubscription:
		return s.eachSaved(func(w softRow) error {
			if key := string(appendEntityKey(nil, w.of)) + w.key; w.kind == kind && strings.HasPrefix(key, prefix) {
				return fn(key, w.value)
			}
			return nil
		})
	}
	for from := prefix; ; {
		page, err := readRows(s, s.reads.softRange, func(rows *sql.Rows) (w softRow, err error) {
			return w, rows.Scan((*rawKey)(&w.key), &w.value)
		}, int64(kind), []byte(from), softPage)
		if err != nil {
			return err
		}
		for _, w := range page {
			if !strings.HasPrefix(w.key, prefix) {
				return nil
			}
			if err := fn(w.key, nonNil(w.value)); err != nil {
				return err
			}
		}
		if len(page) < softPage {
			return nil
		}
		from = page[len(page)-1].key + "\x00"
	}
}

// Get returns the value of one live record; nil when there is none.
func (s *Store) Get(kind byte, key string) (value []byte, err error) {
	if s.rows == nil {
		want := func(k byte, b []byte) bool { return k == kind && string(b) == key }
		err = s.j.each(want, func(f frame) error {
			value = append([]byte{}, f.value...)
			return nil
		})
		return value, err
	}
	w, err := rowOf(Record{Kind: kind, Key: key})
	if err != nil {
		return nil, nil // no such key is ever put
	}
	return read(context.Background(), s.reader, func() (value []byte, err error) {
		err = s.reads.softGet.QueryRow(w.of.Domain, w.of.User, int64(w.kind), []byte(w.key)).Scan(&value)
		if errors.Is(err, sql.ErrNoRows) {
			return nil, nil
		}
		return nonNil(value), err
	})
}

// eachSaved walks through all rows of presentities, in their order.
func (s *Store) eachSaved(fn func(softRow) error) error {
	var last softRow
	for {
		page, err := readRows(s, s.reads.softSaved, func(rows *sql.Rows) (w softRow, err error) {
			var kind int64
			err = rows.Scan(&w.of.Domain, &w.of.User, &kind, (*rawKey)(&w.key), &w.value)
			w.kind = byte(kind)
			return w, err
		}, last.of.Domain, last.of.User, int64(last.kind), []byte(last.key), softPage)
		if err != nil {
			return err
		}
		for _, w := range page {
			w.value = nonNil(w.value)
			if err := fn(w); err != nil {
				return err
			}
		}
		if len(page) < softPage {
			return nil
		}
		last = page[len(page)-1]
	}
}

// readRows reads a page of rows on one of the reader's goroutines.
func readRows(s *Store, st *sql.Stmt, scan func(*sql.Rows) (softRow, error), args ...any) ([]softRow, error) {
	return read(context.Background(), s.reader, func() ([]softRow, error) {
		rows, err := st.Query(args...)
		if err != nil {
			return nil, err
		}
		defer rows.Close()
		var page []softRow
		for rows.Next() {
			w, err := scan(rows)
			if err != nil {
				return nil, err
			}
			page = append(page, w)
		}
		return page, rows.Err()
	})
}

// rawKey scans bytes into a string.
type rawKey string

// Scan is sql.Scanner's.
func (k *rawKey) Scan(v any) error {
	b, ok := v.([]byte)
	if !ok {
		return errCode
	}
	*k = rawKey(b)
	return nil
}
