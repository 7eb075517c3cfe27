package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// lockDir takes the advisory lock of the directory; closing the file gives it
// back, and so does the kernel when the process dies however it dies.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "pharos.lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if err == syscall.EWOULDBLOCK {
			pid, _ := os.ReadFile(f.Name())
			return nil, fmt.Errorf("%w: %s, by process %s", ErrLocked, dir, strings.TrimSpace(string(pid)))
		}
		return nil, fmt.Errorf("store: lock %s: %w", f.Name(), err)
	}
	// The number is for people only; the lock is what counts.
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%d\n", os.Getpid())
	}
	return f, nil
}
