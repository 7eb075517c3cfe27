package store

import (
	"context"
	"database/sql"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"pharos/presence"
)

// Where others write too, what is cached of a user counts only under the revision that
// the database has when it is read: then it is what was committed last, by whomever.
// One query asks for the revisions of all who are read at the moment.

type asOf struct{}

// AsOf marks reads that need not know what other processes have written after t: what was seen to
// be so later than t is taken from memory without a look at the database. What reads
// several things of a user for one purpose looks once with the time at which it has begun.
func AsOf(ctx context.Context, t time.Time) context.Context { return context.WithValue(ctx, asOf{}, t) }

// valid tells whether st is what the database has.
func (s *Store) valid(ctx context.Context, u presence.Entity, st *userState, checked time.Time) (bool, error) {
	if t, ok := ctx.Value(asOf{}).(time.Time); ok && checked.After(t) {
		return true, nil
	}
	now := time.Now()
	revision, _, err := s.checks.get(ctx, u)
	if err != nil || revision != st.revision {
		return false, err
	}
	s.cache.check(u, st, now)
	return true, nil
}

// revisions of users; of those who have none, nothing.
func (s *Store) revisions(of []presence.Entity) (map[presence.Entity]uint64, error) {
	if s.rows == nil || len(of) == 1 {
		return read(context.Background(), s.reader, func() (map[presence.Entity]uint64, error) {
			m := make(map[presence.Entity]uint64, len(of))
			for _, u := range of {
				revision, err := s.revisionRow(u)
				if err != nil {
					return nil, err
				}
				m[u] = revision
			}
			return m, nil
		})
	}
	return again(s.reader, func() (map[presence.Entity]uint64, error) { return s.revisionRows(of) })
}

// revisionRow is 0 for who has none.
func (s *Store) revisionRow(u presence.Entity) (uint64, error) {
	var revision int64
	err := s.reads.revision.QueryRow(u.Domain, u.User).Scan(&revision)
	if errors.Is(err, sql.ErrNoRows) {
		return 0, nil
	}
	return uint64(revision), err
}

func (s *Store) revisionRows(of []presence.Entity) (map[presence.Entity]uint64, error) {
	m := make(map[presence.Entity]uint64, len(of))
	domains, names := columnsOf(of)
	err := s.query(func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, postgresRevisions, domains, names)
		if err != nil {
			return err
		}
		return scanRevisions(rows, m)
	})
	return m, err
}

func scanRevisions(rows pgx.Rows, m map[presence.Entity]uint64) error {
	var u presence.Entity
	var revision int64
	_, err := pgx.ForEachRow(rows, []any{&u.Domain, &u.User, &revision}, func() error {
		m[u] = uint64(revision)
		return nil
	})
	return err
}

// maxSnapshots is how many users are read at once.
const maxSnapshots = 64

const (
	// Of users that are different ones.
	ofUsers        = ` FROM unnest($1::text[], $2::text[]) AS of (domain, name) JOIN `
	usersCounters  = `SELECT t.domain, t.name, roster, floor, revision, documents` + ofUsers + `counters t USING (domain, name)`
	usersDocuments = `SELECT t.domain, t.name, auid, path, version, modified, LENGTH(body)` + ofUsers + `documents t USING (domain, name)`
	usersRoster    = `SELECT t.domain, t.name, ` + itemColumns + ofUsers + `roster t USING (domain, name)`
	usersBlocks    = `SELECT t.domain, t.name, address` + ofUsers + `blocks t USING (domain, name)`
)

// readUsers reads users, some at a time, each as of one moment.
func (s *Store) readUsers(of []presence.Entity) (map[presence.Entity]*userState, error) {
	all := make(map[presence.Entity]*userState, len(of))
	for part := range slices.Chunk(of, maxSnapshots) {
		m, err := again(s.reader, func() (map[presence.Entity]*userState, error) { return s.readSnapshots(part) })
		if err != nil {
			return nil, err
		}
		maps.Copy(all, m)
	}
	return all, nil
}

// readSnapshots reads users as of one moment, in one round trip.
func (s *Store) readSnapshots(of []presence.Entity) (map[presence.Entity]*userState, error) {
	m := make(map[presence.Entity]*userState, len(of))
	turns := make([]uint64, len(of))
	for i, u := range of {
		m[u] = new(userState)
		turns[i] = s.cache.now(u)
	}
	domains, names := columnsOf(of)
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
	b.Queue(usersCounters, domains, names).Query(ofUser(m, func(row scannable, c *userState) error {
		var documents int64
		return row.Scan(&c.version, &c.floor, &c.revision, &documents)
	}, func(st *userState, c userState) { *st = c }))
	b.Queue(usersDocuments, domains, names).Query(ofUser(m, scanDocumentHead, func(st *userState, d Document) { st.docs = append(st.docs, d) }))
	b.Queue(usersRoster, domains, names).Query(ofUser(m, scanItem, func(st *userState, i Item) { st.items = append(st.items, i) }))
	b.Queue(usersBlocks, domains, names).Query(ofUser(m, func(row scannable, a *string) error { return row.Scan(a) },
		func(st *userState, a string) { st.blocks = append(st.blocks, a) }))
	b.Queue("COMMIT")
	now := time.Now()
	if err := s.query(func(ctx context.Context, c *pgx.Conn) error { return c.SendBatch(ctx, &b).Close() }); err != nil {
		return nil, err
	}
	for i, u := range of {
		st := m[u]
		slices.SortFunc(st.docs, byPath)
		slices.SortFunc(st.items, func(a, b Item) int { return byContact(a, b.Contact) })
		slices.Sort(st.blocks)
		s.cache.put(u, st, turns[i], now)
	}
	return m, nil
}

// ofUser reads rows of several users; the first two columns say whose each is.
func ofUser[T any](m map[presence.Entity]*userState, scan func(scannable, *T) error, add func(*userState, T)) func(pgx.Rows) error {
	return func(rows pgx.Rows) error {
		var u presence.Entity
		for rows.Next() {
			var v T
			if err := scan(prefixed{rows, []any{&u.Domain, &u.User}}, &v); err != nil {
				return err
			}
			add(m[u], v)
		}
		return rows.Err()
	}
}

// prefixed is a row with further columns in front.
type prefixed struct {
	scannable
	front []any
}

// Scan is scannable's.
func (p prefixed) Scan(dest ...any) error { return p.scannable.Scan(append(p.front, dest...)...) }
