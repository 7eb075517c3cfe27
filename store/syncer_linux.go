//go:build linux && (amd64 || arm64)

package store

import (
	"os"
	"structs"
	"sync"
	"syscall"
	"unsafe"
)

// A syncer has the kernel do an fdatasync(2) (io_submit(2), IOCB_CMD_FDSYNC) while no thread of ours waits
// for it. A thread that waits in a call costs much more than the call: Go's monitor looks again and
// again whether to take its processor away, which was a tenth of what the server used where a sync
// takes some milliseconds. The kernel does the same as in fdatasync, in a thread of its own, and says what came of it.
type syncer struct {
	context uintptr  // of aio
	fd      uint32   // an eventfd, readable when it is done
	ready   *os.File // the same
	block   *iocb
}

// maxSyncers bounds those that there are; who finds all at work waits in the call.
const maxSyncers = 4

var syncers struct {
	mu   sync.Mutex
	free []*syncer
	made int
}

// iocb is struct iocb of linux/aio_abi.h, on machines of 64 bits, little endian.
type iocb struct {
	_ structs.HostLayout

	data             uint64
	key, rwFlags     uint32
	opcode, priority uint16
	fd               uint32
	buf, count       uint64
	offset           int64
	reserved         uint64
	flags, resultFD  uint32
}

// ioEvent is struct io_event.
type ioEvent struct {
	_ structs.HostLayout

	data, object uint64
	result, more int64
}

const (
	iocbFDSync   = 3 // IOCB_CMD_FDSYNC, Linux 4.18
	iocbResultFD = 1 // IOCB_FLAG_RESFD
)

// borrowSyncer returns one that is free, or nil: none is, or the system has no such thing, or forbids it.
func borrowSyncer() *syncer {
	syncers.mu.Lock()
	defer syncers.mu.Unlock()
	if n := len(syncers.free); n > 0 {
		s := syncers.free[n-1]
		syncers.free = syncers.free[:n-1]
		return s
	}
	if syncers.made == maxSyncers {
		return nil
	}
	syncers.made++ // it is tried no more often, if it fails
	return newSyncer()
}

func newSyncer() *syncer {
	s := &syncer{block: new(iocb)}
	if _, _, errno := syscall.Syscall(sysIOSetup, 1, uintptr(unsafe.Pointer(&s.context)), 0); errno != 0 {
		return nil
	}
	fd, _, errno := syscall.Syscall(sysEventFD, 0, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		_, _, _ = syscall.Syscall(sysIODestroy, s.context, 0, 0)
		return nil
	}
	s.fd, s.ready = uint32(fd), os.NewFile(fd, "eventfd")
	return s
}

func (s *syncer) giveBack() {
	syncers.mu.Lock()
	syncers.free = append(syncers.free, s)
	syncers.mu.Unlock()
}

// sync returns what fdatasync would. begun is false when the kernel has not taken it.
func (s *syncer) sync(fd int) (begun bool, err error) {
	*s.block = iocb{opcode: iocbFDSync, fd: uint32(fd), flags: iocbResultFD, resultFD: s.fd}
	list := [1]*iocb{s.block}
	// It only queues, so the scheduler need not hear of it.
	if n, _, errno := syscall.RawSyscall(sysIOSubmit, s.context, 1, uintptr(unsafe.Pointer(&list))); errno != 0 || n != 1 {
		return false, nil
	}
	var counter [8]byte
	_, _ = s.ready.Read(counter[:]) // whatever it says, the next call waits for the result
	for {
		var e ioEvent
		n, _, errno := syscall.Syscall6(sysIOGetEvents, s.context, 1, 1, uintptr(unsafe.Pointer(&e)), 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno != 0:
			return true, errno // not to be repeated: an error of the disk is told once
		case n == 1 && e.result < 0:
			return true, syscall.Errno(-e.result)
		case n == 1:
			return true, nil
		}
	}
}
