package sip

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// readAtOnce is the number of datagrams that are read with one call. Each needs room for the
// largest, of which the kernel writes to as many pages as it needs.
const readAtOnce = 16

// batchReader reads what waits at a socket with one recvmmsg(2).
type batchReader struct {
	raw   syscall.RawConn
	heads [readAtOnce]mmsghdr
	iovs  [readAtOnce]unix.Iovec
	names [readAtOnce]unix.RawSockaddrInet6
	bufs  [readAtOnce][]byte

	n    int
	err  syscall.Errno
	call func(fd uintptr) bool // made once
}

type mmsghdr struct {
	unix.Msghdr
	n uint32
}

// newBatchReader makes a reader with room for datagrams of so many octets; nil: the socket has to be read one
// by one.
func newBatchReader(c *net.UDPConn, room int) *batchReader {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil
	}
	r := &batchReader{raw: raw}
	for i := range r.heads {
		r.bufs[i] = make([]byte, room)
		r.iovs[i].Base = &r.bufs[i][0]
		r.iovs[i].SetLen(room)
		h := &r.heads[i]
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
	}
	r.call = func(fd uintptr) bool {
		for i := range r.heads {
			r.heads[i].Namelen = unix.SizeofSockaddrInet6
		}
		n, _, err := syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.heads[0])), readAtOnce, unix.MSG_DONTWAIT, 0, 0)
		for err == syscall.EINTR {
			n, _, err = syscall.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&r.heads[0])), readAtOnce, unix.MSG_DONTWAIT, 0, 0)
		}
		if err == syscall.EAGAIN {
			return false
		}
		r.n, r.err = int(n), err
		return true
	}
	return r
}

// read waits for datagrams and returns their number.
func (r *batchReader) read() (int, error) {
	if err := r.raw.Read(r.call); err != nil {
		return 0, err
	}
	if r.err != 0 {
		return 0, r.err
	}
	return r.n, nil
}

// datagram is the i-th that was read, and where it came from. It is valid until the next read.
func (r *batchReader) datagram(i int) ([]byte, netip.AddrPort) {
	return r.bufs[i][:r.heads[i].n], sockaddr(&r.names[i])
}

func sockaddr(sa *unix.RawSockaddrInet6) netip.AddrPort {
	port := (*[2]byte)(unsafe.Pointer(&sa.Port)) // in the network's order
	p := uint16(port[0])<<8 | uint16(port[1])
	switch sa.Family {
	case unix.AF_INET:
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(sa)).Addr), p)
	case unix.AF_INET6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr).Unmap().WithZone(scope(sa.Scope_id)), p)
	}
	return netip.AddrPort{}
}

// scope is the zone of a link-local address, by number: a look at the interfaces for each datagram would be dear.
func scope(id uint32) string {
	if id == 0 {
		return ""
	}
	return strconv.FormatUint(uint64(id), 10)
}
