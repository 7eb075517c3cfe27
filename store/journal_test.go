package store

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// testLeast is when journals are compacted in tests.
const testLeast = 1 << 20

// softStore is a store that has only its journal.
func softStore(t interface {
	Helper()
	Fatal(...any)
}, d disk, log io.Writer) *Store {
	t.Helper()
	return softStoreLeast(t, d, testLeast, log)
}

func softStoreLeast(t interface {
	Helper()
	Fatal(...any)
}, d disk, least int64, log io.Writer) *Store {
	t.Helper()
	l := slog.New(slog.NewTextHandler(log, nil))
	j, err := openJournal(d, softLog, least, l)
	if err != nil {
		t.Fatal(err)
	}
	return &Store{j: j, log: l}
}

func (s *Store) mustPut(t testing.TB, key, value string) {
	t.Helper()
	if err := s.tryPut(key, value); err != nil {
		t.Fatal(err)
	}
}

func (s *Store) tryPut(key, value string) error {
	done := make(chan error, 1)
	s.Put([]Record{{Kind: 'r', Key: key, Value: []byte(value)}}, func(err error) { done <- err })
	return <-done
}

func (s *Store) contents(t interface {
	Helper()
	Fatal(...any)
}) map[string]string {
	t.Helper()
	m := map[string]string{}
	err := s.Range('r', func(k string, v []byte) error {
		if _, twice := m[k]; twice {
			t.Fatal("told twice:", k)
		}
		m[k] = string(v)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func equal(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

func TestPutRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := softStore(t, newMemDisk(), t.Output())
		defer s.Close()
		s.mustPut(t, "a", "1")
		s.mustPut(t, "b", "")
		s.mustPut(t, "c", "3")
		s.mustPut(t, "a", "1 again")
		s.Put([]Record{{Kind: 'r', Key: "c"}, {Kind: 'p', Key: "a", Value: []byte("of another kind")}}, func(error) {})
		synctest.Wait()
		if got, want := s.contents(t), map[string]string{"a": "1 again", "b": ""}; !equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		var order []string
		stop := errors.New("stop")
		err := s.Range('r', func(k string, v []byte) error {
			order = append(order, k)
			clear(v) // it is ours
			if len(order) == 2 {
				return stop
			}
			return nil
		})
		if err != stop || !slices.Equal(order, []string{"b", "a"}) {
			t.Errorf("order %v, %v", order, err)
		}
	})
}

// While one sync runs the rest gathers, and is acknowledged in order.
func TestGroups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, t.Output())
		d.set(func() { d.latency, d.syncs = 10*time.Millisecond, 0 })
		var acked []int
		for i := range 100 {
			s.Put([]Record{{Kind: 'r', Key: fmt.Sprint(i), Value: []byte("v")}}, func(err error) {
				if err != nil {
					t.Error(err)
				}
				acked = append(acked, i)
			})
		}
		start := time.Now()
		synctest.Wait()
		time.Sleep(25 * time.Millisecond) // two syncs and a gathering
		synctest.Wait()
		if len(acked) != 100 || !slices.IsSorted(acked) {
			t.Errorf("%d acknowledged in %v: %v", len(acked), time.Since(start), acked)
		}
		if d.syncs > 2 {
			t.Errorf("%d syncs for 100 records queued at once", d.syncs)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// The first of a burst does not wait for company; under load others wait a moment.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, t.Output())
		defer s.Close()
		start := time.Now()
		s.mustPut(t, "alone", "")
		if took := time.Since(start); took != 0 {
			t.Errorf("a record alone took %v", took)
		}
		for range 2 { // a group of two
			s.Put([]Record{{Kind: 'r', Key: "k", Value: []byte{}}}, func(error) {})
		}
		s.mustPut(t, "k", "")
		start = time.Now()
		s.mustPut(t, "next", "")
		if took := time.Since(start); took > gather {
			t.Errorf("the one after a group took %v", took)
		}
		time.Sleep(gather)
		for range largeGroup + 1 { // the first is alone
			s.Put([]Record{{Kind: 'r', Key: "k", Value: []byte{}}}, func(error) {})
		}
		s.mustPut(t, "k", "")
		start = time.Now()
		s.mustPut(t, "next", "")
		if took := time.Since(start); took <= gather || took > 3*gather {
			t.Errorf("the one after a large group took %v", took)
		}
	})
}

func TestCloseWritesWhatWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, t.Output())
		d.set(func() { d.latency = time.Second })
		n := 0
		for i := range 10 {
			s.Put([]Record{{Kind: 'r', Key: fmt.Sprint(i), Value: []byte("v")}}, func(err error) {
				if err == nil {
					n++
				}
			})
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if n != 10 {
			t.Errorf("%d of 10 acknowledged", n)
		}
		s = softStore(t, d, t.Output())
		defer s.Close()
		if got := s.contents(t); len(got) != 10 {
			t.Errorf("%d of 10 there", len(got))
		}
		if d.opened != 1 {
			t.Errorf("%d files open", d.opened)
		}
	})
}

func TestPutBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, t.Output())
		defer s.Close()
		done := make(chan error, 1)
		s.Put([]Record{
			{Kind: 'r', Key: "small", Value: []byte("v")},
			{Kind: 'r', Key: "large", Value: make([]byte, MaxRecord)},
		}, func(err error) { done <- err })
		if err := <-done; !errors.Is(err, ErrTooLarge) {
			t.Errorf("too large: %v", err)
		}
		s.mustPut(t, "largest", strings.Repeat("v", MaxRecord-len("largest")))
		if got := s.contents(t); len(got) != 1 {
			t.Errorf("all or none: %d records", len(got))
		}

		d.set(func() { d.latency = time.Second })
		var ok, busy int
		count := func(err error) {
			switch {
			case err == nil && busy == 0:
				ok++
			case errors.Is(err, ErrBusy):
				busy++
			default:
				t.Error(err)
			}
		}
		s.Put([]Record{{Kind: 'r', Key: "k", Value: nil}}, count)
		synctest.Wait() // now it syncs
		value := make([]byte, MaxRecord-1)
		for range maxWaiting/MaxRecord + 5 {
			s.Put([]Record{{Kind: 'r', Key: "k", Value: value}}, count)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if ok != maxWaiting/MaxRecord+1 || busy != 5 {
			t.Errorf("%d written, %d refused", ok, busy)
		}
	})
}

// A full disk: all of the group fails, what was acknowledged stays, what was
// not stays away, and when there is room again all is well.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		var log bytes.Buffer
		s := softStore(t, d, &log)
		s.mustPut(t, "before", "1")
		size := s.j.size.Load()
		d.set(func() { d.space = 50 })
		for i := range 3 {
			if err := s.tryPut("large", strings.Repeat("x", 100)); !errors.Is(err, errNoSpace.Err) {
				t.Errorf("write %d on a full disk: %v", i, err)
			}
			if n := len(d.bytes(softLog)); int64(n) != size {
				t.Errorf("the file has %d bytes, %d are good", n, size)
			}
		}
		if n := strings.Count(log.String(), "cannot be written"); n != 1 {
			t.Errorf("reported %d times", n)
		}
		var st Stats
		if s.j.stats(&st); !st.SoftFailing {
			t.Error("does not say that it is failing")
		}
		s.mustPut(t, "small", "") // this still fits
		d.set(func() { d.space = -1 })
		s.mustPut(t, "after", "2")
		if s.j.stats(&st); st.SoftFailing {
			t.Error("still says that it is failing")
		}
		want := map[string]string{"before": "1", "small": "", "after": "2"}
		if got := s.contents(t); !equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
		s.Close()
		s = softStore(t, d, &log)
		defer s.Close()
		if got := s.contents(t); !equal(got, want) {
			t.Errorf("opened again: got %v, want %v", got, want)
		}
	})
}

func TestSyncFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, io.Discard)
		s.mustPut(t, "before", "1")
		broken := errors.New("input/output error")
		d.set(func() { d.syncErr = broken })
		for range 3 {
			if err := s.tryPut("during", "x"); !errors.Is(err, broken) {
				t.Errorf("acknowledged as %v", err)
			}
		}
		d.set(func() { d.syncErr = nil })
		s.mustPut(t, "after", "2")
		after := d.crash(rand.New(rand.NewPCG(1, 2)))
		s.Close()
		s = softStore(t, after, io.Discard)
		defer s.Close()
		if got, want := s.contents(t), map[string]string{"before": "1", "after": "2"}; !equal(got, want) {
			t.Errorf("after a crash: got %v, want %v", got, want)
		}
	})
}

