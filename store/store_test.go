package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pharos/presence"
)

func save(t testing.TB, s *Store, saves ...presence.Save) {
	t.Helper()
	done := make(chan error, 1)
	s.Save(saves, func(err error) { done <- err })
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Open(t.Context(), dir)
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), fmt.Sprint(os.Getpid())) {
		t.Errorf("opened twice: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestClosed(t *testing.T) {
	s, err := Open(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.PutOffline(t.Context(), alice, nil, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("PutOffline: %v", err)
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
	if err := s.Range('r', func(string, []byte) error { return nil }); !errors.Is(err, ErrClosed) {
		t.Errorf("Range: %v", err)
	}
}

// A path that means something in a URI is a path all the same.
func TestOddPath(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b?c=d#e%20f")
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "pharos.db")); err != nil {
		t.Error(err)
	}
}

func TestNewerSchema(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", dsn(filepath.Join(dir, "pharos.db")))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(`UPDATE schema_version SET version = 1000`); err != nil {
		t.Fatal(err)
	}
	db.Close()
	if _, err := Open(t.Context(), dir); !errors.Is(err, ErrNewer) {
		t.Errorf("opened a newer schema: %v", err)
	}
}

// Durability is what we promise: the pragmas must really hold.
func TestPragmas(t *testing.T) {
	s := openTest(t)
	var mode string
	var sync int
	if err := s.w.conn.QueryRowContext(t.Context(), `PRAGMA journal_mode`).Scan(&mode); err != nil || mode != "wal" {
		t.Errorf("journal_mode %q, %v", mode, err)
	}
	if err := s.w.conn.QueryRowContext(t.Context(), `PRAGMA synchronous`).Scan(&sync); err != nil || sync != 2 {
		t.Errorf("synchronous %d, %v, want 2 (FULL)", sync, err)
	}
	if _, err := s.read.Exec(`DELETE FROM roster`); err == nil {
		t.Error("the reading pool can write")
	}
}

