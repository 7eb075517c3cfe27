package store

import (
	"fmt"
	"hash/maphash"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

const (
	softLog = "soft.log"
	softNew = "soft.log.new" // a compaction under way
	softOld = "soft.log.old" // the file before, to be written over by the next compaction

	// maxWaiting bounds what Put has queued, in bytes; beyond it records are
	// answered ErrBusy.
	maxWaiting = 64 << 20

	// gather is how long the journal, and the database's writer, wait for company
	// before a sync when the last group had more than one in it. A sync costs some 80 µs of CPU however
	// little it writes, so under load fewer and larger groups are cheaper: with
	// this at most about 6 % of one processor goes into syncs.
	gather = time.Millisecond
	// largeGroup is the size of a group after which the journal waits three times as long: with thousands
	// of changes a second everything that is done once for a group, the wakeups of those who
	// wait for it above all, costs more than what the answers lose.
	largeGroup = 16
)

// journal is the append-only log of the soft state. One goroutine writes,
// syncs and acknowledges; everybody else only appends to what waits.
type journal struct {
	disk  disk
	name  string
	least int64 // the size below which it is not compacted
	log   *slog.Logger
	seed  maphash.Seed

	mu      sync.Mutex
	waiting []byte
	acks    []ack
	closed  bool
	turning bool          // a compaction waits to be finished
	turn    *compaction   // that one
	gen     uint32        // of the file; what waits is stamped with it
	reading int           // readers of the file, or of those before
	wake    chan struct{} // capacity 1
	ended   chan struct{}

	size    atomic.Int64 // whole, synced frames end here
	groups  atomic.Uint64
	failing atomic.Bool
	nlive   atomic.Int64
	blive   atomic.Int64
	damage  []Damage // found at start

	// Of the journal's goroutine only.
	f       file
	broken  error // the last write failed; what is behind size is not ours
	dirty   bool  // a rename is not durable yet
	index   *index
	compact int64 // try a compaction beyond this size
	spare   []byte
	spareA  []ack
}

type ack struct {
	done func(error)
	err  error // of this Put alone
}

// openJournal reads what is there and starts the goroutine.
func openJournal(d disk, name string, least int64, log *slog.Logger) (*journal, error) {
	j := &journal{
		disk: d, name: name, least: least, log: log, seed: maphash.MakeSeed(),
		wake: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	if err := d.Remove(softNew); err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	j.index = newIndex(j.seed)
	f, err := d.Open(name)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	j.f = f
	if err := j.recover(); err != nil {
		f.Close()
		return nil, fmt.Errorf("store: %s: %w", name, err)
	}
	j.compact = j.compactAt()
	if len(j.damage) > 0 {
		j.compact = 0 // the new file will be without
	}
	go j.run()
	return j, nil
}

// recover finds the live records and the end of the last good frame.
func (j *journal) recover() error {
	size, err := j.f.Size()
	if err != nil {
		return err
	}
	head := make([]byte, min(size, int64(softHead)))
	if _, err := j.f.ReadAt(head, 0); err != nil && err != io.EOF {
		return err
	}
	if n := min(len(head), len(softMagic)); len(head) < softHead && string(head[:n]) == softMagic[:n] {
		// New, or it died before the head was whole: nothing was acknowledged.
		return j.startFile()
	}
	var ok bool
	if j.gen, ok = parseFileHead(head); !ok {
		return fmt.Errorf("not a journal that this version can read (begins with %q)", head)
	}
	s := newScanner(j.f, j.gen, int64(softHead), size)
	for {
		f, at, err := s.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		j.index.count(f, at)
	}
	j.counted()
	j.damage = s.damage
	for _, d := range s.damage {
		j.log.Error("store: damage in the journal, records lost", "file", j.name, "offset", d.Offset, "bytes", d.Length)
	}
	if rest := size - s.good; rest > 0 {
		// A write that never was acknowledged, cut off by a crash, or what an
		// older generation left. Nothing in it may ever count.
		j.log.Info("store: the journal ends before its file", "file", j.name, "offset", s.good, "bytes", rest)
		if err := j.f.Truncate(s.good); err != nil {
			return err
		}
	}
	j.size.Store(s.good)
	// What we read may never have been synced: a record that we act upon now
	// must not be gone after the next crash.
	return j.f.Sync()
}

// startFile makes an empty journal, durably.
func (j *journal) startFile() error {
	if err := j.f.Truncate(0); err != nil {
		return err
	}
	j.gen = rand.Uint32()
	if _, err := j.f.WriteAt(appendHead(nil, j.gen), 0); err != nil {
		return err
	}
	if err := j.f.Sync(); err != nil {
		return err
	}
	j.size.Store(int64(softHead))
	return j.disk.SyncDir()
}

// put queues what encode appends; done is called on the journal's goroutine, or,
// when it is closed, at once.
func (j *journal) put(done func(error), encode func(buf []byte, gen uint32) ([]byte, error)) {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		done(ErrClosed)
		return
	}
	err := ErrBusy
	if len(j.waiting) < maxWaiting {
		n := len(j.waiting)
		var buf []byte
		if buf, err = encode(j.waiting, j.gen); err != nil {
			buf = buf[:n] // all of a Put or nothing
		}
		j.waiting = buf
	}
	j.acks = append(j.acks, ack{done, err})
	first := len(j.acks) == 1
	j.mu.Unlock()
	if first {
		j.signal()
	}
}

func (j *journal) signal() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// close writes what waits and ends the goroutine.
func (j *journal) close() error {
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		<-j.ended
		return nil
	}
	j.closed = true
	j.mu.Unlock()
	j.signal()
	<-j.ended
	return j.f.Close()
}