// Every way of cutting the file short leaves the records before the cut.
func TestTornTail(t *testing.T) {
	d := newMemDisk()
	s := softStore(t, d, io.Discard)
	ends := []int64{int64(softHead)}
	for i := range 4 {
		s.mustPut(t, fmt.Sprint(i), strings.Repeat("v", i*10))
		ends = append(ends, s.j.size.Load())
	}
	s.Close()
	all := d.bytes(softLog)
	for cut := range len(all) + 1 {
		d := newMemDisk()
		d.inodes[softLog] = &inode{data: slices.Clone(all[:cut])}
		s := softStore(t, d, io.Discard)
		want := 0
		for want < 4 && ends[want+1] <= int64(cut) {
			want++
		}
		if got := s.contents(t); len(got) != want {
			t.Errorf("cut at %d: %d records, want %d", cut, len(got), want)
		}
		if len(s.Damage()) != 0 {
			t.Errorf("cut at %d: called damage", cut)
		}
		s.mustPut(t, "new", "v")
		s.Close()
		s = softStore(t, d, io.Discard)
		if got := s.contents(t); len(got) != want+1 || got["new"] != "v" {
			t.Errorf("cut at %d, written on: %v", cut, got)
		}
		s.Close()
	}
}

// Any one byte changed: at most the record that it belongs to is lost, loudly.
func TestDamage(t *testing.T) {
	d := newMemDisk()
	s := softStore(t, d, io.Discard)
	ends := []int64{int64(softHead)}
	for i := range 6 {
		s.mustPut(t, fmt.Sprint(i), strings.Repeat("v", 5+i*10))
		ends = append(ends, s.j.size.Load())
	}
	s.Close()
	all := d.bytes(softLog)
	for at := ends[0]; at < int64(len(all)); at++ {
		for _, flip := range []byte{0x01, 0x80, 0xff} {
			d := newMemDisk()
			d.inodes[softLog] = &inode{data: slices.Clone(all)}
			d.inodes[softLog].data[at] ^= flip
			hit := 0
			for ends[hit+1] <= at {
				hit++
			}
			var log bytes.Buffer
			s := softStore(t, d, &log)
			got := s.contents(t)
			if _, there := got[fmt.Sprint(hit)]; there || len(got) != 5 {
				t.Fatalf("byte %d (of record %d) ^ %#x: %d records left: %v", at, hit, flip, len(got), got)
			}
			last := hit == 5 // not to be told from a torn tail
			if dm := s.Damage(); !last && (len(dm) != 1 || dm[0] != Damage{ends[hit], ends[hit+1] - ends[hit]}) {
				t.Fatalf("byte %d of record %d: damage %v", at, hit, dm)
			}
			if want := "level=ERROR"; last == strings.Contains(log.String(), want) || log.Len() == 0 {
				t.Fatalf("byte %d of record %d: logged %q", at, hit, log.String())
			}
			s.Close()
		}
	}
}