// A write that fails in a group does not harm the others of the group.
func TestGroupWithFailure(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	hold, held := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() { // keeps the writer busy until the rest waits
		first := true
		err := s.w.do(ctx, func(*statements) error {
			if first {
				first = false
				close(held)
				<-hold
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	broken := errors.New("broken")
	for n := range 10 {
		wg.Go(func() {
			u := presence.Entity{User: fmt.Sprintf("u%d", n), Domain: "example.com"}
			err := s.w.do(ctx, func(q *statements) error {
				if _, err := q.bump.Exec(u.Domain, u.User); err != nil {
					return err
				}
				if n == 5 {
					return broken
				}
				return nil
			})
			if (n == 5) != errors.Is(err, broken) {
				t.Errorf("writer %d: %v", n, err)
			}
		})
	}
	for len(s.w.jobs) < 10 {
		time.Sleep(time.Millisecond)
	}
	close(hold)
	wg.Wait()
	for n := range 10 {
		want := uint64(1)
		if n == 5 {
			want = 0
		}
		u := presence.Entity{User: fmt.Sprintf("u%d", n), Domain: "example.com"}
		if r, err := s.Revision(ctx, u); err != nil || r != want {
			t.Errorf("%s: revision %d, %v, want %d", u, r, err, want)
		}
	}
}

// A full disk: every write of the group fails, what was acknowledged can be read,
// and when there is room again it goes on.
func TestDatabaseFull(t *testing.T) {
	s, ctx := openTest(t), t.Context()
	limit := func(pages int) {
		t.Helper()
		if err := s.w.do(ctx, func(*statements) error {
			return s.w.conn.QueryRowContext(ctx, fmt.Sprintf(`PRAGMA max_page_count = %d`, pages)).Scan(&pages)
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PutOffline(ctx, alice, []byte("before"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.Visible = true; return true }); err != nil {
		t.Fatal(err)
	}
	limit(1) // it cannot be less than what it has
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if err := s.PutOffline(ctx, alice, make([]byte, 100_000), 100); err == nil || errors.Is(err, ErrFull) {
				t.Errorf("written to a full disk: %v", err)
			}
			if _, err := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.Stanza = make([]byte, 100_000); return true }); err == nil {
				t.Error("written to a full disk")
			}
		})
	}
	wg.Wait()
	list, err := s.Offline(ctx, alice)
	if err != nil || len(list) != 1 || string(list[0].Blob) != "before" {
		t.Errorf("%d messages, %v", len(list), err)
	}
	items, version, err := s.Roster(ctx, alice)
	if err != nil || len(items) != 1 || len(items[0].Stanza) != 0 || version != 1 {
		t.Errorf("roster %d rows of version %d, %v", len(items), version, err)
	}
	limit(1 << 30)
	if err := s.PutOffline(ctx, alice, make([]byte, 100_000), 100); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestPrivateFiles(t *testing.T) {
	dir := t.TempDir() // there already, and open to all
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.PutAccounts(t.Context(), []Account{testAccount(alice)}); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) < 4 {
		t.Fatalf("%v, %v", entries, err)
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s can be read by others: %v", e.Name(), fi.Mode())
		}
	}
}

// Close lets what is under way end, and refuses the rest.
func TestCloseUnderLoad(t *testing.T) {
	dir := t.TempDir()
	s, err := Open(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var acked [8]int
	var wg sync.WaitGroup
	started := make(chan struct{}, len(acked))
	for w := range acked {
		wg.Go(func() {
			u := presence.Entity{User: fmt.Sprint("u", w), Domain: "example.com"}
			for {
				err := s.PutOffline(context.Background(), u, []byte("m"), 1_000_000)
				if errors.Is(err, ErrClosed) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				if acked[w]++; acked[w] == 3 {
					started <- struct{}{}
				}
			}
		})
	}
	for range acked {
		<-started
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if s, err = Open(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for w, n := range acked {
		list, err := s.Offline(t.Context(), presence.Entity{User: fmt.Sprint("u", w), Domain: "example.com"})
		if err != nil || len(list) != n {
			t.Errorf("writer %d: %d messages, %v; %d acknowledged", w, len(list), err, n)
		}
	}
}

// child is another process (see TestMain) that writes and says on its standard
// output what was acknowledged, until it is killed.
func child(dir string) {
	ctx := context.Background()
	s, err := Open(ctx, dir)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	var mu sync.Mutex
	say := func(what string, n int) {
		mu.Lock()
		fmt.Println(what, n)
		mu.Unlock()
	}
	for w := range 4 {
		go func() {
			for n := w; ; n += 4 {
				contact := presence.Entity{User: fmt.Sprint(n), Domain: "example.com"}
				if _, err := s.UpdateItem(ctx, alice, contact, func(i *Item) bool { i.Visible = true; return true }); err == nil {
					say("item", n)
				}
			}
		}()
	}
	slots := make(chan struct{}, 64)
	for n := 0; ; n++ {
		slots <- struct{}{}
		sub := &presence.Subscription{ID: fmt.Sprint(n), Watcher: bob, Opaque: make([]byte, 400), Durable: true}
		s.Save([]presence.Save{{Presentity: alice, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub}}, func(err error) {
			if err == nil {
				say("sub", n)
			}
			<-slots
		})
	}
}

// What was acknowledged before a kill -9 is there afterwards.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	acked := map[string]map[string]bool{"item": {}, "sub": {}}
	for round := range 3 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "PHAROS_STORE_CHILD="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(out)
		for n := 0; ; n++ {
			line, err := r.ReadString('\n')
			if err == io.EOF {
				break // a last line without its end is cut off by the kill
			}
			if err != nil {
				t.Fatal(err)
			}
			what, id, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			if acked[what] == nil {
				t.Fatalf("the child says %q", line)
			}
			acked[what][id] = true
			if n == 500*(round+1) {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		cmd.Wait()
		if cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("the child ended by itself: %v", cmd.ProcessState)
		}

		s, err := Open(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		have := map[string]map[string]bool{"item": {}, "sub": {}}
		items, _, err := s.Roster(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			have["item"][i.Contact.User] = true
		}
		err = s.Saved(func(_ presence.Entity, _ []*presence.Source, subs []*presence.Subscription) error {
			for _, s := range subs {
				have["sub"][s.ID] = true
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for what, ids := range acked {
			if len(ids) == 0 {
				t.Errorf("no %s was acknowledged", what)
			}
			for id := range ids {
				if !have[what][id] {
					t.Errorf("round %d: %s %s was acknowledged and is gone", round, what, id)
				}
			}
		}
		if d := s.Damage(); len(d) != 0 {
			t.Errorf("round %d: damage after a kill: %v", round, d)
		}
		t.Logf("round %d: %d items, %d subscriptions acknowledged", round, len(acked["item"]), len(acked["sub"]))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
