package store

import (
	"context"
	"database/sql"
	"slices"

	"pharos/presence"
)

// MaxBlocks bounds the block list of one user (ErrFull).
const MaxBlocks = 1000

// Blocks lists blocked addresses (XEP-0191) in order; a JID string: user@domain,
// domain, with or without resource.
func (s *Store) Blocks(ctx context.Context, u presence.Entity) ([]string, error) {
	st, err := s.user(ctx, u)
	if err != nil {
		return nil, err
	}
	return slices.Clone(st.blocks), nil
}

func readBlocks(rows *sql.Rows, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return scanBlocks(rows)
}

func scanBlocks(rows rowsRead) ([]string, error) {
	var list []string
	for rows.Next() {
		var a string
		if err := rows.Scan(&a); err != nil {
			return nil, err
		}
		list = append(list, a)
	}
	return list, rows.Err()
}

// SetBlocks changes the list at once: all are removed with removeAll, else those
// in remove; then those in add are added. The revision rises when something changed.
func (s *Store) SetBlocks(ctx context.Context, u presence.Entity, add, remove []string, removeAll bool) error {
	return s.do(ctx, func(q *statements) error { return s.setBlocks(q, u, add, remove, removeAll) }, u)
}

// setBlocks is SetBlocks within a transaction. A refusal wrote nothing.
func (s *Store) setBlocks(q *statements, u presence.Entity, add, remove []string, removeAll bool) error {
	if err := s.hold(q, u); err != nil {
		return err
	}
	if len(add) > 0 {
		have := 0
		if !removeAll {
			if err := q.countBlock.QueryRow(u.Domain, u.User).Scan(&have); err != nil {
				return err
			}
		}
		if have+len(add) > MaxBlocks {
			return refusal{ErrFull}
		}
	}
	var changed int64
	exec := func(r interface{ RowsAffected() (int64, error) }, err error) error {
		if err != nil {
			return err
		}
		n, err := r.RowsAffected()
		changed += n
		return err
	}
	if removeAll {
		if err := exec(q.dropBlocks.Exec(u.Domain, u.User)); err != nil {
			return err
		}
	}
	for _, a := range remove {
		if err := exec(q.dropBlock.Exec(u.Domain, u.User, a)); err != nil {
			return err
		}
	}
	for _, a := range add {
		if err := exec(q.putBlock.Exec(u.Domain, u.User, a)); err != nil {
			return err
		}
	}
	if changed == 0 {
		return nil
	}
	q.after(u, func() { s.cache.drop(u) })
	_, err := q.bump.Exec(u.Domain, u.User)
	return err
}