// A record whose value looks like records does not become them when it is damaged.
func TestDamagedRecordWithRecordsInside(t *testing.T) {
	d := newMemDisk()
	s := softStore(t, d, io.Discard)
	inner := string(appendFrame(nil, Record{Kind: 'r', Key: "forged", Value: []byte("v")}, s.j.gen))
	s.mustPut(t, "outer", strings.Repeat(inner, 3))
	s.mustPut(t, "next", "v")
	s.Close()
	d.inodes[softLog].data[softHead+frameHead+1] ^= 1
	s = softStore(t, d, io.Discard)
	defer s.Close()
	if got, want := s.contents(t), map[string]string{"next": "v"}; !equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestNotAJournal(t *testing.T) {
	d := newMemDisk()
	text := "this is somebody's precious file, not ours"
	d.inodes[softLog] = &inode{data: []byte(text)}
	if _, err := openJournal(d, softLog, testLeast, slog.Default()); err == nil {
		t.Fatal("opened")
	}
	if got := string(d.bytes(softLog)); got != text {
		t.Errorf("overwritten with %q", got)
	}
}

// fill writes one key over and over, n bytes in all.
func (s *Store) fill(t testing.TB, n int) {
	value := strings.Repeat("v", 64<<10)
	for i := 0; n > 0; i++ {
		s.mustPut(t, "hot", fmt.Sprint(i, value))
		n -= len(value)
	}
}

func TestCompaction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, t.Output())
		want := map[string]string{}
		for i := range 100 {
			k := fmt.Sprint("kept", i)
			s.mustPut(t, k, k)
			s.mustPut(t, fmt.Sprint("gone", i), "v")
			want[k] = k
		}
		for i := range 100 {
			s.Put([]Record{{Kind: 'r', Key: fmt.Sprint("gone", i)}}, func(error) {})
		}
		s.mustPut(t, "last", "word")
		want["last"] = "word"
		s.fill(t, testLeast)
		want["hot"] = s.contents(t)["hot"]
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if size := s.j.size.Load(); size > testLeast/4 {
			t.Errorf("%d bytes after the compaction", size)
		}
		var st Stats
		if s.j.stats(&st); st.SoftRecords != len(want) || st.SoftLive+int64(softHead) != st.SoftBytes {
			t.Errorf("counted %+v, want %d records", st, len(want))
		}
		if got := s.contents(t); !equal(got, want) {
			t.Errorf("%d records, want %d", len(got), len(want))
		}
		s.mustPut(t, "after", "v")
		want["after"] = "v"
		after := d.crash(rand.New(rand.NewPCG(1, 2)))
		s.Close()
		s = softStore(t, after, t.Output())
		defer s.Close()
		if got := s.contents(t); !equal(got, want) {
			t.Errorf("after a crash %d records, want %d", len(got), len(want))
		}
	})
}

// Compaction after compaction writes over the file before, whose records never
// come back, neither by a crash nor by damage.
func TestCompactionWritesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStoreLeast(t, d, 100<<10, t.Output())
		rnd := rand.New(rand.NewPCG(3, 4))
		want := map[string]string{}
		gens, over := map[uint32]bool{}, false
		for round := range 40 {
			for i := range 40 {
				k := fmt.Sprint("k", rnd.IntN(50))
				v := fmt.Sprint(round, i, strings.Repeat("v", rnd.IntN(3000)))
				s.mustPut(t, k, v)
				want[k] = v
				if rnd.IntN(4) == 0 {
					k := fmt.Sprint("k", rnd.IntN(50))
					s.Put([]Record{{Kind: 'r', Key: k}}, func(error) {})
					delete(want, k)
				}
			}
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
			gens[s.j.gen] = true
			over = over || int64(len(d.bytes(softLog))) > s.j.size.Load()
			if got := s.contents(t); !equal(got, want) {
				t.Fatalf("round %d: %d records, want %d", round, len(got), len(want))
			}
			if round%5 == 4 {
				after := d.crash(rnd)
				s.Close()
				d = after
				s = softStoreLeast(t, d, 100<<10, t.Output())
				if got := s.contents(t); !equal(got, want) {
					t.Fatalf("round %d, after a crash: %d records, want %d", round, len(got), len(want))
				}
				if dm := s.Damage(); len(dm) > 0 {
					t.Fatalf("round %d: damage %v", round, dm)
				}
			}
		}
		if len(gens) < 10 {
			t.Errorf("only %d generations", len(gens))
		}
		if !over {
			t.Error("the file is never longer than what is in use: nothing is written over")
		}
		s.Close()
		if d.opened != 0 {
			t.Errorf("%d files open", d.opened)
		}
	})
}

// What waits while the file is replaced is written in the new file's form.
func TestCompactionWithWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, t.Output())
		want := map[string]string{}
		value := strings.Repeat("v", 20<<10)
		d.set(func() { d.latency = 3 * time.Millisecond })
		failed := 0
		for i := range 500 {
			k, v := fmt.Sprint("k", i%10), fmt.Sprint(i, value)
			s.Put([]Record{{Kind: 'r', Key: k, Value: []byte(v)}}, func(err error) {
				if err != nil {
					failed++
				}
			})
			want[k] = v
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := s.contents(t); !equal(got, want) || failed > 0 {
			t.Errorf("%d records, want %d; %d failed", len(got), len(want), failed)
		}
		if _, twice := d.inodes[softOld]; !twice {
			t.Error("it was never compacted")
		}
		s.Close()
		s = softStore(t, d, t.Output())
		defer s.Close()
		if got := s.contents(t); !equal(got, want) {
			t.Errorf("opened again: %d records, want %d", len(got), len(want))
		}
	})
}

