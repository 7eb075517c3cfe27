package store

import (
	"context"

	"pharos/presence"
)

// everyPage is how many documents EveryDocument reads at once.
const everyPage = 256

// EveryDocument calls fn with all documents of an application usage, of all users,
// in the order of users and paths. It walks through the whole table: it is for what
// is asked for once in the life of a process. An error of fn ends it.
func (s *Store) EveryDocument(ctx context.Context, auid string, fn func(u presence.Entity, d Document) error) error {
	type row struct {
		u presence.Entity
		d Document
	}
	var last row
	for {
		page, err := read(ctx, s.reader, func() ([]row, error) {
			rows, err := s.reads.everyDocument.Query(auid, last.u.Domain, last.u.User, last.d.Path, everyPage)
			if err != nil {
				return nil, err
			}
			defer rows.Close()
			var page []row
			for rows.Next() {
				r := row{d: Document{AUID: auid}}
				var at int64
				if err := rows.Scan(&r.u.Domain, &r.u.User, &r.d.Path, &r.d.Version, &at, &r.d.Body); err != nil {
					return nil, err
				}
				r.d.Body = nonNil(r.d.Body)
				r.d.Modified, r.d.Size = fromUnix(at), len(r.d.Body)
				page = append(page, r)
			}
			return page, rows.Err()
		})
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := fn(r.u, r.d); err != nil {
				return err
			}
		}
		if len(page) < everyPage {
			return nil
		}
		last = page[len(page)-1]
	}
}
