package store

import "syscall"

// Sync need not write the inode's times, only the data and the size.
func (f osFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return err
		}
	}
}