// A reader sees the file as it was when it began, however often it is compacted.
func TestRangeDuringCompactions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := softStore(t, newMemDisk(), t.Output())
		defer s.Close()
		want := map[string]string{}
		for i := range 50 {
			k := fmt.Sprint("k", i)
			s.mustPut(t, k, k+strings.Repeat("v", 20<<10)) // more than the window
			want[k] = k + strings.Repeat("v", 20<<10)
		}
		gen := s.j.gen
		got := map[string]string{}
		err := s.Range('r', func(k string, v []byte) error {
			got[k] = string(v)
			for i := 0; len(got) == 1 && s.j.gen < gen+3; i++ {
				for k := range want {
					s.mustPut(t, k, fmt.Sprint("newer", i, strings.Repeat("w", 20<<10)))
				}
				time.Sleep(10 * time.Millisecond)
				synctest.Wait()
			}
			return nil
		})
		if err != nil || !equal(got, want) {
			t.Errorf("%d of %d records as they were, %v", len(got), len(want), err)
		}
		if s.j.reading != 0 {
			t.Errorf("%d readers left", s.j.reading)
		}
	})
}

// Two keys with one hash: compaction goes by the keys.
func TestCompactionDoubtful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := softStore(t, newMemDisk(), t.Output())
		s.mustPut(t, "a", "1")
		s.mustPut(t, "b", "2")
		synctest.Wait()
		for h, p := range s.j.index.at { // as if "b" had come to the place of "a"
			p.check++
			s.j.index.at[h] = p
		}
		s.mustPut(t, "b", "3")
		synctest.Wait()
		if !s.j.index.doubtful {
			t.Fatal("not noticed")
		}
		delete(s.j.index.at, maphashOf(s.j.index, "a"))
		s.fill(t, testLeast)
		time.Sleep(time.Second)
		synctest.Wait()
		got := s.contents(t)
		if got["a"] != "1" || got["b"] != "3" || len(got) != 3 {
			t.Errorf("after the compaction: %d records, a=%q b=%q", len(got), got["a"], got["b"])
		}
		if s.j.index.doubtful || len(s.j.index.at) != 3 {
			t.Errorf("the new index: doubtful %v, %d places", s.j.index.doubtful, len(s.j.index.at))
		}
		s.Close()
	})
}

// A compaction that fails leaves everything as it was, and is not tried with each write.
func TestCompactionFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		var log bytes.Buffer
		s := softStore(t, d, &log)
		d.set(func() { d.refuse = softNew })
		s.fill(t, testLeast)
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		for range 10 {
			s.mustPut(t, "small", "v")
		}
		if n := strings.Count(log.String(), "could not be compacted"); n != 1 {
			t.Errorf("failed %d times: %s", n, log.String())
		}
		if _, left := d.inodes[softNew]; left {
			t.Error("the new file is left behind")
		}
		d.set(func() { d.refuse = "" })
		s.fill(t, testLeast/2)
		synctest.Wait()
		time.Sleep(time.Second)
		synctest.Wait()
		if size := s.j.size.Load(); size > testLeast/2 {
			t.Errorf("not compacted later: %d bytes", size)
		}
		s.Close()
		if d.opened != 0 {
			t.Errorf("%d files open", d.opened)
		}
	})
}

// Closed while a compaction runs.
func TestCompactionAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, t.Output())
		s.fill(t, testLeast-100<<10)
		d.set(func() { d.latency = time.Second })
		s.fill(t, testLeast)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if d.opened != 0 {
			t.Errorf("%d files open", d.opened)
		}
		d.set(func() { d.latency = 0 })
		s = softStore(t, d, t.Output())
		defer s.Close()
		if got := s.contents(t); len(got) != 1 {
			t.Errorf("%d records", len(got))
		}
	})
}

