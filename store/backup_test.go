package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pharos/presence"
)

func noProgress(Progress) {}

// fill puts something of everything into a store, by its own methods.
func fill(t testing.TB, s *Store, users int) {
	t.Helper()
	ctx := t.Context()
	var accounts []Account
	rnd := rand.New(rand.NewPCG(1, 2))
	for i := range users {
		u := presence.Entity{User: fmt.Sprintf("u%05d", i), Domain: "example.com"}
		if i%7 == 0 {
			u.User = fmt.Sprintf("ü%05d/€ \"x\"", i)
		}
		accounts = append(accounts, testAccount(u))
		for c := range 1 + i%3 {
			_, err := s.UpdateItem(ctx, u, presence.Entity{User: fmt.Sprint("c", c), Domain: "example.org"}, func(it *Item) bool {
				it.Name, it.Groups, it.To, it.Visible = "Näme", []string{"Friends", ""}, true, true
				it.Removed = c == 2
				return true
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if i%4 == 0 {
			err := s.SetBlocks(ctx, u, []string{"spam.example", "b@example.org/r"}, nil, false)
			for n := range 3 {
				err = errors.Join(err, s.PutOffline(ctx, u, fmt.Appendf(nil, "<message>%d</message>\x00\xff", n), 10))
			}
			if err = errors.Join(err, s.RemoveOffline(ctx, u, []int64{2})); err != nil {
				t.Fatal(err)
			}
		}
		if i%5 == 0 {
			err := s.Transact(ctx, func(tx *Tx) error {
				body := make([]byte, rnd.IntN(5000))
				for n := range body {
					body[n] = byte(rnd.Uint32())
				}
				if _, err := tx.PutDocument(u, "resource-lists", "index", body); err != nil {
					return err
				}
				_, err := tx.PutDocument(u, "pidf-manipulation", "sub/dir", nil)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		sub := benchSubscription(i)
		src := &presence.Source{ID: presence.SourceID{Kind: presence.Publication, Key: "k"}, Tag: "t", Native: presence.Payload{Type: "application/pidf+xml", Bytes: []byte("<x/>")},
			Expires: time.Unix(1900000000, 1), Updated: time.Unix(1700000000, 2)}
		save(t, s,
			presence.Save{Presentity: u, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub},
			presence.Save{Presentity: u, Kind: presence.SavedSource, Key: "gone", Source: src},
			presence.Save{Presentity: u, Kind: presence.SavedSource, Key: "k", Source: src})
		save(t, s, presence.Save{Presentity: u, Kind: presence.SavedSource, Key: "gone", Delete: true})
		put(t, s, Record{Kind: 'r', Key: u.String(), Value: []byte("bindings\x00")}, Record{Kind: 'o', Key: "b" + u.String() + "\x00c@d", Value: []byte{1}})
	}
	if err := s.PutAccounts(ctx, accounts); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Secret(ctx, "salt", 32); err != nil {
		t.Fatal(err)
	}
	if err := s.RemoveAccount(ctx, accounts[len(accounts)-1].User); err != nil { // its counters stay
		t.Fatal(err)
	}
}

// everything is all rows of a source, by table.
func everything(t testing.TB, from rowSource) rowsIn {
	t.Helper()
	all := rowsIn{}
	for _, tab := range copiedTables {
		if err := from.each(t.Context(), tab, func(r row) error { all[tab.name] = append(all[tab.name], r); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func snapshotOf(t testing.TB, s *Store) rowsIn {
	t.Helper()
	n, err := s.snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := n.close(); err != nil {
			t.Error(err)
		}
	}()
	return everything(t, n)
}

func backup(t testing.TB, s *Store) string {
	t.Helper()
	var b bytes.Buffer
	if err := s.Backup(t.Context(), &b, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "backup")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestBackupAndRestore(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	fill(t, s, 60)
	want := snapshotOf(t, s)
	for _, tab := range copiedTables {
		if len(want[tab.name]) == 0 {
			t.Errorf("nothing in %s", tab.name)
		}
	}
	file := backup(t, s)
	in, err := CheckBackup(ctx, file)
	if err != nil || in.Database != "SQLite" || in.Program != "1.2.3" || in.Tables["accounts"] != 59 || in.Tables["counters"] != 60 {
		t.Fatalf("%+v, %v", in, err)
	}

	dir := filepath.Join(t.TempDir(), "new", "data")
	c, err := Restore(ctx, file, dir, noProgress)
	if err != nil {
		t.Fatal(err)
	}
	for _, tab := range c.Tables {
		if tab.Rows != in.Tables[tab.Table] || len(tab.SHA256) != 64 {
			t.Errorf("%+v, and %d in the backup", tab, in.Tables[tab.Table])
		}
	}
	if _, err := Restore(ctx, file, dir, noProgress); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("restored over it: %v", err)
	}
	if list, err := filepath.Glob(filepath.Join(dir, "*")); err != nil || len(list) != 3 { // with the lock
		t.Errorf("there are %v", list)
	}
	r, err := Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := snapshotOf(t, r)
	for i, c := range want["counters"] {
		want["counters"][i] = raised(tableNamed("counters"), c)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("the restored store has other rows")
	}

	// It is a store like any other, in which numbers are not given out twice.
	u := presence.Entity{User: "u00001", Domain: "example.com"}
	items, version, full, err := r.RosterSince(ctx, u, 2)
	if err != nil || !full || len(items) != 2 {
		t.Errorf("%d rows since 2, all: %v, %v", len(items), full, err)
	}
	if since, _, full, err := r.RosterSince(ctx, u, version); err != nil || full || len(since) != 0 {
		t.Errorf("since now: %v, %v, %v", since, full, err)
	}
	it, err := r.UpdateItem(ctx, u, bob, func(i *Item) bool { i.To = true; return true })
	if err != nil || it.Version != version+1 || version < afterBackup {
		t.Errorf("version %d after %d, %v", it.Version, version, err)
	}
}

func TestBackupOfAStoppedStore(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	if err := BackupDir(ctx, dir, new(bytes.Buffer), "", noProgress); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("backup of nothing: %v", err)
	}
	s, err := Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	fill(t, s, 20)
	want := snapshotOf(t, s)
	if err := BackupDir(ctx, dir, new(bytes.Buffer), "", noProgress); !errors.Is(err, ErrLocked) {
		t.Errorf("backup beside a running one: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := contents(t, dir)
	var b bytes.Buffer
	if err := BackupDir(ctx, dir, &b, "", noProgress); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(contents(t, dir), before) {
		t.Error("the folder was changed")
	}
	if _, err := readArchive(ctx, &b, func(a *archiveReader) error {
		_, err := compareTables(ctx, want, a, unaltered, noProgress)
		return err
	}); err != nil {
		t.Error(err)
	}
}

// contents of a folder but for the lock.
func contents(t *testing.T, dir string) map[string]string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, f := range list {
		if f.Name() == "pharos.lock" {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		all[f.Name()] = string(b)
	}
	return all
}

// Of a process that was killed: what is in the database's log counts, and
// what of the journal was not written whole does not.
func TestBackupOfAKilledStore(t *testing.T) {
	dir, ctx := t.TempDir(), t.Context()
	s, err := Open(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	fill(t, s, 20)
	want := snapshotOf(t, s)
	killed := t.TempDir()
	for name, b := range contents(t, dir) {
		if name == softLog {
			b += b[len(b)-100 : len(b)-3]
		}
		if strings.HasSuffix(name, "-shm") {
			continue // gone with a reboot
		}
		if err := os.WriteFile(filepath.Join(killed, name), []byte(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	before := contents(t, killed)
	if before["pharos.db-wal"] == "" {
		t.Fatal("nothing is in the log")
	}
	n, err := readDir(ctx, killed)
	if err != nil {
		t.Fatal(err)
	}
	got := everything(t, n)
	if err := n.close(); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Error("other rows were read")
	}
	for name, b := range contents(t, killed) {
		if b != before[name] && !strings.HasSuffix(name, "-shm") {
			t.Errorf("%s was changed", name)
		}
	}
}

// While writers write: what was acknowledged before is in it, and it is one moment of all of them.
func TestBackupIsOneMoment(t *testing.T) {
	t.Run("sqlite", func(t *testing.T) {
		s := openTest(t)
		testOneMoment(t, s, func(w io.Writer) error { return s.Backup(t.Context(), w, "") })
	})
	t.Run("postgres", func(t *testing.T) {
		url := postgresURL(t)
		testOneMoment(t, openPostgresTest(t, url), func(w io.Writer) error { return BackupPostgres(t.Context(), url, w, "", noProgress) })
	})
}

func testOneMoment(t *testing.T, s *Store, backup func(io.Writer) error) {
	ctx := t.Context()
	const writers = 4
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var acked [writers]atomic.Int64
	// Each writer counts, and writes its count to the database, then to the journal, then to the
	// next user, each when the one before was acknowledged.
	for w := range writers {
		one := presence.Entity{User: fmt.Sprint("a", w), Domain: "example.com"}
		two := presence.Entity{User: fmt.Sprint("b", w), Domain: "example.com"}
		wg.Go(func() {
			for n := int64(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				name := func(i *Item) bool { i.Name, i.To = fmt.Sprint(n), true; return true }
				if _, err := s.UpdateItem(ctx, one, bob, name); err != nil {
					t.Error(err)
					return
				}
				done := make(chan error, 1)
				s.Put([]Record{{Kind: 'r', Key: one.User, Value: fmt.Append(nil, n)}}, func(err error) { done <- err })
				if err := <-done; err != nil {
					t.Error(err)
					return
				}
				if _, err := s.UpdateItem(ctx, two, bob, name); err != nil {
					t.Error(err)
					return
				}
				acked[w].Store(n)
			}
		})
	}
	for round := 0; round < 20 || acked[0].Load() < 20; round++ {
		var before [writers]int64
		for w := range writers {
			before[w] = acked[w].Load()
		}
		var b bytes.Buffer
		if err := backup(&b); err != nil {
			t.Fatal(err)
		}
		var got rowsIn
		if _, err := readArchive(ctx, &b, func(a *archiveReader) error { got = everything(t, a); return nil }); err != nil {
			t.Fatal(err)
		}
		count := func(tab string, user string) (n int64) {
			for _, r := range got[tab] {
				if tab == "roster" && r[1] == user {
					fmt.Sscan(r[4].(string), &n)
				}
				if tab == "soft" && string(r[3].([]byte)) == user {
					fmt.Sscan(string(r[4].([]byte)), &n)
				}
			}
			return n
		}
		for w := range writers {
			first, second, third := count("roster", fmt.Sprint("a", w)), count("soft", fmt.Sprint("a", w)), count("roster", fmt.Sprint("b", w))
			if third < before[w] || first < second || second < third || first > third+1 {
				t.Fatalf("acknowledged %d; in the backup %d, then %d, then %d", before[w], first, second, third)
			}
		}
	}
	close(stop)
	wg.Wait()
}

// What differs is named, and nothing is left in the place.
func TestCompare(t *testing.T) {
	ctx := t.Context()
	one := rowsIn{"secrets": {{"a", []byte("1")}, {"b", []byte("2")}, {"d", []byte("4")}}}
	for name, c := range map[string]struct {
		other []row
		says  []string
	}{
		"missing":    {[]row{{"a", []byte("1")}, {"d", []byte("4")}}, []string{`secrets name="b": is missing`}},
		"at the end": {[]row{{"a", []byte("1")}, {"b", []byte("2")}}, []string{`secrets name="d": is missing`}},
		"more":       {[]row{{"a", []byte("1")}, {"b", []byte("2")}, {"c", nil}, {"d", []byte("4")}, {"e", nil}}, []string{`"c": was not there before`, `"e": was not there before`}},
		"another":    {[]row{{"a", []byte("1")}, {"b", []byte("x")}, {"d", []byte("4")}}, []string{`secrets name="b": column value is another`}},
		"all":        {nil, []string{`"a": is missing`, `"b": is missing`, `"d": is missing`, "table secrets: 3 rows"}},
	} {
		for i, r := range c.other {
			if r[1] == nil {
				c.other[i][1] = []byte{}
			}
		}
		_, err := compareTables(ctx, one, rowsIn{"secrets": c.other}, unaltered, noProgress)
		if !errors.Is(err, ErrDiffers) {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, w := range c.says {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v does not say %s", name, err, w)
			}
		}
	}
	if _, err := compareTables(ctx, one, one, unaltered, noProgress); err != nil {
		t.Error(err)
	}
	var many differences
	for i := range 100 {
		many.add("row %d", i)
	}
	if s := many.err().Error(); !strings.Contains(s, "row 19") || strings.Contains(s, "row 20") || !strings.Contains(s, "and 80 more") {
		t.Error(s)
	}
}
