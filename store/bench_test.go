package store

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"

	"pharos/presence"
)

// cpu is what the process has used so far.
func cpu() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// measureCPU reports CPU time per operation beside the wall time.
func measureCPU(b *testing.B, f func()) {
	start := cpu()
	f()
	b.ReportMetric(float64(cpu()-start)/float64(b.N), "cpu-ns/op")
}

func benchStore(b *testing.B) *Store {
	s, err := Open(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	return s
}

// benchSubscription is a SIP subscription with its dialog, as simple saves it.
func benchSubscription(n int) *presence.Subscription {
	return &presence.Subscription{
		ID: fmt.Sprintf("%032x", n), Watcher: bob, State: presence.Active, Durable: true,
		Via:     presence.Via{Edge: "sip", Handle: fmt.Sprintf("%032x", n)},
		Expires: time.Unix(1800000000, 0), Created: time.Unix(1700000000, 0), Opaque: make([]byte, 500),
	}
}

// benchPostgres is a store in a throwaway server.
func benchPostgres(b *testing.B) *Store {
	b.Helper()
	return openPostgresTest(b, postgresURL(b))
}

// One save per Put, up to 256 outstanding, over 10,000 subscriptions.
func BenchmarkSoftJournal(b *testing.B) { benchSoft(b, benchStore) }

// The same in PostgreSQL; the CPU is this process's only.
func BenchmarkSoftPostgres(b *testing.B) { benchSoft(b, benchPostgres) }

func benchSoft(b *testing.B, open func(*testing.B) *Store) {
	for _, outstanding := range []int{1, 16, 256, 4096} {
		b.Run(fmt.Sprintf("outstanding=%d", outstanding), func(b *testing.B) {
			s := open(b)
			saves := make([][]presence.Save, 10_000)
			for i := range saves {
				sub := benchSubscription(i)
				saves[i] = []presence.Save{{Presentity: alice, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub}}
			}
			slots := make(chan struct{}, outstanding)
			done := func(err error) {
				if err != nil {
					b.Error(err)
				}
				<-slots
			}
			b.ResetTimer()
			measureCPU(b, func() {
				for i := range b.N {
					slots <- struct{}{}
					s.Save(saves[i%len(saves)], done)
				}
				for range outstanding {
					slots <- struct{}{}
				}
			})
			b.ReportMetric(float64(b.N)/float64(s.Stats().SoftGroups), "records/sync")
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// The same as rows: what the journal is there to avoid. Groups of 256 rows.
func BenchmarkSoftSQLite(b *testing.B) {
	s := benchStore(b)
	if err := s.w.do(b.Context(), func(q *statements) error {
		_, err := s.w.conn.ExecContext(context.Background(), `CREATE TABLE soft (kind BIGINT NOT NULL, id TEXT NOT NULL,
			value BYTEA NOT NULL, PRIMARY KEY (kind, id))`)
		return err
	}); err != nil {
		b.Fatal(err)
	}
	put, err := s.w.conn.PrepareContext(b.Context(), `INSERT INTO soft (kind, id, value) VALUES (?, ?, ?)
		ON CONFLICT (kind, id) DO UPDATE SET value = excluded.value`)
	if err != nil {
		b.Fatal(err)
	}
	defer put.Close()
	subs := make([]*presence.Subscription, 10_000)
	for i := range subs {
		subs[i] = benchSubscription(i)
	}
	b.ResetTimer()
	measureCPU(b, func() {
		for i := 0; i < b.N; {
			err := s.w.do(b.Context(), func(*statements) error {
				for n := 0; n < 256 && i < b.N; n, i = n+1, i+1 {
					sub := subs[i%len(subs)]
					if _, err := put.Exec(int64('s'), sub.ID, encodeSubscription(nil, sub)); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkUpdateItem(b *testing.B) { benchUpdateItem(b, benchStore) }

func BenchmarkUpdateItemPostgres(b *testing.B) { benchUpdateItem(b, benchPostgres) }

func benchUpdateItem(b *testing.B, open func(*testing.B) *Store) {
	for _, callers := range []int{1, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := open(b)
			for i := range 1000 { // they are logged in, so their rosters were read
				u := presence.Entity{User: fmt.Sprintf("user%d", i), Domain: "example.com"}
				if _, _, err := s.Roster(b.Context(), u); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			measureCPU(b, func() {
				var wg sync.WaitGroup
				for c := range callers {
					wg.Go(func() {
						for i := c; i < b.N; i += callers {
							u := presence.Entity{User: fmt.Sprintf("user%d", i%1000), Domain: "example.com"}
							contact := presence.Entity{User: fmt.Sprintf("user%d", i%20), Domain: "example.com"}
							if _, err := s.UpdateItem(context.Background(), u, contact, func(it *Item) bool {
								it.Visible, it.From = true, !it.From
								return true
							}); err != nil {
								b.Error(err)
							}
						}
					})
				}
				wg.Wait()
			})
		})
	}
}

// What a login reads: a roster of 20, from memory and from the database.
func BenchmarkRoster(b *testing.B) {
	for name, rows := range map[string]int{"cached": maxCachedRows, "database": 0} {
		b.Run(name, func(b *testing.B) { benchRoster(b, benchStore(b), rows, 1) })
	}
}

// The same where others write too: what is cached is checked, for many callers at once.
func BenchmarkRosterPostgres(b *testing.B) {
	for name, rows := range map[string]int{"checked": maxCachedRows, "database": 0} {
		for _, callers := range []int{1, 64} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) { benchRoster(b, benchPostgres(b), rows, callers) })
		}
	}
	b.Run("as of before", func(b *testing.B) {
		s := benchPostgres(b)
		ctx := AsOf(context.Background(), time.Now())
		for b.Loop() {
			if _, _, err := s.Roster(ctx, alice); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func benchRoster(b *testing.B, s *Store, rows, callers int) {
	s.cache.init(rows)
	for i := range 20 {
		contact := presence.Entity{User: fmt.Sprintf("user%d", i), Domain: "example.com"}
		if _, err := s.UpdateItem(b.Context(), alice, contact, func(it *Item) bool {
			it.Visible, it.From, it.To, it.Name, it.Groups = true, true, true, "A Name", []string{"Friends"}
			return true
		}); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	measureCPU(b, func() {
		var wg sync.WaitGroup
		for c := range callers {
			wg.Go(func() {
				for i := c; i < b.N; i += callers {
					if items, _, err := s.Roster(context.Background(), alice); err != nil || len(items) != 20 {
						b.Error(len(items), err)
						return
					}
					if rows == 0 {
						s.cache.drop(alice)
					}
				}
			})
		}
		wg.Wait()
	})
}

func BenchmarkAccount(b *testing.B) { benchAccount(b, benchStore(b)) }

func BenchmarkAccountPostgres(b *testing.B) { benchAccount(b, benchPostgres(b)) }

func benchAccount(b *testing.B, s *Store) {
	if err := s.PutAccounts(b.Context(), []Account{testAccount(alice)}); err != nil {
		b.Fatal(err)
	}
	b.ResetTimer()
	measureCPU(b, func() {
		for range b.N {
			if _, err := s.Account(context.Background(), alice); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// Restart with 10,000 subscriptions.
func BenchmarkSaved(b *testing.B) {
	s := benchStore(b)
	var saves []presence.Save
	for i := range 10_000 {
		sub := benchSubscription(i)
		e := presence.Entity{User: fmt.Sprintf("user%d", i/10), Domain: "example.com"}
		saves = append(saves, presence.Save{Presentity: e, Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub})
	}
	save(b, s, saves...)
	for b.Loop() {
		n := 0
		err := s.Saved(func(_ presence.Entity, _ []*presence.Source, subs []*presence.Subscription) error {
			n += len(subs)
			return nil
		})
		if err != nil || n != 10_000 {
			b.Fatal(n, err)
		}
	}
}

// A node takes over 10,000 presentities of another: with 64 loads at a time, and all at once.
func BenchmarkLoadPostgres(b *testing.B) {
	s := benchPostgres(b)
	const n = 10_000
	of := make([]presence.Entity, n)
	var saves []presence.Save
	for i := range of {
		of[i] = presence.Entity{User: fmt.Sprintf("user%d", i), Domain: "example.com"}
		for k := range 3 {
			sub := benchSubscription(10*i + k)
			saves = append(saves, presence.Save{Presentity: of[i], Kind: presence.SavedSubscription, Key: sub.ID, Subscription: sub})
		}
	}
	save(b, s, saves...)
	b.Run("Load", func(b *testing.B) {
		for b.Loop() {
			var wg sync.WaitGroup
			for c := range 64 {
				wg.Go(func() {
					for i := c; i < n; i += 64 {
						if _, subs, err := s.Load(context.Background(), of[i]); err != nil || len(subs) != 3 {
							b.Error(len(subs), err)
							return
						}
					}
				})
			}
			wg.Wait()
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "presentities/s")
	})
	b.Run("LoadMany", func(b *testing.B) {
		for b.Loop() {
			if err := s.LoadMany(context.Background(), of, func(_ presence.Entity, _ []*presence.Source, subs []*presence.Subscription) error {
				if len(subs) != 3 {
					b.Error(len(subs))
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "presentities/s")
	})
}
