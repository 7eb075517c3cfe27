package store

import (
	"context"
	"database/sql"
	_ "embed"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/presence"
)

func putDocument(t testing.TB, s *Store, u presence.Entity, auid, path, body string) (d Document) {
	t.Helper()
	err := s.Transact(t.Context(), func(tx *Tx) (err error) {
		d, err = tx.PutDocument(u, auid, path, []byte(body))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDocuments(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		if _, err := s.Document(ctx, alice, "a", "index"); !errors.Is(err, ErrNotFound) {
			t.Errorf("absent document: %v", err)
		}
		check := func(auid, path, body string, version uint64) {
			t.Helper()
			d, err := s.Document(ctx, alice, auid, path)
			if err != nil || string(d.Body) != body || d.Size != len(body) || d.Version != version || d.AUID != auid || d.Path != path ||
				time.Since(d.Modified) > time.Minute {
				t.Errorf("%s/%s is %+v, %v, want %q of version %d", auid, path, d, err, body, version)
			}
			list, err := s.Documents(ctx, alice)
			found := false
			for _, l := range list {
				found = found || l.AUID == auid && l.Path == path && l.Version == version && l.Size == len(body) && l.Body == nil && l.Modified.Equal(d.Modified)
			}
			if err != nil || !found {
				t.Errorf("%s/%s is not so in the list %+v, %v", auid, path, list, err)
			}
		}
		putDocument(t, s, alice, "b", "index", "<one/>")
		putDocument(t, s, alice, "a", "x/y", "<two/>")
		putDocument(t, s, bob, "a", "x/y", "<other/>")
		check("b", "index", "<one/>", 1)
		check("a", "x/y", "<two/>", 2)
		// One counter for rows and documents.
		item, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.Visible = true; return true })
		if err != nil || item.Version != 3 {
			t.Errorf("row %+v, %v", item, err)
		}
		d := putDocument(t, s, alice, "b", "index", "<three/>")
		if d.Version != 4 || string(d.Body) != "<three/>" {
			t.Errorf("written as %+v", d)
		}
		check("b", "index", "<three/>", 4)
		if _, version, err := s.Roster(ctx, alice); err != nil || version != 4 {
			t.Errorf("roster of version %d, %v", version, err)
		}
		if r, err := s.Revision(ctx, alice); err != nil || r != 4 {
			t.Errorf("revision %d, %v", r, err)
		}
		list, err := s.Documents(ctx, alice)
		if err != nil || len(list) != 2 || list[0].AUID != "a" || list[1].AUID != "b" {
			t.Errorf("listed %+v, %v", list, err)
		}
		drop := func(path string) error {
			return s.Transact(ctx, func(tx *Tx) error { return tx.DropDocument(alice, "b", path) })
		}
		if err := drop("none"); err != ErrNotFound {
			t.Errorf("dropped what is not there: %v", err)
		}
		if err := drop("index"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Document(ctx, alice, "b", "index"); !errors.Is(err, ErrNotFound) {
			t.Errorf("dropped document: %v", err)
		}
		if d := putDocument(t, s, alice, "b", "index", ""); d.Version != 6 {
			t.Errorf("made again as version %d", d.Version)
		}
		check("b", "index", "", 6)
		if l, err := s.Holders(ctx, "a", "x/y"); err != nil || len(l) != 2 || !slices.Contains(l, alice) || !slices.Contains(l, bob) {
			t.Errorf("held by %v, %v", l, err)
		}
		global := presence.Entity{Domain: "example.com"}
		putDocument(t, s, global, "a", "index", "<global/>")
		if d, err := s.Document(ctx, global, "a", "index"); err != nil || string(d.Body) != "<global/>" {
			t.Errorf("global tree: %+v, %v", d, err)
		}
	})
}

