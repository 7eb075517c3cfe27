package store

import (
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// Several nodes start at the same time with a database in which there is nothing.
func TestOpenTogether(t *testing.T) {
	url := postgresURL(t)
	var wg sync.WaitGroup
	stores := make([]*Store, 4)
	for i := range stores {
		wg.Go(func() {
			s, err := OpenPostgres(t.Context(), url, t.TempDir())
			if err != nil {
				t.Error(err)
				return
			}
			stores[i] = s
		})
	}
	wg.Wait()
	for _, s := range stores {
		if s == nil {
			continue
		}
		if err := addOne(t.Context(), s, alice); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	s := openPostgresTest(t, url) // all is there
	if n := count(t, s, alice); n != len(stores) {
		t.Errorf("%d changes", n)
	}
}

func TestOpenPostgresRefused(t *testing.T) {
	url := postgresURL(t)
	dir := t.TempDir()
	s, err := OpenPostgres(t.Context(), url, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPostgres(t.Context(), url, dir); !errors.Is(err, ErrLocked) {
		t.Errorf("the directory is in use: %v", err)
	}
	if _, err := s.read.Exec(`UPDATE schema_version SET version = 1000`); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenPostgres(t.Context(), url, dir); !errors.Is(err, ErrNewer) {
		t.Errorf("opened a newer schema: %v", err)
	}
	if _, err := OpenPostgres(t.Context(), "postgres:///nothing?connect_timeout=1&host="+t.TempDir(), dir); err == nil {
		t.Error("opened where no server is")
	}
	if _, err := OpenPostgres(t.Context(), "mysql://x", dir); err == nil {
		t.Error("opened another database's URL")
	}
	adminExec(t, `DROP DATABASE IF EXISTS latin`, `CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`)
	if _, err := OpenPostgres(t.Context(), postgresServer.URL("latin"), dir); err == nil || !strings.Contains(err.Error(), "UTF8") {
		t.Errorf("opened a database that is not UTF-8: %v", err)
	}
}

func TestClosedPostgres(t *testing.T) {
	s, err := OpenPostgres(t.Context(), postgresURL(t), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Roster(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	called := false
	s.Put([]Record{{Kind: 'r', Key: "k", Value: []byte("v")}}, func(err error) {
		if called = true; !errors.Is(err, ErrClosed) {
			t.Errorf("Put: %v", err)
		}
	})
	if !called {
		t.Error("Put after Close is never answered")
	}
	_, _, load := s.Load(t.Context(), alice)
	_, _, cached := s.Roster(t.Context(), alice)
	_, _, uncached := s.Roster(t.Context(), carol)
	_, get := s.Get('r', "k")
	for what, err := range map[string]error{
		"PutOffline": s.PutOffline(t.Context(), alice, nil, 1),
		"Range":      s.Range('r', func(string, []byte) error { return nil }),
		"Get":        get, "Load": load, "cached": cached, "uncached": uncached,
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Two databases that were made in the same way order text in the same way.
func TestOrderOfText(t *testing.T) {
	s := openPostgresTest(t, postgresURL(t))
	rows, err := s.read.Query(`SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s.%s is not ordered by its bytes", table, column)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
}

// A database that has stopped to answer is given up, whoever waits for how long.
func TestPatientConn(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := &patientConn{Conn: a, limit: 20 * time.Millisecond}
	defer c.Close()
	timeout := func(what string, err error) {
		t.Helper()
		var n net.Error
		if !errors.As(err, &n) || !n.Timeout() {
			t.Errorf("%s: %v", what, err)
		}
	}
	_, err := c.Read(make([]byte, 1))
	timeout("read", err)
	_, err = c.Write([]byte("x"))
	timeout("write", err)
	// The user's own deadline holds where it is earlier.
	c.limit = time.Hour
	if err := c.SetDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err = c.Read(make([]byte, 1))
	timeout("read after the deadline", err)
	_, err = c.Write([]byte("x"))
	timeout("write after the deadline", err)
	if err := errors.Join(c.SetReadDeadline(time.Time{}), c.SetWriteDeadline(time.Time{})); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = b.Write([]byte("y")) }()
	if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}
