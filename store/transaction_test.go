package store

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pharos/presence"
)

// quiet is for stores whose database is going to be away.
func quiet() Option { return WithLog(slog.New(slog.NewTextHandler(io.Discard, nil))) }

// openTwo are the stores of two processes.
func openTwo(t testing.TB) (a, b *Store) {
	url := postgresURL(t)
	return openPostgresTest(t, url, quiet()), openPostgresTest(t, url, quiet())
}

// count is how often a row was changed: each change adds a group.
func count(t testing.TB, s *Store, u presence.Entity) int {
	t.Helper()
	items, version, err := s.Roster(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	if len(items) == 0 {
		return 0
	}
	if len(items) != 1 || int(version) != len(items[0].Groups) {
		t.Errorf("%s: %d rows of version %d with %d groups", u, len(items), version, len(items[0].Groups))
	}
	return len(items[0].Groups)
}

func addOne(ctx context.Context, s *Store, u presence.Entity) error {
	_, err := s.UpdateItem(ctx, u, bob, func(i *Item) bool {
		i.Visible, i.Groups = true, append(i.Groups, "x")
		return true
	})
	return err
}

// Two processes change the same users: nothing is lost, no version is given twice.
func TestTwoWriters(t *testing.T) {
	a, b := openTwo(t)
	users := make([]presence.Entity, 5)
	for i := range users {
		users[i] = presence.Entity{User: fmt.Sprint("u", i), Domain: "example.com"}
	}
	const callers, each = 12, 15
	var wg sync.WaitGroup
	for c := range callers {
		s := []*Store{a, b}[c%2]
		wg.Go(func() {
			for n := range each {
				if err := addOne(t.Context(), s, users[(c+n)%len(users)]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	total := 0
	for _, u := range users {
		n := count(t, a, u)
		if m := count(t, b, u); m != n {
			t.Errorf("%s: %d seen here, %d there", u, n, m)
		}
		total += n
	}
	if total != callers*each {
		t.Errorf("%d changes of %d", total, callers*each)
	}
}

// Transactions over several users that nobody has named before meet in any order: who
// is thrown out of a deadlock tries again.
func TestDeadlock(t *testing.T) {
	a, b := openTwo(t)
	both := make(chan struct{}, 2)
	var first [2]atomic.Bool
	var wg sync.WaitGroup
	for i, s := range []*Store{a, b} {
		wg.Go(func() {
			order := []presence.Entity{alice, carol}
			if i == 1 {
				order[0], order[1] = carol, alice
			}
			err := s.Transact(t.Context(), func(tx *Tx) error {
				for n, u := range order {
					it, err := tx.Item(u, bob)
					if err != nil {
						return err
					}
					it.Visible, it.Groups = true, append(it.Groups, "x")
					if err := tx.PutItem(u, &it); err != nil {
						return err
					}
					if n == 0 && first[i].CompareAndSwap(false, true) { // each has its first user
						both <- struct{}{}
						for len(both) < 2 {
							time.Sleep(time.Millisecond)
						}
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, u := range []presence.Entity{alice, carol} {
		if n := count(t, a, u); n != 2 {
			t.Errorf("%s: %d changes", u, n)
		}
	}
}

// Several processes ask for the same secret for the first time: it is the same one.
func TestSecretOfTwo(t *testing.T) {
	a, b := openTwo(t)
	for n := range 20 {
		var secrets [4][]byte
		var wg sync.WaitGroup
		for i := range secrets {
			s := []*Store{a, b}[i%2]
			wg.Go(func() {
				var err error
				if secrets[i], err = s.Secret(t.Context(), fmt.Sprint("secret", n), 16); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, s := range secrets[1:] {
			if !bytes.Equal(s, secrets[0]) || len(s) != 16 {
				t.Fatalf("%x and %x", s, secrets[0])
			}
		}
	}
}

// underTrouble has writers write while trouble is made, and looks whether what was
// acknowledged is there, once: at most what failed without an answer is there besides.
func underTrouble(t *testing.T, trouble func()) {
	a, b := openTwo(t)
	const writers = 8
	var acked, unknown [writers]int
	var softAcked [writers]int
	stop := make(chan struct{})
	var wg sync.WaitGroup
	user := func(w int) presence.Entity { return presence.Entity{User: fmt.Sprint("u", w/2), Domain: "example.com"} }
	for w := range writers {
		s := []*Store{a, b}[w%2]
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				switch err := addOne(context.Background(), s, user(w)); {
				case err == nil:
					acked[w]++
				case errors.Is(err, ErrUnknown):
					unknown[w]++
				}
			}
		})
		wg.Go(func() {
			for n := 1; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				done := make(chan error, 1)
				s.Put([]Record{{'r', fmt.Sprint("k", w), fmt.Append(nil, n)}}, func(err error) { done <- err })
				if err := <-done; err == nil {
					softAcked[w] = n
				}
			}
		})
	}
	trouble()
	time.Sleep(50 * time.Millisecond)
	close(stop)
	wg.Wait()
	total := 0
	for w := 0; w < writers; w += 2 {
		n := 0
		for deadline := time.Now().Add(20 * time.Second); ; {
			if _, _, err := a.Roster(t.Context(), user(w)); err == nil || time.Now().After(deadline) {
				break
			}
			time.Sleep(50 * time.Millisecond)
		}
		n = count(t, a, user(w))
		low, high := acked[w]+acked[w+1], acked[w]+acked[w+1]+unknown[w]+unknown[w+1]
		if n < low || n > high {
			t.Errorf("%s: %d changes, %d acknowledged, %d unknown", user(w), n, low, high-low)
		}
		total += low
	}
	for w, n := range softAcked {
		v, err := b.Get('r', fmt.Sprint("k", w))
		var have int
		fmt.Sscan(string(v), &have)
		if err != nil || have < n {
			t.Errorf("record of %d: %d, %v; %d was acknowledged", w, have, err, n)
		}
	}
	// And all goes on.
	for _, s := range []*Store{a, b} {
		if err := addOne(t.Context(), s, carol); err != nil {
			t.Errorf("afterwards: %v", err)
		}
		put(t, s, Record{'r', "after", []byte("v")})
	}
	if total == 0 {
		t.Error("nothing was written")
	}
	t.Logf("%d acknowledged, unknown %v", total, unknown)
}

// Connections are killed in the middle of everything.
func TestConnectionsKilled(t *testing.T) {
	underTrouble(t, func() {
		for range 15 {
			time.Sleep(30 * time.Millisecond)
			adminExec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'pharos'`)
		}
	})
}

// The database is stopped, crashed and started again.
func TestDatabaseRestarted(t *testing.T) {
	underTrouble(t, func() {
		for _, end := range []func() error{postgresServer.Stop, postgresServer.Crash} {
			time.Sleep(200 * time.Millisecond)
			if err := end(); err != nil {
				t.Error(err)
			}
			time.Sleep(100 * time.Millisecond)
			if err := postgresServer.Start(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// While the database is away, everybody is told so before long, and nobody waits when it
// has been away for a while.
func TestDatabaseAway(t *testing.T) {
	url := postgresURL(t)
	s := openPostgresTest(t, url, quiet())
	if err := addOne(t.Context(), s, alice); err != nil {
		t.Fatal(err)
	}
	if err := postgresServer.Stop(); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	done := make(chan error, 1)
	s.Put([]Record{{'r', "k", []byte("v")}}, func(err error) { done <- err })
	if err := <-done; err == nil {
		t.Error("put")
	}
	if d := time.Since(start); d > patience {
		t.Errorf("a soft save was answered after %v", d)
	}
	if _, _, err := s.Roster(t.Context(), alice); err == nil { // cached, but not known to be true
		t.Error("read")
	}
	if err := addOne(t.Context(), s, alice); err == nil {
		t.Error("written")
	}
	if d := time.Since(start); d < patience || d > patience+ioTimeout {
		t.Errorf("the first write was answered after %v", d)
	}
	start = time.Now()
	if err := addOne(t.Context(), s, alice); err == nil {
		t.Error("written")
	}
	if d := time.Since(start); d > patience {
		t.Errorf("the second write was answered after %v", d)
	}
	if err := postgresServer.Start(); err != nil {
		t.Fatal(err)
	}
	if err := addOne(t.Context(), s, alice); err != nil {
		t.Error(err)
	}
	put(t, s, Record{'r', "k", []byte("v")})
	if n := count(t, s, alice); n != 2 {
		t.Errorf("%d changes", n)
	}
	// Back within the patience: nobody is told.
	if err := postgresServer.Stop(); err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- addOne(context.Background(), s, alice) }()
	time.Sleep(100 * time.Millisecond)
	if err := postgresServer.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Errorf("after a short restart: %v", err)
	}
}

// Who reads does not notice that connections were lost.
func TestReadAfterKill(t *testing.T) {
	s := openPostgresTest(t, postgresURL(t))
	if err := s.PutAccounts(t.Context(), []Account{testAccount(alice)}); err != nil {
		t.Fatal(err)
	}
	save(t, s, presence.Save{Presentity: alice, Kind: presence.SavedSource, Key: "k", Source: &presence.Source{Tag: "t"}})
	readers := func() {
		var wg sync.WaitGroup
		for range 2 * maxReaders {
			wg.Go(func() {
				_, err1 := s.Account(t.Context(), alice)
				_, _, err2 := s.Roster(t.Context(), alice)
				_, _, err3 := s.Load(t.Context(), alice)
				list, err4 := s.Accounts(t.Context(), presence.Entity{}, 10)
				if err := errors.Join(err1, err2, err3, err4); err != nil || len(list) != 1 {
					t.Errorf("%d accounts, %v", len(list), err)
				}
			})
		}
		wg.Wait()
	}
	readers()
	for range 3 {
		adminExec(t, `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'pharos'`)
		readers()
	}
}

// A server that was made a standby is left for the one that the URL finds then.
func TestPrimaryChanges(t *testing.T) {
	s := openPostgresTest(t, postgresURL(t), quiet())
	for _, c := range []*sql.Conn{s.w.conn, s.rows.conn} {
		if _, err := c.ExecContext(t.Context(), `SET default_transaction_read_only = on`); err != nil {
			t.Fatal(err)
		}
	}
	if err := addOne(t.Context(), s, alice); err != nil {
		t.Error(err)
	}
	put(t, s, Record{'r', "k", []byte("v")})
	if n := count(t, s, alice); n != 1 {
		t.Errorf("%d changes", n)
	}
}
