package store

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
)

// A compaction writes what is live into a new file while the journal goes on
// in the old one, copies what came meanwhile, and at last has the journal's
// goroutine copy the small rest and put the new file in the old one's place.
// Writers wait for that last step only.

const (
	// compactMin is the size below which the journal is left alone, in bytes.
	compactMin = 16 << 20
	// compactRatio: compact when the file is so many times what is live.
	compactRatio = 4
)

type compaction struct {
	f     file
	old   uint32 // generations
	gen   uint32
	size  int64 // of the new file
	index *index
	live  []int64 // places in the old file; nil: to be found out
	done  int64   // of the old file, copied so far
	err   error
}

// compactAt is the size at which the next compaction is due.
func (j *journal) compactAt() int64 {
	return max(j.least, compactRatio*j.index.bytes)
}

func (j *journal) maybeCompact() {
	if j.turning || j.size.Load() < j.compact {
		return
	}
	if at := j.compactAt(); j.size.Load() < at && j.compact > 0 {
		j.compact = at
		return
	}
	j.turning = true
	c := &compaction{done: j.size.Load(), index: newIndex(j.seed), old: j.gen, gen: j.gen + 1}
	if !j.index.doubtful {
		c.live = j.index.live()
	}
	go func() {
		c.err = j.rewrite(c)
		j.mu.Lock()
		j.turn = c
		j.mu.Unlock()
		j.signal()
	}()
}

// rewrite fills the new file from what is live in the old one's first c.done
// bytes, then from what has come since.
func (j *journal) rewrite(c *compaction) error {
	old, err := j.disk.Open(j.name)
	if err != nil {
		return err
	}
	defer old.Close()
	// Blocks that the file system has given us already cost half of new ones.
	if err := j.disk.Rename(softOld, softNew); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if c.f, err = j.disk.Open(softNew); err != nil {
		return err
	}
	size, err := c.f.Size()
	if err != nil {
		return err
	}
	if room := max(j.least, 2*c.done); size > room {
		if err := c.f.Truncate(room); err != nil {
			return err
		}
	}
	live := c.live
	if live == nil {
		if live, err = livePlaces(old, c.old, c.done, anything); err != nil {
			return err
		}
	}
	w := bufio.NewWriterSize(&writerAt{c.f, 0}, 256<<10)
	if _, err := w.Write(appendHead(nil, c.gen)); err != nil {
		return err
	}
	c.size = int64(softHead)
	err = readPlaces(old, c.old, c.done, live, j.lost, func(fr frame, raw []byte) error {
		c.index.count(fr, c.size)
		c.size += int64(len(raw))
		restamp(raw, c.old, c.gen)
		_, err := w.Write(raw)
		return err
	})
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if err := c.f.Sync(); err != nil {
		return err
	}
	return c.catchUp(old, j.size.Load())
}

// lost reports a frame that was good once and cannot be read again.
func (j *journal) lost(off int64) {
	j.log.Error("store: damage in the journal, a record is lost", "file", j.name, "offset", off)
}

// catchUp copies the old file up to end as it is, deletions included.
func (c *compaction) catchUp(old file, end int64) error {
	s := newScanner(old, c.old, c.done, end)
	w := bufio.NewWriterSize(&writerAt{c.f, c.size}, 256<<10)
	for c.done < end {
		fr, _, err := s.next()
		if err == io.EOF || err == nil && len(s.damage) > 0 {
			err = fmt.Errorf("what was written just now cannot be read at %d", c.done)
		}
		if err != nil {
			return err
		}
		c.index.count(fr, c.size)
		restamp(fr.raw, c.old, c.gen)
		if _, err := w.Write(fr.raw); err != nil {
			return err
		}
		c.size, c.done = c.size+int64(fr.size), c.done+int64(fr.size)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return c.f.Sync()
}

// turnTo is the last step, on the journal's goroutine.
func (j *journal) turnTo(c *compaction) {
	j.turning = false
	err := c.err
	if err == nil && j.broken != nil {
		err = j.broken
	}
	if err == nil {
		err = c.catchUp(j.f, j.size.Load())
	}
	if err == nil {
		err = j.replace(c)
	}
	if err != nil {
		j.log.Warn("store: the journal could not be compacted", "file", j.name, "error", err)
		if c.f != nil {
			if err := errors.Join(c.f.Close(), j.disk.Remove(softNew)); err != nil {
				j.log.Warn("store: the unfinished new journal stays", "file", softNew, "error", err)
			}
		}
		j.compact = j.size.Load() + j.size.Load()/4 // not again at once
		return
	}
	j.index = c.index
	j.compact = j.compactAt()
}

func (j *journal) replace(c *compaction) error {
	j.mu.Lock() // see reader
	defer j.mu.Unlock()
	_ = j.disk.Remove(softOld)
	if j.reading == 0 { // whoever reads it must not see it written over
		if err := j.disk.Link(j.name, softOld); err != nil {
			j.log.Info("store: the journal's old file cannot be kept for its space", "error", err)
		}
	}
	if err := j.disk.Rename(softNew, j.name); err != nil {
		return err
	}
	for rest := j.waiting; len(rest) > 0; {
		f, _ := parseHead(rest)
		restamp(f.raw, c.old, c.gen)
		rest = rest[f.size:]
	}
	j.gen = c.gen
	old := j.f
	j.f = c.f
	j.size.Store(c.size)
	_ = old.Close() // nothing of it is needed
	if err := j.disk.SyncDir(); err != nil {
		// Until the rename is durable a crash may bring the old file back,
		// which must not have been behind: nothing is acknowledged till then.
		j.dirty, j.broken = true, fmt.Errorf("store: journal: %w", err)
		j.failing.Store(true)
		j.log.Error("store: the journal cannot be written", "file", j.name, "error", err)
	}
	return nil
}

// abandon waits for a compaction under way and throws it away, at close.
func (j *journal) abandon() {
	for range j.wake {
		j.mu.Lock()
		c := j.turn
		j.mu.Unlock()
		if c == nil {
			continue
		}
		j.turning = false
		if c.f != nil {
			_ = errors.Join(c.f.Close(), j.disk.Remove(softNew))
		}
		return
	}
}

type writerAt struct {
	f   file
	off int64
}

func (w *writerAt) Write(p []byte) (int, error) {
	n, err := w.f.WriteAt(p, w.off)
	w.off += int64(n)
	return n, err
}
