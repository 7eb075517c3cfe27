package store

import (
	"context"
	"time"

	"pharos/presence"
)

// Offline is one stored message; the blob is the caller's encoding.
type Offline struct {
	ID   int64 // rises, never used twice for one user
	Blob []byte
	At   time.Time
}

// PutOffline keeps a message; max bounds the number per user (ErrFull).
func (s *Store) PutOffline(ctx context.Context, to presence.Entity, blob []byte, max int) error {
	at := time.Now()
	return s.do(ctx, func(q *statements) error {
		if err := s.hold(q, to); err != nil { // another must not count at the same time
			return err
		}
		var n int
		if err := q.countMail.QueryRow(to.Domain, to.User).Scan(&n); err != nil {
			return err
		}
		if n >= max {
			return refusal{ErrFull}
		}
		var id int64
		if err := q.nextMail.QueryRow(to.Domain, to.User).Scan(&id); err != nil {
			return err
		}
		if _, err := q.putMail.Exec(to.Domain, to.User, id, unix(at), nonNil(blob)); err != nil {
			return err
		}
		if id == 1 {
			q.after(to, func() { s.cache.drop(to) }) // it may say that there never was one
		}
		return nil
	}, to)
}

// Offline lists the messages kept for a user, oldest first.
func (s *Store) Offline(ctx context.Context, to presence.Entity) ([]Offline, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.rows == nil && !s.others.Load() {
		if st := s.cache.peek(to); st != nil && !st.mailed {
			return nil, nil // as with nearly everybody who logs in
		}
	}
	return read(ctx, s.reader, func() ([]Offline, error) { return s.readOffline(to) })
}

func (s *Store) readOffline(to presence.Entity) ([]Offline, error) {
	rows, err := s.reads.mails.Query(to.Domain, to.User)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Offline
	for rows.Next() {
		var o Offline
		var at int64
		if err := rows.Scan(&o.ID, &at, &o.Blob); err != nil {
			return nil, err
		}
		o.At = fromUnix(at)
		list = append(list, o)
	}
	return list, rows.Err()
}

// RemoveOffline removes messages by id; unknown ids are no error.
func (s *Store) RemoveOffline(ctx context.Context, to presence.Entity, ids []int64) error {
	return s.do(ctx, func(q *statements) error {
		for _, id := range ids {
			if _, err := q.dropMail.Exec(to.Domain, to.User, id); err != nil {
				return err
			}
		}
		return nil
	})
}
