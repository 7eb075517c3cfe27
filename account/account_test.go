package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	xscram "github.com/xdg-go/scram"

	"pharos/presence"
	"pharos/store"
	"pharos/store/storetest"
)

var (
	alice  = presence.Entity{User: "alice", Domain: "example.com"}
	bob    = presence.Entity{User: "bob", Domain: "example.com"}
	nobody = presence.Entity{User: "nobody", Domain: "example.com"}
	home   = netip.MustParseAddr("192.0.2.1")
)

func put(t testing.TB, s *store.Store, u presence.Entity, password string) {
	t.Helper()
	a, err := Derive(u, password)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.PutAccounts(t.Context(), []store.Account{a}); err != nil {
		t.Fatal(err)
	}
}

// withUsers is a store with alice (password "secret") and bob ("pässword ").
func withUsers(t testing.TB) *Accounts {
	t.Helper()
	s := storetest.Open(t)
	put(t, s, alice, "secret")
	put(t, s, bob, "pässword\u00a0x")
	return New(s, []string{"example.com", "example.org"})
}

func TestDeriveErrors(t *testing.T) {
	for _, bad := range []string{"", "a\x00b", "a\tb", "\xff"} {
		if _, err := Derive(alice, bad); !errors.Is(err, ErrPassword) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestDerive(t *testing.T) {
	a, err := Derive(presence.Entity{User: "McBob", Domain: "Example.COM"}, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if want := (presence.Entity{User: "mcbob", Domain: "example.com"}); a.User != want {
		t.Errorf("account of %v", a.User)
	}
	var names []string
	for _, l := range a.Logins {
		names = append(names, l.Username)
	}
	want := []string{"mcbob@example.com", "Mcbob", "Mcbob@example.com", "MCBOB", "MCBOB@example.com", "McBob", "McBob@example.com"}
	if !reflect.DeepEqual(names, want) {
		t.Errorf("spellings %q, want %q", names, want)
	}
	b, err := Derive(a.User, "secret")
	if err != nil {
		t.Fatal(err)
	}
	if a.MD5 != b.MD5 || a.SHA256 != b.SHA256 || string(a.Sha1.Salt) == string(b.Sha1.Salt) || string(a.Sha1.Salt) == string(a.Sha256.Salt) {
		t.Error("digest keys must be the same, salts must not")
	}
	if len(a.Sha1.Salt) != 16 || a.Sha1.Iterations < 4096 || a.Sha256.Iterations < 4096 || time.Since(a.Created) > time.Minute {
		t.Errorf("%+v", a)
	}
}

// The keys work with an independent client, for whatever password is typed.
func TestScramExchange(t *testing.T) {
	a := withUsers(t)
	for _, hashName := range []string{"SHA-1", "SHA-256"} {
		gen := map[string]xscram.HashGeneratorFcn{"SHA-1": xscram.SHA1, "SHA-256": xscram.SHA256}[hashName]
		for _, c := range []struct {
			u        presence.Entity
			password string
			ok       bool
		}{
			{alice, "secret", true}, {alice, "Secret", false}, {bob, "pässword x", true},
			{bob, "pässword x", true}, // decomposed: OpaqueString composes
			{bob, "passwort x", false}, {nobody, "secret", false},
		} {
			keys, err := a.Scram(t.Context(), home, c.u, hashName)
			if err != nil {
				t.Fatal(err)
			}
			server, err := gen.NewServer(func(string) (xscram.StoredCredentials, error) {
				return xscram.StoredCredentials{
					KeyFactors: xscram.KeyFactors{Salt: string(keys.Salt), Iters: keys.Iterations},
					StoredKey:  keys.StoredKey, ServerKey: keys.ServerKey,
				}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			prepared, err := preparePassword(c.password)
			if err != nil {
				t.Fatal(err)
			}
			client, err := gen.NewClientUnprepped(c.u.User, prepared, "")
			if err != nil {
				t.Fatal(err)
			}
			conv, sconv := client.NewConversation(), server.NewConversation()
			msg := ""
			for !conv.Done() && err == nil {
				if msg, err = conv.Step(msg); err == nil && !sconv.Done() {
					msg, err = sconv.Step(msg)
				}
			}
			if ok := err == nil && conv.Valid() && sconv.Valid(); ok != c.ok {
				t.Errorf("%s, %s with %q: %v (%v), want %v", hashName, c.u, c.password, ok, err, c.ok)
			}
		}
	}
}

// A stranger cannot tell unknown users from known ones by their keys.
func TestScramFake(t *testing.T) {
	s := storetest.Open(t)
	put(t, s, alice, "secret")
	one, two := New(s, []string{"example.com"}), New(s, []string{"example.com"})
	for _, h := range []string{"SHA-1", "SHA-256"} {
		real, err := one.Scram(t.Context(), home, alice, h)
		if err != nil {
			t.Fatal(err)
		}
		fake, err := one.Scram(t.Context(), home, nobody, h)
		if err != nil {
			t.Fatal(err)
		}
		again, err := two.Scram(t.Context(), home, nobody, h) // after a restart
		if err != nil || !reflect.DeepEqual(fake, again) {
			t.Errorf("%s: fake keys change: %+v, %+v, %v", h, fake, again, err)
		}
		other, err := one.Scram(t.Context(), home, presence.Entity{User: "nobody2", Domain: "example.com"}, h)
		if err != nil || string(other.Salt) == string(fake.Salt) {
			t.Errorf("%s: two unknown users share a salt, or %v", h, err)
		}
		if len(fake.Salt) != len(real.Salt) || fake.Iterations != real.Iterations ||
			len(fake.StoredKey) != len(real.StoredKey) || len(fake.ServerKey) != len(real.ServerKey) {
			t.Errorf("%s: fake keys look different: %+v, real %+v", h, fake, real)
		}
	}
	if _, err := one.Scram(t.Context(), home, alice, "SHA-512"); err == nil {
		t.Error("keys for a hash that we do not keep")
	}
	if k, err := one.Scram(t.Context(), home, presence.Entity{User: "alice", Domain: "elsewhere.example"}, "SHA-1"); err != nil || len(k.Salt) == 0 {
		t.Errorf("another domain: %+v, %v", k, err)
	}
}

func TestPlain(t *testing.T) {
	a := withUsers(t)
	for _, c := range []struct {
		u        presence.Entity
		password string
		want     error
	}{
		{alice, "secret", nil},
		{alice, "Secret", ErrNotAuthorized},
		{alice, "", ErrNotAuthorized},
		{bob, "pässword x", nil},
		{bob, "pässword\u00a0x", nil}, // OpaqueString: a space is a space
		{nobody, "secret", ErrNotAuthorized},
		{presence.Entity{User: "alice", Domain: "elsewhere.example"}, "secret", ErrNotAuthorized},
		{presence.Entity{User: "alice", Domain: "example.org"}, "secret", ErrNotAuthorized},
	} {
		if err := a.Plain(t.Context(), home, c.u, c.password); err != c.want {
			t.Errorf("%s with %q: %v, want %v", c.u, c.password, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.Changed(alice)
	if err := a.Plain(ctx, home, alice, "secret"); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestDeriveAll(t *testing.T) {
	var list []Credentials
	for i := range 20 {
		list = append(list, Credentials{presence.Entity{User: fmt.Sprintf("u%d", i), Domain: "example.com"}, fmt.Sprint("pw", i)})
	}
	got, err := DeriveAll(t.Context(), list)
	if err != nil || len(got) != len(list) {
		t.Fatalf("%d accounts, %v", len(got), err)
	}
	for i, a := range got {
		want, err := Derive(list[i].User, list[i].Password)
		if err != nil || a.User != list[i].User || a.SHA256 != want.SHA256 {
			t.Errorf("account %d is %v", i, a.User)
		}
	}
	list[13].Password = ""
	if _, err := DeriveAll(t.Context(), list); !errors.Is(err, ErrPassword) || err.Error()[:3] != "u13" {
		t.Errorf("bad password: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := DeriveAll(ctx, list[:5]); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
	if got, err := DeriveAll(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("nobody: %v, %v", got, err)
	}
}

// exists waits for the answer, and tells whether it came at once.
func exists(t *testing.T, a *Accounts, u presence.Entity) (yes, atOnce bool) {
	t.Helper()
	c := make(chan bool, 1)
	a.Exists(u, func(ok bool, err error) {
		if err != nil {
			t.Error(err)
		}
		c <- ok
	})
	select {
	case yes := <-c: // or it was very fast; never wrong for what must be at once
		return yes, true
	default:
		return <-c, false
	}
}

func TestExists(t *testing.T) {
	s := storetest.Open(t)
	put(t, s, alice, "secret")
	a := New(s, []string{"example.com"})
	for _, u := range []presence.Entity{alice, nobody} {
		exists(t, a, u)
		yes, atOnce := exists(t, a, u)
		if yes != (u == alice) || !atOnce {
			t.Errorf("%s, asked again: %v, at once %v", u, yes, atOnce)
		}
	}
	if yes, atOnce := exists(t, a, presence.Entity{User: "alice", Domain: "elsewhere.example"}); yes || !atOnce {
		t.Errorf("another domain: %v, at once %v", yes, atOnce)
	}
	put(t, s, nobody, "now somebody")
	a.Changed(nobody)
	if yes, _ := exists(t, a, nobody); !yes {
		t.Error("a new user is unknown after Changed")
	}
	if err := s.RemoveAccount(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	a.Changed(alice)
	if yes, _ := exists(t, a, alice); yes {
		t.Error("a removed user is known after Changed")
	}
}

// One read for however many ask; nobody's goroutine waits; a change while the
// read is under way is not covered up by its old answer.
func TestCacheSingleFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reads atomic.Int32
		exists := atomic.Bool{}
		var c cache
		c.init(func(u presence.Entity) (store.Account, error) {
			reads.Add(1)
			known := exists.Load()
			time.Sleep(time.Second)
			if known {
				return store.Account{User: u}, nil
			}
			return store.Account{}, store.ErrNotFound
		})
		answers := map[bool]int{}
		var mu sync.Mutex
		ask := func() {
			c.get(alice, func(e *entry, err error) {
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				answers[e.known]++
			})
		}
		start := time.Now()
		for range 100 {
			ask()
		}
		if time.Since(start) != 0 {
			t.Error("asking waits")
		}
		synctest.Wait()
		time.Sleep(500 * time.Millisecond)
		exists.Store(true)
		c.drop(alice) // registered meanwhile
		ask()
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := reads.Load(); n != 2 {
			t.Errorf("%d reads, want 2", n)
		}
		if answers[false] != 100 || answers[true] != 1 {
			t.Errorf("answers %v", answers)
		}
		if e := c.peek(alice); e == nil || !e.known {
			t.Error("the old answer was kept")
		}
	})
}

func TestCacheErrorsAndBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var c cache
		c.init(func(presence.Entity) (store.Account, error) {
			time.Sleep(time.Second)
			return store.Account{}, broken
		})
		user := func(n int) presence.Entity { return presence.Entity{User: fmt.Sprint(n), Domain: "example.com"} }
		var failed, busy atomic.Int32
		for n := range maxLoads + maxLoaders + 10 {
			c.get(user(n), func(e *entry, err error) {
				switch {
				case errors.Is(err, broken):
					failed.Add(1)
				case errors.Is(err, ErrBusy):
					busy.Add(1)
				default:
					t.Error(e, err)
				}
			})
			if n == maxLoaders-1 {
				synctest.Wait() // the maxLoaders have taken theirs
			}
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if failed.Load() != maxLoads+maxLoaders || busy.Load() != 10 {
			t.Errorf("%d failed, %d refused", failed.Load(), busy.Load())
		}
		if c.peek(user(0)) != nil {
			t.Error("an error was kept")
		}
	})
}

func TestLRU(t *testing.T) {
	var l lru
	l.init(3)
	user := func(n int) presence.Entity { return presence.Entity{User: fmt.Sprint(n)} }
	for n := range 3 {
		l.put(user(n), &entry{})
	}
	l.get(user(0))
	l.put(user(1), &entry{known: true})
	l.put(user(3), &entry{}) // pushes out 2
	for n, want := range []bool{true, true, false, true} {
		if (l.get(user(n)) != nil) != want {
			t.Errorf("%d kept: %v", n, !want)
		}
	}
	if !l.get(user(1)).known {
		t.Error("not replaced")
	}
	l.drop(user(1))
	l.drop(user(9))
	if l.get(user(1)) != nil || len(l.items) != 2 || l.order.Len() != 2 {
		t.Errorf("%d items, %d in order", len(l.items), l.order.Len())
	}
}

func TestConcurrent(t *testing.T) {
	s := storetest.Open(t)
	var users []presence.Entity
	for i := range 8 {
		u := presence.Entity{User: fmt.Sprintf("u%d", i), Domain: "example.com"}
		put(t, s, u, "secret")
		users = append(users, u)
	}
	a := New(s, []string{"example.com"})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 50 {
				u := users[(w+i)%len(users)]
				if err := a.Plain(t.Context(), home, u, "secret"); err != nil {
					t.Error(err)
				}
				done := make(chan Verdict, 1)
				a.Verify(answer(u.User, "example.com", "secret", a.Nonce(), nil), func(v Verdict) { done <- v })
				if v := <-done; v.Err != nil || v.User != u {
					t.Errorf("%+v", v)
				}
				if i%10 == 0 {
					a.Changed(u)
				}
				exists(t, a, u)
			}
		})
	}
	wg.Wait()
}

func BenchmarkDerive(b *testing.B) {
	for b.Loop() {
		if _, err := Derive(alice, "correct horse battery staple"); err != nil {
			b.Fatal(err)
		}
	}
}

// A migration: 10,000 users with their passwords.
func BenchmarkImport10000(b *testing.B) {
	list := make([]Credentials, 10_000)
	for i := range list {
		list[i] = Credentials{presence.Entity{User: fmt.Sprintf("user%d", i), Domain: "example.com"}, fmt.Sprintf("password %d", i)}
	}
	for b.Loop() {
		s, err := store.Open(b.Context(), b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		for part := range 20 {
			as, err := DeriveAll(b.Context(), list[part*500:(part+1)*500])
			if err != nil {
				b.Fatal(err)
			}
			if err := s.PutAccounts(b.Context(), as); err != nil {
				b.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
	}
}

// What another node has changed is read again.
func TestMissed(t *testing.T) {
	st := storetest.Open(t)
	a := New(st, []string{"example.com"})
	ask := func() bool {
		c := make(chan bool, 1)
		a.Exists(alice, func(ok bool, err error) {
			if err != nil {
				t.Error(err)
			}
			c <- ok
		})
		return <-c
	}
	if ask() {
		t.Fatal("there at first")
	}
	acct, err := Derive(alice, "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := st.PutAccounts(t.Context(), []store.Account{acct}); err != nil {
		t.Fatal(err)
	}
	if ask() {
		t.Error("known though nobody has said so")
	}
	a.Missed()
	if !ask() {
		t.Error("not known after Missed")
	}
}
