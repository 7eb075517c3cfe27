package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"pharos/presence"
)

// controlExec runs a statement as the registry would.
func controlExec(t testing.TB, s *Store, text string) {
	t.Helper()
	if err := s.registry(t.Context(), func(r *registryTx) error {
		_, err := r.exec(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func enterNode(t testing.TB, s *Store, name string) {
	t.Helper()
	controlExec(t, s, `INSERT INTO nodes (name, epoch, state, expires, bus, sip, xmpp, http, level, max, users, version)
		VALUES ('`+name+`', 1, 'active', 0, '', '', '', '', 0, 0, 0, '')`)
}

func buryNode(t testing.TB, s *Store, name string) {
	t.Helper()
	controlExec(t, s, `UPDATE nodes SET epoch = epoch + 1 WHERE name = '`+name+`'`)
}

// saves are one of each sort.
func saves(s *Store) map[string]error {
	ctx := context.Background()
	soft := func(call func(done func(error))) error {
		done := make(chan error, 1)
		call(func(err error) { done <- err })
		return <-done
	}
	_, item := s.UpdateItem(ctx, alice, bob, func(i *Item) bool { i.To = !i.To; return true })
	return map[string]error{
		"item":     item,
		"blocks":   s.SetBlocks(ctx, alice, []string{"spam.example"}, nil, true),
		"transact": s.Transact(ctx, func(tx *Tx) error { _, err := tx.PutDocument(alice, "a", "index", []byte("<a/>")); return err }),
		"put":      soft(func(done func(error)) { s.Put([]Record{{'r', "k", []byte("v")}}, done) }),
		"save": soft(func(done func(error)) {
			s.Save([]presence.Save{{Presentity: alice, Kind: presence.SavedSource, Key: "k", Source: &presence.Source{}}}, done)
		}),
	}
}

// A node that was declared dead saves nothing any more; one that enters again does.
// Others of the same process are not concerned.
func TestFence(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		a, b := s.Node(), s.Node()
		check := func(n *Store, want error) {
			t.Helper()
			for what, err := range saves(n) {
				if !errors.Is(err, want) {
					t.Errorf("%s: %v, want %v", what, err, want)
				}
			}
		}
		check(a, nil) // no fence yet
		enterNode(t, s, "a")
		enterNode(t, s, "b")
		a.Fence("a", 1)
		b.Fence("b", 1)
		check(a, nil)
		check(b, nil)
		buryNode(t, s, "a")
		revision, err := s.Revision(t.Context(), alice)
		if err != nil {
			t.Fatal(err)
		}
		put(t, b, Record{'r', "k", []byte("b's")})
		check(a, ErrFenced)
		if r, err := s.Revision(t.Context(), alice); err != nil || r != revision {
			t.Errorf("revision %d, %v: it was %d", r, err, revision)
		}
		if v, err := s.Get('r', "k"); err != nil || string(v) != "b's" {
			t.Errorf("%q, %v", v, err)
		}
		check(b, nil)
		a.Fence("a", 2)
		check(a, nil)
		a.Fence("a", 3)
		check(a, ErrFenced)
		a.Fence("nobody", 1)
		check(a, ErrFenced)
		a.Fence("", 0)
		check(a, nil)
		if err := a.Close(); err != nil { // closes nothing
			t.Error(err)
		}
		check(b, nil)
	})
}

// Who is being buried waits for what is under way, and what begins afterwards finds
// the fence down: nothing is committed once the burial is.
func TestBurialWaitsForSaves(t *testing.T) {
	url := postgresURL(t)
	s, other := openPostgresTest(t, url), openPostgresTest(t, url)
	enterNode(t, s, "a")
	s.Fence("a", 1)
	begun, goOn := make(chan struct{}), make(chan struct{})
	saved := make(chan error, 1)
	var once sync.Once
	go func() {
		saved <- s.Transact(context.Background(), func(tx *Tx) error {
			once.Do(func() { close(begun) })
			<-goOn
			_, err := tx.PutDocument(alice, "a", "index", []byte("<a/>"))
			return err
		})
	}()
	<-begun
	start := time.Now()
	// A renewal does not wait.
	controlExec(t, other, `UPDATE nodes SET expires = expires + 1 WHERE name = 'a'`)
	buried := make(chan struct{})
	go func() {
		defer close(buried)
		buryNode(t, other, "a")
	}()
	select {
	case <-buried:
		if time.Since(start) < idleTimeout {
			t.Error("buried while a save was under way")
		}
	case <-time.After(100 * time.Millisecond):
	}
	close(goOn)
	if err := <-saved; err != nil && time.Since(start) < idleTimeout {
		t.Error(err)
	}
	<-buried
	for what, err := range saves(s) {
		if !errors.Is(err, ErrFenced) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// A process that was stopped in the middle of a transaction keeps nobody waiting.
func TestStoppedInTransaction(t *testing.T) {
	url := postgresURL(t)
	s, other := openPostgresTest(t, url), openPostgresTest(t, url)
	enterNode(t, s, "a")
	s.Fence("a", 1)
	begun, goOn := make(chan struct{}), make(chan struct{})
	saved := make(chan error, 1)
	first := true
	go func() {
		saved <- s.Transact(context.Background(), func(tx *Tx) error {
			if first {
				first = false
				close(begun)
				<-goOn
			}
			_, err := tx.PutDocument(alice, "a", "index", []byte("<a/>"))
			return err
		})
	}()
	<-begun
	start := time.Now()
	buryNode(t, other, "a")
	if d := time.Since(start); d > lockTimeout {
		t.Errorf("buried after %v", d)
	}
	if _, err := other.UpdateItem(t.Context(), alice, bob, func(i *Item) bool { i.To = true; return true }); err != nil {
		t.Error(err)
	}
	close(goOn)
	if err := <-saved; !errors.Is(err, ErrFenced) {
		t.Errorf("the stopped one's save: %v", err)
	}
}