// A transaction sees what it has written, all kinds of things are written by one,
// and an error leaves nothing.
func TestTransact(t *testing.T) {
	for _, cached := range []bool{true, false} {
		t.Run(fmt.Sprint("cached=", cached), func(t *testing.T) {
			s, ctx := openTest(t), t.Context()
			if !cached {
				s.cache.init(0)
				s.bodies.init(0)
			}
			putDocument(t, s, alice, "a", "index", "<old/>")
			if _, err := s.UpdateItem(ctx, alice, carol, func(i *Item) bool { i.To = true; return true }); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.Roster(ctx, alice); err != nil { // it is in the cache now
				t.Fatal(err)
			}
			work := func(tx *Tx) error {
				d, err := tx.Document(alice, "a", "index")
				if err != nil || string(d.Body) != "<old/>" || d.Version != 1 {
					t.Errorf("before: %+v, %v", d, err)
				}
				if r, err := tx.Revision(alice); err != nil || r != 2 {
					t.Errorf("before: revision %d, %v", r, err)
				}
				if l, err := tx.Items(alice); err != nil || len(l) != 1 {
					t.Errorf("before: rows %+v, %v", l, err)
				}
				i := Item{Contact: bob, Visible: true}
				if err := tx.PutItem(alice, &i); err != nil || i.Version != 3 {
					t.Errorf("row %+v, %v", i, err)
				}
				if err := tx.SetBlocks(alice, []string{"spam.example"}, nil, false); err != nil {
					t.Error(err)
				}
				if _, err := tx.PutDocument(alice, "a", "index", []byte("<new/>")); err != nil {
					t.Error(err)
				}
				if d, err = tx.Document(alice, "a", "index"); err != nil || string(d.Body) != "<new/>" || d.Version != 4 {
					t.Errorf("after: %+v, %v", d, err)
				}
				if l, err := tx.Items(alice); err != nil || len(l) != 2 || l[0].Contact != bob {
					t.Errorf("after: rows %+v, %v", l, err)
				}
				if i, err := tx.Item(alice, bob); err != nil || !i.Visible {
					t.Errorf("after: row %+v, %v", i, err)
				}
				if l, err := tx.Blocks(alice); err != nil || len(l) != 1 {
					t.Errorf("after: blocks %q, %v", l, err)
				}
				if r, err := tx.Revision(alice); err != nil || r != 5 {
					t.Errorf("after: revision %d, %v", r, err)
				}
				return nil
			}
			broken := errors.New("broken")
			err := s.Transact(ctx, func(tx *Tx) error { work(tx); return broken })
			if err != broken {
				t.Errorf("an error of the caller's comes back as %v", err)
			}
			if d, err := s.Document(ctx, alice, "a", "index"); err != nil || string(d.Body) != "<old/>" {
				t.Errorf("after an error: %+v, %v", d, err)
			}
			if err := s.Transact(ctx, work); err != nil {
				t.Fatal(err)
			}
			if d, err := s.Document(ctx, alice, "a", "index"); err != nil || string(d.Body) != "<new/>" {
				t.Errorf("%+v, %v", d, err)
			}
			many := make([]string, MaxBlocks)
			for i := range many {
				many[i] = fmt.Sprintf("d%d.example", i)
			}
			err = s.Transact(ctx, func(tx *Tx) error {
				if _, err := tx.PutDocument(alice, "a", "index", []byte("<too much/>")); err != nil {
					return err
				}
				return tx.SetBlocks(alice, many, nil, false)
			})
			if !errors.Is(err, ErrFull) {
				t.Errorf("beyond the bound: %v", err)
			}
			if d, err := s.Document(ctx, alice, "a", "index"); err != nil || string(d.Body) != "<new/>" {
				t.Errorf("after a bound: %+v, %v", d, err)
			}
		})
	}
}

// What fails is not another's trouble.
func TestTransactGrouped(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		odd := errors.New("odd")
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				u := presence.Entity{User: fmt.Sprint("u", i), Domain: "example.com"}
				err := s.Transact(context.Background(), func(tx *Tx) error {
					if i%4 == 1 {
						return odd
					}
					if _, err := tx.PutDocument(u, "a", "index", []byte("<x/>")); err != nil {
						return err
					}
					if i%4 == 3 {
						return odd
					}
					return nil
				})
				if want := i%2 == 1; want != (err == odd) || !want && err != nil {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		for i := range 40 {
			_, err := s.Document(ctx, presence.Entity{User: fmt.Sprint("u", i), Domain: "example.com"}, "a", "index")
			if (i%2 == 1) != errors.Is(err, ErrNotFound) {
				t.Errorf("%d: %v", i, err)
			}
		}
	})
}

//go:embed testdata/schema1.sql
var schema1 string

