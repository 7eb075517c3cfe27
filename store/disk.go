package store

import (
	"io"
	"os"
	"path/filepath"
)

// disk is the directory as the journal needs it; tests have one in memory that
// loses what was not synced.
type disk interface {
	Open(name string) (file, error) // for reading and writing, created when absent
	Rename(old, new string) error   // atomic
	Link(old, new string) error     // another name for the same file
	Remove(name string) error       // no error when absent
	SyncDir() error                 // makes creations and renames durable
}

type file interface {
	io.ReaderAt
	io.WriterAt
	Size() (int64, error)
	Truncate(size int64) error
	Sync() error // data and size, fdatasync(2)
	Close() error
}

type osDisk string

type osFile struct{ *os.File }

func (d osDisk) path(name string) string { return filepath.Join(string(d), name) }

func (d osDisk) Open(name string) (file, error) {
	f, err := os.OpenFile(d.path(name), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

func (d osDisk) Rename(old, new string) error { return os.Rename(d.path(old), d.path(new)) }

func (d osDisk) Link(old, new string) error { return os.Link(d.path(old), d.path(new)) }

func (d osDisk) Remove(name string) error {
	if err := os.Remove(d.path(name)); err != nil && !os.IsNotExist(err) {
		return err
	}
	return nil
}

func (d osDisk) SyncDir() error {
	f, err := os.Open(string(d))
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (f osFile) Size() (int64, error) {
	fi, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}
