package store

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"pharos/presence"
)

// stopped is the folder of a store that was filled and closed, and what was in it.
func stopped(t *testing.T, users int) (dir string, all rowsIn) {
	t.Helper()
	dir = t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, users)
	all = snapshotOf(t, s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return dir, all
}

func postgresRows(t *testing.T, url string) rowsIn {
	t.Helper()
	n, err := snapshotPostgres(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	return everything(t, n)
}

func TestMigrate(t *testing.T) {
	url, ctx := postgresURL(t), t.Context()
	dir, want := stopped(t, 60)
	before := contents(t, dir)
	seen := map[string]bool{}
	c, err := Migrate(ctx, dir, url, func(p Progress) { seen[p.Step+" "+p.Table] = p.Rows > 0 })
	if err != nil {
		t.Fatal(err)
	}
	if len(c.Tables) != len(copiedTables) || c.Tables[0].Rows != int64(len(want["accounts"])) || !seen["writing soft"] || c.Damaged != 0 {
		t.Errorf("%+v, %v", c, seen)
	}
	if !reflect.DeepEqual(postgresRows(t, url), want) {
		t.Error("other rows are in PostgreSQL")
	}
	if !reflect.DeepEqual(contents(t, dir), before) {
		t.Error("the folder was changed")
	}
	if _, err := Migrate(ctx, dir, url, noProgress); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), "accounts") {
		t.Errorf("a second time: %v", err)
	}

	// The store works with it as it did.
	s := openPostgresTest(t, url)
	u := presence.Entity{User: "u00001", Domain: "example.com"}
	a, err := s.Account(ctx, u)
	if wantA := testAccount(u); err != nil || !reflect.DeepEqual(a, wantA) {
		t.Errorf("%+v, %v", a, err)
	}
	sources, subs, err := s.Load(ctx, u)
	if err != nil || len(sources) != 1 || len(subs) != 1 || !reflect.DeepEqual(subs[0], benchSubscription(1)) {
		t.Errorf("%v, %v, %v", sources, subs, err)
	}
	registered := 0
	if err := s.Range('r', func(string, []byte) error { registered++; return nil }); err != nil || registered != 60 {
		t.Errorf("%d registered, %v", registered, err)
	}

	// And back: with a backup, beside a store in use.
	var b bytes.Buffer
	if err := BackupPostgres(ctx, url, &b, "x", noProgress); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "b")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if in, err := CheckBackup(ctx, file); err != nil || in.Database != "PostgreSQL" {
		t.Errorf("%+v, %v", in, err)
	}
	back := filepath.Join(t.TempDir(), "back")
	if _, err := Restore(ctx, file, back, noProgress); err != nil {
		t.Fatal(err)
	}
	n, err := readDir(ctx, back)
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	got := everything(t, n)
	for i, c := range want["counters"] {
		want["counters"][i] = raised(tableNamed("counters"), c)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("other rows have come back")
	}
}

// A backup of SQLite goes into PostgreSQL, but not where something is.
func TestRestorePostgres(t *testing.T) {
	url, ctx := postgresURL(t), t.Context()
	s := openTest(t)
	fill(t, s, 10)
	file := backup(t, s)
	if _, err := RestorePostgres(ctx, file, url, noProgress); err != nil {
		t.Fatal(err)
	}
	want := snapshotOf(t, s)
	for i, c := range want["counters"] {
		want["counters"][i] = raised(tableNamed("counters"), c)
	}
	if !reflect.DeepEqual(postgresRows(t, url), want) {
		t.Error("other rows are in PostgreSQL")
	}
	if _, err := RestorePostgres(ctx, file, url, noProgress); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("a second time: %v", err)
	}

	// A service that has run, even without users, or another's table.
	for _, c := range []struct{ sql, says string }{
		{`CREATE TABLE accounts (id int)`, "accounts of something else"},
		{``, "table nodes"},
	} {
		url := postgresURL(t)
		schema := url[strings.Index(url, "search_path=")+len("search_path="):]
		schema, _, _ = strings.Cut(schema, "&")
		if c.sql != "" {
			adminExec(t, "SET search_path = "+schema, c.sql)
		} else {
			enter(t, openPostgresTest(t, url), "n1", longLease)
		}
		if _, err := RestorePostgres(ctx, file, url, noProgress); !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.says, err)
		}
	}
}

// A database that changes what is written: each row that is not the same is named, and none
// stays.
func TestMigrateDiffers(t *testing.T) {
	url, ctx := postgresURL(t), t.Context()
	openPostgresTest(t, url) // makes the tables
	schema := url[strings.Index(url, "search_path=")+len("search_path="):]
	schema, _, _ = strings.Cut(schema, "&")
	adminExec(t, "SET search_path = "+schema,
		`CREATE FUNCTION wrong() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			IF NEW.name = 'u00001' THEN NEW.title := 'changed'; END IF;
			IF NEW.name = 'u00002' THEN RETURN NULL; END IF;
			RETURN NEW; END $$`,
		`CREATE TRIGGER wrong BEFORE INSERT ON roster FOR EACH ROW EXECUTE FUNCTION wrong()`)
	dir, _ := stopped(t, 5)
	c, err := Migrate(ctx, dir, url, noProgress)
	if !errors.Is(err, ErrDiffers) || c.Tables != nil {
		t.Fatalf("%v, %v", c, err)
	}
	for _, want := range []string{
		`roster domain="example.com" name="u00001" contact_domain="example.org" contact_name="c0": column title is another`,
		`roster domain="example.com" name="u00002" contact_domain="example.org" contact_name="c2": is missing`,
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %s", err, want)
		}
	}
	for name, rows := range postgresRows(t, url) {
		t.Errorf("%d rows stay in %s", len(rows), name)
	}
	// Once it is well, it is a target again.
	adminExec(t, "SET search_path = "+schema, `DROP TRIGGER wrong ON roster`)
	if _, err := Migrate(ctx, dir, url, noProgress); err != nil {
		t.Error(err)
	}
}

func TestMigrateRefused(t *testing.T) {
	url, ctx := postgresURL(t), t.Context()
	dir := t.TempDir()
	if _, err := Migrate(ctx, dir, url, noProgress); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("from nothing: %v", err)
	}
	s, err := Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Migrate(ctx, dir, url, noProgress); !errors.Is(err, ErrLocked) {
		t.Errorf("of a process that runs: %v", err)
	}
	// What PostgreSQL cannot hold is named.
	if _, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.Name, i.To = "a\xffb", true; return true }); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = Migrate(ctx, dir, url, noProgress)
	if err == nil || !strings.Contains(err.Error(), `contact_name="bob": column title is not text`) {
		t.Errorf("%v", err)
	}
	if _, err := Migrate(ctx, dir, "postgres://nobody@127.0.0.1:1/x", noProgress); err == nil {
		t.Error("into nothing")
	}
	if _, err := Migrate(ctx, dir, "what is this", noProgress); err == nil {
		t.Error("into what is no URL")
	}
}

// What of the journal cannot be read is said.
func TestMigrateDamaged(t *testing.T) {
	url, ctx := postgresURL(t), t.Context()
	dir, want := stopped(t, 5)
	path := filepath.Join(dir, softLog)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	i := bytes.Index(b, []byte("bindings"))
	b[i] ^= 1
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := Migrate(ctx, dir, url, noProgress)
	if err != nil || c.Damaged != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if got := len(postgresRows(t, url)["soft"]); got != len(want["soft"])-1 {
		t.Errorf("%d records of %d", got, len(want["soft"]))
	}
}
