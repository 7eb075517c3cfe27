package store

import (
	"context"
	"database/sql"
	"errors"
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

// readSnapshot reads a user as of one moment, in one round trip.
func (s *Store) readSnapshot(ctx context.Context, u presence.Entity, turn uint64) (*userState, error) {
	st := new(userState)
	var b pgx.Batch
	b.Queue("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
	b.Queue(numbered(selectCounters), u.Domain, u.User).QueryRow(func(row pgx.Row) error {
		var documents int64
		err := row.Scan(&st.version, &st.floor, &st.revision, &documents)
		if errors.Is(err, pgx.ErrNoRows) {
			return nil
		}
		return err
	})
	b.Queue(numbered(selectDocuments), u.Domain, u.User).Query(func(rows pgx.Rows) (err error) {
		st.docs, err = scanDocuments(rows)
		return err
	})
	b.Queue(numbered(selectRoster), u.Domain, u.User).Query(func(rows pgx.Rows) (err error) {
		st.items, err = scanItems(rows)
		return err
	})
	b.Queue(numbered(selectBlocks), u.Domain, u.User).Query(func(rows pgx.Rows) (err error) {
		st.blocks, err = scanBlocks(rows)
		return err
	})
	b.Queue("COMMIT")
	now := time.Now()
	if err := s.query(func(ctx context.Context, c *pgx.Conn) error { return c.SendBatch(ctx, &b).Close() }); err != nil {
		return nil, err
	}
	s.cache.put(u, st, turn, now)
	return st, ctx.Err()
}
