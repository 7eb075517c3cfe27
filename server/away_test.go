package server

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"pharos/store/postgrestest"
)

// What the commands are told when the database goes away under a running server.
func TestDatabaseAway(t *testing.T) {
	db, err := postgrestest.Start()
	if postgrestest.MaySkip(err) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := run(t, func(o *Options) { o.Config.Store.URL = db.URL("postgres") })
	several := run(t, func(o *Options) {
		o.Config.Store.URL = db.URL("postgres")
		o.Config.Cluster.Node, o.Config.Cluster.Secret, o.Config.Cluster.Listen = "a", "sixteen characters at least", "127.0.0.1:0"
	})
	metrics := func(want ...string) {
		t.Helper()
		resp, body := get(t, "http://"+several.addr("http+insecure")+"/metrics")
		for _, w := range want {
			if resp.StatusCode != 200 || !strings.Contains(body, "\npharos_"+w+"\n") {
				t.Errorf("%s: no %q among the metrics", resp.Status, w)
			}
		}
	}
	metrics("database_up 1", "cluster_takes_part 1", "cluster_servers_active 1", "cluster_homes 0", "cluster_moved_total 0")
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
	for end := time.Now().Add(10 * time.Second); several.node.Valid() && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
	}
	metrics("database_up 0", "cluster_takes_part 0")
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

// A server that hangs is said to do so.
func TestServerSilent(t *testing.T) {
	data := t.TempDir()
	ln, err := net.Listen("unix", SocketPath(data))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close() // nobody accepts
	c, err := Dial(data)
	if err != nil {
		t.Fatal(err)
	}
	c.patience = 50 * time.Millisecond
	defer c.http.CloseIdleConnections()
	var st Status
	if err := c.Get(t.Context(), "/status", &st); !errors.Is(err, ErrSilent) {
		t.Errorf("%v", err)
	}
	if err := c.Do(t.Context(), "/cluster/drain"); !errors.Is(err, ErrSilent) {
		t.Errorf("%v", err)
	}
}
