package store

import (
	"strings"
	"testing"
	"time"

	"pharos/store/postgrestest"
)

func TestHealth(t *testing.T) {
	postgresURL(t) // skips without PostgreSQL
	server, err := postgrestest.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s, err := OpenPostgres(t.Context(), server.URL("postgres"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	h := s.Health(t.Context())
	if !h.OK || h.Kind != "PostgreSQL" || !strings.HasSuffix(h.Place, "/postgres") || h.Error != "" || time.Since(h.Since) > time.Minute {
		t.Errorf("%+v", h)
	}
	began := h.Since
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	gone := time.Now()
	away := s.Health(t.Context())
	if away.OK || !strings.Contains(away.Error, "does not answer") || away.Since.Before(gone) {
		t.Errorf("stopped: %+v", away)
	}
	if again := s.Node().Health(t.Context()); again.OK || !again.Since.Equal(away.Since) {
		t.Errorf("still stopped: %+v", again)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if h := s.Health(t.Context()); !h.OK || h.Error != "" || !h.Since.After(away.Since) || !h.Since.After(began) {
		t.Errorf("started again: %+v", h)
	}

	lite, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer lite.Close()
	if h := lite.Health(t.Context()); !h.OK || h.Kind != "SQLite" || h.Since.IsZero() {
		t.Errorf("%+v", h)
	}
}
