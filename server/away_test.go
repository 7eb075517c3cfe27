package server

import (
	"errors"
	"os"
	"strings"
	"testing"

	"pharos/store/postgrestest"
)

// What the commands are told when the database goes away under a running server.
func TestDatabaseAway(t *testing.T) {
	db, err := postgrestest.Start()
	if errors.Is(err, postgrestest.ErrMissing) && os.Getenv("PHAROS_INTEROP") != "require" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := run(t, func(o *Options) { o.Config.Store.URL = db.URL("postgres") })
	c, err := Dial(s.Data)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.http.CloseIdleConnections)
	if err := c.Post(t.Context(), "/users/add", "alice@localhost", "secret"); err != nil {
		t.Fatal(err)
	}
	users := func() string {
		var u User
		if err := c.Get(t.Context(), "/users", &u); err != nil {
			return err.Error()
		}
		return u.Address
	}
	if have := users(); have != "alice@localhost" {
		t.Errorf("users: %s", have)
	}
	var st Status
	if err := c.Get(t.Context(), "/status", &st); err != nil || !st.Database.OK || st.Database.Since.IsZero() {
		t.Errorf("%+v %v", st.Database, err)
	}
	if err := db.Stop(); err != nil {
		t.Fatal(err)
	}
	const want = "does not answer: nothing listens there. Start it"
	if have := users(); !strings.Contains(have, want) {
		t.Errorf("users: %s", have)
	}
	if err := c.Post(t.Context(), "/users/add", "bob@localhost", "secret"); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("add: %v", err)
	}
	var w Why
	if err := c.Get(t.Context(), "/why?watcher=alice@localhost&presentity=alice@localhost", &w); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("why: %v %+v", err, w)
	}
	st = Status{}
	if err := c.Get(t.Context(), "/status", &st); err != nil || st.Database.OK || !strings.Contains(st.Database.Error, want) {
		t.Errorf("%+v %v", st.Database, err)
	}
	if err := db.Start(); err != nil {
		t.Fatal(err)
	}
	st = Status{}
	if err := c.Get(t.Context(), "/status", &st); err != nil || !st.Database.OK || st.Database.Error != "" {
		t.Errorf("%+v %v", st.Database, err)
	}
	if have := users(); have != "alice@localhost" {
		t.Errorf("users: %s", have)
	}
}
