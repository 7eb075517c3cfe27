package store

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"sync"
	"time"
)

// memDisk is a directory in memory that forgets what was not synced when it
// crashes, and fails when told to.
type memDisk struct {
	mu      sync.Mutex
	inodes  map[string]*inode // the directory as processes see it
	durable map[string]*inode // as it will be after a crash

	latency time.Duration // of Sync
	space   int64         // bytes that may still be written; -1: no bound
	syncErr error
	dirErr  error
	refuse  string // the name of a file that cannot be written
	syncs   int
	opened  int // handles not closed
}

type inode struct {
	data   []byte // as processes see it
	synced []byte // as of the last sync
	dirty  int64  // the first byte written since
}

func newMemDisk() *memDisk {
	return &memDisk{inodes: map[string]*inode{}, durable: map[string]*inode{}, space: -1}
}

var errNoSpace = &os.PathError{Op: "write", Path: "soft.log", Err: errors.New("no space left on device")}

func (d *memDisk) Open(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.inodes[name]
	if n == nil {
		n = &inode{}
		d.inodes[name] = n
	}
	d.opened++
	return &memFile{d: d, n: n, name: name}, nil
}

func (d *memDisk) Rename(old, new string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.inodes[old]
	if n == nil {
		return os.ErrNotExist
	}
	d.inodes[new] = n
	delete(d.inodes, old)
	return nil
}

func (d *memDisk) Link(old, new string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.inodes[new] != nil {
		return os.ErrExist
	}
	d.inodes[new] = d.inodes[old]
	return nil
}

func (d *memDisk) Remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.inodes, name)
	return nil
}

func (d *memDisk) SyncDir() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dirErr != nil {
		return d.dirErr
	}
	clear(d.durable)
	for name, n := range d.inodes {
		d.durable[name] = n
	}
	return nil
}

// crash returns the disk as a new process finds it: of what was not synced each
// piece may have reached the platter or not, or as rubbish.
func (d *memDisk) crash(rnd *rand.Rand) *memDisk {
	const piece = 64
	d.mu.Lock()
	defer d.mu.Unlock()
	after := newMemDisk()
	for name, n := range d.durable {
		data := slices.Clone(n.synced)
		mode := rnd.IntN(3) // nothing, all up to somewhere, anything
		end := int(n.dirty) + rnd.IntN(max(1, len(n.data)-int(n.dirty)+1))
		for at := int(n.dirty); at < len(n.data) && mode > 0; at += piece {
			if mode == 1 && at >= end || mode == 2 && rnd.IntN(2) == 0 {
				continue
			}
			upto := min(at+piece, len(n.data))
			if mode == 1 {
				upto = min(upto, end)
			}
			for len(data) < upto {
				data = append(data, 0)
			}
			copy(data[at:upto], n.data[at:upto])
			if mode == 2 && rnd.IntN(8) == 0 {
				for i := at; i < upto; i++ {
					data[i] = byte(rnd.Uint32())
				}
			}
		}
		after.inodes[name] = &inode{data: data, synced: slices.Clone(data), dirty: int64(len(data))}
		after.durable[name] = after.inodes[name]
	}
	return after
}

func (d *memDisk) bytes(name string) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.inodes[name].data)
}

func (d *memDisk) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

type memFile struct {
	d      *memDisk
	n      *inode
	name   string
	closed bool
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if off >= int64(len(f.n.data)) {
		return 0, io.EOF
	}
	n := copy(p, f.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.name == f.d.refuse {
		return 0, errNoSpace
	}
	n := len(p)
	var err error
	if f.d.space >= 0 && int64(n) > f.d.space {
		n, err = int(f.d.space), errNoSpace
	}
	if f.d.space >= 0 {
		f.d.space -= int64(n)
	}
	if end := int(off) + n; end > len(f.n.data) {
		f.n.data = append(f.n.data, make([]byte, end-len(f.n.data))...)
	}
	copy(f.n.data[off:], p[:n])
	f.n.dirty = min(f.n.dirty, off)
	return n, err
}

func (f *memFile) Size() (int64, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	return int64(len(f.n.data)), nil
}

func (f *memFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	for int64(len(f.n.data)) < size {
		f.n.data = append(f.n.data, 0)
	}
	if f.d.space >= 0 {
		f.d.space += int64(len(f.n.data)) - size
	}
	f.n.data = f.n.data[:size]
	f.n.dirty = min(f.n.dirty, size)
	return nil
}

func (f *memFile) Sync() error {
	f.d.mu.Lock()
	latency, err := f.d.latency, f.d.syncErr
	f.d.syncs++
	f.d.mu.Unlock()
	if latency > 0 {
		time.Sleep(latency)
	}
	if err != nil {
		return err
	}
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	f.n.synced = append(f.n.synced[:min(int(f.n.dirty), len(f.n.synced))], f.n.data[f.n.dirty:]...)
	f.n.dirty = int64(len(f.n.data))
	return nil
}

func (f *memFile) Close() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if f.closed {
		return os.ErrClosed
	}
	f.closed = true
	f.d.opened--
	return nil
}
