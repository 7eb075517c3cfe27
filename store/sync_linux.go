package store

import "syscall"

// Sync need not write the inode's times, only the data and the size.
func (f osFile) Sync() error {
	if s := borrowSyncer(); s != nil {
		begun, err := s.sync(int(f.Fd()))
		s.giveBack()
		if begun {
			return err
		}
	}
	return blockingSync(int(f.Fd()))
}

func blockingSync(fd int) error {
	for {
		err := syscall.Fdatasync(fd)
		if err != syscall.EINTR {
			return err
		}
	}
}
