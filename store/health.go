package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
)

// Health tells how the database is.
type Health struct {
	Kind  string    `json:"kind"`  // SQLite or PostgreSQL
	Place string    `json:"place"` // the folder, or host:port/database
	OK    bool      `json:"ok"`
	Since time.Time `json:"since"`           // when that began
	Error string    `json:"error,omitempty"` // why not OK, in words
}

// healthWithin bounds the question to the database when Health is asked for.
const healthWithin = time.Second

// health notes since when a database is there or away.
type health struct {
	mu    sync.Mutex
	place string
	since time.Time
	err   error // nil: it is there
}

func (h *health) note(err error) {
	if errors.Is(err, context.Canceled) {
		return // somebody has changed his mind
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if (h.err == nil) != (err == nil) || h.since.IsZero() {
		h.since = time.Now()
	}
	h.err = err
}

// Health asks the database whether it is there, and waits a second at most.
func (s *Store) Health(ctx context.Context) Health {
	if s.control == nil {
		h := Health{Kind: "SQLite", Place: s.dir, OK: true, Since: s.health.since}
		if s.Stats().SoftFailing {
			h.OK, h.Since, h.Error = false, time.Time{}, "what changes cannot be written: see the log"
		}
		return h
	}
	ctx, cancel := context.WithTimeout(ctx, healthWithin)
	defer cancel()
	_, err := s.control.ExecContext(ctx, `SELECT 1`)
	s.health.note(err)
	s.health.mu.Lock()
	defer s.health.mu.Unlock()
	h := Health{Kind: "PostgreSQL", Place: s.health.place, OK: s.health.err == nil, Since: s.health.since}
	if !h.OK {
		h.Error = Trouble(s.health.err).Error()
	}
	return h
}

// watched notes whether connections can be made: whoever loses his makes another one at once, so that
// this shows first that a database has gone or come back.
type watched struct {
	driver.Connector
	health *health
}

// Connect is driver.Connector's.
func (w watched) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := w.Connector.Connect(ctx)
	w.health.note(err)
	return c, err
}

// pool opens a pool of connections, lazily.
func (s *Store) pool(c *pgx.ConnConfig) *sql.DB {
	s.health.mu.Lock()
	s.health.place = placeOf(&c.Config) + "/" + c.Database
	s.health.mu.Unlock()
	return sql.OpenDB(watched{stdlib.GetConnector(*c), s.health})
}

// InUse tells whether servers are connected to a database in PostgreSQL.
func InUse(ctx context.Context, url string) (bool, error) {
	k, err := dialCopy(ctx, url)
	if err != nil {
		return false, err
	}
	var found bool
	err = k.conn.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM pg_stat_activity
		WHERE datname = current_database() AND application_name = '`+applicationName+`')`).Scan(&found)
	return found, errors.Join(Trouble(err), k.close())
}
