package xmpp

import (
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"pharos/crowd"
)

const canRest = true

// rests are the streams that rest. One goroutine waits for all of them, as long as there are any streams.
type rests struct {
	mu      sync.Mutex
	poll    *os.File // nil: nobody waits
	control syscall.RawConn
	streams map[int32]*Stream // by descriptor
	most    int               // see crowd.Left
}

// add has a stream woken when it can be read. False: it cannot rest.
func (r *rests) add(s *Stream) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.poll == nil && !r.open() {
		return false
	}
	ok := false
	err := s.await.Control(func(fd uintptr) {
		// Its number is known before it can be woken: who wakes has to wait for mu.
		event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLONESHOT, Fd: int32(fd)}
		s.descriptor = int32(fd)
		_ = r.control.Control(func(poll uintptr) {
			err := unix.EpollCtl(int(poll), unix.EPOLL_CTL_MOD, int(fd), &event)
			if err == unix.ENOENT {
				err = unix.EpollCtl(int(poll), unix.EPOLL_CTL_ADD, int(fd), &event)
			}
			ok = err == nil
		})
	})
	if err == nil && ok {
		r.streams[s.descriptor] = s
	}
	return err == nil && ok
}

// wake wakes a stream that rests.
func (r *rests) wake(s *Stream) {
	r.mu.Lock()
	here := r.streams[s.descriptor] == s
	if here {
		delete(r.streams, s.descriptor)
		r.streams = crowd.Left(r.streams, &r.most)
	}
	r.mu.Unlock()
	if here {
		go s.woken()
	}
}

// open begins to wait. r.mu is held.
func (r *rests) open() bool {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	// Not blocking, it is waited for like a connection, and by no thread.
	if err = unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return false
	}
	f := os.NewFile(uintptr(fd), "epoll")
	c, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return false
	}
	r.poll, r.control = f, c
	if r.streams == nil {
		r.streams = make(map[int32]*Stream)
	}
	go r.run(c)
	return true
}

// close ends the waiting if nobody rests.
func (r *rests) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.poll != nil && len(r.streams) == 0 {
		r.poll.Close()
		r.poll, r.control, r.streams, r.most = nil, nil, nil, 0
	}
}

// run wakes those that can be read, until the file is closed.
func (r *rests) run(c syscall.RawConn) {
	var events [128]unix.EpollEvent
	for {
		n := 0
		err := c.Read(func(fd uintptr) bool {
			n, _ = unix.EpollWait(int(fd), events[:], 0)
			return n > 0
		})
		if err != nil {
			return
		}
		for i := range n {
			r.mu.Lock()
			// A descriptor may meanwhile be another stream's, which then wakes for nothing.
			s := r.streams[events[i].Fd]
			delete(r.streams, events[i].Fd)
			r.streams = crowd.Left(r.streams, &r.most)
			r.mu.Unlock()
			if s != nil {
				go s.woken()
			}
		}
	}
}