// After the rename, but before the directory is durable, nothing is acknowledged
// that a crash would take back.
func TestCompactionDirectoryFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newMemDisk()
		s := softStore(t, d, io.Discard)
		s.mustPut(t, "before", "1")
		broken := errors.New("input/output error")
		d.set(func() { d.dirErr = broken })
		s.fill(t, testLeast)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := s.tryPut("during", "x"); !errors.Is(err, broken) {
			t.Errorf("acknowledged as %v", err)
		}
		d.set(func() { d.dirErr = nil })
		s.mustPut(t, "after", "2")
		want := s.contents(t)
		if len(want) != 3 || want["before"] != "1" || want["after"] != "2" {
			t.Errorf("%d records", len(want))
		}
		after := d.crash(rand.New(rand.NewPCG(1, 2)))
		s.Close()
		s = softStore(t, after, io.Discard)
		defer s.Close()
		if got := s.contents(t); !equal(got, want) {
			t.Errorf("after a crash %d records, want %d", len(got), len(want))
		}
	})
}

// Whatever is written, however the disk fails, whenever it crashes: what was
// acknowledged last is there, or something newer that was tried.
func TestJournalCrashes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newMemDisk()
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		acked := map[string]string{}          // what must be there, unless tried says otherwise
		tried := map[string]map[string]bool{} // what may be there instead
		const gone = "\x00gone"
		least := rapid.SampledFrom([]int64{1000, 4000, 1 << 20}).Draw(t, "compact at")
		s := softStoreLeast(t, d, least, io.Discard)
		for n := range rapid.IntRange(1, 100).Draw(t, "steps") {
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0:
				d.set(func() { d.space = int64(rnd.IntN(200)) })
			case 1:
				d.set(func() { d.space, d.syncErr = -1, nil })
			case 2:
				d.set(func() { d.syncErr = errors.New("input/output error") })
			case 3: // crash, with whatever is under way
				after := d.crash(rnd)
				s.Close()
				d = after
				s = softStoreLeast(t, d, least, io.Discard)
				got := s.contents(t)
				for _, k := range []string{"a", "b", "c"} {
					v, ok := got[k]
					if !ok {
						v = gone
					}
					want, ok := acked[k]
					if !ok {
						want = gone
					}
					if v != want && !tried[k][v] {
						t.Fatalf("%s is %q, acknowledged %q, tried %v", k, v, want, tried[k])
					}
					acked[k], tried[k] = v, nil // now durable
				}
			default:
				k := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "key")
				v := fmt.Sprint(n, strings.Repeat("v", rapid.IntRange(0, 300).Draw(t, "size")))
				r := Record{Kind: 'r', Key: k, Value: []byte(v)}
				if rapid.IntRange(0, 3).Draw(t, "delete") == 0 {
					r.Value, v = nil, gone
				}
				done := make(chan error, 1)
				s.Put([]Record{r}, func(err error) { done <- err })
				if err := <-done; err == nil {
					acked[k], tried[k] = v, nil
				} else {
					if tried[k] == nil {
						tried[k] = map[string]bool{}
					}
					tried[k][v] = true
				}
			}
		}
		s.Close()
	})
}

func maphashOf(x *index, key string) uint64 {
	one := newIndex(x.seed)
	one.count(frame{op: opPut, kind: 'r', key: []byte(key)}, 0)
	for h := range one.at {
		return h
	}
	panic("no place")
}

func FuzzScan(f *testing.F) {
	one := appendFrame(nil, Record{Kind: 'r', Key: "key", Value: []byte("value")}, 7)
	f.Add(one)
	f.Add(append(slices.Clone(one[:9]), one...))
	f.Add([]byte(strings.Repeat(frameMark, 10)))
	f.Add(bytes.Repeat(one, 3))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := newScanner(bytes.NewReader(b), 7, 0, int64(len(b)))
		last := int64(0)
		for {
			fr, at, err := s.next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if at < last || at+int64(fr.size) != s.good {
				t.Fatalf("frame at %d of %d bytes after %d, good to %d", at, fr.size, last, s.good)
			}
			if again, v := parseFrame(b[at:], 7); v != whole || !bytes.Equal(again.key, fr.key) || !bytes.Equal(again.value, fr.value) {
				t.Fatalf("no such frame at %d", at)
			}
			last = s.good
		}
		if s.good > int64(len(b)) {
			t.Fatalf("good to %d of %d", s.good, len(b))
		}
	})
}