// A database of version 1 is brought up to date with what is in it, and is then
// the same as a new one.
func TestMigrateFrom1(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, "pharos.db")))
	if err != nil {
		t.Fatal(err)
	}
	for _, st := range append(strings.Split(schema1, ";\n"),
		`CREATE TABLE schema_version (version BIGINT NOT NULL)`,
		`INSERT INTO schema_version (version) VALUES (1)`,
		`INSERT INTO counters (domain, name, roster, floor, revision, mail) VALUES ('example.com', 'alice', 7, 1, 9, 0)`,
		`INSERT INTO roster (domain, name, contact_domain, contact_name, title, groups, flags, version, stanza)
			VALUES ('example.com', 'alice', 'example.com', 'bob', 'Bob', '', 35, 7, '')`,
		`INSERT INTO blocks (domain, name, address) VALUES ('example.com', 'alice', 'spam.example')`,
	) {
		if strings.TrimSpace(st) == "" {
			continue
		}
		if _, err := db.Exec(st); err != nil {
			t.Fatalf("%v in %q", err, st)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	items, version, err := s.Roster(t.Context(), alice)
	if err != nil || version != 7 || len(items) != 1 || items[0].Name != "Bob" || !items[0].To || !items[0].From || !items[0].Visible {
		t.Errorf("roster %+v of version %d, %v", items, version, err)
	}
	if l, err := s.Blocks(t.Context(), alice); err != nil || len(l) != 1 {
		t.Errorf("blocks %q, %v", l, err)
	}
	if l, err := s.Documents(t.Context(), alice); err != nil || len(l) != 0 {
		t.Errorf("documents %+v, %v", l, err)
	}
	if d := putDocument(t, s, alice, "a", "index", "<a/>"); d.Version != 8 {
		t.Errorf("written as version %d", d.Version)
	}
	s.cache.drop(alice)
	if l, err := s.Documents(t.Context(), alice); err != nil || len(l) != 1 {
		t.Errorf("documents %+v, %v", l, err)
	}
	if got, want := columns(t, s), columns(t, openTest(t)); got != want {
		t.Errorf("migrated:\n%s\nnew:\n%s", got, want)
	}
}

// columns describes all tables, whatever the order of their columns.
func columns(t *testing.T, s *Store) string {
	t.Helper()
	rows, err := s.read.Query(`SELECT m.name, c.name, c.type, c."notnull", COALESCE(c.dflt_value, ''), c.pk
		FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' ORDER BY m.name, c.name`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var b strings.Builder
	for rows.Next() {
		var table, name, typ, def string
		var notNull, pk int
		if err := rows.Scan(&table, &name, &typ, &notNull, &def, &pk); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(&b, table, name, typ, notNull, def, pk)
	}
	return b.String()
}

// The bodies of documents do not hold more memory than they may, and one that is
// in no cache is read.
func TestBodiesAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		s.bodies.init(10_000)
		for i := range 20 {
			putDocument(t, s, alice, "a", fmt.Sprint(i), strings.Repeat("x", 1000+i))
		}
		putDocument(t, s, alice, "a", "huge", strings.Repeat("x", 20_000))
		if s.bodies.bytes > 10_000 || len(s.bodies.m) == 0 {
			t.Errorf("%d bytes of %d documents are kept", s.bodies.bytes, len(s.bodies.m))
		}
		for i := range 20 {
			if d, err := s.Document(ctx, alice, "a", fmt.Sprint(i)); err != nil || len(d.Body) != 1000+i {
				t.Errorf("%d: %d bytes, %v", i, len(d.Body), err)
			}
		}
		if d, err := s.Document(ctx, alice, "a", "huge"); err != nil || len(d.Body) != 20_000 {
			t.Errorf("huge: %d bytes, %v", len(d.Body), err)
		}
	})
}

// Many rows and a document in one transaction: whatever comes in between, the cache
// is not behind afterwards.
func TestManyRowsAroundADocument(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		for _, before := range []int{0, 1, copyUpTo - 1, copyUpTo, copyUpTo + 1, 2 * copyUpTo} {
			u := presence.Entity{User: fmt.Sprint("u", before), Domain: "example.com"}
			if _, _, err := s.Roster(ctx, u); err != nil { // cached
				t.Fatal(err)
			}
			err := s.Transact(ctx, func(tx *Tx) error {
				for i := range before + 5 {
					if i == before {
						if _, err := tx.PutDocument(u, "a", "index", []byte("x")); err != nil {
							return err
						}
					}
					it := Item{Contact: presence.Entity{User: fmt.Sprint("m", i), Domain: "example.com"}, Visible: true}
					if err := tx.PutItem(u, &it); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			cached, err := s.user(ctx, u)
			if err != nil {
				t.Fatal(err)
			}
			if now := s.fresh(t, u); !sameState(cached, now) || len(cached.items) != before+5 {
				t.Errorf("document behind %d rows: %d rows cached, %d in the database", before, len(cached.items), len(now.items))
			}
		}
	})
}
