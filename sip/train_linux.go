package sip

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// segmentSize appends the control message that has the kernel cut a datagram into ones of
// n octets.
func segmentSize(b []byte, n uint16) []byte {
	b = b[:unix.CmsgSpace(2)]
	clear(b)
	length := unix.CmsgLen(2)
	if unix.SizeofPtr == 8 {
		binary.NativeEndian.PutUint64(b, uint64(length))
	} else {
		binary.NativeEndian.PutUint32(b, uint32(length))
	}
	binary.NativeEndian.PutUint32(b[unix.SizeofPtr:], unix.SOL_UDP)
	binary.NativeEndian.PutUint32(b[unix.SizeofPtr+4:], unix.UDP_SEGMENT)
	binary.NativeEndian.PutUint16(b[unix.CmsgLen(0):], n)
	return b
}

// takesSegments reports whether a socket's kernel knows UDP_SEGMENT, as Linux does from 4.18 on.
func takesSegments(fd uintptr) bool {
	_, err := unix.GetsockoptInt(int(fd), unix.SOL_UDP, unix.UDP_SEGMENT)
	return err == nil
}