func (j *journal) run() {
	defer close(j.ended)
	for range j.wake {
		j.mu.Lock()
		buf, acks, closed, turn := j.waiting, j.acks, j.closed, j.turn
		j.waiting, j.acks, j.turn = j.spare[:0], j.spareA[:0], nil
		j.mu.Unlock()
		var err error
		if len(buf) > 0 {
			err = j.write(buf)
		}
		for _, a := range acks {
			if a.err == nil {
				a.err = err
			}
			a.done(a.err)
		}
		pause := gather
		switch n := len(acks); {
		case n <= 1:
			pause = 0
		case n >= largeGroup:
			pause = 3 * gather
		}
		clear(acks)
		j.spare, j.spareA = reuse(buf), acks[:0]
		if turn != nil {
			j.turnTo(turn)
		}
		if closed {
			if j.turning {
				j.abandon()
			}
			return
		}
		j.maybeCompact()
		if pause > 0 {
			time.Sleep(pause)
		}
	}
}

// reuse keeps a buffer unless one large group made it too large to keep.
func reuse(b []byte) []byte {
	if cap(b) > 4<<20 {
		return nil
	}
	return b
}

// write makes one group durable. After an error nothing of it counts, and every
// later group first has to put the file in order again.
func (j *journal) write(buf []byte) error {
	if j.broken != nil {
		if err := j.heal(); err != nil {
			return err
		}
	}
	at := j.size.Load()
	_, err := j.f.WriteAt(buf, at)
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		if !j.failing.Swap(true) {
			j.log.Error("store: the journal cannot be written", "file", j.name, "error", err)
		}
		j.broken = fmt.Errorf("store: journal: %w", err)
		err = j.broken
		_ = j.heal() // gives the space of a half-written group back; tried again later
		return err
	}
	if j.failing.Swap(false) {
		j.log.Info("store: the journal can be written again", "file", j.name)
	}
	j.groups.Add(1)
	j.size.Store(at + int64(len(buf)))
	for len(buf) > 0 {
		f, _ := parseHead(buf)
		j.index.count(f, at)
		at += int64(f.size)
		buf = buf[f.size:]
	}
	j.counted()
	return nil
}

// heal cuts off what a failed write may have left. After a failed fsync the
// kernel may have dropped pages that it calls clean, so nothing behind the last
// good sync may be trusted or kept.
func (j *journal) heal() error {
	if err := j.f.Truncate(j.size.Load()); err != nil {
		return fmt.Errorf("store: journal: %w", err)
	}
	if err := j.f.Sync(); err != nil {
		return fmt.Errorf("store: journal: %w", err)
	}
	if j.dirty {
		if err := j.disk.SyncDir(); err != nil {
			return fmt.Errorf("store: journal: %w", err)
		}
		j.dirty = false
	}
	j.broken = nil
	return nil
}

// counted publishes the statistics after a group.
func (j *journal) counted() {
	j.nlive.Store(int64(len(j.index.at)))
	j.blive.Store(j.index.bytes)
}

func (j *journal) stats(s *Stats) {
	s.SoftRecords, s.SoftLive = int(j.nlive.Load()), j.blive.Load()
	s.SoftBytes, s.SoftGroups = j.size.Load(), j.groups.Load()
	s.SoftFailing, s.Damaged = j.failing.Load(), len(j.damage)
}

// reader opens the file as it is now, and says how much of it is whole. It stays
// as it is when a compaction replaces it, until it is given back.
func (j *journal) reader() (f file, gen uint32, end int64, err error) {
	j.mu.Lock() // the file is replaced under this lock
	defer j.mu.Unlock()
	if j.closed {
		return nil, 0, 0, ErrClosed
	}
	if f, err = j.disk.Open(j.name); err == nil {
		j.reading++
	}
	return f, j.gen, j.size.Load(), err
}

func (j *journal) giveBack(f file) {
	j.mu.Lock()
	j.reading--
	j.mu.Unlock()
	f.Close()
}

// each calls fn for every live record that want takes, oldest first. Key and
// value live until fn returns.
func (j *journal) each(want func(kind byte, key []byte) bool, fn func(frame) error) error {
	f, gen, end, err := j.reader()
	if err != nil {
		return err
	}
	defer j.giveBack(f)
	places, err := livePlaces(f, gen, end, want)
	if err != nil {
		return err
	}
	return readPlaces(f, gen, end, places, j.lost, func(fr frame, _ []byte) error { return fn(fr) })
}
