//go:build linux && (amd64 || arm64)

package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// TestSyncer wants of a file's Sync what fdatasync says, whoever does it, and from more at a time than there are syncers.
func TestSyncer(t *testing.T) {
	s := borrowSyncer()
	if s == nil {
		t.Skip("no aio here")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	for range 3 {
		if begun, err := s.sync(int(f.Fd())); !begun || err != nil {
			t.Fatalf("a file: %t, %v", begun, err)
		}
		if begun, _ := s.sync(int(w.Fd())); begun {
			t.Fatal("a pipe was taken")
		}
		if begun, _ := s.sync(1 << 20); begun {
			t.Fatal("what is not open was taken")
		}
	}
	s.giveBack()
	if err := (osFile{w}).Sync(); !errors.Is(err, syscall.EINVAL) {
		t.Errorf("a pipe: %v", err)
	}
	var all sync.WaitGroup
	for range 4 * maxSyncers {
		all.Go(func() {
			for range 20 {
				if _, err := f.WriteAt([]byte("x"), 0); err != nil {
					t.Error(err)
				}
				if err := (osFile{f}).Sync(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	syncers.mu.Lock()
	defer syncers.mu.Unlock()
	if len(syncers.free) != syncers.made || syncers.made > maxSyncers {
		t.Errorf("%d of %d are free", len(syncers.free), syncers.made)
	}
}
